/** Writes one sealed stream of a scratch as the files of a result. */
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { BlockRecord, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { limits } from '../contracts/limits.js';
import type { ResultFile } from '../contracts/shard.js';
import type { Scratch, ShardReader, Utf8Data } from '../scratch/types.js';
import { checkedFileName } from './names.js';
import { writeTogether } from './parallel/together.js';
import { FileSink } from './sink.js';
import { openTableFile } from './table-file.js';
import { TextBuffer } from './text-buffer.js';
import { isText, textFormat, type TextName } from './text-format.js';
import type { ResultFormat, TextHelp } from './types.js';

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
  /** Threads that make text too. */
  help?: TextHelp | undefined;
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
    if (isText(format)) {
      await writeText(to, sink, format);
      return record.rows;
    }
    const table = await openTableFile(format, sink, record.schema, () => dictionariesOf(to));
    for await (const block of blocksOf(to)) {
      await table.append(block.rows, reader.table(block));
    }
    await table.finish();
    return record.rows;
  });
}

async function writeText(to: StreamToWrite, sink: FileSink, format: TextName): Promise<void> {
  const { record, scratch, shardId, reader, check } = to;
  const help = to.help !== undefined && record.bytes >= to.help.fromBytes ? to.help : noHelp;
  const text = textFormat(format, record.schema);
  sink.write(text.head);
  let take: (bytes: Uint8Array) => void = () => undefined;
  const out = new TextBuffer((bytes) => take(bytes));
  const { stream } = record;
  await writeTogether({
    blocks: record.blocks,
    helpers: help.count,
    ask: (helper, seq) => help.textOf(helper, { shardId, stream, seq, format }),
    make: (seq, taker) => {
      take = taker;
      const block = scratch.block(shardId, stream, seq);
      if (block === undefined) throw new PodlineError('PDL_INTERNAL', `block ${String(seq)} of ${stream} is not in the index`);
      text.write(out, block.rows, reader.table(block));
    },
    write: (piece) => {
      sink.write(piece);
      sink.flush();
    },
    check,
  });
}

const noHelp = { count: 0, textOf: () => Promise.resolve([]) };

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
