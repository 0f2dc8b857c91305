/**
 * One stage, or the source, as a transport sees it: blocks in, blocks out, and how they become bytes between.
 *
 * What a block is (bytes, records, columns), the transport does not know. Two things stand behind this: a stage of the flights pipeline
 * (`stage-work.ts`), and one of a chain (`peers/chain-stage.ts`).
 */
import type { BlockCodec } from '../codecs/codec.js';

/** What goes from one stage to another; edges of one stage with the same columns carry the same bytes. */
export interface Link {
  from: string;
  to: string;
  columns: readonly { name: string }[];
}

/** What transports need of a job; the rest is carried along, the source aside. */
export interface TransportJob {
  id: string;
  source: unknown;
}

/** One job at a time: `begin`, then `source` or `take` for every block in order, `finish`, `done`. */
export interface TransportWork<B, J extends TransportJob = TransportJob, D = unknown> {
  readonly stage: string;
  readonly inputs: readonly Link[];
  readonly outputs: readonly Link[];
  codecOf(edge: Link): BlockCodec<B>;
  begin(job: J): void;
  /** Only asked of the process that reads the source. */
  source(source: J['source']): AsyncIterable<B>;
  take(block: B): B | undefined | Promise<B | undefined>;
  /** What is left to hand on, after results are written. */
  finish(job: J): Promise<B | undefined>;
  /** What came over several inputs and belongs together. */
  zip(blocks: readonly B[]): B;
  received(bytes: number): void;
  sent(bytes: number): void;
  done(): D;
}

export const nameOf = ({ from, to }: Pick<Link, 'from' | 'to'>): string => `${from}>${to}`;

/** Edges that carry the same columns: what is made for one serves all of them. */
export function groupsOf<E extends Link>(edges: readonly E[]): Map<string, E[]> {
  const groups = new Map<string, E[]>();
  for (const edge of edges) {
    const name = groupOf(edge);
    groups.set(name, [...(groups.get(name) ?? []), edge]);
  }
  return groups;
}
export const groupOf = ({ columns }: Pick<Link, 'columns'>): string => columns.map(({ name }) => name).join();
