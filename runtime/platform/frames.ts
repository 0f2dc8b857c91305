/**
 * Frames on a stream socket: a 4-byte big-endian length and that many bytes of MessagePack.
 *
 * Plain maps, no record extension, so that any language reads them. A frame larger than `frameBytesMax`
 * is a protocol error on both sides: nothing unbounded is buffered.
 */
import { Packr } from 'msgpackr';
import { PodlineError } from '../contracts/errors.js';

const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: false, variableMapSize: true, int64AsType: 'number' });

export function encodeFrame(message: unknown, frameBytesMax: number): Buffer {
  const body = packr.pack(message);
  if (body.length > frameBytesMax) {
    throw new PodlineError(
      'PDL_PROTOCOL',
      `a message of ${String(body.length)} bytes is over the limit of ${String(frameBytesMax)}`,
    );
  }
  const frame = Buffer.allocUnsafe(4 + body.length);
  frame.writeUInt32BE(body.length, 0);
  body.copy(frame, 4);
  return frame;
}

/** Collects chunks of a socket and yields whole messages. */
export class FrameDecoder {
  #pending: Buffer = Buffer.alloc(0);

  constructor(private readonly frameBytesMax: number) {}

  /** Messages that became whole with this chunk, in order. Throws PDL_PROTOCOL on an oversized frame. */
  push(chunk: Buffer): unknown[] {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const messages: unknown[] = [];
    let at = 0;
    while (this.#pending.length - at >= 4) {
      const length = this.#pending.readUInt32BE(at);
      if (length > this.frameBytesMax) {
        throw new PodlineError(
          'PDL_PROTOCOL',
          `a frame of ${String(length)} bytes is over the limit of ${String(this.frameBytesMax)}`,
        );
      }
      if (this.#pending.length - at - 4 < length) break;
      messages.push(packr.unpack(this.#pending.subarray(at + 4, at + 4 + length)));
      at += 4 + length;
    }
    this.#pending = this.#pending.subarray(at);
    return messages;
  }
}
