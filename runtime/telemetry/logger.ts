/** The one home of pino: JSON lines on stderr, so that stdout stays the user's. */
import { pino } from 'pino';
import { env } from '../contracts/env.js';
import type { Logger } from '../platform/logger.js';

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
type Level = (typeof levels)[number];

export interface LoggerOptions {
  /** Without it, PODLINE_LOG_LEVEL, else `info`. A word that is no level counts as `info`. */
  level?: string | undefined;
  /** A file descriptor; stderr without it. */
  fd?: number | undefined;
}

/** `fields` stand in every line; child loggers add shardId, pipeline, line. Lines are written at once, so that none is lost when the process is killed. */
export function createLogger(fields: Record<string, unknown> = {}, options: LoggerOptions = {}): Logger {
  const wanted = options.level ?? process.env[env.logLevel];
  const level: Level = levels.find((known) => known === wanted) ?? 'info';
  return pino(
    {
      level,
      base: { pid: process.pid, ...fields },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ['token', 'authorization', '*.token', '*.authorization', 'headers.authorization'], censor: '…' },
    },
    pino.destination({ fd: options.fd ?? 2, sync: true }),
  );
}
