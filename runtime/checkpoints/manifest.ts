/**
 * The manifest of a checkpoint: what it holds, written so that a torn or altered one is never taken for whole.
 *
 * The file is `{"checksum":"<sha256 of what follows>","manifest":{…}}`. Streams carry their records, blocks and
 * progress as the scratch had them; a block names its buffers by segment, and each stream says in which file of
 * the checkpoint each of these segments lies. A file is described by the pieces that tile it, each with a crc32.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { columnTypes, type StageProgress } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';

/** 2 knows lists, selections and freed columns, which whoever reads only 1 would overlook. */
export const checkpointFormat = 2;
const formatsRead = [1, checkpointFormat] as const;

const whole = z.int().nonnegative();
const bufferRef = z.object({ segment: z.string(), offset: whole, length: whole });
const arrayRef = z.object({
  nullCount: whole,
  validity: bufferRef.optional(),
  offsets: bufferRef.optional(),
  values: bufferRef,
});
const columnRef = arrayRef.extend({
  name: z.string(),
  type: z.enum(columnTypes),
  dictionary: z.object({ length: whole, offsets: bufferRef, values: bufferRef }).optional(),
  items: arrayRef.extend({ rows: whole }).optional(),
  selection: z.object({ rows: whole, indices: bufferRef }).optional(),
  freed: z.literal(true).optional(),
});
const blockRecord = z.object({
  seq: whole,
  rows: whole,
  columns: z.array(columnRef),
  payload: bufferRef.optional(),
  file: z.string().optional(),
  extent: bufferRef.extend({ crc32: whole }).optional(),
});
const lineage = z.object({
  digest: z.string(),
  stage: z.string(),
  version: z.string(),
  parameters: z.string(),
  values: z.record(z.string(), z.string()).optional(),
  source: z.string().optional(),
  inputs: z.record(z.string(), z.string()),
});
const streamRecord = z.object({
  stream: z.string(),
  kind: z.enum(['table', 'bytes', 'files']),
  schema: z.array(z.object({ name: z.string(), type: z.enum(columnTypes), nullable: z.boolean() })),
  lineage,
  sealed: z.boolean(),
  blocks: whole,
  rows: whole,
  bytes: whole,
  freed: z.array(z.string()).optional(),
});

/** [offset, length, crc32, 1 when it is a block's extent and 0 when it lies between blocks] */
const piece = z.tuple([whole, whole, whole, z.union([z.literal(0), z.literal(1)])]);
export type Piece = z.infer<typeof piece>;

const storedFile = z.object({
  /** The segment that it is a copy of, and the stream that the segment belongs to. */
  segment: z.string(),
  stream: z.string(),
  bytes: whole,
  ended: z.boolean(),
  /** In order, without gaps, from 0 to `bytes`. */
  pieces: z.array(piece),
});
export type StoredFile = z.infer<typeof storedFile>;

const storedStream = z.object({
  record: streamRecord,
  blocks: z.array(blockRecord),
  /** File of each segment that the blocks refer to. */
  files: z.record(z.string(), z.string()),
  progress: z.object({ consumed: whole, state: z.base64().optional() }).optional(),
  workMs: z.number(),
});
export type StoredStream = z.infer<typeof storedStream>;

const checkpointManifest = z.object({
  format: z.literal(formatsRead),
  pipeline: z.string(),
  shardId: z.string(),
  epoch: whole,
  revision: whole,
  streams: z.array(storedStream),
  files: z.record(z.string(), storedFile),
});
export type CheckpointManifest = z.infer<typeof checkpointManifest>;

const opening = '{"checksum":"';
const between = '","manifest":';
const digestChars = 64;

export function encodeManifest(manifest: CheckpointManifest): string {
  const body = JSON.stringify(manifest);
  return `${opening}${sha256(body)}${between}${body}}\n`;
}

/** Throws PDL_CHECKPOINT_CORRUPT, with the file's name as place. */
export function decodeManifest(text: string, place: string): CheckpointManifest {
  const corrupt = (why: string): PodlineError => new PodlineError('PDL_CHECKPOINT_CORRUPT', `${place} ${why}`, { place });
  const bodyAt = opening.length + digestChars + between.length;
  const framed = text.startsWith(opening) && text.slice(opening.length + digestChars, bodyAt) === between && text.endsWith('}\n');
  if (!framed) throw corrupt('is torn');
  const body = text.slice(bodyAt, -2);
  if (sha256(body) !== text.slice(opening.length, opening.length + digestChars)) throw corrupt('does not match its checksum');
  const parsed = checkpointManifest.safeParse(JSON.parse(body));
  if (!parsed.success) throw corrupt(`was written in a format that is not read here: ${z.prettifyError(parsed.error)}`);
  for (const stream of parsed.data.streams) {
    for (const file of Object.values(stream.files)) {
      if (parsed.data.files[file] === undefined)
        throw corrupt(`names no file ${file}, which stream ${stream.record.stream} needs`);
    }
  }
  return parsed.data;
}

export const storeProgress = (progress: StageProgress): NonNullable<StoredStream['progress']> => ({
  consumed: progress.consumed,
  ...(progress.state === undefined ? {} : { state: Buffer.from(progress.state).toString('base64') }),
});
export const readProgress = (stored: NonNullable<StoredStream['progress']>): StageProgress => ({
  consumed: stored.consumed,
  ...(stored.state === undefined ? {} : { state: new Uint8Array(Buffer.from(stored.state, 'base64')) }),
});

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');
