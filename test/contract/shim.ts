/**
 * What every shim must do, whatever it is written in: `shimConformance(name, command)` runs the suite on the shim that `command`
 * starts. Only stages that are commands are used, so that a static binary without Node can be held to it.
 *
 * The prose of the protocol is docs/shim-protocol.md; numbers of invariants are those of contracts/shim-protocol.ts.
 */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ResolvedStage } from '../../runtime/contracts/manifest.js';
import { shimProtocolVersion } from '../../runtime/contracts/shim-protocol.js';
import { FakeAgent, stageOf } from '../support/shim-agent.js';

const shell = (script: string, over: Partial<ResolvedStage> = {}): ResolvedStage =>
  stageOf('work', { command: ['/bin/sh', '-c', script], output: 'bytes', ...over });

/** Waits until a file holds something: a program's sign that it has come so far. */
async function appears(path: string): Promise<string> {
  for (;;) {
    const text = existsSync(path) ? await readFile(path, 'utf8') : '';
    if (text !== '') return text;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Waits until no process of that id is at work: it is away, or dead and only waits for its parent to notice. */
async function isGone(pid: number): Promise<void> {
  for (;;) {
    const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
    if (state === undefined || /\) [ZX]/.test(state)) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export function shimConformance(name: string, command: readonly string[]): void {
  describe(`${name} keeps the protocol of shims`, () => {
    let agent: FakeAgent;
    beforeEach(async () => {
      agent = await FakeAgent.start();
      await agent.bytes('input', [Buffer.from('one '), Buffer.from('two')]);
    });
    afterEach(async () => {
      await agent.close();
    });

    const output = (stream = 'work'): string => {
      const reader = agent.scratch.openReader(agent.shardId);
      const text = Buffer.concat(agent.scratch.blocks(agent.shardId, stream).map((block) => reader.payload(block))).toString();
      reader.close();
      return text;
    };

    it('says hello with slot, step, stage, instance and pid, before it is told anything', async () => {
      const shim = agent.spawn(command, 'work', { slot: 3, step: 'run-7' });
      expect(await agent.hello()).toMatchObject({
        protocol: shimProtocolVersion,
        slot: 3,
        step: 'run-7',
        stage: 'work',
        pid: shim.child.pid,
        instance: expect.stringMatching(/.+/),
      });
    });

    it('waits for an agent that is not there yet', async () => {
      await agent.hangUp();
      const shim = agent.spawn(command, 'work');
      await agent.listen();
      expect((await agent.hello()).step).toBe(shim.step);
    });

    it('gives a command its input, parameters and key, and commits what it wrote when it exits with 0', async () => {
      const stage = shell(
        'cat "$PODLINE_INPUT_DIR/input.bin" > "$PODLINE_OUTPUT_DIR/out"; printf "%s|%s" "$PODLINE_PARAMETERS" "$PODLINE_SHARD_KEY" >> "$PODLINE_OUTPUT_DIR/out"',
      );
      const shim = await agent.put(command, stage);
      const ended = await agent.run(shim, 'work', { parameters: { limit: 5 } });
      expect(ended).toMatchObject({ outcome: 'committed', blocks: 2 });
      expect(output()).toBe('one two{"limit":5}|key one');
      expect(agent.scratch.stream(agent.shardId, 'work')).toMatchObject({ sealed: true, kind: 'bytes' });
    });

    it('parks and runs again', async () => {
      const shim = await agent.put(command, shell('echo "$PODLINE_SHARD_KEY" > "$PODLINE_OUTPUT_DIR/out"'));
      expect((await agent.run(shim, 'work')).outcome).toBe('committed');
      await agent.scratch.dropStream(agent.shardId, 'work');
      expect((await agent.run(shim, 'work', { shardKey: 'two' })).outcome).toBe('committed');
      expect(output()).toBe('two\n');
    });

    it('tells of a failure with exit code and the tail of stderr, commits nothing, and parks', async () => {
      const shim = await agent.put(command, shell('echo x > "$PODLINE_OUTPUT_DIR/out"; echo "no such airport" >&2; exit 3'));
      const ended = await agent.run(shim, 'work');
      expect(ended).toMatchObject({
        outcome: 'failed',
        error: {
          code: 'PDL_STAGE_FAILED',
          message: expect.stringContaining('exit code 3'),
          logTail: expect.stringContaining('no such airport'),
        },
      });
      expect(agent.scratch.stream(agent.shardId, 'work')?.sealed ?? false).toBe(false);
      expect((await agent.run(shim, 'work')).outcome).toBe('failed');
    });

    it('tells of a program that died by a signal', async () => {
      const shim = await agent.put(command, shell('kill -SEGV $$'));
      expect((await agent.run(shim, 'work')).error).toMatchObject({
        code: 'PDL_STAGE_DIED',
        message: expect.stringContaining('SIGSEGV'),
      });
    });

    it('tells of a program that is not there, and how to mend it', async () => {
      const shim = await agent.put(command, stageOf('work', { command: ['podline-no-such-program'], output: 'bytes' }));
      expect((await agent.run(shim, 'work')).error).toMatchObject({
        code: 'PDL_STAGE_FAILED',
        message: expect.stringContaining('podline-no-such-program'),
        hint: expect.stringContaining('PATH'),
      });
    });

    it('refuses an output that is not what was declared', async () => {
      const shim = await agent.put(command, shell('true'));
      expect((await agent.run(shim, 'work')).error).toMatchObject({ code: 'PDL_STAGE_OUTPUT', retry: 'never' });
    });

    it('refuses a second run while one is under way (invariant 2)', async () => {
      const sign = join(agent.dir, 'sign');
      const go = join(agent.dir, 'go');
      const shim = await agent.put(
        command,
        shell(`echo up > ${sign}; while [ ! -e ${go} ]; do sleep 0.01; done; echo done > "$PODLINE_OUTPUT_DIR/out"`),
      );
      const first = await agent.request('work');
      agent.send(shim.slot, { type: 'start', ...first });
      await appears(sign);
      agent.send(shim.slot, { type: 'start', ...first, runId: 'second' });
      expect(await agent.heard('ended', (said) => said.runId === 'second')).toMatchObject({
        outcome: 'failed',
        error: { code: 'PDL_PROTOCOL' },
      });
      await writeFile(go, '');
      expect((await agent.heard('ended', (said) => said.runId === first.runId)).outcome).toBe('committed');
    });

    it('refuses a run whose inputs still grow: a command takes them whole', async () => {
      const shim = await agent.put(command, shell('echo done > "$PODLINE_OUTPUT_DIR/out"'));
      expect(await agent.run(shim, 'work', { growing: ['input'] })).toMatchObject({
        outcome: 'failed',
        error: { code: 'PDL_PROTOCOL' },
      });
      expect((await agent.run(shim, 'work')).outcome).toBe('committed');
    });

    it('takes no notice of what is said to a run that is not under way', async () => {
      const shim = await agent.put(command, shell('echo done > "$PODLINE_OUTPUT_DIR/out"'));
      const runId = 'long gone';
      agent.send(shim.slot, { type: 'cancel', runId, reason: 'test' });
      agent.send(shim.slot, { type: 'inputGrew', runId, stream: 'input', blocks: 3, sealed: false });
      agent.send(shim.slot, { type: 'followed', runId });
      agent.send(shim.slot, { type: 'roomAnswer', runId, answer: 'none' });
      expect((await agent.run(shim, 'work')).outcome).toBe('committed');
      expect(agent.hellos).toHaveLength(1);
    });

    it('cancels: the program and all that it started are gone when it says so', async () => {
      const sign = join(agent.dir, 'sign');
      const shim = await agent.put(command, shell(`trap '' TERM; sleep 1000 & echo $! > ${sign}; wait`));
      const request = await agent.request('work');
      agent.send(shim.slot, { type: 'start', ...request });
      const pid = Number(await appears(sign));
      agent.send(shim.slot, { type: 'cancel', runId: request.runId, reason: 'test' });
      expect((await agent.heard('ended')).outcome).toBe('cancelled');
      await isGone(pid);
      expect(agent.scratch.stream(agent.shardId, 'work')?.sealed ?? false).toBe(false);
    });

    it('cancels its run when the agent is gone, and says hello again with the same instance (invariant 3)', async () => {
      const sign = join(agent.dir, 'sign');
      const shim = await agent.put(command, shell(`sleep 1000 & echo $! > ${sign}; wait`));
      agent.send(shim.slot, { type: 'start', ...(await agent.request('work')) });
      const pid = Number(await appears(sign));
      await agent.hangUp();
      await agent.listen();
      const again = await agent.hello(2);
      expect(again.instance).toBe(agent.hellos[0]?.instance);
      await isGone(pid);
      const stage = shell('echo after > "$PODLINE_OUTPUT_DIR/out"');
      const from = agent.said.length;
      agent.send(shim.slot, agent.welcome(stage));
      await agent.heard('ready', () => true, from);
      expect((await agent.run(shim, 'work')).outcome).toBe('committed');
    });

    it('ends on SIGTERM with 0, and takes the running program with it', async () => {
      const sign = join(agent.dir, 'sign');
      const shim = await agent.put(command, shell(`sleep 1000 & echo $! > ${sign}; wait`));
      agent.send(shim.slot, { type: 'start', ...(await agent.request('work')) });
      const pid = Number(await appears(sign));
      shim.child.kill('SIGTERM');
      expect(await shim.exited).toEqual({ code: 0, signal: null });
      await isGone(pid);
    });

    it('leaves no program behind when it is killed', async () => {
      const sign = join(agent.dir, 'sign');
      const shim = await agent.put(command, shell(`sleep 1000 & echo $! > ${sign}; wait`));
      agent.send(shim.slot, { type: 'start', ...(await agent.request('work')) });
      const pid = Number(await appears(sign));
      shim.child.kill('SIGKILL');
      await shim.exited;
      await isGone(pid);
    });

    it('ends when its lifeline is cut', async () => {
      const shim = await agent.put(command, shell('true'), { lifeline: true });
      shim.child.stdin?.end();
      expect(await shim.exited).toEqual({ code: 0, signal: null });
    });

    it('does not end because its stdin does, where that is no lifeline (invariant 1)', async () => {
      const shim = await agent.put(command, shell('echo still > "$PODLINE_OUTPUT_DIR/out"'));
      shim.child.stdin?.end();
      expect(await agent.run(shim, 'work')).toMatchObject({ outcome: 'committed' });
    });
  });
}
