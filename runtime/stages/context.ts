/** What a stage's functions are given beside the data: parameters, logger, abort signal, and the counters of what goes over the network. */
import type { Parameters } from '../contracts/manifest.js';
import type { TraceContext } from '../contracts/trace.js';
import type { BlockContext, StageContext, StageLogger } from './define.js';

/** The part of a run that every thread knows. */
export interface RunSetup {
  runId: string;
  shardId: string;
  shardKey: string;
  parameters: Parameters;
  trace?: TraceContext | undefined;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
/** Longer messages are cut. */
const logCharsMax = 8_192;

/** Where a running stage's words go. */
export interface RunVoice {
  log(level: LogLevel, message: string): void;
  note(note: string): void;
}

export interface NetworkBytes {
  read: number;
  written: number;
}

export class RunContext implements StageContext {
  readonly parameters: Readonly<Parameters>;
  readonly shard: { readonly id: string; readonly key: string };
  readonly trace: TraceContext | undefined;
  readonly logger: StageLogger;
  readonly fetch: typeof fetch;
  readonly network: NetworkBytes = { read: 0, written: 0 };

  constructor(
    setup: RunSetup,
    readonly signal: AbortSignal,
    private readonly voice: RunVoice,
  ) {
    this.parameters = Object.freeze({ ...setup.parameters });
    this.shard = { id: setup.shardId, key: setup.shardKey };
    this.trace = setup.trace;
    this.logger = loggerOf(voice);
    this.fetch = countedFetch(this.network, signal);
  }

  readonly progress = (note: string): void => {
    this.voice.note(note.slice(0, logCharsMax));
  };

  readonly external = ({ bytesIn = 0, bytesOut = 0 }: { bytesIn?: number; bytesOut?: number }): void => {
    this.network.read += bytesIn;
    this.network.written += bytesOut;
  };

  forBlock(index: number, rows: number): BlockContext {
    return Object.assign(Object.create(this) as this, { block: { index, rows } });
  }
}

function loggerOf(voice: RunVoice): StageLogger {
  const at =
    (level: LogLevel) =>
    (message: string, fields?: Record<string, unknown>): void => {
      const text =
        fields === undefined
          ? message
          : `${message} ${JSON.stringify(fields, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}`;
      voice.log(level, text.slice(0, logCharsMax));
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** fetch that counts the bytes of bodies as they pass; what the transport adds (headers, TLS, compression) is not seen. */
function countedFetch(network: NetworkBytes, runSignal: AbortSignal): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, { ...init, signal: init?.signal ? AbortSignal.any([init.signal, runSignal]) : runSignal });
    const outgoing =
      request.body === null
        ? request
        : new Request(request, {
            body: request.body.pipeThrough(counting((bytes) => (network.written += bytes))),
            duplex: 'half',
          });
    const response = await fetch(outgoing);
    if (response.body === null) return response;
    const counted = new Response(response.body.pipeThrough(counting((bytes) => (network.read += bytes))), response);
    for (const name of ['url', 'redirected', 'type'] as const) Object.defineProperty(counted, name, { value: response[name] });
    return counted;
  };
}

const counting = (count: (bytes: number) => void): TransformStream<Uint8Array, Uint8Array> =>
  new TransformStream({
    transform(chunk, controller) {
      count(chunk.byteLength);
      controller.enqueue(chunk);
    },
  });
