/** What the author of a stage imports: `import { defineStage, column } from 'podline'`. */
export { defineStage } from './stages/define.js';
export { column } from './stages/builders.js';
export type {
  Batch,
  BlockContext,
  BlockResult,
  ColumnSpec,
  ColumnSpecs,
  ColumnsIn,
  ColumnsOut,
  DefinedStage,
  FilesContext,
  ParameterTypes,
  RowIn,
  RowOut,
  StageContext,
  StageInputs,
  StageLogger,
  StreamInput,
} from './stages/define.js';
export type {
  AnyColumn,
  BigIntColumn,
  BoolColumn,
  ColumnOf,
  DateColumn,
  DictionaryColumn,
  NumberColumn,
  Scalar,
  ScalarOf,
  TimestampColumn,
  Utf8Column,
} from './stages/columns.js';
export type { ColumnType, StreamKind } from './contracts/block.js';
export type { ParameterValue, Parameters, StageDeclaration } from './contracts/manifest.js';
export { PodlineError } from './contracts/errors.js';
