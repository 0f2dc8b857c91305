/**
 * One coordinator per work directory: a lock that the kernel gives back when its holder dies, however it dies.
 *
 * On Linux the lock is an abstract unix socket, named by a hash of the directory's real path: it leaves no file behind.
 * It is the network namespace's, so two containers that mount one directory do not see each other's. Elsewhere it is a
 * socket file in the temporary folder; one that nobody answers on is left over from a holder that died, and is removed.
 * Whoever connects is told the pid of the holder.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, realpathSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PodlineError } from '../contracts/errors.js';

export interface WorkdirLock {
  /** Idempotent. */
  release(): Promise<void>;
}

/** A holder that stands still does not answer: then its pid is unknown, but it holds the lock none the less. */
const answerWaitMs = 1_000;
const triesMax = 5;

/** Makes the directory if need be. Throws PDL_WORKDIR_BUSY naming the pid of the holder. */
export async function lockWorkdir(
  workDir: string,
  kind: 'abstract' | 'file' = process.platform === 'linux' ? 'abstract' : 'file',
): Promise<WorkdirLock> {
  mkdirSync(workDir, { recursive: true });
  const path = realpathSync(workDir);
  const name = `podline-${createHash('sha256').update(path).digest('hex').slice(0, 32)}`;
  const address = kind === 'abstract' ? `\0${name}` : join(tmpdir(), `${name}.sock`);
  for (let tries = 1; ; tries += 1) {
    const server = await listen(address);
    if (server !== undefined) return { release: () => close(server) };
    const holder = await askHolder(address);
    if (holder !== 'nobody' || tries >= triesMax) {
      const who = typeof holder === 'number' ? `process ${String(holder)}` : 'another process';
      throw new PodlineError('PDL_WORKDIR_BUSY', `${who} works in ${path}`, { place: path });
    }
    if (kind === 'file') rmSync(address, { force: true });
  }
}

function listen(address: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end(String(process.pid));
    });
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen(address, () => {
      server.unref();
      resolve(server);
    });
  });
}

function askHolder(address: string): Promise<number | 'silent' | 'nobody'> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(address);
    socket.setEncoding('utf8');
    socket.setTimeout(answerWaitMs, () => {
      socket.destroy();
      resolve('silent');
    });
    socket.on('data', (chunk: string) => (answer += chunk));
    socket.on('end', () => {
      resolve(Number(answer) > 0 ? Number(answer) : 'silent');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ECONNREFUSED' || error.code === 'ENOENT' ? 'nobody' : 'silent');
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    if (!server.listening) resolve();
    else
      server.close(() => {
        resolve();
      });
  });
}
