/**
 * What is run, as data: a `Work` names the stages and what goes into them, a `Job` is one shard of it. Neither says how the stages are
 * connected: that is all that a peer decides. A work is plain JSON, so that it may be handed to the processes of a peer as it is.
 *
 * What a stage does to bytes or records is in `stages.ts`, shared by all; what must come out is computed by `expected.ts` from the
 * source alone, by other code.
 */
import type { ShardSource } from '../../runtime/contracts/shard.js';
import type { Workload } from '../workload.js';

/** Bytes as they are: `pass` is given them and hands all of them on, unread; `xor` makes as many new ones (byte ^ key). */
export interface BytesWork {
  kind: 'bytes';
  name: string;
  stages: number;
  stage: 'pass' | 'xor';
  /** A stage works on pieces of this size; the last one of a shard may be smaller. */
  blockBytes: number;
}

/**
 * Records of eight numbers: `id` int32, `a`…`f` and `x` float64. Stage i of five replaces x by x / 2 + the i-th of a…e. Exact in
 * doubles and in JSON, so that whoever carries the numbers as text arrives at the same.
 */
export interface NumbersWork {
  kind: 'numbers';
  name: string;
  stages: 5;
  /** Records of a piece, for those who send pieces. */
  blockRows: number;
}

/**
 * NDJSON in, five stages, NDJSON out: records of an order with text, numbers and a boolean, and a column more from most stages; the
 * second stage drops records. The result is the file `orders.ndjson`.
 */
export interface OrdersWork {
  kind: 'orders';
  name: string;
  stages: 5;
  blockRows: number;
}

/** The flights pipeline of the examples; `workload.ts` says what it consists of. */
export interface FlightsWork {
  kind: 'flights';
  name: string;
  workload: Workload;
}

export type Work = BytesWork | NumbersWork | OrdersWork | FlightsWork;
export type WorkKind = Work['kind'];

/** One shard to take through the stages. */
export interface Job {
  id: string;
  /**
   * bytes: `{ uri, format: 'bytes' }`, or `{ inline: { base64 }, format: 'bytes' }` for small ones; numbers: `{ uri, format: 'arrow' }`
   * (one Arrow IPC stream); orders: `{ uri, format: 'ndjson' }`. Files lie on tmpfs.
   */
  source: ShardSource;
  /** Where the result goes; made by whoever writes into it. What the checker reads, whatever the runner says. */
  resultDir: string;
}
