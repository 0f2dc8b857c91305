/** What is asked of the decoder of one column chunk. */
import type { ColumnMetaData } from 'hyparquet';
import type { ColumnType } from '../../contracts/block.js';
import { PodlineError } from '../../contracts/errors.js';
import type { GrowingDictionary } from '../dictionary.js';
import type { ParquetColumn } from './footer.js';

export interface ChunkRequest {
  /** The chunk, from its first page on. */
  bytes: Buffer;
  meta: ColumnMetaData;
  column: ParquetColumn;
  type: ColumnType;
  nullable: boolean;
  groupRows: number;
  /** Row of the file that row 0 of the group is: for messages. */
  groupStart: number;
  from: number;
  to: number;
  dictionary: GrowingDictionary | undefined;
  /** Lists, whose items go through the same code as values of flat columns: the row that an item lies in. */
  rowOf?: ((item: number) => number) | undefined;
  /** How messages call the file. */
  name: string;
}

export function notText({ column, name }: Pick<ChunkRequest, 'column' | 'name'>): PodlineError {
  const declared = column.meaning.kind === 'text' && column.meaning.declared;
  return new PodlineError(
    declared ? 'PDL_SOURCE_UNREADABLE' : 'PDL_FORMAT_UNSUPPORTED',
    `column "${column.name}" of ${name} holds bytes that are not UTF-8 text`,
    {
      place: name,
      hint: 'Name the other columns under `input.columns`, or write the column as text.',
    },
  );
}
