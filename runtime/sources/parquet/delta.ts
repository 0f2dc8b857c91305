/**
 * DELTA_BINARY_PACKED integers, in two 32-bit halves, so that no BigInt is made per value. Sums wrap at 64 bits as the format
 * says; for INT32 the lower half is the value, also where a writer's first value or deltas need 33 bits.
 */

/** `count` integers. Throws RangeError when the page ends before. */
export function decodeDelta(page: Uint8Array, count: number, isWide: true): BigInt64Array;
export function decodeDelta(page: Uint8Array, count: number, isWide: false): Int32Array;
export function decodeDelta(page: Uint8Array, count: number, isWide: boolean): Int32Array | BigInt64Array {
  const reader = new HalvesReader(page);
  const blockValues = reader.unsigned();
  const miniblocks = reader.unsigned();
  reader.unsigned();
  const perMiniblock = blockValues / miniblocks;
  if (!Number.isInteger(perMiniblock) || perMiniblock < 1 || perMiniblock % 8 !== 0)
    throw new RangeError(`blocks of ${String(blockValues)} integers in ${String(miniblocks)} parts`);
  const out = new Int32Array(count * (isWide ? 2 : 1));
  reader.zigzag();
  let { low, high } = reader;
  let at = 0;
  const put = (): void => {
    if (isWide) {
      out[2 * at] = low;
      out[2 * at + 1] = high;
    } else {
      out[at] = low;
    }
    at += 1;
  };
  if (count > 0) put();
  while (at < count) {
    reader.zigzag();
    const minLow = reader.low >>> 0;
    const minHigh = reader.high;
    const widths = reader.bytes(miniblocks);
    for (let part = 0; part < miniblocks && at < count; part++) {
      const width = page[widths + part] ?? 0;
      if (width > 64) throw new RangeError(`integers of ${String(width)} bits`);
      const start = reader.bytes(0);
      const values = Math.min(perMiniblock, count - at);
      if (start + Math.ceil((values * width) / 8) > page.length)
        throw new RangeError(`a page ends after ${String(at)} of ${String(count)} integers`);
      for (let i = 0; i < values; i++) {
        reader.bits(start, i * width, width);
        const sum = (low >>> 0) + minLow + (reader.low >>> 0);
        high = (high + minHigh + reader.high + Math.floor(sum / 4_294_967_296)) | 0;
        low = sum | 0;
        put();
      }
      reader.bytes((perMiniblock * width) / 8);
    }
  }
  return isWide ? new BigInt64Array(out.buffer) : out;
}

/** Reads numbers of up to 64 bits into `low` and `high`. */
class HalvesReader {
  low = 0;
  high = 0;
  #position = 0;

  constructor(private readonly page: Uint8Array) {}

  /** Passes over `count` bytes; returns where they begin. */
  bytes(count: number): number {
    const start = this.#position;
    this.#position += count;
    return start;
  }

  unsigned(): number {
    this.#varint();
    return (this.low >>> 0) + (this.high >>> 0) * 4_294_967_296;
  }

  zigzag(): void {
    this.#varint();
    const sign = -(this.low & 1);
    this.low = ((this.low >>> 1) | (this.high << 31)) ^ sign;
    this.high = (this.high >>> 1) ^ sign;
  }

  bits(start: number, bit: number, width: number): void {
    const { page } = this;
    let position = start + Math.floor(bit / 8);
    let offset = bit & 7;
    if (width <= 24) {
      const word =
        (page[position] ?? 0) |
        ((page[position + 1] ?? 0) << 8) |
        ((page[position + 2] ?? 0) << 16) |
        ((page[position + 3] ?? 0) << 24);
      this.low = (word >>> offset) & ((1 << width) - 1);
      this.high = 0;
      return;
    }
    this.low = 0;
    this.high = 0;
    for (let got = 0; got < width;) {
      const take = Math.min(8 - offset, width - got);
      this.#or(((page[position] ?? 0) >>> offset) & ((1 << take) - 1), got);
      got += take;
      offset = 0;
      position += 1;
    }
  }

  #varint(): void {
    this.low = 0;
    this.high = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.page[this.#position++];
      if (byte === undefined || shift > 63) throw new RangeError('a page ends within a number');
      this.#or(byte & 0x7f, shift);
      if (byte < 0x80) return;
    }
  }

  #or(value: number, shift: number): void {
    if (shift < 32) {
      this.low |= value << shift;
      if (shift > 24) this.high |= value >>> (32 - shift);
    } else {
      this.high |= value << (shift - 32);
    }
  }
}
