/**
 * Autoscalers that are not ours: told W_max at every change, through a command or a signed webhook. What they do with it is theirs: a
 * `kubectl patch` of KEDA's ScaledObject, a cloud's scaling group.
 *
 * The webhook is signed as every notice is (access/signature.ts). Each tells once; `openToldAutoscaler` tries again.
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import type { Addresses } from '../contracts/access.js';
import type { Ceiling } from '../contracts/capacity.js';
import { PodlineError } from '../contracts/errors.js';
import { guardedFetch } from '../access/guarded-fetch.js';
import { signNotice } from '../access/signature.js';
import type { Messenger } from './told-autoscaler.js';

const outputBytesMax = 64 * 1024;

/** Runs `command` at each change. It finds PODLINE_LINES_MAX and the like in its environment, and all of it as JSON on stdin. */
export function openCommandMessenger(command: readonly [string, ...string[]], timeoutMs: number): Messenger {
  const [program, ...args] = command;
  return {
    kind: 'command',
    tell: (ceiling, signal) =>
      new Promise((resolve, reject) => {
        const env = { ...process.env, ...environmentOf(ceiling) };
        const options = { timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: outputBytesMax, signal, env } as const;
        const child = execFile(program, args, options, (error, _, stderr) => {
          if (error === null) resolve();
          else {
            const why = error.killed === true ? `it took longer than ${String(timeoutMs)} ms, or said too much` : error.message;
            reject(
              new PodlineError('PDL_UNREACHABLE', `${program} failed: ${stderr.trim() || why}`, {
                place: `autoscaler.command ${program}`,
                hint: 'Run it by hand with PODLINE_PIPELINE, PODLINE_GROUP, PODLINE_WORKLOAD, PODLINE_LINES_MAX and PODLINE_LINES_MIN set.',
              }),
            );
          }
        });
        // It need not read it.
        child.stdin?.on('error', () => undefined);
        child.stdin?.end(`${JSON.stringify(ceiling)}\n`);
      }),
  };
}

const environmentOf = (ceiling: Ceiling): Record<string, string> => ({
  PODLINE_PIPELINE: ceiling.pipeline,
  PODLINE_GROUP: ceiling.group,
  PODLINE_WORKLOAD: ceiling.workload,
  PODLINE_LINES_MAX: String(ceiling.linesMax),
  PODLINE_LINES_MIN: String(ceiling.linesMin),
});

export interface WebhookMessengerOptions {
  url: string;
  /** Shared with who receives it; each signs, the newest first. */
  secrets: readonly string[];
  /** Where it may be. */
  allowed: Addresses;
  timeoutMs: number;
  /** Seconds since 1970. */
  timestamp: () => number;
}

/** POSTs the ceiling as JSON at each change. */
export function openWebhookMessenger({ url, secrets, allowed, timeoutMs, timestamp }: WebhookMessengerOptions): Messenger {
  const { origin, pathname } = new URL(url);
  return {
    kind: 'webhook',
    async tell(ceiling, signal) {
      const body = JSON.stringify({ type: 'lines.ceiling', ...ceiling });
      const response = await guardedFetch(
        url,
        {
          method: 'POST',
          body,
          redirect: 'refuse',
          signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
          headers: { 'content-type': 'application/json', ...signNotice(secrets, randomUUID(), timestamp(), body) },
        },
        allowed,
      );
      await response.body?.cancel();
      if (!response.ok)
        throw new PodlineError('PDL_UNREACHABLE', `the autoscaler answered ${String(response.status)}`, {
          place: `autoscaler.webhook ${origin}${pathname}`,
          hint: 'It has to answer with 2xx when it has taken the number.',
        });
    },
  };
}
