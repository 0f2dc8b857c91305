/**
 * A connector: takes requests from outside, and tells outside what has ended.
 *
 * Kafka, RabbitMQ and a watched folder are three; `test/contract/connector.ts` is the suite that each passes. A connector has an
 * *inlet*, which hands requests to the coordinator, and an *outlet*, to which completions are published. Each mends itself: a broker
 * that is away is tried again with growing pauses, bounded, for as long as the connector is open.
 *
 * Invariants
 *  1. A request is let go (offset committed, message acknowledged, file taken away) after the journal has it, never before.
 *  2. Requests may come more than once; their key makes one shard of them.
 *  3. A message that is no request is a dead letter, with the reason and the place where it was, and lets the others pass.
 *  4. What is taken and not in the journal yet is bounded. While the coordinator takes no more, nothing more is taken.
 *  5. A completion is published after the end of its shard is durable. Where publishing goes on after a restart is the broker's to
 *     keep: stored with the completions in one transaction where the broker can, else after them, so that some may come again, with
 *     the same id, and none is lost.
 */
import type { Completion, ConnectorView } from '../contracts/connectors.js';
import type { PodlineEvent } from '../contracts/events.js';
import type { Shard, Submission, SubmitAnswer } from '../contracts/shard.js';
import type { EventQuery, ListRequest, PipelineView } from '../contracts/views.js';

export interface Connector {
  readonly name: string;
  view(): ConnectorView;
  /** What was begun is ended or given back; nothing is open afterwards. Idempotent. */
  close(): Promise<void>;
}

/** What a connector needs of a coordinator; a `PodlineClient` fits. */
export interface Office {
  submitAll(pipeline: string, submissions: readonly Submission[]): Promise<SubmitAnswer[]>;
  pipeline(name: string): Promise<PipelineView>;
  pipelines(): Promise<PipelineView[]>;
  get(id: string): Promise<Shard>;
  getByKey(pipeline: string, key: string): Promise<Shard>;
  listAll(pipeline: string, query: Omit<ListRequest, 'cursor'>): AsyncGenerator<Shard, void, undefined>;
  events(query: EventQuery): AsyncGenerator<PodlineEvent, void, undefined>;
  lastEventId(): Promise<number>;
}

/** How far publishing has come in the journal's log. */
export interface Cursor {
  /** Completions of events up to this one are published. */
  event: number;
  /** Of that event. The shard tells whether this is a place in the same journal; the time, what ended since, where events are lacking. */
  shardId?: string | undefined;
  at?: string | undefined;
}

/** The way back to a broker. Any failure ends it: it is closed and opened again. */
export interface Outlet {
  /** Answers where the publisher before stood; from here on nothing of it is published any more, where the broker can see to that. */
  open(): Promise<Cursor | undefined>;
  /** Resolves once the completions, in their order, and the cursor are durable. */
  publish(completions: readonly Completion[], cursor: Cursor): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** The way in. Any failure ends it: it is closed and opened again. */
export interface Inlet {
  /** Takes requests until the signal; rejects when the broker is gone. */
  run(signal: AbortSignal, onRunning: () => void): Promise<void>;
}
