/** Thread entry: makes blocks of tables into text, one after another. Keeps open the scratch that it was last asked about. */
import { parentPort } from 'node:worker_threads';
import { PodlineError } from '../../contracts/errors.js';
import { openScratch } from '../../scratch/scratch.js';
import type { Scratch } from '../../scratch/types.js';
import { TextBuffer } from '../text-buffer.js';
import { textFormat } from '../text-format.js';
import type { BlockText, FromTextThread, TextTask, ToTextThread } from './messages.js';

if (parentPort === null) throw new Error('text-thread is a thread entry');
const port = parentPort;

let pieces: Uint8Array<ArrayBuffer>[] = [];
const out = new TextBuffer((bytes) => pieces.push(new Uint8Array(bytes)));
let open: { key: string; scratch: Scratch } | undefined;
let working: Promise<void> = Promise.resolve();

async function scratchOf(options: TextTask['scratch']): Promise<Scratch> {
  const key = JSON.stringify(options);
  if (open?.key === key) return open.scratch;
  await open?.scratch.close();
  open = undefined;
  const scratch = await openScratch({ ...options, role: 'stage' });
  open = { key, scratch };
  return scratch;
}

async function textOf({ scratch: options, shardId, stream, seq, format }: TextTask): Promise<BlockText> {
  const scratch = await scratchOf(options);
  const block = scratch.block(shardId, stream, seq);
  if (block === undefined)
    throw new PodlineError('PDL_INTERNAL', `block ${String(seq)} of ${stream} is not in the index`, { place: shardId });
  const text = textFormat(format, scratch.stream(shardId, stream)?.schema ?? []);
  const reader = scratch.openReader(shardId);
  pieces = [];
  try {
    text.write(out, block.rows, reader.table(block));
    return { pieces, read: { ...reader.read } };
  } finally {
    reader.close();
  }
}

async function answer({ id, task }: ToTextThread): Promise<void> {
  let message: FromTextThread;
  try {
    message = { id, text: await textOf(task) };
  } catch (thrown) {
    out.forget();
    message = { id, error: PodlineError.from(thrown).toWire() };
  }
  port.postMessage(message, 'text' in message ? message.text.pieces.map(({ buffer }) => buffer) : []);
}

port.on('message', (asked: ToTextThread) => {
  working = working.then(() => answer(asked));
});
