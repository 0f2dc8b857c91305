/** Brings lines up, and says so where there are fewer than were asked for. */
import type { Embedded } from './embedded.js';
import type { RunIo } from './io.js';

/** Throws PDL_QUOTA where not even one may be there. */
export async function startLines({ coordinator }: Embedded, pipeline: string, lines: number | 'auto', io: RunIo): Promise<void> {
  const flow = await coordinator.startLines(pipeline, lines === 'auto' ? undefined : lines);
  if (flow === undefined || lines === 'auto' || flow.linesMax >= lines) return;
  io.err.write(
    `warning: ${String(flow.linesMax)} of ${String(lines)} lines: W_max is ${String(flow.linesMax)} ${flow.because}\n`,
  );
}
