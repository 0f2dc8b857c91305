/** What every process of a baseline does whatever the transport: read the source, run the stage, write results, count. */
import { join } from 'node:path';
import { inputStream, type ColumnSchema } from '../runtime/contracts/block.js';
import type { ShardSource } from '../runtime/contracts/shard.js';
import { FileSink } from '../runtime/results/sink.js';
import { openTableFile } from '../runtime/results/table-file.js';
import { reblock } from '../runtime/sources/columns.js';
import { inlineContent } from '../runtime/sources/inline.js';
import { openSource } from '../runtime/sources/open-source.js';
import { openTable } from '../runtime/sources/open-table.js';
import type { SourceReader } from '../runtime/sources/source-reader.js';
import { outputSchema } from '../runtime/stages/schema.js';
import type { Codec } from './codecs/codec.js';
import { columnsCodec } from './codecs/columns.js';
import { ndjsonCodec } from './codecs/ndjson.js';
import { recordsCodec } from './codecs/records.js';
import { StageCode, type StageEnd } from './stage-code.js';
import type { CodecName, StageDone, StageSetup } from './stage-protocol.js';
import { zipTables, type Table } from './table.js';
import type { TransportWork } from './transports/transport.js';
import type { Edge, Job } from './workload.js';

export class StageWork implements TransportWork<Table, Job, StageDone> {
  readonly inputs: Edge[];
  readonly outputs: Edge[];
  #code: StageCode | undefined;
  #schema: ColumnSchema[] = [];
  #before: NodeJS.CpuUsage = process.cpuUsage();
  #counts = { blocks: 0, networkRead: 0, networkWritten: 0, sourceReadMemory: 0, sourceReadSsd: 0 };

  constructor(
    readonly setup: StageSetup,
    readonly stage: string,
  ) {
    this.inputs = setup.edges.filter(({ to }) => to === stage);
    this.outputs = setup.edges.filter(({ from }) => from === stage);
  }

  async load(): Promise<void> {
    if (this.stage === inputStream) return;
    const { pipeline, stagesDir } = this.setup.workload;
    const resolved = pipeline.stages.find(({ name }) => name === this.stage);
    if (resolved?.declares === undefined) throw new Error(`there is no stage ${this.stage}`);
    const input = [
      ...new Map(this.inputs.flatMap(({ columns }) => columns.map((column) => [column.name, column] as const))).values(),
    ];
    this.#schema = outputSchema(this.stage, resolved.declares, input);
    this.#code = await StageCode.load(resolved, stagesDir, input);
  }

  codecOf(edge: Edge): Codec {
    return codecs[this.setup.codec](edge.columns, this.setup.workload.manifest.spec.input.blockRows);
  }

  begin(job: Job): void {
    this.#before = process.cpuUsage();
    this.#counts = { blocks: 0, networkRead: 0, networkWritten: 0, sourceReadMemory: 0, sourceReadSsd: 0 };
    this.#code?.begin({ id: job.id, parameters: this.setup.workload.parameters });
  }

  /** Blocks of the source, with Podline's own readers. */
  async *source(source: ShardSource): AsyncGenerator<Table> {
    const { input } = this.setup.workload.manifest.spec;
    let reader: SourceReader | undefined;
    const content = 'uri' in source ? { reader: (reader = await openSource(source.uri)) } : inlineRows(source.inline);
    try {
      const table = await openTable(source, content, input);
      for await (const batch of reblock(table.batches(0), input.blockRows)) {
        this.#counts.blocks += 1;
        yield { rows: batch.rows, columns: new Map(table.schema.map(({ name }, index) => [name, batch.columns[index]!])) };
      }
      await table.close();
      this.#counts.sourceReadMemory += reader?.counts.bytes.memory.read ?? 0;
      this.#counts.sourceReadSsd += reader?.counts.bytes.ssd.read ?? 0;
    } finally {
      await reader?.close();
    }
  }

  async take(table: Table): Promise<Table | undefined> {
    this.#counts.blocks += 1;
    const taken = await this.#code?.take(table);
    return taken === undefined || taken.rows === 0 ? undefined : taken;
  }

  /** What is left to hand on, after results are written. */
  async finish(job: Job): Promise<Table | undefined> {
    const end = (await this.#code?.finish()) ?? {};
    if (this.setup.workload.resultStages.includes(this.stage)) await this.#write(job, end);
    return end.table;
  }

  zip(tables: readonly Table[]): Table {
    return zipTables(tables);
  }

  received(bytes: number): void {
    this.#counts.networkRead += bytes;
  }

  sent(bytes: number): void {
    this.#counts.networkWritten += bytes;
  }

  done(): StageDone {
    const { user, system } = process.cpuUsage(this.#before);
    return {
      stage: this.stage,
      work: this.#code?.spent ?? { workMs: 0, cpuMs: 0 },
      cpuMs: (user + system) / 1000,
      ...this.#counts,
    };
  }

  /** With the writers of Podline's results: the same bytes, synced as they are there. */
  async #write(job: Job, end: StageEnd): Promise<void> {
    if (end.table !== undefined) {
      const name = `${this.stage}.parquet`;
      const sink = new FileSink(join(job.resultDir, name), name);
      const file = await openTableFile('parquet', sink, this.#schema, () => []);
      await file.append(end.table.rows, end.table.columns);
      await file.finish();
      sink.finish(end.table.rows);
    }
    for (const [name, content] of end.files ?? []) {
      const sink = new FileSink(join(job.resultDir, name), name);
      sink.write(content);
      sink.finish();
    }
  }
}

const codecs: Record<CodecName, (schema: readonly ColumnSchema[], blockRows: number) => Codec> = {
  ndjson: ndjsonCodec,
  records: recordsCodec,
  columns: columnsCodec,
};

function inlineRows(inline: unknown): Extract<ReturnType<typeof inlineContent>, { rows: unknown }> {
  const content = inlineContent(inline);
  if (!('rows' in content)) throw new Error('the benchmark gives inline rows');
  return content;
}
