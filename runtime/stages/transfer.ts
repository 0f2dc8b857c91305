/**
 * An answer made ready to leave its thread.
 *
 * Invariants
 *  1. A buffer that belongs to one returned array alone is transferred: no copy, and its maker has it no longer.
 *  2. Everything else is copied tightly first: cloning a view of a mapped segment would clone the whole segment.
 *  3. Dictionaries are always copied: a stage uses the same words for its next block.
 */
import type { ColumnData, ColumnToWrite, Utf8Data } from '../scratch/types.js';
import type { Answer } from './work.js';

export function packed(
  answer: Answer,
  isInput: (buffer: ArrayBufferLike) => boolean,
): { answer: Answer; transfer: ArrayBuffer[] } {
  const transfer = new Set<ArrayBuffer>();
  const own = <V extends ArrayBufferView>(view: V): V => {
    const { buffer } = view;
    const free =
      buffer instanceof ArrayBuffer && view.byteLength === buffer.byteLength && !isInput(buffer) && !transfer.has(buffer);
    const out = free ? view : tightCopy(view);
    transfer.add(out.buffer as ArrayBuffer);
    return out;
  };
  const column = (written: ColumnToWrite): ColumnToWrite =>
    'data' in written ? { name: written.name, data: ownData(written.data, own) } : written;
  switch (answer.kind) {
    case 'table': {
      const columns = answer.columns.map(column);
      return { answer: { ...answer, columns }, transfer: [...transfer] };
    }
    case 'bytes': {
      const payload = own(answer.payload);
      return { answer: { ...answer, payload }, transfer: [...transfer] };
    }
    case 'partial':
      return { answer, transfer: [] };
  }
}

function ownData(data: ColumnData, own: <V extends ArrayBufferView>(view: V) => V): ColumnData {
  return {
    ...data,
    values: own(data.values),
    ...(data.validity === undefined ? {} : { validity: own(data.validity) }),
    ...(data.offsets === undefined ? {} : { offsets: own(data.offsets) }),
    ...(data.dictionary === undefined ? {} : { dictionary: ownWords(data.dictionary) }),
  };
}

const ownWords = ({ length, offsets, values }: Utf8Data): Utf8Data => ({
  length,
  offsets: tightCopy(offsets),
  values: tightCopy(values),
});

function tightCopy<V extends ArrayBufferView>(view: V): V {
  const bytes = new Uint8Array(view.byteLength);
  bytes.set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  // A Buffer keeps its prototype no further than this thread: the other side sees a Uint8Array either way.
  const make = (Buffer.isBuffer(view) ? Uint8Array : view.constructor) as new (buffer: ArrayBuffer) => V;
  return new make(bytes.buffer);
}
