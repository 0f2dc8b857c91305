/** Whole input streams, as the files form and commands read them. */
import type { BlockRecord, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import type { Scratch, ShardReader } from '../scratch/types.js';
import { BatchSource } from './batch.js';
import type { AnyColumn, Scalar } from './columns.js';
import type { Batch, StageInputs, StreamInput } from './define.js';

export function stageInputs(
  stage: string,
  scratch: Scratch,
  shardId: string,
  reader: ShardReader,
  streams: readonly StreamRecord[],
): StageInputs {
  const inputs = new Map(streams.map((stream) => [stream.stream, streamInput(stage, scratch, shardId, reader, stream)]));
  const names = [...inputs.keys()];
  return {
    names,
    stream(name) {
      const input = inputs.get(name);
      if (input === undefined)
        throw new PodlineError('PDL_STAGE_COLUMNS', `stage ${stage} does not read ${name}; it reads ${names.join(', ')}`, {
          place: stage,
        });
      return input;
    },
    only() {
      const [input, other] = inputs.values();
      if (input === undefined || other !== undefined)
        throw new PodlineError('PDL_STAGE_COLUMNS', `stage ${stage} reads ${names.join(', ')}: say which`, { place: stage });
      return input;
    },
    [Symbol.iterator]: () => inputs.values(),
  };
}

function streamInput(stage: string, scratch: Scratch, shardId: string, reader: ShardReader, stream: StreamRecord): StreamInput {
  const { stream: name, kind, rows, blocks, schema } = stream;
  const place = `${stage}/${name}`;
  const source = new BatchSource(reader, stage, { form: 'files', keep: 'none' });
  function* records(): Generator<BlockRecord> {
    for (let seq = 0; seq < blocks; seq++) {
      const block = scratch.block(shardId, name, seq);
      if (block === undefined) throw new PodlineError('PDL_INTERNAL', `block ${seq} of ${name} is not in the index`, { place });
      yield block;
    }
  }
  const only = (wanted: StreamRecord['kind']): void => {
    if (kind !== wanted)
      throw new PodlineError('PDL_STAGE_COLUMNS', `${name} is a stream of ${kind}, not of ${wanted}`, { place });
  };
  function* batches(): Generator<Batch> {
    only('table');
    for (const block of records()) yield source.batch(block);
  }
  function* chunks(): Generator<Uint8Array> {
    only('bytes');
    for (const block of records()) yield reader.payload(block);
  }
  let files: readonly string[] | undefined;
  return {
    name,
    kind,
    rows,
    blocks,
    schema,
    batches,
    chunks,
    toRows: () => Array.from(batches(), rowsOf).flat(),
    get files() {
      return (files ??= kind === 'files' ? [...new Set(Array.from(records(), (block) => block.file ?? ''))] : []);
    },
    read(file) {
      if (file === undefined) return whole(Array.from(chunks()));
      only('files');
      const pieces = Array.from(records()).filter((block) => block.file === file);
      if (pieces.length === 0) throw new PodlineError('PDL_STAGE_COLUMNS', `${name} has no file ${file}`, { place });
      return whole(pieces.map((block) => reader.payload(block)));
    },
  };
}

const whole = (pieces: Uint8Array[]): Uint8Array =>
  pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces);

type PlainValue = Scalar | null | readonly (Scalar | null)[];

/** Rows of a batch as plain objects, in the types that the columns' `at` gives, lists as arrays. */
export function rowsOf(batch: Batch): Record<string, PlainValue>[] {
  const columns = batch.names.map((name) => [name, plainValue(batch.column(name))] as const);
  return Array.from({ length: batch.rows }, (_, row) => Object.fromEntries(columns.map(([name, at]) => [name, at(row)])));
}

const plainValue = (column: AnyColumn): ((row: number) => PlainValue) =>
  'items' in column ? (row) => column.toArray(row) : (row) => column.at(row);
