/**
 * Sources decoded by several threads beside one another, and put together in order.
 *
 * Owns: which part goes to which thread, and the order in which they come back. Leaves to others: the threads (threads.ts), what they do
 * (decode-thread.ts), and the blocks that rows become.
 *
 * Invariants
 *  1. The rows, and the codes of dictionaries, are those that one thread would have given, whatever the number of threads.
 *  2. At most one part more than there are threads is held or worked on, of each source.
 *  3. A part of text counts only where it begins where the part before it ended; else it is decoded again from there. So is one that
 *     failed, so that the fault that is told is one of the source, with its number.
 */
import { availableParallelism } from 'node:os';
import { PodlineError } from '../../contracts/errors.js';
import type { WrittenBlock } from '../../scratch/types.js';
import type { Range } from '../chunks.js';
import { limitRows, type Batch } from '../columns.js';
import { FileSource, type SourceReader } from '../source-reader.js';
import type { RangePlan } from '../table-reader.js';
import { UnifiedColumn } from '../unified-column.js';
import type { CopyTarget, Part } from './messages.js';
import { Threads, type Answer } from './threads.js';

/** More threads than these bring little: what they decode goes through one that writes. */
const threadsMax = 8;
/** Bytes of text in a part: enough that handing it over costs nothing against it, few enough to hold several. */
export const partBytes = 8 * 1024 * 1024;
/** A source of less is decoded sooner by one thread than others are begun. */
export const parallelFromBytes = { text: 4 * partBytes, parquet: 4 * 1024 * 1024, bytes: 64 * 1024 * 1024 };

export class Decoders {
  readonly #threads: Threads;

  /** `sizes`: for tests, which have no large sources. */
  constructor(
    threads = Math.min(availableParallelism(), threadsMax),
    private readonly sizes = { partBytes, from: parallelFromBytes },
  ) {
    this.#threads = new Threads(threads);
  }

  /** All rows behind the first `skipRows`; undefined: the source is read sooner, or only, by one thread. */
  batches(source: SourceReader, plan: RangePlan | undefined, skipRows: number): AsyncIterable<Batch> | undefined {
    if (this.#threads.count < 2 || plan === undefined || !(source instanceof FileSource)) return undefined;
    const parts = this.#partsOf(plan, skipRows);
    if (parts.length < 2) return undefined;
    const [from, to] = plan.rows;
    const first = plan.format === 'parquet' ? Math.max(from, parts[0]?.firstRow ?? 0) : 0;
    return limitRows(this.#inOrder(source, plan, parts), from + skipRows - first, to - first);
  }

  #partsOf(plan: RangePlan, skipRows: number): (Part & { firstRow?: number })[] {
    const parts: (Part & { firstRow?: number })[] = [];
    if (plan.format === 'parquet') {
      const { groupStarts, groupBytes, rows } = plan;
      if (groupBytes.reduce((sum, bytes) => sum + bytes, 0) < this.sizes.from.parquet) return [];
      // Codes are given out in the order of the rows: groups that are passed over count.
      const from = rows[0] + (plan.schema.some(({ type }) => type === 'dictionary') ? 0 : skipRows);
      for (let group = 0; group < groupBytes.length; group++) {
        const firstRow = groupStarts[group] ?? 0;
        if ((groupStarts[group + 1] ?? 0) > from && firstRow < rows[1]) parts.push({ from: group, to: group + 1, firstRow });
      }
    } else if (plan.to - plan.from >= this.sizes.from.text) {
      for (let from = plan.from; from < plan.to; from += this.sizes.partBytes)
        parts.push({ from, to: Math.min(from + this.sizes.partBytes, plan.to) });
    }
    return parts;
  }

  async *#inOrder(source: FileSource, plan: RangePlan, parts: readonly Part[]): AsyncGenerator<Batch> {
    const unified = plan.schema.map(({ name, type }) => new UnifiedColumn(name, type));
    const ahead: Promise<Answer>[] = [];
    let next = 0;
    let expected: { start: number; records: number } | undefined;
    let place = 0;
    const begin = (part: Part, thread: number): Promise<Answer> =>
      this.#threads.ask(thread, { type: 'decode', task: { uri: source.uri, identity: source.identity, plan, part } });
    for (const [number, part] of parts.entries()) {
      for (; next < parts.length && next <= number + this.#threads.count; next++) {
        const later = parts[next];
        if (later !== undefined) ahead.push(begin(later, next));
      }
      let answer = await ahead.shift();
      if (answer === undefined || 'copied' in answer) throw new RangeError('a part was not decoded');
      const isText = plan.format !== 'parquet';
      if (isText && expected !== undefined && ('error' in answer || answer.done.start !== expected.start)) {
        source.counts.bytes[source.medium].read += 'error' in answer ? answer.bytesRead : answer.done.bytesRead;
        answer = await begin({ ...part, known: expected }, number);
        if ('copied' in answer) throw new RangeError('a part was not decoded');
      }
      if ('error' in answer) throw answer.error;
      const { done } = answer;
      expected = { start: done.end, records: (expected?.records ?? 0) + done.records };
      // The head of a text was read once already, to see what it is: that was the pass over the content.
      if (isText) source.counts.bytes[source.medium].read += done.bytesRead;
      else source.counts.count(source.medium, place, (place += done.bytesRead));
      for (const { rows, columns } of done.batches)
        yield { rows, columns: columns.map((column, index) => unified[index]?.take(column, impossible) ?? column) };
    }
  }

  /**
   * Bytes [from, to) of a file copied into blocks by threads with parts of their own; to be committed in the order in which they come.
   * Undefined: that is not worth it. Throws PDL_SCRATCH_FULL where a block finds no room; those before it stay.
   */
  copies(source: SourceReader, target: CopyTarget, range: Range, blockBytes: number): AsyncIterable<WrittenBlock> | undefined {
    if (this.#threads.count < 2 || !(source instanceof FileSource) || range[1] - range[0] < this.sizes.from.bytes)
      return undefined;
    return this.#copy(source, target, range, blockBytes);
  }

  async *#copy(source: FileSource, target: CopyTarget, [first, end]: Range, blockBytes: number): AsyncGenerator<WrittenBlock> {
    const { uri, identity } = source;
    const ahead: Promise<Answer>[] = [];
    let next = first;
    let number = 0;
    try {
      for (let at = first; at < end; at += blockBytes) {
        for (; next < end && next <= at + this.#threads.count * blockBytes; next += blockBytes, number++) {
          const task = { uri, identity, from: next, to: Math.min(next + blockBytes, end), target };
          ahead.push(this.#threads.ask(number, { type: 'copy', task }));
        }
        const answer = await ahead.shift();
        if (answer === undefined || 'done' in answer) throw new RangeError('a block was not copied');
        if ('error' in answer) throw answer.error;
        source.counts.count(source.medium, at, Math.min(at + blockBytes, end));
        if (answer.copied !== undefined) yield answer.copied;
      }
    } finally {
      const run = target.request.run.runId;
      const asked = Array.from({ length: Math.min(number, this.#threads.count) }, (_, place) => place);
      await Promise.all(asked.map((place) => this.#threads.ask(place, { type: 'leave', run })));
    }
  }

  /** Ends the threads when they have done what they are at. Idempotent. */
  close(): Promise<void> {
    return this.#threads.close();
  }
}

/** Parts come in the types of the schema. */
const impossible = (row: number, value: string): PodlineError =>
  new PodlineError('PDL_INTERNAL', `row ${String(row)} of a part, ${value}, is of another type`);
