import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { readdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect } from 'vitest';
import { needs } from '../../support/require.js';
import { delays, Fixture, recoverInto, run, shardId, valuesOf, write } from './fixture.js';

/** A place of one MiB, in which some sixty blocks of the input have room. */
let fixture: Fixture;
let place: string;
let mounted = false;

beforeEach(async () => {
  fixture = await Fixture.make();
  place = join(fixture.root, 'small');
  await mkdir(place);
});
afterEach(async () => {
  if (mounted) execFileSync('umount', [place]);
  mounted = false;
  await fixture.close();
});

const mount = (): void => {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', place]);
  mounted = true;
};
const freeBytes = (): number => {
  const { bavail, bsize } = statfsSync(place);
  return bavail * bsize;
};

describe('a full place', () => {
  needs('root').it('refuses the checkpoint by its code, keeps the one before, and gives back what it took', async () => {
    mount();
    const checkpoints = fixture.checkpoints({ ssdDir: place });
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 40, { seal: false });
    await write(checkpoints, scratch, ['input']);
    const freeBefore = freeBytes();
    await run(scratch, 'input', 40, 160);
    await expect(write(checkpoints, scratch, ['input'])).rejects.toMatchObject({ code: 'PDL_CHECKPOINT_FULL', retry: 'later' });
    expect(freeBytes()).toBeGreaterThanOrEqual(freeBefore);

    const second = await fixture.scratch('second', 2);
    const recovery = await recoverInto(fixture.checkpoints({ ssdDir: place }), second);
    expect(recovery.resumedFrom).toBe('ssd');
    expect(recovery.refused).toEqual([]);
    expect(valuesOf(second, 'input', 'delay')).toEqual(Array.from({ length: 40 }, (_, block) => delays(block)).flat());
  });

  needs('root').it('takes the next checkpoint that has room', async () => {
    mount();
    const checkpoints = fixture.checkpoints({ ssdDir: place });
    const scratch = await fixture.scratch('first');
    await run(scratch, 'input', 0, 120);
    await expect(write(checkpoints, scratch, ['input'])).rejects.toMatchObject({ code: 'PDL_CHECKPOINT_FULL' });
    expect(readdirSync(join(place, 'flights', shardId)).filter((name) => name.endsWith('.seg'))).toEqual([]);
    const small = await fixture.scratch('small-scratch');
    await run(small, 'input', 0, 3);
    await expect(write(checkpoints, small, ['input'])).resolves.toMatchObject({ streams: ['input'] });
  });
});
