/**
 * A slot without a stage: in a pod that was created anew, until its first swap. The kubelet starts the container all the same,
 * so it parks, in silence: there is nothing to say hello for.
 */

/** Settles never; the process ends with SIGTERM, which is how the kubelet brings the first stage. */
export function parkEmpty(): Promise<never> {
  const keepsAlive = setInterval(() => undefined, 2 ** 31 - 1);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      clearInterval(keepsAlive);
      process.exit(0);
    });
  }
  return new Promise<never>(() => undefined);
}
