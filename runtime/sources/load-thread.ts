/** Thread entry: loads, several at once if asked to; keeps the scratch that it was last used for open. */
import { parentPort } from 'node:worker_threads';
import { PodlineError } from '../contracts/errors.js';
import { openScratch } from '../scratch/scratch.js';
import type { Scratch, ScratchOptions, WriterRequest } from '../scratch/types.js';
import { loadSource } from './load.js';
import { Decoders } from './parallel/decoders.js';
import type { LoadRequest, ToLoader, FromLoader } from './load-messages.js';

if (parentPort === null) throw new Error('load-thread is a thread entry');
const port = parentPort;
const loads = new Map<number, { abort: AbortController; answers: ((answer: 'memory' | 'ssd' | 'none') => void)[] }>();
const decoders = new Decoders();
const scratches = new Map<string, Promise<Scratch>>();

/** The thread writes under a run as a stage does; the owner is its parent. */
function scratchFor(options: ScratchOptions): Promise<Scratch> {
  const key = JSON.stringify([options.dir, options.spillDir, options.sizeBytesMax, options.medium]);
  let open = scratches.get(key);
  if (open === undefined) {
    open = openScratch({ ...options, role: 'stage' });
    scratches.set(key, open);
    open.catch(() => scratches.delete(key));
  }
  return open;
}

const writerRequest = (
  { shardId, lineage, run }: LoadRequest,
  kind: WriterRequest['kind'],
  schema: WriterRequest['schema'],
): WriterRequest => ({ shardId, stream: 'input', kind, schema, lineage, run });

async function load(id: number, request: LoadRequest): Promise<void> {
  const abort = new AbortController();
  const answers: ((answer: 'memory' | 'ssd' | 'none') => void)[] = [];
  loads.set(id, { abort, answers });
  let message: FromLoader;
  try {
    const scratch = await scratchFor(request.scratch);
    const result = await loadSource(request.source, {
      input: request.input,
      openWriter: (kind, schema) => scratch.openWriter(writerRequest(request, kind, schema)),
      copyTarget: () => ({ scratch: request.scratch, request: writerRequest(request, 'bytes', []) }),
      onProgress: (progress) => port.postMessage({ type: 'progress', id, progress } satisfies FromLoader),
      onFull: (bytes) =>
        new Promise((answer) => {
          answers.push(answer);
          port.postMessage({ type: 'full', id, bytes } satisfies FromLoader);
        }),
      onWhole: () => scratch.ring(request.shardId, 'input'),
      signal: abort.signal,
      allowed: request.allowed,
      decoders,
    });
    message = { type: 'done', id, result };
  } catch (thrown) {
    message = { type: 'failed', id, error: PodlineError.from(thrown).toWire() };
  }
  loads.delete(id);
  port.postMessage(message);
  if (isClosing) await closeWhenIdle();
}

let isClosing = false;

async function closeWhenIdle(): Promise<void> {
  isClosing = true;
  if (loads.size > 0) return;
  for (const open of scratches.values()) await (await open.catch(() => undefined))?.close();
  scratches.clear();
  await decoders.close();
  port.close();
}

port.on('message', (message: ToLoader) => {
  const running = 'id' in message ? loads.get(message.id) : undefined;
  switch (message.type) {
    case 'load':
      void load(message.id, message.request);
      break;
    case 'cancel':
      running?.abort.abort(new PodlineError('PDL_INTERNAL', 'the load was cancelled', { retry: 'later' }));
      for (const answer of running?.answers.splice(0) ?? []) answer('none');
      break;
    case 'room':
      running?.answers.shift()?.(message.answer);
      break;
    case 'close':
      void closeWhenIdle();
  }
});
