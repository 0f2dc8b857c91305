/**
 * Length-prefixed frames. The prefix takes 8 bytes, so that what follows keeps the alignment of the buffer, and a typed
 * array may be laid over it without copying.
 */
export const prefixBytes = 8;

export function framed(pieces: readonly Uint8Array[]): Uint8Array[] {
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32LE(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
  return [prefix, ...pieces];
}

/** Puts frames together again, each in an aligned buffer of its own; a piece that is one whole aligned frame is taken as it is. */
export class FrameReader {
  #prefix = Buffer.alloc(prefixBytes);
  #prefixHeld = 0;
  #frame: Buffer | undefined;
  #held = 0;

  *push(piece: Buffer): Generator<Buffer> {
    const isWhole = this.#prefixHeld === 0 && piece.length >= prefixBytes && piece.length === prefixBytes + piece.readUInt32LE(0);
    if (isWhole && piece.byteOffset % 8 === 0) {
      yield piece.subarray(prefixBytes);
      return;
    }
    for (let at = 0; at < piece.length;) {
      if (this.#frame === undefined) {
        const taken = piece.copy(this.#prefix, this.#prefixHeld, at);
        this.#prefixHeld += taken;
        at += taken;
        if (this.#prefixHeld < prefixBytes) return;
        this.#frame = Buffer.from(new ArrayBuffer(this.#prefix.readUInt32LE(0)));
        this.#held = 0;
      }
      const frame = this.#frame;
      const taken = piece.copy(frame, this.#held, at);
      this.#held += taken;
      at += taken;
      if (this.#held < frame.length) return;
      this.#frame = undefined;
      this.#prefixHeld = 0;
      yield frame;
    }
  }

  /** Throws when a frame was cut off. */
  end(): void {
    if (this.#prefixHeld > 0) throw new Error('the stream ended within a frame');
  }
}
