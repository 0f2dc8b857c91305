/**
 * Autoscalers that are not ours: told W_max at every change, through a command or a signed webhook. What they do with it is theirs: a
 * `kubectl patch` of KEDA's ScaledObject, a cloud's scaling group.
 *
 * The webhook's signature is that of Standard Webhooks: `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over
 * `<webhook-id>.<webhook-timestamp>.<body>`.
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import type { Autoscaler, Ceiling } from '../contracts/capacity.js';
import { PodlineError } from '../contracts/errors.js';
import { signNotice } from '../access/signature.js';

const tellTimeoutMs = 30_000;
const outputBytesMax = 64 * 1024;

/** Runs `command` at each change. It finds PODLINE_LINES_MAX and the like in its environment, and all of it as JSON on stdin. */
export function openCommandAutoscaler(command: readonly [string, ...string[]]): Autoscaler {
  const [program, ...args] = command;
  return {
    kind: 'command',
    tell: (ceiling) =>
      new Promise((resolve, reject) => {
        const options = { timeout: tellTimeoutMs, maxBuffer: outputBytesMax, env: { ...process.env, ...environmentOf(ceiling) } };
        const child = execFile(program, args, options, (error, _, stderr) => {
          if (error === null) resolve();
          else
            reject(new PodlineError('PDL_INTERNAL', `${program} failed: ${stderr.trim() || error.message}`, { place: program }));
        });
        // It need not read it.
        child.stdin?.on('error', () => undefined);
        child.stdin?.end(`${JSON.stringify(ceiling)}\n`);
      }),
    close: async () => undefined,
  };
}

const environmentOf = (ceiling: Ceiling): Record<string, string> => ({
  PODLINE_PIPELINE: ceiling.pipeline,
  PODLINE_GROUP: ceiling.group,
  PODLINE_WORKLOAD: ceiling.workload,
  PODLINE_LINES_MAX: String(ceiling.linesMax),
  PODLINE_LINES_MIN: String(ceiling.linesMin),
});

export interface WebhookAutoscalerOptions {
  url: string;
  /** Shared with who receives it. */
  secret: string;
  /** Seconds since 1970. */
  timestamp: () => number;
}

/** POSTs the ceiling as JSON at each change. */
export function openWebhookAutoscaler({ url, secret, timestamp }: WebhookAutoscalerOptions): Autoscaler {
  const ending = new AbortController();
  return {
    kind: 'webhook',
    async tell(ceiling) {
      const body = JSON.stringify({ type: 'lines.ceiling', ...ceiling });
      const id = randomUUID();
      const response = await fetch(url, {
        method: 'POST',
        body,
        redirect: 'error',
        signal: AbortSignal.any([ending.signal, AbortSignal.timeout(tellTimeoutMs)]),
        headers: { 'content-type': 'application/json', ...signNotice([secret], id, timestamp(), body) },
      });
      await response.body?.cancel();
      if (!response.ok)
        throw new PodlineError('PDL_UNREACHABLE', `the autoscaler answered ${String(response.status)}`, { place: url });
    },
    async close() {
      ending.abort();
    },
  };
}
