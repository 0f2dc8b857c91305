/**
 * Sees to it that a command does not outlive the shim that started it, however the shim ends.
 *
 * A small shell waits on a pipe from this process. While a command runs, the shell knows its process group; when the pipe
 * closes because this process is gone, the shell ends the group. A process that dies between starting a command and telling its
 * group leaves one that the shell does not know: so it is told before that one is being started, and then looks for what carries
 * the guard's mark in its environment. Where there is no shell (a bare image), the end of the container does the same.
 */
import { randomBytes } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { env } from '../contracts/env.js';

/**
 * Each line is the group to watch, `start` while one is being started, 0 for none, `end` in the end; the end of the input without it is
 * the end of whoever wrote it. It looks twice for a mark: what was forked may not have been what it was to be the first time.
 */
const script = `
g=0
while read -r n; do g=$n; done
marked() {
  for e in /proc/[0-9]*/environ; do
    p=\${e#/proc/}
    while read -r line || [ -n "$line" ]; do
      case $line in *"$1"*) kill -s KILL "\${p%/environ}";; esac
    done < "$e"
  done 2>/dev/null
}
case $g in
  0 | end) ;;
  start) marked "$1"; sleep 1; marked "$1" ;;
  *) kill -s KILL -- "-$g" || kill -9 "-$g" ;;
esac
exit 0
`;

export class Guard {
  readonly #mark = `podline-guard-${randomBytes(8).toString('hex')}`;
  #shell: ChildProcess | undefined;

  /** What a command must carry in its environment. */
  get environment(): Record<string, string> {
    return { [env.guard]: this.#mark };
  }

  /** In a session of its own: a signal to the group of this process must not end it first. */
  start(): void {
    if (this.#shell !== undefined) return;
    const shell = spawn('/bin/sh', ['-c', script, 'sh', this.#mark], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      env: { PATH: process.env['PATH'] },
    });
    shell.on('error', () => undefined);
    shell.stdin.on('error', () => undefined);
    // It must not keep this process alive, which it waits for.
    shell.unref();
    (shell.stdin as unknown as { unref?: () => void }).unref?.();
    this.#shell = shell;
  }

  /** A group of processes; `start`: one is about to be started; undefined: there is none. */
  watch(group: number | 'start' | undefined): void {
    this.#shell?.stdin?.write(`${group ?? 0}\n`);
  }

  /** Idempotent. */
  close(): void {
    const shell = this.#shell;
    this.#shell = undefined;
    shell?.stdin?.end('end\n');
  }
}
