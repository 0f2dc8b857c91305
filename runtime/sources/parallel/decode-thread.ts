/** Thread entry: decodes parts of sources, or copies blocks of bytes, one after another; columns are handed over without copying them. */
import { parentPort } from 'node:worker_threads';
import { PodlineError } from '../../contracts/errors.js';
import type { ColumnData, WrittenBlock } from '../../scratch/types.js';
import { openParquetPart } from '../parquet/reader.js';
import { FileSource } from '../source-reader.js';
import { BlockCopier } from './block-copier.js';
import type { CopyBlock, DecodePart, DecodedPart, FromDecoder, ToDecoder } from './messages.js';
import { readTextPart, startOf } from './text-part.js';

if (parentPort === null) throw new Error('decode-thread is a thread entry');
const port = parentPort;
let working: Promise<void> = Promise.resolve();

async function decode(id: number, { uri, identity, plan, part }: DecodePart): Promise<void> {
  let source: FileSource | undefined;
  let start = part.known?.start ?? part.from;
  const bytesRead = (): number => source?.counts.bytes[source.medium].read ?? 0;
  let message: FromDecoder;
  try {
    source = await FileSource.open(uri);
    if (source.identity !== identity)
      throw new PodlineError('PDL_SOURCE_UNREADABLE', `${source.name} was replaced while it was read`, { place: source.name });
    let read: Omit<DecodedPart, 'bytesRead'>;
    if (plan.format === 'parquet') {
      const batches = await openParquetPart(source, plan, part);
      read = { batches, start, end: part.to, records: 0 };
    } else {
      start = await startOf(source, plan, part);
      read = await readTextPart(source, plan, part, start);
    }
    message = { id, done: { ...read, bytesRead: bytesRead() } };
  } catch (thrown) {
    message = { id, failed: { error: PodlineError.from(thrown).toWire(), start, bytesRead: bytesRead() } };
  } finally {
    await source?.close();
  }
  port.postMessage(message, 'done' in message ? buffersOf(message.done) : []);
}

/** What may be handed over: each buffer is of one column alone, or of columns that go together. */
function buffersOf({ batches }: DecodedPart): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  const add = (view: ArrayBufferView | undefined): void => {
    if (view?.buffer instanceof ArrayBuffer && view.buffer.byteLength > 0) buffers.add(view.buffer);
  };
  const addColumn = (column: ColumnData): void => {
    for (const view of [column.values, column.offsets, column.validity]) add(view);
    if (column.items !== undefined) addColumn(column.items);
  };
  for (const { columns } of batches) for (const column of columns) addColumn(column);
  return [...buffers];
}

/** By run. */
const copiers = new Map<string, BlockCopier>();

async function copy(task: CopyBlock): Promise<WrittenBlock> {
  const run = task.target.request.run.runId;
  let copier = copiers.get(run);
  if (copier === undefined) copiers.set(run, (copier = await BlockCopier.open(task)));
  return copier.copy(task);
}

async function leave(run: string): Promise<undefined> {
  const copier = copiers.get(run);
  copiers.delete(run);
  await copier?.close();
}

async function work(message: ToDecoder): Promise<void> {
  if ('type' in message) {
    for (const run of [...copiers.keys()]) await leave(run);
    port.close();
    return;
  }
  const { id, work: asked } = message;
  if (asked.type === 'decode') return decode(id, asked.task);
  let answer: FromDecoder;
  try {
    answer = { id, copied: asked.type === 'copy' ? await copy(asked.task) : await leave(asked.run) };
  } catch (thrown) {
    answer = { id, failed: { error: PodlineError.from(thrown).toWire(), start: 0, bytesRead: 0 } };
  }
  port.postMessage(answer);
}

port.on('message', (message: ToDecoder) => {
  working = working.then(() => work(message));
});
