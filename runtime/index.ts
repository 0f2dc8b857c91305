/** What the author of a stage imports: `import { defineStage, column } from 'podline'`. */
export { defineStage } from './stages/define.js';
export { column } from './stages/builders.js';
export { checkGraph, type ColumnsOf, type Written } from './stages/graph.js';
export type {
  Batch,
  BlockContext,
  BlockResult,
  BytesContext,
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
  ItemsOf,
  ListColumn,
  NumberColumn,
  Scalar,
  ScalarOf,
  TimestampColumn,
  Utf8Column,
  Value,
  ValueOf,
} from './stages/columns.js';
export type { ItemsIn, ListBuilder } from './stages/list-builders.js';
export type { ColumnType, ItemType, ListType, StreamKind } from './contracts/block.js';
export type { ParameterValue, Parameters, StageDeclaration } from './contracts/manifest.js';
export type { TraceContext } from './contracts/trace.js';
export { PodlineError } from './contracts/errors.js';
