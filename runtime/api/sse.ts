/** Events as `text/event-stream`, and the word that a quiet stream says so that nobody takes it for dead. */
import type { PodlineEvent } from '../contracts/events.js';

export interface SseOptions {
  quietMs: number;
  /** Asked each time the stream has been open for `quietMs`: ends it when it may not go on. */
  mayGoOn: () => Promise<boolean>;
}

export async function* sseLines(
  events: AsyncGenerator<PodlineEvent, void, undefined>,
  { quietMs, mayGoOn }: SseOptions,
): AsyncGenerator<string, void, undefined> {
  yield `retry: 1000\n\n`;
  let next = events.next();
  let timer: NodeJS.Timeout | undefined;
  const tick = (): Promise<'tick'> =>
    new Promise((resolve) => {
      timer = setTimeout(resolve, quietMs, 'tick');
      timer.unref();
    });
  let quiet = tick();
  try {
    for (;;) {
      const result = await Promise.race([next, quiet]);
      if (result === 'tick') {
        if (!(await mayGoOn())) return;
        quiet = tick();
        yield ': still here\n\n';
        continue;
      }
      if (result.done === true) return;
      yield `id: ${String(result.value.id)}\nevent: ${result.value.type}\ndata: ${JSON.stringify(result.value)}\n\n`;
      next = events.next();
    }
  } finally {
    clearTimeout(timer);
    void events.return();
  }
}
