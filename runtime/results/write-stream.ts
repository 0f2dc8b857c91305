/** Writes one sealed stream of a scratch as the files of a result. */
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { BlockRecord, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { ResultFile } from '../contracts/shard.js';
import type { Scratch, ShardReader, Utf8Data } from '../scratch/types.js';
import { checkedFileName } from './names.js';
import { FileSink } from './sink.js';
import { openTableFile } from './table-file.js';
import type { ResultFormat } from './types.js';

export interface StreamToWrite {
  scratch: Scratch;
  reader: ShardReader;
  shardId: string;
  record: StreamRecord;
  format: ResultFormat;
  /** Folder that the files go into. */
  folder: string;
  /** Throws when the delivery is not wanted any more; asked before each block. */
  check: () => void;
  /** Names that are taken already; added to. */
  names: Set<string>;
}

/** Blocks whose records are held at once. */
const blocksAtOnce = 64;

export async function writeStream(to: StreamToWrite): Promise<ResultFile[]> {
  switch (to.record.kind) {
    case 'table':
      return [await writeTable(to)];
    case 'bytes':
      return [await writeBytes(to)];
    case 'files':
      return writeFiles(to);
  }
}

async function writeTable(to: StreamToWrite): Promise<ResultFile> {
  const { record, format, reader } = to;
  return withSink(to, `${record.stream}.${format}`, async (sink) => {
    const table = await openTableFile(format, sink, record.schema, () => dictionariesOf(to));
    for await (const block of blocksOf(to)) {
      await table.append(block.rows, reader.table(block));
    }
    await table.finish();
    return record.rows;
  });
}

function* dictionariesOf({ scratch, shardId, record, reader }: StreamToWrite): Generator<readonly [string, Utf8Data]> {
  const seen = new Set<string>();
  for (let from = 0; from < record.blocks; from += blocksAtOnce) {
    for (const block of scratch.blocks(shardId, record.stream, from, from + blocksAtOnce)) {
      for (const ref of block.columns) {
        if (ref.dictionary === undefined) continue;
        const place = `${ref.name} ${ref.dictionary.offsets.segment} ${String(ref.dictionary.offsets.offset)}`;
        if (seen.has(place)) continue;
        seen.add(place);
        const { dictionary } = reader.column(ref, block.rows);
        if (dictionary !== undefined) yield [ref.name, dictionary];
      }
    }
  }
}

async function writeBytes(to: StreamToWrite): Promise<ResultFile> {
  return withSink(to, `${to.record.stream}.bin`, async (sink) => {
    for await (const block of blocksOf(to)) {
      sink.write(to.reader.payload(block));
      sink.flush();
    }
    return undefined;
  });
}

async function writeFiles(to: StreamToWrite): Promise<ResultFile[]> {
  const files: ResultFile[] = [];
  let sink: FileSink | undefined;
  let current: string | undefined;
  try {
    for await (const block of blocksOf(to)) {
      if (block.file === undefined)
        throw new PodlineError('PDL_STAGE_OUTPUT', `block ${String(block.seq)} of ${to.record.stream} names no file`);
      if (sink === undefined || block.file !== current) {
        if (sink !== undefined) files.push(sink.finish());
        current = block.file;
        sink = openSink(to, checkedFileName(block.file, to.record.stream));
      }
      sink.write(to.reader.payload(block));
      sink.flush();
    }
    if (sink !== undefined) files.push(sink.finish());
    return files;
  } finally {
    sink?.abandon();
  }
}

async function withSink(
  to: StreamToWrite,
  name: string,
  write: (sink: FileSink) => Promise<number | undefined>,
): Promise<ResultFile> {
  const sink = openSink(to, name);
  try {
    const rows = await write(sink);
    return sink.finish(rows);
  } finally {
    sink.abandon();
  }
}

function openSink(to: StreamToWrite, name: string): FileSink {
  if (to.names.has(name)) {
    throw new PodlineError('PDL_STAGE_OUTPUT', `stage ${to.record.stream} writes the result file ${name} a second time`, {
      place: to.record.stream,
      hint: 'Give each result file a name of its own, and write the pieces of one file one after another.',
    });
  }
  if (to.names.size >= limits.resultFilesMax) {
    throw new PodlineError('PDL_STAGE_OUTPUT', `the result has more than ${String(limits.resultFilesMax)} files`, {
      place: to.record.stream,
    });
  }
  to.names.add(name);
  return new FileSink(join(to.folder, name), name);
}

async function* blocksOf({ scratch, shardId, record, check }: StreamToWrite): AsyncGenerator<BlockRecord> {
  for (let from = 0; from < record.blocks; from += blocksAtOnce) {
    for (const block of scratch.blocks(shardId, record.stream, from, from + blocksAtOnce)) {
      check();
      yield block;
      // Lets messages and other deliveries of the thread in.
      await setImmediate();
    }
  }
}
