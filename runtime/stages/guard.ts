/**
 * Sees to it that a command does not outlive the shim that started it, however the shim ends.
 *
 * A small shell waits on a pipe from this process. While a command runs, the shell knows its process group; when the pipe
 * closes because this process is gone, the shell ends the group. Where there is no shell (a bare image), the end of
 * the container does the same.
 */
import { spawn, type ChildProcess } from 'node:child_process';

/** Each line is the group to watch, 0 for none; the end of the input is the end of whoever wrote it. */
const script = 'g=0; while read -r n; do g=$n; done; [ "$g" -gt 1 ] && { kill -s KILL -- "-$g" || kill -9 "-$g"; }; exit 0';

export class Guard {
  #shell: ChildProcess | undefined;

  /** In a session of its own: a signal to the group of this process must not end it first. */
  start(): void {
    if (this.#shell !== undefined) return;
    const shell = spawn('/bin/sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'], detached: true, env: {} });
    shell.on('error', () => undefined);
    shell.stdin.on('error', () => undefined);
    // It must not keep this process alive, which it waits for.
    shell.unref();
    (shell.stdin as unknown as { unref?: () => void }).unref?.();
    this.#shell = shell;
  }

  watch(group: number | undefined): void {
    this.#shell?.stdin?.write(`${group ?? 0}\n`);
  }

  /** Idempotent. */
  close(): void {
    const shell = this.#shell;
    this.#shell = undefined;
    shell?.stdin?.end('0\n');
  }
}
