/**
 * Names in a result directory. The shard with key K has the folder `fileSafe(K)`; beside it, while it is delivered and after
 * a crash, may lie folders with its name, the shard's id and the epoch: `….tmp` (being written) and `….old` (being replaced).
 */
import { PodlineError } from '../contracts/errors.js';
import { boundedName } from '../platform/folder-names.js';

export { folderName } from '../platform/folder-names.js';

const besideKeyBytesMax = 120;
const besideShardBytesMax = 64;

export interface Beside {
  name: string;
  epoch: number;
  kind: 'tmp' | 'old';
}

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
  `.${boundedName(key, besideKeyBytesMax)}.${boundedName(shardId, besideShardBytesMax)}-`;

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
