import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { PodlineError } from '../../../runtime/contracts/errors.js';
import { hasTmpfs, sharedMemory } from '../../../runtime/local/places.js';
import { closeDelivery, deliverInThread } from '../../../runtime/results/deliver.js';
import { besideName, folderName } from '../../../runtime/results/names.js';
import { TextThreads } from '../../../runtime/results/parallel/text-threads.js';
import type { WriteResultRequest } from '../../../runtime/results/types.js';
import { writeResult } from '../../../runtime/results/write-result.js';
import type { Scratch } from '../../../runtime/scratch/types.js';
import { Fixture, lineagesOf, shardId } from '../checkpoints/fixture.js';
import { fill, request, table } from './fixture.js';

let fixture: Fixture;
let scratch: Scratch;
let dir: string;
beforeEach(async () => {
  fixture = await Fixture.make();
  scratch = await fixture.scratch();
  dir = join(fixture.root, 'results');
});
afterEach(async () => {
  await fixture.close();
});

const key = 'flights/2001 part 1';
const final = (): string => join(dir, folderName(key));
const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');
const of = (over: Partial<WriteResultRequest> = {}): WriteResultRequest => request(scratch, dir, over);
/** What a change of the stage makes of the request. */
const second = (over: Partial<WriteResultRequest> = {}): WriteResultRequest =>
  of({ lineages: lineagesOf({ count: 'v2' }), epoch: 2, ...over });
const bytes = (...pieces: string[]): { kind: 'bytes'; pieces: Uint8Array[] } => ({
  kind: 'bytes',
  pieces: pieces.map((piece) => Buffer.from(piece)),
});

async function makeSecond(): Promise<void> {
  await scratch.putShard({ shardId, epoch: 2, revision: 2 });
  await fill(scratch, bytes('new'), { version: 'v2', epoch: 2 });
}

describe('a delivery', () => {
  it('makes a folder of the key with the files, their checksums and a manifest', async () => {
    await fill(scratch, bytes('one ', 'two'));
    const { result, already, bytes: moved } = await writeResult(of());
    expect(already).toBe(false);
    expect(result.dir).toBe(join(dir, 'flights%2F2001%20part%201'));
    expect(result.files).toEqual([{ name: 'count.bin', bytes: 7, sha256: sha256('one two') }]);
    expect(result.hash).toBe(sha256(`${sha256('one two')}  count.bin\n`));
    expect(readFileSync(join(result.dir, 'count.bin'), 'utf8')).toBe('one two');
    expect(JSON.parse(readFileSync(join(result.dir, 'manifest.json'), 'utf8'))).toMatchObject({
      pipeline: 'flights',
      key,
      shardId,
      epoch: 1,
      lineages: { count: lineagesOf().get('count')?.digest },
      hash: result.hash,
    });
    expect(await readdir(dir)).toEqual([basename(result.dir)]);
    expect(moved.ssd.written).toBe(7);
  });

  it('counts the rows of a table', async () => {
    await fill(scratch, { kind: 'table' });
    const { result } = await writeResult(of());
    expect(result.files[0]).toMatchObject({ name: 'count.ndjson', rows: 6 });
  });

  it('writes files by their names, below the folder, in pieces', async () => {
    await fill(scratch, {
      kind: 'files',
      files: [
        ['report.md', Buffer.from('a')],
        ['report.md', Buffer.from('b')],
        ['pictures/1.svg', Buffer.from('c')],
      ],
    });
    const { result } = await writeResult(of());
    expect(result.files.map(({ name }) => name)).toEqual(['pictures/1.svg', 'report.md']);
    expect(readFileSync(join(result.dir, 'report.md'), 'utf8')).toBe('ab');
    expect(readFileSync(join(result.dir, 'pictures', '1.svg'), 'utf8')).toBe('c');
  });

  it.each(['../out', '/etc/x', 'a/../../b', 'a//b', '', './a', 'a\\b', 'manifest.json', 'a\0b', 'x'.repeat(256)])(
    'refuses the file name %j',
    async (name) => {
      await fill(scratch, { kind: 'files', files: [[name, Buffer.from('x')]] });
      await expect(writeResult(of())).rejects.toMatchObject({ code: 'PDL_STAGE_OUTPUT' });
      expect(await readdir(dir)).toEqual([]);
    },
  );

  it('refuses a file name that comes again after another', async () => {
    await fill(scratch, {
      kind: 'files',
      files: [
        ['a', Buffer.from('1')],
        ['b', Buffer.from('2')],
        ['a', Buffer.from('3')],
      ],
    });
    await expect(writeResult(of())).rejects.toMatchObject({
      code: 'PDL_STAGE_OUTPUT',
      message: expect.stringContaining('a second time') as string,
    });
  });

  it('keeps keys apart that are long, strange or alike', () => {
    const names = ['x'.repeat(512), `${'x'.repeat(511)}y`, 'ä'.repeat(300), '.hidden', '..', 'a/b', 'a%2Fb'].map(folderName);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) {
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(200);
      expect(name).toMatch(/^[A-Za-z0-9%_-][A-Za-z0-9%._-]*$/);
    }
    expect(Buffer.byteLength(besideName('ä'.repeat(300), 'i'.repeat(300), Number.MAX_SAFE_INTEGER, 'tmp'))).toBeLessThanOrEqual(
      255,
    );
  });

  it('refuses a stream that is not whole, or made from something else', async () => {
    await fill(scratch, bytes('x'), { seal: false });
    await expect(writeResult(of())).rejects.toThrow('not whole');
    await fill(scratch, bytes(), { seal: true });
    await expect(writeResult(second())).rejects.toThrow('made from something else');
  });

  it('leaves nothing when it is cancelled', async () => {
    await fill(scratch, bytes('x'));
    await expect(writeResult(of({ signal: AbortSignal.abort() }))).rejects.toMatchObject({ code: 'PDL_LEASE_LOST' });
    expect(await readdir(dir)).toEqual([]);
  });

  it('says which directory cannot be written', async () => {
    await fill(scratch, bytes('x'));
    await writeFile(join(fixture.root, 'file'), '');
    await expect(writeResult(of({ resultDir: join(fixture.root, 'file', 'results') }))).rejects.toMatchObject({
      code: 'PDL_RESULT_DIR',
      message: expect.stringContaining(join(fixture.root, 'file', 'results')) as string,
    });
  });
});

describe('delivering again', () => {
  it('changes nothing when the result is there and whole', async () => {
    await fill(scratch, bytes('x'));
    const first = await writeResult(of());
    const again = await writeResult(of({ epoch: 3 }));
    expect(again.already).toBe(true);
    expect(again.result).toEqual(first.result);
    expect(again.bytes.ssd.written).toBe(0);
  });

  it.runIf(hasTmpfs())('counts bytes that it writes to tmpfs, or finds there, as memory', async () => {
    await fill(scratch, bytes('one ', 'two'));
    const resultDir = await mkdtemp(join(sharedMemory, 'podline-results-'));
    onTestFinished(() => rm(resultDir, { recursive: true, force: true }));
    const first = await writeResult(of({ resultDir }));
    expect([first.bytes.memory.written, first.bytes.ssd.written]).toEqual([7, 0]);
    const again = await writeResult(of({ resultDir, epoch: 3 }));
    expect([again.already, again.bytes.memory.read, again.bytes.ssd.read]).toEqual([true, 7, 0]);
  });

  it('writes anew what does not match its checksums any more', async () => {
    await fill(scratch, bytes('x'));
    const { result } = await writeResult(of());
    await writeFile(join(result.dir, 'count.bin'), 'y');
    expect((await writeResult(of())).already).toBe(false);
    expect(readFileSync(join(result.dir, 'count.bin'), 'utf8')).toBe('x');
  });

  it('replaces what was made from something else, whole', async () => {
    await fill(scratch, { kind: 'files', files: [['old', Buffer.from('x')]] });
    await writeResult(of());
    await makeSecond();
    const { already, result } = await writeResult(second());
    expect(already).toBe(false);
    expect((await readdir(result.dir)).sort()).toEqual(['count.bin', 'manifest.json']);
    expect(await readdir(dir)).toEqual([basename(result.dir)]);
  });

  it('does not replace what a higher epoch of the shard delivered', async () => {
    await fill(scratch, bytes('x'));
    await writeResult(of({ epoch: 5 }));
    await makeSecond();
    await expect(writeResult(second({ epoch: 4 }))).rejects.toMatchObject({ code: 'PDL_LEASE_LOST' });
    expect(readFileSync(join(final(), 'count.bin'), 'utf8')).toBe('x');
  });

  it('replaces tables that are wanted in another format', async () => {
    await fill(scratch, { kind: 'table' });
    await writeResult(of());
    const { result } = await writeResult(of({ format: 'csv' }));
    expect((await readdir(result.dir)).sort()).toEqual(['count.csv', 'manifest.json']);
  });

  it('refuses the folder of another pipeline', async () => {
    await fill(scratch, bytes('x'));
    await writeResult(of());
    await expect(writeResult(of({ pipeline: { name: 'other', revision: 1 } }))).rejects.toMatchObject({
      code: 'PDL_RESULT_TAKEN',
    });
  });

  it.each(['a folder of somebody else', 'a file'])('refuses %s', async (what) => {
    await fill(scratch, bytes('x'));
    await mkdir(dir);
    if (what === 'a file') {
      await writeFile(final(), 'mine');
    } else {
      await mkdir(final());
      await writeFile(join(final(), 'photo'), 'mine');
    }
    await expect(writeResult(of())).rejects.toMatchObject({ code: 'PDL_RESULT_TAKEN' });
    expect(readFileSync(what === 'a file' ? final() : join(final(), 'photo'), 'utf8')).toBe('mine');
  });
});

describe('after a crash', () => {
  const beside = (epoch: number, kind: 'tmp' | 'old'): string => join(dir, besideName(key, shardId, epoch, kind));

  it('in the middle of writing, the half is removed', async () => {
    await fill(scratch, bytes('x'));
    await mkdir(beside(1, 'tmp'), { recursive: true });
    await writeFile(join(beside(1, 'tmp'), 'count.bin'), 'hal');
    await writeResult(of({ epoch: 2 }));
    expect(await readdir(dir)).toEqual([basename(final())]);
  });

  it('between the two renames of a replacement, the old result is put back and then replaced', async () => {
    await fill(scratch, bytes('x'));
    await writeResult(of());
    await makeSecond();
    await writeResult(second());
    // As the crash leaves it: the old one aside, the new one still beside.
    await rename(final(), beside(2, 'tmp'));
    await fill(scratch, bytes('x'), { epoch: 2 });
    await writeResult(of({ resultDir: join(fixture.root, 'elsewhere') }));
    await rename(join(fixture.root, 'elsewhere', folderName(key)), beside(2, 'old'));
    await makeSecond();
    const { already, result } = await writeResult(second({ epoch: 3 }));
    expect(already).toBe(false);
    expect(readFileSync(join(result.dir, 'count.bin'), 'utf8')).toBe('new');
    expect(await readdir(dir)).toEqual([basename(final())]);
  });

  it('between the two renames, a delivery of the old lineage finds the old result', async () => {
    await fill(scratch, bytes('x'));
    await writeResult(of());
    await rename(final(), beside(1, 'old'));
    expect(await writeResult(of({ epoch: 2 }))).toMatchObject({ already: true });
    expect(existsSync(final())).toBe(true);
  });

  it('before the old result was removed, it is removed', async () => {
    await fill(scratch, bytes('x'));
    await writeResult(of());
    await mkdir(beside(1, 'old'));
    await writeFile(join(beside(1, 'old'), 'count.bin'), 'older');
    expect(await writeResult(of({ epoch: 2 }))).toMatchObject({ already: true });
    expect(await readdir(dir)).toEqual([basename(final())]);
  });

  it('a folder beside of a higher epoch is left alone: that one delivers', async () => {
    await fill(scratch, bytes('x'));
    await mkdir(beside(7, 'tmp'), { recursive: true });
    await expect(writeResult(of({ epoch: 6 }))).rejects.toMatchObject({ code: 'PDL_LEASE_LOST' });
    expect(existsSync(beside(7, 'tmp'))).toBe(true);
  });
});

describe('text made by several threads', () => {
  let threads: TextThreads;
  beforeEach(() => {
    threads = new TextThreads(2);
  });
  afterEach(async () => {
    await threads.close();
  });
  const scratchOptions = () => {
    const { role: _role, ...options } = fixture.scratchOptions();
    return options;
  };

  it.each(['csv', 'ndjson'] as const)('is the same %s that one thread makes', async (format) => {
    const blocks = Array.from({ length: 30 }, () => table.blocks).flat();
    await fill(scratch, { kind: 'table', blocks });
    const help = threads.help(scratchOptions(), 0);
    const alone = await writeResult(of({ format, resultDir: join(dir, 'alone') }));
    const together = await writeResult(of({ format, resultDir: join(dir, 'together'), help }));
    expect(together.result.hash).toBe(alone.result.hash);
    expect(help.read.memory).toBeGreaterThan(0);
    expect(together.bytes.memory.read).toBe(alone.bytes.memory.read);
  });

  it('leaves nothing behind where a thread fails', async () => {
    await fill(scratch, { kind: 'table' });
    const help = threads.help({ ...scratchOptions(), dir: join(dir, 'nowhere') }, 0);
    await expect(writeResult(of({ format: 'csv', help }))).rejects.toThrow(PodlineError);
    expect(await readdir(dir)).toEqual([]);
  });
});

describe('the delivery thread', () => {
  afterEach(async () => {
    await closeDelivery();
  });
  const inThread = (over: Partial<WriteResultRequest> = {}) => {
    const { scratch: _scratch, signal, ...rest } = of(over);
    const { role: _role, ...scratchOptions } = fixture.scratchOptions();
    return deliverInThread({ ...rest, scratchOptions, signal: signal as AbortSignal | undefined });
  };

  it('delivers the same as without it, one after another', async () => {
    await fill(scratch, { kind: 'table' });
    const [csv, parquet] = await Promise.all([
      inThread({ format: 'csv', resultDir: join(dir, 'a') }),
      inThread({ format: 'parquet', resultDir: join(dir, 'b') }),
    ]);
    const here = await writeResult(of({ format: 'csv', resultDir: join(dir, 'c') }));
    expect(csv.result.hash).toBe(here.result.hash);
    expect(parquet.result.files.map(({ name }) => name)).toEqual(['count.parquet']);
  });

  it('keeps the code of an error', async () => {
    await fill(scratch, bytes('x'));
    await expect(inThread({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'PDL_LEASE_LOST' });
    await rm(join(fixture.root, 'scratch'), { recursive: true });
  });

  it('starts again after it was closed', async () => {
    await fill(scratch, bytes('x'));
    await inThread();
    await closeDelivery();
    expect(await inThread()).toMatchObject({ already: true });
  });
});
