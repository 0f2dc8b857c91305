import { join } from 'node:path';
import { symlinkSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { lockWorkdir } from '../../../runtime/coordinator/workdir-lock.js';
import { folder } from '../../support/journal.js';

const kinds = process.platform === 'linux' ? (['abstract', 'file'] as const) : (['file'] as const);

describe.each(kinds)('the lock of a work directory (%s socket)', (kind) => {
  it('is held once, also by another name of the directory, and names the pid of its holder', async () => {
    const dir = folder();
    const lock = await lockWorkdir(dir, kind);
    onTestFinished(() => lock.release());
    const link = join(folder(), 'link');
    symlinkSync(dir, link);
    for (const path of [dir, link]) {
      await expect(lockWorkdir(path, kind)).rejects.toMatchObject({
        code: 'PDL_WORKDIR_BUSY',
        message: expect.stringContaining(`process ${String(process.pid)}`),
      });
    }
  });

  it('is free again once released, which may be done twice', async () => {
    const dir = folder();
    const lock = await lockWorkdir(dir, kind);
    await lock.release();
    await lock.release();
    await (await lockWorkdir(dir, kind)).release();
  });
});
