/** A work as a Podline pipeline: the manifest that a user would write. */
import { join, resolve } from 'node:path';
import type { PipelineManifest } from '../../runtime/contracts/manifest.js';
import { pipelineSchema } from '../../runtime/contracts/manifest.js';
import { packageRoot } from '../../runtime/platform/entries.js';
import { ordersFile } from '../work/result.js';
import { addedBy, xorKeyOf } from '../work/stages.js';
import type { Work } from '../work/work.js';

/** How Podline is set up; what is not named is its default. */
export interface PodlineSetting {
  /** Default: as many as stages, so that each is warm in a place of its own. */
  slots?: number | undefined;
  /** Threads of each stage. */
  workers?: number | 'auto' | undefined;
  /** Default `never`: as little durable between stages as the peers. */
  checkpoints?: 'never' | 'stage' | 'auto' | undefined;
  residents?: number | undefined;
  scratchBytes?: number | undefined;
  /** `off`: a stage begins when its inputs are whole, so that hand-over and work of the stages add up to a span. Default: the manifest's. */
  streaming?: 'auto' | 'off' | undefined;
}

export interface PodlinePipeline {
  manifest: PipelineManifest;
  parameters: Record<string, string | number | boolean>;
  /** Stages that the span is about; the one that only takes the digest is not. */
  measured: string[];
}

export const stageFile = (name: string): string => join(packageRoot, 'benchmarks', 'pipelines', `${name}.ts`);
const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `s${index + 1}`);

export interface StageText {
  name: string;
  uses: string;
  after?: string[];
  workers?: number | 'auto';
  parameters?: Record<string, string | number>;
}

/** Stages one after another, the digest behind them. */
function chain(stages: readonly StageText[], workers: number | 'auto'): StageText[] {
  return stages.map((stage, index) => ({
    ...stage,
    workers,
    ...(index === 0 ? {} : { after: [stages[index - 1]!.name] }),
  }));
}

function stagesOf(work: Exclude<Work, { kind: 'flights' }>): { stages: StageText[]; measured: string[] } {
  switch (work.kind) {
    case 'bytes': {
      const measured = numbered(work.stages);
      const stages = measured.map((name, stage): StageText => {
        const parameters = work.stage === 'xor' ? { parameters: { key: xorKeyOf(stage) } } : {};
        return { name, uses: stageFile(work.stage), ...parameters };
      });
      return { measured, stages: [...stages, { name: 'digest', uses: stageFile('digest') }] };
    }
    case 'numbers': {
      const measured = numbered(work.stages);
      const stages = measured.map((name, stage): StageText => ({
        name,
        uses: stageFile('halve'),
        parameters: { added: addedBy[stage]! },
      }));
      return { measured, stages: [...stages, { name: 'digest', uses: stageFile('numbers-digest') }] };
    }
    case 'orders': {
      const last = ordersFile.replace('.ndjson', '');
      const stages = ['total', 'paid', 'net', 'band', 'label'].map((name): StageText => ({
        name: name === 'label' ? last : name,
        uses: stageFile(name),
      }));
      return { measured: stages.map(({ name }) => name), stages };
    }
  }
}

/** Types of the orders' fields: declared, as one would, so that nothing is guessed from the first lines. */
export const ordersColumns = {
  id: 'int32',
  at: 'int32',
  customer: 'utf8',
  country: 'dictionary',
  price: 'float64',
  quantity: 'int32',
  discount: 'float64',
  paid: 'bool',
};

function inputOf(work: Exclude<Work, { kind: 'flights' }>): object {
  switch (work.kind) {
    case 'bytes':
      return { format: 'bytes', blockBytes: work.blockBytes };
    case 'numbers':
      return { format: 'arrow', blockRows: work.blockRows };
    case 'orders':
      return {
        format: 'ndjson',
        blockRows: work.blockRows,
        columns: ordersColumns,
      };
  }
}

export function podlinePipelineOf(work: Work, setting: PodlineSetting): PodlinePipeline {
  if (work.kind === 'flights') return withSetting(flights(work.workload), setting);
  const { stages, measured } = stagesOf(work);
  return madePipeline({ name: work.name, input: inputOf(work), stages, measured }, setting);
}

/** A pipeline of stages one after another; `measured`: those that the span is about. */
export function madePipeline(
  { name, input, stages, measured }: { name: string; input: object; stages: readonly StageText[]; measured: string[] },
  setting: PodlineSetting,
): PodlinePipeline {
  const manifest = pipelineSchema.parse({
    apiVersion: 'podline.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: { name },
    spec: { input, scratch: { size: '4Gi' }, stages: chain(stages, setting.workers ?? 'auto'), result: { format: 'ndjson' } },
  });
  return withSetting({ manifest, parameters: {}, measured }, setting);
}

function withSetting(pipeline: PodlinePipeline, setting: PodlineSetting): PodlinePipeline {
  const { spec } = pipeline.manifest;
  spec.slots = setting.slots ?? spec.stages.length;
  spec.checkpoints = { ...spec.checkpoints, ssd: setting.checkpoints ?? 'never', keepCompleted: false };
  if (setting.residents !== undefined) spec.residents = setting.residents;
  if (setting.scratchBytes !== undefined) spec.scratch.size = setting.scratchBytes;
  if (setting.streaming !== undefined) spec.streaming = setting.streaming;
  return pipeline;
}

/** The example as it is, its stages named by absolute paths. */
function flights({ manifest: asIs, baseDir, parameters }: Extract<Work, { kind: 'flights' }>['workload']): PodlinePipeline {
  const manifest = structuredClone(asIs);
  for (const stage of manifest.spec.stages) if (stage.uses !== undefined) stage.uses = resolve(baseDir, stage.uses);
  delete manifest.spec.input.source;
  return { manifest, parameters, measured: manifest.spec.stages.map(({ name }) => name) };
}
