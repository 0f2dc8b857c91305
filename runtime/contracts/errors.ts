/**
 * Every error that Podline shows to a person, in one catalogue.
 *
 * Owns: the codes, what each means and what to do about it. `docs/errors.md` is generated from it, and
 * `test/tidy/errors.test.ts` holds the two together. An error keeps its code, place and hint across
 * threads, sockets and HTTP: see `toWire` and `fromWire`.
 *
 * Invariants
 *  1. A code, once released, keeps its meaning.
 *  2. A message names the place and the value; `hint` names the way out.
 *  3. `retry` says what a caller may do: `never` (same input, same end), `later` (may pass on its own).
 */

export interface ErrorEntry {
  /** HTTP status when the error crosses the API. */
  readonly status: number;
  readonly retry: 'never' | 'later';
  readonly title: string;
  readonly hint: string;
}

const entry = (status: number, retry: ErrorEntry['retry'], title: string, hint: string): ErrorEntry => ({
  status,
  retry,
  title,
  hint,
});

export const errorCatalogue = {
  // --- manifest and input -------------------------------------------------------------------
  PDL_MANIFEST_SYNTAX: entry(400, 'never', 'The manifest is not valid YAML', 'Mend the line that is named.'),
  PDL_MANIFEST_INVALID: entry(
    400,
    'never',
    'The manifest does not fit its schema',
    'Mend the field that is named; `podline lint` checks without running.',
  ),
  PDL_MANIFEST_CYCLE: entry(400, 'never', 'The stages form a cycle', 'Remove one `after` of the stages that are named.'),
  PDL_STAGE_LOAD: entry(
    400,
    'never',
    'A stage cannot be loaded',
    'Mend the stage file that is named: it must `export default defineStage({…})`.',
  ),
  PDL_STAGE_COLUMNS: entry(
    400,
    'never',
    'A stage needs a column that is not there, or of another type',
    'Make the stage before produce the column, or change what the stage asks for.',
  ),
  PDL_PARAMETER_INVALID: entry(
    400,
    'never',
    'A parameter does not fit the schema of the pipeline',
    'Give the parameter a value that its schema allows.',
  ),
  PDL_SOURCE_MISSING: entry(404, 'never', 'A source matches no file', 'Check the path or the pattern.'),
  PDL_SOURCE_UNREADABLE: entry(
    422,
    'never',
    'A source cannot be read as its format',
    'Check that the file is whole and of the format that the manifest names.',
  ),
  PDL_SOURCE_UNREACHABLE: entry(
    502,
    'later',
    'A source did not answer',
    'Check the address; the shard is retried with back-off.',
  ),
  PDL_COLUMN_TYPE: entry(
    422,
    'never',
    'A value does not fit the type of its column',
    'Mend the data, or declare another type under `input.columns`.',
  ),
  // --- scratch ------------------------------------------------------------------------------
  PDL_SCRATCH_FULL: entry(
    507,
    'later',
    'The scratch is full',
    'Raise `scratch.size`, chunk the input smaller, or let streams spill to SSD.',
  ),
  PDL_SCRATCH_CORRUPT: entry(
    500,
    'later',
    'A block in the scratch does not match its checksum',
    'The shard is restored from its last checkpoint; look at the memory of the machine if it recurs.',
  ),
  PDL_SCRATCH_CLOSED: entry(500, 'never', 'The scratch was used after it was closed', 'This is a fault of Podline: report it.'),
  PDL_RUN_FENCED: entry(
    409,
    // The shard may have been leased to the same line anew while the run worked: the next one is of the new epoch.
    'later',
    'A run that is no longer current tried to commit',
    'Nothing to do: another run has taken its place and nothing was changed.',
  ),
  PDL_FORMAT_UNSUPPORTED: entry(
    422,
    'never',
    'The data uses a feature of its format that Podline does not read',
    'Write it without the feature that is named.',
  ),
  // --- stages -------------------------------------------------------------------------------
  PDL_STAGE_FAILED: entry(500, 'later', 'A stage failed', 'Read the log tail of the stage.'),
  PDL_STAGE_DIED: entry(
    500,
    'later',
    'The process of a stage ended before its work did',
    'Read the log tail; an end by SIGKILL is often the out-of-memory killer.',
  ),
  PDL_STAGE_TIMEOUT: entry(
    504,
    'later',
    'A stage took longer than its time limit',
    'Raise `timeout` of the stage, or make it report what it waits for.',
  ),
  PDL_STAGE_OUTPUT: entry(
    422,
    'never',
    'A stage returned what its definition does not allow',
    'Return the columns, types and row count that `defineStage` declares.',
  ),
  PDL_STAGE_MEMORY: entry(
    500,
    'later',
    'A stage went over its memory limit',
    'Raise `resources.memory` of the stage, or work on smaller blocks.',
  ),
  PDL_SLOT_UNUSABLE: entry(503, 'later', 'A slot cannot hold the stage that was put into it', 'Read the log of the slot.'),
  // --- checkpoints --------------------------------------------------------------------------
  PDL_CHECKPOINT_FULL: entry(
    507,
    'later',
    'The disk for checkpoints is full',
    'Free space, or lower `checkpoints.retain`; the line goes on without this checkpoint.',
  ),
  PDL_CHECKPOINT_MISSING: entry(
    503,
    'later',
    'The folder for checkpoints is not there',
    'Mount the volume; the line goes on without this checkpoint.',
  ),
  PDL_CHECKPOINT_CORRUPT: entry(
    500,
    'never',
    'A checkpoint does not match its checksums',
    'It is not used; an older one or the source is.',
  ),
  // --- coordinator --------------------------------------------------------------------------
  PDL_WORKDIR_BUSY: entry(
    409,
    'later',
    'Another coordinator works in this work directory',
    'Use another --work-dir, or end the process that is named.',
  ),
  PDL_RUN_UNFINISHED: entry(
    409,
    'never',
    'The work directory holds an unfinished run',
    'Use --resume to go on with it, or `podline clean` to give it up.',
  ),
  PDL_LINE_UNKNOWN: entry(
    404,
    'later',
    'The coordinator does not know this line',
    'A line says hello again; for a person: list the lines and check the name.',
  ),
  PDL_PIPELINE_UNKNOWN: entry(404, 'never', 'There is no such pipeline', 'List the pipelines and check the name.'),
  PDL_PIPELINE_BUSY: entry(
    409,
    'later',
    'The pipeline has work, or is being deleted',
    'Wait for its shards to end, or delete it with `?cancel=true`.',
  ),
  PDL_SHARD_UNKNOWN: entry(404, 'never', 'There is no such shard', 'List the shards of the pipeline and check the id.'),
  PDL_SHARD_STATE: entry(409, 'never', 'The shard is in a state that does not allow this', 'Look at the state that is named.'),
  PDL_LEASE_LOST: entry(
    409,
    'never',
    'The lease has ended or belongs to another line',
    'Nothing to do: the line lets the shard go.',
  ),
  PDL_LINE_DRAINED: entry(
    503,
    'later',
    'A line gave its shards back because it was drained',
    'Nothing to do: another line takes them; no attempt is counted.',
  ),
  PDL_TIME_LIMIT: entry(
    504,
    'never',
    'A shard was pending or running longer than its time limit',
    'Raise `timeLimits`, add lines, or look at what it waits for.',
  ),
  PDL_QUEUE_FULL: entry(429, 'later', 'The queue is full', 'Wait as long as Retry-After says and submit again.'),
  PDL_NOT_LEADER: entry(
    421,
    'later',
    'This coordinator is not the one that leads',
    'Ask the one that `place` names; the clients of Podline do so by themselves when they are given all addresses.',
  ),
  PDL_QUOTA: entry(
    409,
    'later',
    'The quota leaves no room for a line',
    'Raise the quota that is named, or make lines smaller (`spec.resources`, `spec.scratch.size`).',
  ),
  PDL_JOURNAL: entry(500, 'later', 'The journal could not be written', 'Check the disk of the work directory.'),
  // --- results ------------------------------------------------------------------------------
  PDL_RESULT_DIR: entry(
    422,
    'later',
    'The result directory cannot be written',
    'Check that it exists or can be made, and its rights and free space.',
  ),
  PDL_RESULT_TAKEN: entry(
    409,
    'never',
    'The result directory holds the result of another shard',
    'Choose another result directory or key.',
  ),
  // --- API and use --------------------------------------------------------------------------
  PDL_REQUEST_INVALID: entry(400, 'never', 'The request does not fit its schema', 'Mend the field that is named.'),
  PDL_PATH_UNKNOWN: entry(404, 'never', 'There is no such path, or not with this method', 'The paths are in /v1/openapi.json.'),
  PDL_MEDIA_TYPE: entry(
    415,
    'never',
    'The body is of a type that is not taken here',
    'Send application/json, or application/x-ndjson where many are taken.',
  ),
  PDL_TOO_LARGE: entry(
    413,
    'never',
    'The request is larger than the bound',
    'Give large sources by address, and many submissions as NDJSON.',
  ),
  PDL_TOO_SLOW: entry(408, 'later', 'The request did not arrive in time', 'Send it without long pauses.'),
  PDL_RATE_LIMITED: entry(429, 'later', 'The token was used more often than it may be', 'Wait as long as Retry-After says.'),
  PDL_PRECONDITION: entry(412, 'never', 'It has changed since it was read', 'Read it again, and send its new ETag as If-Match.'),
  PDL_FORBIDDEN: entry(403, 'never', 'The token does not allow this', 'Use a token with the scope that is named.'),
  PDL_PLACE_FORBIDDEN: entry(
    403,
    'never',
    'An address or path lies outside of what is allowed',
    'Use a place that the configuration of the coordinator allows, or have it allowed there.',
  ),
  PDL_RESULT_MISSING: entry(404, 'never', 'There is no such result', 'A shard has its result once it is completed.'),
  PDL_CONFIG_INVALID: entry(400, 'never', 'The configuration of the coordinator is wrong', 'Mend the place that is named.'),
  PDL_UNAUTHORIZED: entry(401, 'never', 'The token is missing or not known', 'Send the token as `Authorization: Bearer …`.'),
  PDL_USAGE: entry(400, 'never', 'The command was used wrongly', 'See `podline --help`.'),
  PDL_UNREACHABLE: entry(503, 'later', 'The coordinator does not answer', 'Start it, or check the address.'),
  PDL_PROTOCOL: entry(
    500,
    'never',
    'A message on the wire does not fit the protocol',
    'Use agent, shim and coordinator of the same version.',
  ),
  PDL_SWAP_FAILED: entry(
    503,
    'later',
    'A stage could not be swapped into its slot',
    'Read the reason; in a cluster look at the events of the pod.',
  ),
  PDL_SWAP_NOT_TAKEN: entry(
    503,
    'later',
    'The cluster did not take an order for a swap',
    'Look after the API server and its webhooks; the swap is ordered again until they answer.',
  ),
  // --- connectors ---------------------------------------------------------------------------
  PDL_CONNECTOR_INVALID: entry(
    400,
    'never',
    'The configuration of a connector does not fit its schema',
    'Mend the field that is named; docs/connectors.md lists them.',
  ),
  PDL_CONNECTOR_MISSING: entry(
    501,
    'never',
    'The client library of a connector is not installed',
    'Install the package that is named, or install Podline with its optional dependencies.',
  ),
  PDL_BROKER_UNREACHABLE: entry(
    503,
    'later',
    'A broker does not answer',
    'Start it, or check the address; it is tried again with growing pauses.',
  ),
  PDL_BROKER_REFUSED: entry(
    502,
    'later',
    'A broker refuses what a connector asks of it',
    'Check the names, rights and password of the connector; it is tried again with growing pauses.',
  ),
  PDL_INTERNAL: entry(500, 'later', 'A fault of Podline', 'Report it with the message and the log.'),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorCatalogue;

export interface ErrorDetails {
  /** Where: a file with line and column, a stage, a field path. */
  readonly place?: string | undefined;
  /** The way out, when it can be said better than the catalogue does. */
  readonly hint?: string | undefined;
  /** Overrides the catalogue where the thrower knows better. */
  readonly retry?: 'never' | 'later' | undefined;
  /** The last lines that a stage wrote to stderr. */
  readonly logTail?: string | undefined;
  /** When to try again, in seconds: Retry-After. */
  readonly retryAfterS?: number | undefined;
  readonly cause?: unknown;
}

/** What an error is on a socket, in the journal and in a problem+json body. */
export interface WireError {
  code: ErrorCode;
  message: string;
  place?: string | undefined;
  hint: string;
  retry: 'never' | 'later';
  logTail?: string | undefined;
  retryAfterS?: number | undefined;
}

export class PodlineError extends Error {
  readonly code: ErrorCode;
  readonly place: string | undefined;
  readonly hint: string;
  readonly retry: 'never' | 'later';
  readonly logTail: string | undefined;
  readonly retryAfterS: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'PodlineError';
    this.code = code;
    this.place = details.place;
    this.hint = details.hint ?? errorCatalogue[code].hint;
    this.retry = details.retry ?? errorCatalogue[code].retry;
    this.logTail = details.logTail;
    this.retryAfterS = details.retryAfterS;
  }

  toWire(): WireError {
    return {
      code: this.code,
      message: this.message,
      hint: this.hint,
      retry: this.retry,
      ...(this.place === undefined ? {} : { place: this.place }),
      ...(this.logTail === undefined ? {} : { logTail: this.logTail }),
      ...(this.retryAfterS === undefined ? {} : { retryAfterS: this.retryAfterS }),
    };
  }

  static fromWire(wire: WireError): PodlineError {
    return new PodlineError(wire.code, wire.message, wire);
  }

  /** Any thrown value as a PodlineError; what is not one already becomes `code` with its message. */
  static from(thrown: unknown, code: ErrorCode = 'PDL_INTERNAL', details: ErrorDetails = {}): PodlineError {
    if (thrown instanceof PodlineError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new PodlineError(code, message, { ...details, cause: thrown });
  }
}

export const isPodlineError = (thrown: unknown, code?: ErrorCode): thrown is PodlineError =>
  thrown instanceof PodlineError && (code === undefined || thrown.code === code);

/** Of a call to a coordinator: nobody answered, or one that sends us on. The same call may be answered later, or by another one. */
export const isElsewhere = (error: PodlineError): boolean => error.code === 'PDL_UNREACHABLE' || error.code === 'PDL_NOT_LEADER';
