/**
 * Process to process through pipes of the kernel: what one writes to its standard output, the next one reads from its standard input,
 * as `a | b | c` does, but shard after shard, in frames. There is no way back: a pipe cannot answer.
 */
import { once } from 'node:events';
import { Socket } from 'node:net';
import type { Arrival, Outlet, StreamTransport } from './stream-stage.js';

/** Length and kind, little-endian. */
const prefixBytes = 8;
const kinds = { begin: 0, data: 1, end: 2 } as const;

export class PipeTransport implements StreamTransport {
  #out: Socket | undefined;
  #in: Socket | undefined;

  listen(onArrival: (arrival: Arrival) => void): Promise<number> {
    const input = new Socket({ fd: 0, readable: true, writable: false });
    this.#in = input;
    void readStreams(input, onArrival).catch((thrown: unknown) => input.destroy(thrown as Error));
    return Promise.resolve(0);
  }

  open(_port: number, job: string, from: string): Outlet {
    const out = (this.#out ??= new Socket({ fd: 1, readable: false, writable: true }));
    const write = (kind: number, piece: Uint8Array): boolean => {
      const prefix = Buffer.allocUnsafe(prefixBytes);
      prefix.writeUInt32LE(piece.byteLength);
      prefix.writeUInt32LE(kind, 4);
      out.cork();
      out.write(prefix);
      const takesMore = out.write(piece);
      out.uncork();
      return takesMore;
    };
    write(kinds.begin, Buffer.from(JSON.stringify({ job, from })));
    return {
      write: (piece) => write(kinds.data, piece),
      drained: () => once(out, 'drain'),
      end: async () => {
        write(kinds.end, Buffer.alloc(0));
      },
    };
  }

  close(): void {
    this.#in?.destroy();
    this.#out?.destroy();
  }
}

async function readStreams(input: AsyncIterable<Buffer>, onArrival: (arrival: Arrival) => void): Promise<void> {
  const frames = framesOf(input);
  for (;;) {
    const begun = await frames.next();
    if (begun.done === true) return;
    const { job, from } = JSON.parse(begun.value.piece.toString()) as { job: string; from: string };
    await new Promise<void>((resolve) => onArrival({ job, from, body: bodyOf(frames, resolve), answer: () => undefined }));
  }
}

/** The data of one stream, as it comes. */
async function* bodyOf(frames: AsyncGenerator<Frame>, onEnd: () => void): AsyncGenerator<Buffer> {
  try {
    for (;;) {
      const next = await frames.next();
      if (next.done === true) throw new Error('the pipe ended within a stream');
      if (next.value.kind === kinds.end) return;
      yield next.value.piece;
    }
  } finally {
    onEnd();
  }
}

interface Frame {
  kind: number;
  piece: Buffer;
}

/** Frames whole, except data, which is given on in the pieces in which it comes. */
async function* framesOf(input: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let held: Buffer = Buffer.alloc(0);
  let dataLeft = 0;
  for await (const piece of input) {
    held = held.length === 0 ? piece : Buffer.concat([held, piece]);
    while (held.length > 0) {
      if (dataLeft > 0) {
        const data = held.subarray(0, dataLeft);
        held = held.subarray(data.length);
        dataLeft -= data.length;
        yield { kind: kinds.data, piece: data };
        continue;
      }
      if (held.length < prefixBytes) break;
      const length = held.readUInt32LE(0);
      const kind = held.readUInt32LE(4);
      const whole = kind === kinds.data ? prefixBytes : prefixBytes + length;
      if (held.length < whole) break;
      if (kind === kinds.data) dataLeft = length;
      else yield { kind, piece: held.subarray(prefixBytes, whole) };
      held = held.subarray(whole);
    }
  }
}
