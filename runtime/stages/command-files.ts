/**
 * The folders of a command: its input streams laid out as files, and what it wrote taken in.
 *
 * Invariants
 *  1. A stream that lies in one whole file already is linked, not copied; what is linked must not be written to.
 *  2. Nothing is taken in unless the output is what the stage declared: one Arrow file, one file of bytes, or files.
 */
import { createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rm, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { BlockRecord, SegmentRecord, StreamKind, StreamRecord } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { fileSafe } from '../platform/files.js';
import { writeArrowFile } from '../scratch/arrow/file-writer.js';
import type { Scratch, ShardReader } from '../scratch/types.js';
import { wholeArrowSegment } from '../scratch/whole.js';
import { fault } from './output.js';
import { isSafeName } from './files-form.js';

export interface RunFolders {
  root: string;
  input: string;
  output: string;
}

export async function makeFolders(runsDir: string, runId: string): Promise<RunFolders> {
  // What a run left behind that ended with its shim.
  await rm(runsDir, { recursive: true, force: true });
  const root = join(runsDir, fileSafe(runId));
  const folders = { root, input: join(root, 'input'), output: join(root, 'output') };
  await mkdir(folders.input, { recursive: true });
  await mkdir(folders.output);
  return folders;
}

/** Lays one stream into the input folder: `<stream>.arrow`, `<stream>.bin`, or `<stream>/<file>`. */
export async function layInput(
  scratch: Scratch,
  shardId: string,
  stream: StreamRecord,
  reader: ShardReader,
  folder: string,
): Promise<void> {
  const blocks = scratch.blocks(shardId, stream.stream);
  if (stream.kind === 'files') {
    for (const name of new Set(blocks.map((block) => block.file ?? ''))) {
      if (!isSafeName(name))
        throw new PodlineError(
          'PDL_STAGE_OUTPUT',
          `${stream.stream} holds a file named ${JSON.stringify(name)}, which may not be laid into a folder`,
        );
      const path = join(folder, stream.stream, name);
      await mkdir(dirname(path), { recursive: true });
      await writePayloads(
        path,
        blocks.filter((block) => block.file === name),
        reader,
      );
    }
    return;
  }
  const path = join(folder, `${stream.stream}.${stream.kind === 'table' ? 'arrow' : 'bin'}`);
  const whole =
    stream.kind === 'table'
      ? wholeArrowSegment(scratch, shardId, stream.stream)
      : wholeBytesSegment(scratch.segments(shardId), stream.stream, blocks);
  if (whole !== undefined) {
    await symlink(whole.path, path);
  } else if (stream.kind === 'table') {
    await writeArrowFile(path, stream.schema, tables(blocks, reader));
  } else {
    await writePayloads(path, blocks, reader);
  }
}

/** The segment that is the stream: its payloads, one behind another in their order, and nothing else. */
export function wholeBytesSegment(
  segments: readonly SegmentRecord[],
  stream: string,
  blocks: readonly BlockRecord[],
): SegmentRecord | undefined {
  const payloads = blocks.flatMap(({ payload }) => (payload === undefined || payload.length === 0 ? [] : [payload]));
  const segment = segments.find(({ id }) => id === payloads[0]?.segment);
  let end = 0;
  for (const { segment: id, offset, length } of payloads) {
    if (id !== segment?.id || offset !== end) return undefined;
    end += length;
  }
  return segment?.stream === stream && segment.committedBytes === end ? segment : undefined;
}

function* tables(blocks: readonly BlockRecord[], reader: ShardReader) {
  for (const block of blocks) yield { rows: block.rows, columns: reader.table(block) };
}

async function writePayloads(path: string, blocks: readonly BlockRecord[], reader: ShardReader): Promise<void> {
  await pipeline(
    Readable.from(blocks, { objectMode: true }).map((block: BlockRecord) => reader.payload(block)),
    createWriteStream(path),
  );
}

/** What the command wrote, by the kind of its output. Throws PDL_STAGE_OUTPUT. */
export async function foundOutput(stage: string, kind: StreamKind, folder: string): Promise<{ path: string; name: string }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path, name: relative(folder, path) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const got =
    files.length === 0
      ? 'nothing'
      : files
          .map(({ name }) => name)
          .slice(0, 8)
          .join(', ');
  if (kind === 'table') {
    const arrow = files.filter(({ name }) => name.endsWith('.arrow'));
    if (arrow.length !== 1)
      throw fault(
        stage,
        'exactly one *.arrow file in PODLINE_OUTPUT_DIR',
        got,
        'Write one Arrow IPC file, or declare `output: bytes` or `output: files`.',
      );
    return arrow;
  }
  if (kind === 'bytes' && files.length !== 1)
    throw fault(stage, 'exactly one file in PODLINE_OUTPUT_DIR', got, 'Write one file, or declare `output: files`.');
  return files;
}

/** A file in pieces. */
export async function* pieces(path: string, pieceBytes: number): AsyncGenerator<Uint8Array> {
  const file = await open(path, 'r');
  try {
    for (let first = true; ; first = false) {
      const buffer = Buffer.allocUnsafe(pieceBytes);
      let filled = 0;
      while (filled < pieceBytes) {
        const { bytesRead } = await file.read(buffer, filled, pieceBytes - filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      // An empty file is one empty piece.
      if (filled > 0 || first) yield buffer.subarray(0, filled);
      if (filled < pieceBytes) return;
    }
  } finally {
    await file.close();
  }
}
