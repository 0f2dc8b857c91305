/**
 * Names in a result directory. The shard with key K has the folder `fileSafe(K)`; beside it, while it is delivered and after
 * a crash, may lie folders with its name, the shard's id and the epoch: `….tmp` (being written) and `….old` (being replaced).
 */
import { createHash } from 'node:crypto';
import { PodlineError } from '../contracts/errors.js';
import { fileSafe } from '../platform/files.js';

/** A path component may have 255 bytes; the folders beside need room for what they add. */
const folderBytesMax = 200;
const besideKeyBytesMax = 120;
const besideShardBytesMax = 64;
const hashChars = 16;

export interface Beside {
  name: string;
  epoch: number;
  kind: 'tmp' | 'old';
}

export const folderName = (key: string): string => bounded(key, folderBytesMax);

export const besideName = (key: string, shardId: string, epoch: number, kind: Beside['kind']): string =>
  `${besidePrefix(key, shardId)}${String(epoch)}.${kind}`;

/** Those of `names` that lie beside this shard's folder. */
export function besides(names: readonly string[], key: string, shardId: string): Beside[] {
  const prefix = besidePrefix(key, shardId);
  return names.flatMap((name) => {
    const match = name.startsWith(prefix) ? /^(\d+)\.(tmp|old)$/.exec(name.slice(prefix.length)) : null;
    return match === null ? [] : [{ name, epoch: Number(match[1]), kind: match[2] === 'old' ? 'old' : 'tmp' }];
  });
}

const besidePrefix = (key: string, shardId: string): string =>
  `.${bounded(key, besideKeyBytesMax)}.${bounded(shardId, besideShardBytesMax)}-`;

/** File-safe, and where that is too long, cut and told apart by its hash. */
function bounded(name: string, bytesMax: number): string {
  const safe = fileSafe(name);
  if (safe.length <= bytesMax) return safe;
  const hash = createHash('sha256').update(name, 'utf8').digest('hex').slice(0, hashChars);
  return `${safe.slice(0, bytesMax - hashChars - 1)}-${hash}`;
}

export const manifestFile = 'manifest.json';
const fileBytesMax = 255;

/** A file's name as a stage gave it, checked: a relative path that stays in its folder. Throws PDL_STAGE_OUTPUT. */
export function checkedFileName(name: string, stage: string): string {
  const parts = name.split('/');
  const bad = (part: string): boolean => part === '' || part === '.' || part === '..' || Buffer.byteLength(part) > fileBytesMax;
  if (name.includes('\0') || name.includes('\\') || parts.some(bad)) {
    throw new PodlineError(
      'PDL_STAGE_OUTPUT',
      `stage ${stage} names a result file ${JSON.stringify(name)}, which is no path below the result folder`,
      { place: stage },
    );
  }
  if (name === manifestFile) {
    throw new PodlineError(
      'PDL_STAGE_OUTPUT',
      `stage ${stage} names a result file ${manifestFile}, which is the name of the list of files`,
      { place: stage },
    );
  }
  return name;
}
