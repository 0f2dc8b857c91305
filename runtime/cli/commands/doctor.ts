/** `podline doctor`: looks at the machine and, where one is named, at a coordinator, and says what is wrong or may become so. */
import { readFileSync, statfsSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { PodlineClient } from '../../api/client.js';
import { PodlineError } from '../../contracts/errors.js';
import { hasTmpfs, sharedMemory } from '../../local/places.js';
import { packageRoot } from '../../platform/entries.js';
import { tokenFromEnv } from '../../platform/read-env.js';
import { loadNative } from '../../scratch/native.js';
import { coordinatorFindings, counted, machineFindings, type Finding, type MachineFacts } from '../findings.js';
import { exitCodes, type RunIo } from '../io.js';
import { reach } from '../reach.js';
import { alignTable } from '../table.js';

export interface DoctorOptions {
  /** Of a coordinator anywhere; its token comes by the environment. */
  url?: string | undefined;
  /** File of the authority that signed its certificate. */
  ca?: string | undefined;
  workDir?: string | undefined;
  json: boolean;
}

/** Answers `someFailed` when something does not work; warnings are not that. */
export async function doctor(options: DoctorOptions, io: RunIo): Promise<number> {
  const findings = [...machineFindings(machineFacts()), ...(await ofCoordinator(options))];
  if (options.json) io.out.write(`${JSON.stringify({ findings })}\n`);
  else io.out.write(`${inWords(findings).join('\n')}\n`);
  return findings.some(({ level }) => level === 'fault') ? exitCodes.someFailed : exitCodes.done;
}

function machineFacts(): MachineFacts {
  const { engines } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { engines: { node: string } };
  return {
    node: { version: process.versions.node, least: engines.node.replace('>=', '') },
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    sharedMemory: hasTmpfs() ? { dir: sharedMemory, ...roomIn(sharedMemory) } : undefined,
    whyNotNative: loadNative().reason,
  };
}

function roomIn(dir: string): { sizeBytes: number; freeBytes: number } {
  const { bsize, blocks, bavail } = statfsSync(dir);
  return { sizeBytes: blocks * bsize, freeBytes: bavail * bsize };
}

async function ofCoordinator({ url, ca, workDir }: DoctorOptions): Promise<Finding[]> {
  if (url !== undefined && workDir !== undefined)
    throw new PodlineError('PDL_USAGE', 'doctor takes --url or --work-dir, and not both');
  if (url !== undefined) {
    const authority = ca === undefined ? undefined : readFileSync(ca, 'utf8');
    const client = PodlineClient.connect(url, asText(tokenFromEnv()), { authority, triesMax: 2 });
    return look(client, false).finally(() => client.close());
  }
  if (workDir === undefined) return [];
  const reached = await reach(workDir);
  const nobody: Finding = {
    level: 'note',
    about: 'coordinator',
    is: `none runs in ${workDir}: what waits there waits for one`,
  };
  return (reached.running ? look(reached.client, true) : Promise.resolve([nobody])).finally(() => reached.close());
}

async function look(client: PodlineClient, isOneMachine: boolean): Promise<Finding[]> {
  const [pipelines, lines] = await Promise.all([client.pipelines(), client.lines()]);
  const is = `answers, and has ${counted(pipelines.length, 'pipeline')} and ${counted(lines.length, 'line')}`;
  return [{ level: 'ok', about: 'coordinator', is }, ...coordinatorFindings(pipelines, lines, isOneMachine)];
}

const levelWidth = 'warning'.length;

const asText = (token: string | (() => string)): string => (typeof token === 'string' ? token : token());

function inWords(findings: readonly Finding[]): string[] {
  const rows = alignTable(
    findings.map(({ level, about, is }) => [level.padEnd(levelWidth), about, is]),
    'left',
  );
  return findings.flatMap(({ advice }, index) => [
    rows[index] ?? '',
    ...(advice === undefined ? [] : [`${' '.repeat(2 + levelWidth + 2)}${advice}`]),
  ]);
}
