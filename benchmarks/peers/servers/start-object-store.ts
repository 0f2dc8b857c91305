/** Starts `object-store.ts` in a process of its own. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { entryPath } from '../../../runtime/platform/entries.js';
import type { StoreServer } from '../chain-runner.js';

export const startObjectStore =
  (fsync: boolean) =>
  async (dir: string): Promise<StoreServer> => {
    const objects = join(dir, 'objects');
    const child = fork(entryPath('benchmarks/peers/servers/object-store'), [objects, fsync ? 'fsync' : 'no'], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const exited = once(child, 'exit');
    const ended = exited.then(([code]) => Promise.reject(new Error(`the object store ended with ${String(code)}`)));
    ended.catch(() => undefined);
    const [port] = (await Promise.race([once(child, 'message'), ended])) as [number];
    return {
      store: { name: 'objects', port },
      pids: () => [child.pid ?? 0],
      async close() {
        if (child.connected) child.disconnect();
        await exited;
        await rm(objects, { recursive: true, force: true });
      },
    };
  };
