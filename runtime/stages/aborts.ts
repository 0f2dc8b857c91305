/** Waiting that a cancelled run does not outlast. */

/** Rejects with the signal's reason as soon as it is aborted; what was awaited goes on unheard. */
export function orAborted<T>(awaited: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    awaited.catch(() => undefined);
    return Promise.reject(signal.reason as Error);
  }
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', stop, { once: true });
    awaited.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
