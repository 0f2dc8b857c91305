/** Which rows hold a value, while a column is being made. */

/** Bits of one row each, all set, and how many are cleared. */
export class Nulls {
  count = 0;
  readonly bits: Uint8Array;
  constructor(rows: number) {
    this.bits = new Uint8Array((rows + 7) >> 3).fill(0xff);
  }
  clear(row: number): void {
    const byte = this.bits[row >> 3] ?? 0;
    const bit = 1 << (row & 7);
    if ((byte & bit) === 0) return;
    this.bits[row >> 3] = byte & ~bit;
    this.count++;
  }
  set(row: number): void {
    const byte = this.bits[row >> 3] ?? 0;
    const bit = 1 << (row & 7);
    if ((byte & bit) !== 0) return;
    this.bits[row >> 3] = byte | bit;
    this.count--;
  }
}

/** Which of some values are null or undefined. */
export function nullsOf(values: ArrayLike<unknown>): { nullCount: number; validity: Uint8Array | undefined } {
  let nulls: Nulls | undefined;
  if (!ArrayBuffer.isView(values)) {
    for (let i = 0; i < values.length; i++)
      if (values[i] === null || values[i] === undefined) (nulls ??= new Nulls(values.length)).clear(i);
  }
  return { nullCount: nulls?.count ?? 0, validity: nulls?.bits };
}

/** A column of which rows can be set to null while it is filled. */
export type Nullable<C> = C & { setNull(row: number): void };

/** Gives a column that: a class per family of types would say the same thing six times. */
export function nullable<C extends object>(built: C, rows: number): Nullable<C> {
  const nulls = new Nulls(rows);
  Object.defineProperties(built, {
    nullCount: { get: () => nulls.count },
    validity: { get: () => (nulls.count === 0 ? undefined : nulls.bits) },
    setNull: { value: (row: number) => nulls.clear(row) },
  });
  return built as Nullable<C>;
}
