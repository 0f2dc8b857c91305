/** Arrays of texts as Arrow has them. */
import type { Utf8Data } from './types.js';

/** Equal objects, or equal bytes. */
export function sameDictionary(one: Utf8Data, other: Utf8Data): boolean {
  if (one === other) return true;
  if (one.length !== other.length) return false;
  return (
    sameBytes(one.offsets.subarray(0, one.length + 1), other.offsets.subarray(0, other.length + 1)) &&
    sameBytes(one.values.subarray(0, one.offsets[one.length] ?? 0), other.values.subarray(0, other.offsets[other.length] ?? 0))
  );
}

function sameBytes(one: Int32Array | Uint8Array, other: Int32Array | Uint8Array): boolean {
  const view = (array: Int32Array | Uint8Array): Buffer => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return view(one).equals(view(other));
}
