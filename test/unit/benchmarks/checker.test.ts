import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashOfFolder } from '../../../benchmarks/checker.js';

describe('hashOfFolder', () => {
  let dir = '';
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-checker-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  const put = async (folder: string, files: Record<string, string>): Promise<string> => {
    for (const [name, content] of Object.entries(files)) {
      const path = join(dir, folder, name);
      await mkdir(join(path, '..'), { recursive: true });
      await writeFile(path, content);
    }
    return hashOfFolder(join(dir, folder));
  };

  it('is equal for equal files, whatever else the manifest of a result says', async () => {
    const bare = await put('bare', { 'a.txt': 'one', 'deep/b.txt': 'two' });
    const delivered = await put('delivered', { 'deep/b.txt': 'two', 'a.txt': 'one', 'manifest.json': '{"key":"anything"}' });
    expect(delivered).toBe(bare);
  });

  it('differs with a byte, with a name, and with a file more', async () => {
    const hashes = [
      await put('as-it-is', { 'a.txt': 'one' }),
      await put('other-byte', { 'a.txt': 'onf' }),
      await put('other-name', { 'b.txt': 'one' }),
      await put('one-more', { 'a.txt': 'one', 'b.txt': '' }),
    ];
    expect(new Set(hashes).size).toBe(4);
  });

  it('refuses a folder without results, so that nothing equals nothing', async () => {
    await mkdir(join(dir, 'empty'));
    await expect(hashOfFolder(join(dir, 'empty'))).rejects.toThrow('holds no result');
  });
});
