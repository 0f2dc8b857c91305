/** A stream of pieces as windows that begin at a record: what a reader does not consume comes again, with more behind it. */
import { PodlineError } from '../contracts/errors.js';

/** A record longer than this is taken for a fault of the source, e.g. a quote that is never closed. */
export const recordBytesMax = 64 * 1024 * 1024;

export interface Window {
  readonly bytes: Buffer;
  /** Where the first of them lies in the stream. */
  readonly at: number;
  /** Nothing comes behind these bytes. */
  readonly isEnd: boolean;
  /** Set by the reader: how much of `bytes` was whole records. */
  consumed: number;
}

/** Bytes of a window are valid until the next one is asked for. Throws PDL_SOURCE_UNREADABLE for a record over `recordBytesMax`. */
export async function* windows(stream: AsyncIterable<Buffer>, name: string): AsyncGenerator<Window> {
  let carry = Buffer.alloc(0);
  let room = Buffer.alloc(0);
  let at = 0;
  for await (const piece of stream) {
    const length = carry.length + piece.length;
    if (carry.length > 0 && room.length < length) room = Buffer.allocUnsafeSlow(2 * length);
    const window: Window = { bytes: carry.length === 0 ? piece : joined(room, carry, piece), at, isEnd: false, consumed: 0 };
    yield window;
    at += window.consumed;
    carry = Buffer.from(window.bytes.subarray(window.consumed));
    if (carry.length > recordBytesMax) {
      throw new PodlineError('PDL_SOURCE_UNREADABLE', `${name} has a record of more than ${String(recordBytesMax)} bytes`, {
        place: name,
        hint: 'Look for a quote that is never closed, or for a missing line break.',
      });
    }
  }
  yield { bytes: carry, at, isEnd: true, consumed: carry.length };
}

function joined(room: Buffer, first: Buffer, second: Buffer): Buffer {
  first.copy(room);
  second.copy(room, first.length);
  return room.subarray(0, first.length + second.length);
}

export const notUtf8 = (place: string, records: number): PodlineError =>
  new PodlineError('PDL_SOURCE_UNREADABLE', `${place} is not UTF-8 text (before record ${String(records + 1)})`, {
    place,
    hint: 'Write it as UTF-8.',
  });

/** The first `bytes` of a stream, and the stream again from its beginning. */
export async function peek(
  stream: AsyncIterable<Buffer>,
  bytes: number,
): Promise<{ head: Buffer; isAll: boolean; again: AsyncIterable<Buffer>; close: () => Promise<void> }> {
  const rest = stream[Symbol.asyncIterator]();
  const pieces: Buffer[] = [];
  let length = 0;
  let isAll = false;
  while (length < bytes && !isAll) {
    const next = await rest.next();
    if (next.done === true) {
      isAll = true;
    } else {
      pieces.push(Buffer.from(next.value));
      length += next.value.length;
    }
  }
  const head = Buffer.concat(pieces);
  const close = async (): Promise<void> => {
    await rest.return?.();
  };
  async function* again(): AsyncGenerator<Buffer> {
    try {
      if (head.length > 0) yield head;
      for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
    } finally {
      await close();
    }
  }
  return { head, isAll, again: again(), close };
}
