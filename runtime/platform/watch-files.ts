/** Tells when files change. By looking, because a mounted secret changes by a link somewhere above it, of which nobody is told. */
import { unwatchFile, watchFile } from 'node:fs';

export interface WatchedFiles {
  /** Idempotent. */
  close(): void;
}

/** Calls back after any of the files changed, appeared or went; does not keep the process alive. */
export function watchFiles(paths: readonly string[], onChange: () => void, everyMs: number): WatchedFiles {
  const look = (
    now: { mtimeMs: number; ino: number; size: number },
    before: { mtimeMs: number; ino: number; size: number },
  ): void => {
    if (now.mtimeMs !== before.mtimeMs || now.ino !== before.ino || now.size !== before.size) onChange();
  };
  for (const path of paths) watchFile(path, { persistent: false, interval: everyMs }, look);
  return {
    close: () => {
      for (const path of paths) unwatchFile(path, look);
    },
  };
}
