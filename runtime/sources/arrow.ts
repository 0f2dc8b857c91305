/**
 * Arrow IPC files and streams into columns, batch by batch, cast to declared types where they differ.
 *
 * The parts of such a file are found by its footer, so that it must lie in a file: what comes over http or inline is put into a
 * temporary one, which goes when reading ends. Dictionaries of batches are brought to one that grows.
 */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ColumnSchema } from '../contracts/block.js';
import { PodlineError } from '../contracts/errors.js';
import { mediumOf } from '../platform/medium-of.js';
import { readArrowBlocks, type ArrowFileBlocks } from '../scratch/arrow/file-reader.js';
import { canCast } from './cast.js';
import { sliceBatch, type Batch } from './columns.js';
import { UnifiedColumn } from './unified-column.js';
import { FileSource, type SourceReader } from './source-reader.js';
import type { ColumnWishes, TableReader } from './table-reader.js';

/** Rows [from, to); without a range, all. `close` removes what was put aside. */
export async function openArrow(
  source: SourceReader,
  wishes: ColumnWishes,
  range: readonly [number, number] | undefined,
): Promise<TableReader & { close: () => Promise<void> }> {
  const local = await openLocally(source);
  try {
    const { blocks } = local;
    const rows = blocks.rows.reduce((sum, count) => sum + count, 0);
    const [from, to] = range ?? [0, rows];
    if (from > to || to > rows)
      throw new PodlineError(
        'PDL_SOURCE_UNREADABLE',
        `rows ${String(from)} to ${String(to)} of ${source.name} were asked for, and it has ${String(rows)}`,
        { place: source.name },
      );
    const chosen = wishes.choose(
      blocks.schema.map(({ name }) => name),
      source.name,
    );
    const schema = chosen.map(({ name, index }): ColumnSchema => {
      const found = blocks.schema[index];
      if (found === undefined) throw new RangeError(`column ${name}`);
      const type = wishes.typeOf(name) ?? found.type;
      if (!canCast(found.type, type)) {
        throw new PodlineError(
          'PDL_COLUMN_TYPE',
          `column "${name}" of ${source.name} is ${found.type} and cannot be read as ${type}`,
          {
            place: `${source.name}, column ${name}`,
            hint: `Declare it as ${found.type} under \`input.columns\`.`,
          },
        );
      }
      return { name, type, nullable: found.nullable };
    });
    return {
      schema,
      batches: (skipRows) => readBatches(source, local, schema, Math.min(from + skipRows, to), to),
      close: local.close,
    };
  } catch (thrown) {
    await local.close();
    throw thrown;
  }
}

/** Rows of a file, for the splitter. */
export async function countArrowRows(source: SourceReader): Promise<number> {
  const local = await openLocally(source);
  try {
    return local.blocks.rows.reduce((sum, count) => sum + count, 0);
  } finally {
    await local.close();
  }
}

/** Where its batches are read. */
interface LocalFile {
  blocks: ArrowFileBlocks;
  medium: 'memory' | 'ssd';
  close: () => Promise<void>;
}

async function openLocally(source: SourceReader): Promise<LocalFile> {
  if (source instanceof FileSource) {
    const blocks = openBlocks(source.uri, source.name);
    return {
      blocks,
      medium: source.medium,
      close: async () => {
        blocks.close();
      },
    };
  }
  const dir = await mkdtemp(join(tmpdir(), 'podline-source-'));
  let blocks: ArrowFileBlocks | undefined;
  const close = async (): Promise<void> => {
    blocks?.close();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    const path = join(dir, 'source.arrow');
    const file = await open(path, 'wx');
    const medium = await mediumOf(path);
    try {
      for await (const piece of source.stream(0, source.sizeBytes)) {
        await file.appendFile(piece);
        source.counts.bytes[medium].written += piece.length;
      }
    } finally {
      await file.close();
    }
    blocks = openBlocks(path, source.name);
    return { blocks, medium, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

function openBlocks(path: string, name: string): ArrowFileBlocks {
  try {
    return readArrowBlocks(path);
  } catch (thrown) {
    const error = PodlineError.from(thrown, 'PDL_SOURCE_UNREADABLE');
    throw new PodlineError(error.code, `${name}: ${error.message}`, { place: name, hint: error.hint, cause: thrown });
  }
}

async function* readBatches(
  source: SourceReader,
  { blocks, medium }: Pick<LocalFile, 'blocks' | 'medium'>,
  schema: readonly ColumnSchema[],
  from: number,
  to: number,
): AsyncGenerator<Batch> {
  const names = schema.map(({ name }) => name);
  const casts = schema.map(({ name, type }) => new UnifiedColumn(name, type));
  let row = 0;
  let position = 0;
  for (const [index, rows] of blocks.rows.entries()) {
    const low = Math.max(from - row, 0);
    const high = Math.min(to - row, rows);
    const start = row;
    row += rows;
    // Text that becomes a dictionary is encoded from the first batch on, so that its codes do not depend on where reading began.
    const feeds = casts.some((cast) => cast.isDictionary) && start < to;
    if (low >= high && !feeds) continue;
    const { columns } = blocks.read(index, names);
    const batch: Batch = {
      rows,
      columns: names.map((name, at) => {
        const column = columns.get(name);
        const cast = casts[at];
        if (column === undefined || cast === undefined) throw new RangeError(`column ${name} of ${source.name}`);
        const bytes = column.values.byteLength + (column.offsets?.byteLength ?? 0) + (column.validity?.byteLength ?? 0);
        source.counts.count(medium, position, position + bytes);
        position += bytes;
        return cast.take(column, (i, value) => misfit(source.name, start + i, name, value, cast.type));
      }),
    };
    if (low < high) yield sliceBatch(batch, low, high);
  }
}

function misfit(place: string, row: number, name: string, value: string, type: string): PodlineError {
  return new PodlineError(
    'PDL_COLUMN_TYPE',
    `${place}: row ${String(row)} of column "${name}" is ${value}, which does not fit ${type}`,
    { place: `${place}, row ${String(row)}, column ${name}` },
  );
}
