/**
 * Where a CSV record ends and where its fields lie: one scanner for splitter and reader, so that they cannot differ.
 *
 * A field that begins with a quote ends with a quote; `""` within is one quote; line breaks within belong to it. A quote further
 * on in a field is a character like others. Records end with LF or CRLF, the last one also with the file; empty lines are no records.
 *
 * csv-parse was measured against it on birdstrikes.csv and zipcodes.csv, each repeated to 60 MB, in one process one after the other on
 * two busy vCPUs with Node 20.20: 75–120 and 110–150 MB/s here, into typed columns with inference; 20–28 MB/s there, into rows of strings.
 */
export const quote = 0x22;
const lf = 0x0a;
const cr = 0x0d;
export const delimiters = [0x2c, 0x3b, 0x09, 0x7c] as const;

/** Fields of one record: field i is bytes[starts[i], ends[i]), quotes aside. */
export class FieldList {
  count = 0;
  starts = new Int32Array(64);
  ends = new Int32Array(64);
  /** 0: bare. 1: was quoted. 2: was quoted and holds doubled quotes. */
  quoting = new Uint8Array(64);

  add(start: number, end: number, quoting: 0 | 1 | 2): void {
    if (this.count === this.starts.length) {
      const size = this.count * 2;
      const grow = <T extends Int32Array | Uint8Array>(old: T, grown: T): T => {
        grown.set(old);
        return grown;
      };
      this.starts = grow(this.starts, new Int32Array(size));
      this.ends = grow(this.ends, new Int32Array(size));
      this.quoting = grow(this.quoting, new Uint8Array(size));
    }
    this.starts[this.count] = start;
    this.ends[this.count] = end;
    this.quoting[this.count] = quoting;
    this.count += 1;
  }

  text(bytes: Buffer, index: number): string {
    const text = bytes.toString('utf8', this.starts[index] ?? 0, this.ends[index] ?? 0);
    return this.quoting[index] === 2 ? text.replaceAll('""', '"') : text;
  }
}

/**
 * The record at bytes[from]: its fields into `fields`, and where the next one begins. -1: the bytes end before it does (never with
 * `isEnd`). An empty line gives no fields. Throws SyntaxError for text behind a closing quote and for a quote that is not closed.
 */
export function scanRecord(bytes: Buffer, from: number, isEnd: boolean, delimiter: number, fields: FieldList): number {
  const to = bytes.length;
  fields.count = 0;
  if (from >= to) return -1;
  let at = from;
  for (;;) {
    const start = at;
    if (bytes[at] === quote) {
      let quoting: 1 | 2 = 1;
      at += 1;
      for (;;) {
        at = bytes.indexOf(quote, at);
        if (at < 0) {
          if (isEnd) throw new SyntaxError('a quote is not closed');
          return -1;
        }
        if (at + 1 >= to && !isEnd) return -1;
        if (bytes[at + 1] !== quote || at + 1 >= to) break;
        quoting = 2;
        at += 2;
      }
      fields.add(start + 1, at, quoting);
      at += 1;
      if (bytes[at] === cr && at < to) {
        if (at + 1 >= to && !isEnd) return -1;
        if (at + 1 >= to || bytes[at + 1] === lf) at += 1;
      }
      if (at >= to) return to;
      const byte = bytes[at];
      at += 1;
      if (byte === lf) return at;
      if (byte !== delimiter) throw new SyntaxError('text stands behind a closing quote');
    } else {
      let byte = -1;
      while (at < to && (byte = bytes[at] ?? 0) !== delimiter && byte !== lf) at += 1;
      if (at >= to && !isEnd) return -1;
      const isRecordEnd = at >= to || byte === lf;
      const end = isRecordEnd && at > start && bytes[at - 1] === cr ? at - 1 : at;
      at += 1;
      if (!isRecordEnd) {
        fields.add(start, end, 0);
      } else {
        if (end > start || fields.count > 0) fields.add(start, end, 0);
        return Math.min(at, to);
      }
    }
    if (at >= to && !isEnd) return -1;
    if (at >= to) {
      // A delimiter was the last byte: an empty field follows it.
      fields.add(to, to, 0);
      return to;
    }
  }
}

/** The delimiter that the header line uses most outside of quotes; the comma where it uses none. */
export function guessDelimiter(head: Buffer, uri: string): number {
  if (/\.(tsv|tab)$/i.test(uri)) return 0x09;
  const counts = new Map<number, number>(delimiters.map((byte) => [byte, 0]));
  let isQuoted = false;
  for (const byte of head) {
    if (byte === quote) isQuoted = !isQuoted;
    else if (!isQuoted && byte === lf) break;
    else if (!isQuoted && counts.has(byte)) counts.set(byte, (counts.get(byte) ?? 0) + 1);
  }
  return delimiters.reduce((best, byte) => ((counts.get(byte) ?? 0) > (counts.get(best) ?? 0) ? byte : best));
}
