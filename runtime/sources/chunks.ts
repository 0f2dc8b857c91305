/** Where to cut. Pure. */

export type Range = [from: number, to: number];

/** One of the two. */
export interface ChunkLimit {
  rows?: number | undefined;
  bytes?: number | undefined;
}

/** Ranges of rows; a limit of bytes is taken as that share of a source of `sourceBytes`. At least one range, empty if there are no rows. */
export function* cutRows(rows: number, limit: ChunkLimit, sourceBytes: number): Generator<Range> {
  const share = limit.bytes === undefined ? undefined : Math.floor((rows * limit.bytes) / Math.max(sourceBytes, 1));
  const step = Math.max(limit.rows ?? share ?? rows, 1);
  for (let from = 0; from < rows || from === 0; from += step) yield [from, Math.min(from + step, rows)];
}

/**
 * Takes records by where they lie and gives ranges of whole records: of `rows` records, or of at most `bytes` bytes unless one
 * record alone has more. What is no record (empty lines) goes with the record before.
 */
export class RecordCutter {
  #records = 0;
  #to: number;
  #given = 0;

  constructor(
    private readonly limit: ChunkLimit,
    private from: number,
  ) {
    this.#to = from;
  }

  /** Whether a record that ends at `to` belongs to the next range. */
  #isFull(to: number): boolean {
    return (
      this.#records > 0 &&
      (this.limit.rows === undefined
        ? to - this.from > (this.limit.bytes ?? Number.POSITIVE_INFINITY)
        : this.#records >= this.limit.rows)
    );
  }

  /** The range that ends before this record, if one does. */
  add(from: number, to: number, isRecord: boolean): Range | undefined {
    let cut: Range | undefined;
    if (isRecord && this.#isFull(to)) {
      cut = [this.from, from];
      this.from = from;
      this.#records = 0;
      this.#given += 1;
    }
    if (isRecord) this.#records += 1;
    this.#to = to;
    return cut;
  }

  /** The last range: what is left, or an empty one if there was nothing. */
  end(): Range | undefined {
    return this.#records > 0 || this.#given === 0 ? [this.from, this.#to] : undefined;
  }
}
