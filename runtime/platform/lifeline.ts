/**
 * The lifeline of a process that the local driver started: its stdin. When the driver dies, however it dies,
 * the kernel closes the other end, and the process ends itself; nothing outlives a killed coordinator.
 */
import { env } from '../contracts/env.js';

/** Calls `onCut` once when the lifeline is cut. Does nothing in a pod, where none is set. */
export function watchLifeline(onCut: () => void): void {
  if (process.env[env.lifeline] !== '1') return;
  let cut = false;
  const once = (): void => {
    if (cut) return;
    cut = true;
    onCut();
  };
  process.stdin.on('end', once).on('close', once).on('error', once).resume();
}
