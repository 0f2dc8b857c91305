/**
 * The line of a stream whose end has not come yet. Its room doubles, so that a long line that comes in many pieces is copied a bounded
 * number of times, whatever the size of the pieces.
 */

/** Room that is kept from one line to the next. */
const keptBytesMax = 1024 * 1024;

export class OpenLine {
  #room: Buffer = Buffer.alloc(0);
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  add(piece: Uint8Array): void {
    const bytes = this.#bytes + piece.byteLength;
    if (bytes > this.#room.byteLength) {
      const room = Buffer.allocUnsafeSlow(Math.max(bytes, 2 * this.#room.byteLength));
      room.set(this.#room.subarray(0, this.#bytes));
      this.#room = room;
    }
    this.#room.set(piece, this.#bytes);
    this.#bytes = bytes;
  }

  /** The line with its last piece, valid until the next `add`; the next line begins. */
  end(piece: Buffer): Buffer {
    if (this.#bytes === 0) return piece;
    this.add(piece);
    const line = this.#room.subarray(0, this.#bytes);
    this.#bytes = 0;
    if (this.#room.byteLength > keptBytesMax) this.#room = Buffer.alloc(0);
    return line;
  }
}
