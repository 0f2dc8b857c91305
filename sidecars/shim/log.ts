/** The shim's own words: JSON lines on stderr, in the form of pino, which would cost a third of the time to start. */
import type { Logger } from '../../runtime/platform/logger.js';

const levels = { debug: 20, info: 30, warn: 40, error: 50 } as const;
type Level = keyof typeof levels;

export function stderrLogger(lowest: string | undefined, fields: Record<string, unknown> = {}): Logger {
  const threshold = lowest !== undefined && lowest in levels ? levels[lowest as Level] : levels.info;
  const at =
    (level: Level) =>
    (more: Record<string, unknown>, message: string): void => {
      if (levels[level] < threshold) return;
      process.stderr.write(
        `${JSON.stringify({ level: levels[level], time: Date.now(), pid: process.pid, ...fields, ...more, msg: message })}\n`,
      );
    };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (more) => stderrLogger(lowest, { ...fields, ...more }),
  };
}
