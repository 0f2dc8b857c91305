/** What the static shim does beyond the protocol that it shares with the Node shim: it is for images of which nothing is known. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { env } from '../../../runtime/contracts/env.js';
import { needs } from '../../support/require.js';
import { until } from '../../support/until.js';
import { FakeAgent, stageOf } from '../../support/shim-agent.js';
import { staticShim } from '../../support/static-shim.js';

const bytesMax = 3 * 1024 * 1024;

const isGone = (pid: number): boolean => {
  try {
    return /\) [ZX]/.test(readFileSync(`/proc/${String(pid)}/stat`, 'utf8'));
  } catch {
    return true;
  }
};
const childrenOf = (pid: number): number[] =>
  readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(pid) ? [Number(name)] : [];
    } catch {
      return [];
    }
  });

needs('go').describe('the static shim', () => {
  let agent: FakeAgent;
  let shim: string;
  beforeEach(async () => {
    shim = staticShim();
    agent = await FakeAgent.start();
    await agent.bytes('input', [Buffer.from('one')]);
  });
  afterEach(async () => {
    await agent.close();
  });

  const shell = (script: string) => stageOf('work', { command: ['/bin/sh', '-c', script], output: 'bytes' });
  const sign = (): string => join(agent.dir, 'sign');
  const pidOf = async (): Promise<number> =>
    Number(await until(() => existsSync(sign()) && readFileSync(sign(), 'utf8').endsWith('\n') && readFile(sign(), 'utf8')));

  needs('go').it('is one file of less than 3 MiB that needs no other', () => {
    expect(statSync(shim).size).toBeLessThanOrEqual(bytesMax);
    // An ELF file without an interpreter is not linked to anything when it starts.
    const elf = readFileSync(shim);
    const headers = Number(elf.readBigUInt64LE(32));
    const types = Array.from({ length: elf.readUInt16LE(56) }, (_, at) => elf.readUInt32LE(headers + at * elf.readUInt16LE(54)));
    const interpreter = 3;
    expect(types).not.toContain(interpreter);
  });

  needs('go').it(
    'ends what a program leaves behind, even in a session of its own, before it says that the program has ended',
    async () => {
      const placed = await agent.put(
        [shim],
        shell(
          `setsid sh -c 'echo $$ > ${sign()}; exec sleep 1000' & while [ ! -s ${sign()} ]; do sleep 0.01; done; echo > "$PODLINE_OUTPUT_DIR/out"`,
        ),
      );
      expect((await agent.run(placed, 'work')).outcome).toBe('committed');
      expect(isGone(await pidOf())).toBe(true);
    },
  );

  needs('go').it('leaves nothing behind when shim and supervisor are killed at once', async () => {
    const placed = await agent.put([shim], shell(`echo $$ > ${sign()}; exec sleep 1000`));
    agent.send(placed.slot, { type: 'start', ...(await agent.request('work')) });
    const pid = await pidOf();
    for (const child of [...childrenOf(placed.child.pid ?? 0), placed.child.pid ?? 0]) process.kill(child, 'SIGKILL');
    await until(() => isGone(pid));
  });

  needs('go').it('tells of a program whose supervisor was killed, ends it, and parks', async () => {
    const placed = await agent.put(
      [shim],
      shell(`[ -e ${sign()} ] || { setsid sleep 1000 & echo $! > ${sign()}; wait; }; echo > "$PODLINE_OUTPUT_DIR/out"`),
    );
    const request = await agent.request('work');
    agent.send(placed.slot, { type: 'start', ...request });
    const pid = await pidOf();
    for (const supervisor of childrenOf(placed.child.pid ?? 0)) process.kill(supervisor, 'SIGKILL');
    expect(await agent.heard('ended', ({ runId }) => runId === request.runId)).toMatchObject({
      outcome: 'failed',
      error: { code: 'PDL_STAGE_DIED' },
    });
    expect(isGone(pid)).toBe(true);
    expect((await agent.run(placed, 'work')).outcome).toBe('committed');
  });

  needs('go').it(
    'commits nothing of a program whose shim dies before its output was taken in, and what was laid out is gone',
    async () => {
      const placed = await agent.put(
        [shim],
        shell(`echo half > "$PODLINE_OUTPUT_DIR/out"; echo $$ > ${sign()}; exec sleep 1000`),
      );
      agent.send(placed.slot, { type: 'start', ...(await agent.request('work')) });
      await pidOf();
      const runs = join(agent.dir, 'scratch', 'runs');
      expect(readdirSync(runs)).toHaveLength(1);
      placed.child.kill('SIGKILL');
      await until(() => readdirSync(runs).length === 0);
      expect(agent.scratch.stream(agent.shardId, 'work')?.sealed ?? false).toBe(false);
      expect(agent.said.filter(({ type }) => type === 'ended')).toEqual([]);
    },
  );

  needs('go').it('says of a stage that is a module that its image lacks Podline', async () => {
    const placed = agent.spawn([shim], 'work');
    await agent.hello();
    agent.send(placed.slot, agent.welcome(stageOf('work', { uses: './work.ts', module: 'work.mjs' })));
    expect((await agent.heard('unusable')).error).toMatchObject({
      code: 'PDL_STAGE_LOAD',
      hint: expect.stringContaining('image'),
    });
  });

  needs('go').it('parks in silence in a slot without a stage, and ends on SIGTERM', async () => {
    const placed = agent.spawn([shim], '', { step: '' });
    await until(() => readFileSync(`/proc/${String(placed.child.pid)}/stat`, 'utf8').includes(') S'));
    placed.child.kill('SIGTERM');
    expect(await placed.exited).toEqual({ code: 0, signal: null });
    expect(agent.hellos).toEqual([]);
  });

  needs('go').it('puts itself where it is told to, and the copy is the same and can be run', async () => {
    const copy = join(agent.dir, 'shared', 'podline-shim');
    await mkdir(join(agent.dir, 'shared'));
    execFileSync(shim, ['install', copy]);
    execFileSync(copy, ['install', copy]);
    expect((await readFile(copy)).equals(await readFile(shim))).toBe(true);
    expect(statSync(copy).mode & 0o777).toBe(0o755);
    expect(readdirSync(join(agent.dir, 'shared'))).toEqual(['podline-shim']);
  });

  needs('go').it('says what is missing when it is started by hand', async () => {
    const child = spawn(shim, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env['PATH'], [env.slot]: '0' } });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    expect((await once(child, 'exit'))[0]).toBe(2);
    expect(said).toContain('PODLINE_STEP');
  });

  needs('go').it('hangs up on an agent that it does not understand, and comes back', async () => {
    const placed = agent.spawn([shim], 'work');
    await agent.hello();
    agent.sendRaw(placed.slot, { type: 'nonsense' });
    expect((await agent.hello(2)).instance).toBe(agent.hellos[0]?.instance);
  });

  needs('go', 'root', 'busybox-static').it(
    'needs nothing of an image but the program: here, of one that is busybox alone',
    async () => {
      const root = join(agent.dir, 'image');
      const inside = join(root, agent.dir);
      for (const folder of ['bin', 'proc', 'dev', inside.slice(root.length + 1)])
        await mkdir(join(root, folder), { recursive: true });
      const busybox = execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim();
      execFileSync('cp', [busybox, join(root, 'bin', 'busybox')]);
      for (const applet of ['sh', 'cat', 'tr']) await symlink('/bin/busybox', join(root, 'bin', applet));
      execFileSync(shim, ['install', join(root, 'shim')]);
      // What a container's run time does: folders of its own, and of the pod what is mounted.
      const enter = 'mount --bind "$2" "$1/$2"; mount -t proc proc "$1/proc"; mount --bind /dev "$1/dev"; exec chroot "$1" /shim';
      const container = ['unshare', '--mount', 'sh', '-ec', enter, 'sh', root, agent.dir];
      const placed = await agent.put(
        container,
        shell('tr a-z A-Z < "$PODLINE_INPUT_DIR/input.bin" > "$PODLINE_OUTPUT_DIR/out"'),
        {
          env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin' },
        },
      );
      expect(await agent.run(placed, 'work')).toMatchObject({ outcome: 'committed', bytes: { memory: { written: 3 } } });
      placed.child.kill('SIGTERM');
      expect(await placed.exited).toEqual({ code: 0, signal: null });
    },
  );

  needs('go', 'root').it('hands over to the Node shim where the image carries it, wherever its Node lies', async () => {
    const root = join(agent.dir, 'image');
    for (const folder of ['proc', 'podline/dist/sidecars/shim', 'opt/node/bin'])
      await mkdir(join(root, folder), { recursive: true });
    await writeFile(join(root, 'podline', 'dist', 'sidecars', 'shim', 'main.js'), '');
    execFileSync(shim, ['install', join(root, 'shim')]);
    // In the place of Node the shim itself, which says that it does not know what it is started with.
    execFileSync(shim, ['install', join(root, 'opt', 'node', 'bin', 'node')]);
    const child = spawn('chroot', [root, '/shim'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', [env.step]: 'a-step' },
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    expect((await once(child, 'exit'))[0]).toBe(2);
    expect(said).toContain('usage: podline-shim');
  });
});
