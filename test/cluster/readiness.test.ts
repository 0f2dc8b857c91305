/**
 * The readiness gate of lines on real pods: open while the agent of that very pod is heard, over any number of swaps; shut while it is silent;
 * and what is told where the coordinator may not write it.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import type { PodlineClient } from '../../runtime/api/client.js';
import { needs } from '../support/require.js';
import { eventually, kubectl, kubectlJson } from './support/cluster.js';
import { install, namespace, type Installation } from './support/installation.js';
import { onLine } from './support/on-line.js';

interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}
interface Conditioned {
  metadata: { uid: string };
  status: { conditions?: Condition[] };
}
interface Rule {
  resources: string[];
}

const gateType = 'podline.dev/line';
const silentMs = 60_000;
const shards = 3;

needs('cluster').describe('the readiness of a line', () => {
  let dir: string;
  let installation: Installation;
  let client: PodlineClient;

  const conditionOf = async (kind: string, name: string, type: string): Promise<Condition | undefined> =>
    (await kubectlJson<Conditioned>('-n', namespace, 'get', kind, name)).status.conditions?.find((one) => one.type === type);
  const gate = (): Promise<Condition | undefined> => conditionOf('pod', 'steady-0', gateType);
  const becomes = (type: string, status: string, reason?: string): Promise<Condition> =>
    eventually(
      `${type}=${status} ${reason ?? ''}`,
      async () => {
        const found = await conditionOf('pod', 'steady-0', type);
        return found?.status === status && (reason === undefined || found.reason === reason) ? found : undefined;
      },
      silentMs,
    );
  /** Node 0 is this machine: its processes are to be seen here. */
  const agentPid = async (): Promise<number> => {
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (command.includes('/podline/dist/sidecars/agent/main.js') && environment.split('\0').includes('PODLINE_LINE=steady-0'))
        return Number(pid);
    }
    throw new Error('there is no agent of steady-0 on this machine');
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podline-readiness-'));
    installation = await install('namespaced');
    client = await installation.client();
    const stage = (name: string, after: string[]) => ({
      name,
      command: onLine('console.log(line);'),
      stdio: 'ndjson',
      resources: { memory: '96Mi' },
      after,
    });
    const spec = {
      input: { format: 'ndjson' },
      scratch: { size: '32Mi' },
      slots: 1,
      residents: 1,
      streaming: 'off',
      stages: [stage('one', []), stage('two', ['one'])],
      result: { format: 'ndjson' },
    };
    const file = join(dir, 'steady.json');
    await writeFile(
      file,
      JSON.stringify({ apiVersion: 'podline.dev/v1alpha1', kind: 'Pipeline', metadata: { name: 'steady' }, spec }),
    );
    await kubectl('-n', namespace, 'apply', '-f', file);
  });
  afterAll(async () => {
    await client?.close();
    await installation?.close();
    await rm(dir, { recursive: true, force: true });
  });

  needs('cluster').it('comes with the word of its agent, and no swap touches it', async () => {
    const opened = await becomes(gateType, 'True', 'LineReady');
    await becomes('Ready', 'True');
    const after = await client.lastEventId();
    // Two stages take turns in one slot.
    for (let number = 0; number < shards; number += 1) {
      const answer = await client.submit('steady', { key: String(number), source: { inline: [{ number }], format: 'ndjson' } });
      if (answer.outcome === 'rejected') expect.fail(answer.error.message);
      expect((await client.waitFor(answer.id)).state).toBe('completed');
    }
    let swaps = 0;
    let done = 0;
    for await (const { type } of client.events({ after, pipeline: 'steady' })) {
      if (type === 'slot.swapped') swaps += 1;
      if (type === 'shard.completed' && (done += 1) === shards) break;
    }
    expect(swaps).toBeGreaterThanOrEqual(shards + 1);
    expect(await gate()).toEqual(opened);
  });

  needs('cluster').it('goes while its agent is silent, and comes back with it', async () => {
    const pid = await agentPid();
    process.kill(pid, 'SIGSTOP');
    try {
      const shut = await becomes(gateType, 'False', 'LineSilent');
      expect(shut.message).toContain('says nothing any more');
      await becomes('Ready', 'False', 'ReadinessGatesNotReady');
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await becomes(gateType, 'True', 'LineReady');
    await becomes('Ready', 'True');
  });

  needs('cluster').it('is missed by name where the coordinator may not write it', async () => {
    const role = await kubectlJson<{ rules: Rule[]; metadata: Record<string, unknown> }>(
      'get',
      'clusterrole',
      'podline-coordinator',
    );
    const file = join(dir, 'role.json');
    const give = async (rules: Rule[]): Promise<void> => {
      const { name, labels } = role.metadata;
      await writeFile(file, JSON.stringify({ ...role, rules, metadata: { name, labels } }));
      await kubectl('replace', '-f', file);
    };
    const told = (status: string, reason: string): Promise<Condition> =>
      eventually(
        `Ready=${status} ${reason}`,
        async () => {
          const ready = await conditionOf('pipeline', 'steady', 'Ready');
          return ready?.status === status && ready.reason === reason ? ready : undefined;
        },
        silentMs,
      );
    await give(role.rules.filter(({ resources }) => !resources.includes('pods/status')));
    try {
      await kubectl('-n', namespace, 'delete', 'pod', 'steady-0', '--wait=true');
      expect((await told('False', 'ObjectsRefused')).message).toMatch(
        /pods\/status.*Give the coordinator the rights of the manifests/s,
      );
      // Its work is not touched by it.
      const answer = await client.submit('steady', { key: 'gateless', source: { inline: [{ v: 1 }], format: 'ndjson' } });
      if (answer.outcome === 'rejected') expect.fail(answer.error.message);
      expect((await client.waitFor(answer.id)).state).toBe('completed');
    } finally {
      await give(role.rules);
    }
    await becomes(gateType, 'True', 'LineReady');
    await told('True', 'LinesReady');
  });
});
