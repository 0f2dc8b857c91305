/**
 * A stage of the pipeline on tables in memory: the code of the example's stages, outside of Podline.
 *
 * Every baseline runs a stage through this class, so that only what lies between the stages differs. What a stage
 * answers passes the same check and the same filter (`tableOutput`) as on a line.
 */
import { performance } from 'node:perf_hooks';
import type { ColumnSchema } from '../runtime/contracts/block.js';
import type { Parameters, ResolvedStage } from '../runtime/contracts/manifest.js';
import { RunContext, type RunVoice } from '../runtime/stages/context.js';
import type { Batch, DefinedStage, StageInputs, StreamInput } from '../runtime/stages/define.js';
import { loadStage } from '../runtime/stages/load.js';
import { finalOutput, tableOutput, type TableOutput } from '../runtime/stages/output.js';
import { rowsOf } from '../runtime/stages/stream-input.js';
import { batchOf, recordOf, type Table } from './table.js';

const silent: RunVoice = { log: () => undefined, note: () => undefined };

/** Time in the stage's own code. */
export interface StageTime {
  workMs: number;
  cpuMs: number;
}

export interface StageEnd {
  table?: Table | undefined;
  files?: ReadonlyMap<string, Uint8Array> | undefined;
}

/** One run at a time: `begin`, `take` for every block in order, `finish`. */
export class StageCode {
  #context: RunContext | undefined;
  #state: unknown;
  #blocks = 0;
  #held: Table[] = [];
  #spent: StageTime = { workMs: 0, cpuMs: 0 };

  private constructor(
    private readonly stage: ResolvedStage,
    private readonly defined: DefinedStage,
    private readonly inputSchema: readonly ColumnSchema[],
  ) {}

  static async load(stage: ResolvedStage, stagesDir: string, inputSchema: readonly ColumnSchema[]): Promise<StageCode> {
    return new StageCode(stage, await loadStage(stage, stagesDir), inputSchema);
  }

  /** Of the run since `begin`. */
  get spent(): StageTime {
    return { ...this.#spent };
  }

  begin(shard: { id: string; parameters: Parameters }): void {
    const parameters = { ...this.stage.parameters, ...shard.parameters };
    this.#context = new RunContext(
      { runId: shard.id, shardId: shard.id, shardKey: shard.id, parameters },
      new AbortController().signal,
      silent,
    );
    this.#state = this.defined.functions.aggregate?.start(this.#context);
    this.#blocks = 0;
    this.#held = [];
    this.#spent = { workMs: 0, cpuMs: 0 };
  }

  take(table: Table): Promise<Table | undefined> {
    return this.#timed(async (ctx) => {
      const index = this.#blocks++;
      const { block, aggregate } = this.defined.functions;
      if (block !== undefined) {
        const batch = batchOf(table, index);
        const answer = await block(batch, ctx.forBlock(index, table.rows));
        return tableOf(tableOutput(this.stage.name, this.defined.declaration, recordOf(table, index), batch, answer), table);
      }
      if (aggregate !== undefined) {
        const start = aggregate.start(ctx);
        const partial = (await aggregate.add(start, batchOf(table, index), ctx.forBlock(index, table.rows))) ?? start;
        this.#state = aggregate.merge(this.#state, partial, ctx);
        return undefined;
      }
      this.#held.push(table);
      return undefined;
    });
  }

  finish(): Promise<StageEnd> {
    return this.#timed(async (ctx) => {
      const { aggregate, files } = this.defined.functions;
      if (aggregate !== undefined) {
        return {
          table: tableOf(
            finalOutput(this.stage.name, this.defined.declaration, await aggregate.finish(this.#state, ctx)),
            undefined,
          ),
        };
      }
      if (files === undefined) return {};
      const written = new Map<string, Uint8Array>();
      const writeFile = async (name: string, content: Uint8Array | string): Promise<void> => {
        written.set(name, bytesOf(content));
      };
      const returned = (await files(inputsOf(this.#held, this.inputSchema), Object.assign(ctx, { writeFile }))) as
        Record<string, Uint8Array | string> | undefined;
      for (const [name, content] of Object.entries(returned ?? {})) written.set(name, bytesOf(content));
      return { files: written };
    });
  }

  async #timed<T>(call: (ctx: RunContext) => Promise<T>): Promise<T> {
    const context = this.#context;
    if (context === undefined) throw new Error(`stage ${this.stage.name} was not begun`);
    const beganMs = performance.now();
    const before = process.cpuUsage();
    const result = await call(context);
    const { user, system } = process.cpuUsage(before);
    this.#spent.workMs += performance.now() - beganMs;
    this.#spent.cpuMs += (user + system) / 1000;
    return result;
  }
}

const bytesOf = (content: Uint8Array | string): Uint8Array => (typeof content === 'string' ? Buffer.from(content) : content);

/** References become the columns of the input that they name. */
function tableOf({ rows, columns }: TableOutput, input: Table | undefined): Table {
  return {
    rows,
    columns: new Map(
      columns.map((column) => {
        if ('data' in column) return [column.name, column.data] as const;
        const data = input?.columns.get(column.ref.values.segment);
        if (data === undefined) throw new Error(`the stage refers to a column ${column.name} that it was not given`);
        return [column.name, data] as const;
      }),
    ),
  };
}

function inputsOf(tables: readonly Table[], schema: readonly ColumnSchema[]): StageInputs {
  const batches = (): Batch[] => tables.map(batchOf);
  const refuse = (): never => {
    throw new Error('this baseline hands tables to a files stage, nothing else');
  };
  const input: StreamInput = {
    name: 'input',
    kind: 'table',
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
    blocks: tables.length,
    schema,
    batches,
    toRows: () => batches().flatMap(rowsOf),
    chunks: refuse,
    files: [],
    read: refuse,
  };
  return { names: [input.name], stream: () => input, only: () => input, [Symbol.iterator]: () => [input].values() };
}
