/** Names of folders from the keys of shards: any text becomes one path component, and two keys never the same one. */
import { createHash } from 'node:crypto';
import { fileSafe } from './files.js';

/** A path component may have 255 bytes; what lies beside the folder of a result needs room for what it adds. */
const folderBytesMax = 200;
const hashChars = 16;

/** Of the shard with this key, in the result directory. */
export const folderName = (key: string): string => boundedName(key, folderBytesMax);

/** File-safe, and where that is too long, cut and told apart by its hash. */
export function boundedName(name: string, bytesMax: number): string {
  const safe = fileSafe(name);
  if (safe.length <= bytesMax) return safe;
  const hash = createHash('sha256').update(name, 'utf8').digest('hex').slice(0, hashChars);
  return `${safe.slice(0, bytesMax - hashChars - 1)}-${hash}`;
}
