/**
 * A small object store of our own, in a process of its own: PUT, GET and DELETE over HTTP, an object a file. An object appears when it
 * is whole: it is written beside and renamed. `fsync` says whether it is on the disk by then.
 *
 * A store that is installed does more (replicas, checksums, an index, access rights), and costs more; this is the least there can be.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

/** What is read of a file at once, and what a socket takes before it asks to wait. */
const pieceBytes = 1024 * 1024;

const [dir = '.', fsync = 'no'] = process.argv.slice(2);
const isSynced = fsync === 'fsync';
let writes = 0;

async function put(path: string, body: IncomingMessage): Promise<void> {
  const beside = join(dir, `.${writes++}`);
  const file = await open(beside, 'wx');
  try {
    let pieces: Buffer[] = [];
    let held = 0;
    const write = async (): Promise<void> => {
      for (let left = pieces; left.length > 0;) {
        const { bytesWritten } = await file.writev(left);
        left = behind(left, bytesWritten);
      }
      pieces = [];
      held = 0;
    };
    for await (const piece of body as AsyncIterable<Buffer>) {
      pieces.push(piece);
      held += piece.length;
      if (held >= pieceBytes) await write();
    }
    await write();
    if (isSynced) await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
}

/** What is left of the pieces when so many bytes of them are written. */
function behind(pieces: readonly Buffer[], bytes: number): Buffer[] {
  let skipped = bytes;
  return pieces.flatMap((piece) => {
    const taken = Math.min(skipped, piece.length);
    skipped -= taken;
    return taken < piece.length ? [piece.subarray(taken)] : [];
  });
}

async function answer(body: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = join(dir, encodeURIComponent(decodeURIComponent((body.url ?? '/').slice(1))));
  switch (body.method) {
    case 'PUT':
      await put(path, body);
      response.writeHead(200).end();
      return;
    case 'GET': {
      const { size } = await stat(path);
      response.writeHead(200, { 'content-length': size });
      await pipeline(createReadStream(path, { highWaterMark: pieceBytes }), response);
      return;
    }
    case 'DELETE':
      await rm(path);
      response.writeHead(200).end();
      return;
    default:
      response.writeHead(405).end();
  }
}

await mkdir(dir, { recursive: true });
const server = createServer(
  { highWaterMark: pieceBytes, requestTimeout: 0, keepAliveTimeout: 0, noDelay: true },
  (body, response) => {
    answer(body, response).catch((thrown: unknown) => {
      const isAbsent = thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT';
      if (response.headersSent) response.destroy();
      else response.writeHead(isAbsent ? 404 : 500).end();
    });
  },
);
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.on('disconnect', () => process.exit(0));
