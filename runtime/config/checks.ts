/**
 * What a manifest must hold beyond its schema: names, graph, defaults. It looks at raw data with guards, so that
 * these faults are told together with those of the schema.
 */
import { inputStream } from '../contracts/block.js';
import { parameterSchema, type ParameterSchema, type ParameterValue } from '../contracts/manifest.js';
import { findCycle } from '../line/graph.js';
import { knownHint, show, type Finding } from './faults.js';

interface RawStage {
  index: number;
  name: string;
  after: string[];
  stage: Record<string, unknown>;
}

/** All semantic faults of a manifest as it was parsed from YAML, whether or not it fits the schema. */
export function checkManifest(manifest: unknown): Finding[] {
  const spec = asMap(asMap(manifest).spec);
  const stages = rawStages(spec.stages);
  return [
    ...checkNames(stages),
    ...checkGraph(stages),
    ...checkParameters(spec),
    ...checkInput(spec),
    ...checkResult(spec, stages),
    ...checkExecutors(stages),
  ];
}

function checkNames(stages: readonly RawStage[]): Finding[] {
  const seen = new Map<string, number>();
  return stages.flatMap(({ name, index }): Finding[] => {
    const at = ['spec', 'stages', index, 'name'];
    if (name === inputStream)
      return [{ at, message: '`input` is the name of what the loader writes', hint: 'Give the stage another name.' }];
    const first = seen.get(name);
    if (first !== undefined)
      return [
        { at, message: `the name \`${name}\` is taken by spec.stages[${first}]`, hint: 'Give each stage a name of its own.' },
      ];
    seen.set(name, index);
    return [];
  });
}

function checkGraph(stages: readonly RawStage[]): Finding[] {
  const names = stages.map((stage) => stage.name);
  const unknown = stages.flatMap((stage) =>
    stage.after.flatMap((before, index): Finding[] => {
      const at = ['spec', 'stages', stage.index, 'after', index];
      if (before !== inputStream && !names.includes(before)) {
        const others = [inputStream, ...names.filter((name) => name !== stage.name)];
        return [{ at, message: `there is no stage \`${before}\``, hint: knownHint(before, others) }];
      }
      return stage.after.indexOf(before) < index
        ? [{ at, message: `\`${before}\` is named twice`, hint: 'Remove one of them.' }]
        : [];
    }),
  );
  const cycle = findCycle(stages);
  return cycle === undefined ? unknown : [...unknown, cycleFinding(cycle, stages)];
}

/** The place is the `after` that closes the cycle, of the stage of it that the manifest names first. */
function cycleFinding(cycle: readonly string[], stages: readonly RawStage[]): Finding {
  const first = stages.find((stage) => cycle.includes(stage.name));
  const turn = cycle.indexOf(first?.name ?? '');
  const names = [...cycle.slice(turn), ...cycle.slice(0, turn)];
  const closing = first?.after.indexOf(names.at(-1) ?? '') ?? -1;
  return {
    at: first === undefined ? ['spec', 'stages'] : ['spec', 'stages', first.index, 'after', ...(closing >= 0 ? [closing] : [])],
    message:
      names.length === 1
        ? `\`${names[0]!}\` comes after itself`
        : `the stages form a cycle: ${[...names, names[0]!].join(' → ')}`,
    hint: 'Remove one `after` of these stages.',
    code: 'PDL_MANIFEST_CYCLE',
  };
}

function checkParameters(spec: Record<string, unknown>): Finding[] {
  return Object.entries(asMap(spec.parameters)).flatMap(([name, raw]): Finding[] => {
    const parsed = parameterSchema.safeParse(raw);
    if (!parsed.success) return [];
    const schema = parsed.data;
    const at = ['spec', 'parameters', name];
    const findings: Finding[] = [];
    const numeric = schema.type === 'number' || schema.type === 'integer';
    if (schema.minimum !== undefined && schema.maximum !== undefined && schema.minimum > schema.maximum) {
      findings.push({
        at: [...at, 'minimum'],
        message: `minimum ${schema.minimum} is greater than maximum ${schema.maximum}`,
        hint: 'Swap them.',
      });
    }
    for (const bound of ['minimum', 'maximum'] as const) {
      if (schema[bound] !== undefined && !numeric) {
        findings.push({
          at: [...at, bound],
          message: `${bound} has no meaning for type ${schema.type}`,
          hint: 'Use it with number or integer.',
        });
      }
    }
    if (schema.pattern !== undefined && !isPattern(schema.pattern)) {
      return [
        ...findings,
        { at: [...at, 'pattern'], message: `${show(schema.pattern)} is not a regular expression`, hint: 'Mend it.' },
      ];
    }
    const broken = schema.default === undefined ? undefined : whyNot(schema, schema.default);
    if (broken !== undefined)
      findings.push({
        at: [...at, 'default'],
        message: `the default ${broken}`,
        hint: 'Make the default one that the parameter allows.',
      });
    return findings;
  });
}

/** Why a value of the right or wrong type is not what a parameter's schema allows; undefined when it is. */
export function whyNot(schema: ParameterSchema, value: ParameterValue): string | undefined {
  const shown = show(value);
  const isType = schema.type === 'integer' ? Number.isInteger(value) : typeof value === schema.type;
  if (!isType || (typeof value === 'number' && !Number.isFinite(value))) return `${shown} is not of type ${schema.type}`;
  if (schema.enum !== undefined && !schema.enum.includes(value as string | number))
    return `${shown} is none of ${schema.enum.join(', ')}`;
  if (typeof value === 'number' && schema.minimum !== undefined && value < schema.minimum)
    return `${shown} is less than ${schema.minimum}`;
  if (typeof value === 'number' && schema.maximum !== undefined && value > schema.maximum)
    return `${shown} is more than ${schema.maximum}`;
  if (typeof value === 'string' && schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(value)) {
    return `${shown} does not match ${schema.pattern}`;
  }
  return undefined;
}

function isPattern(pattern: string): boolean {
  try {
    new RegExp(pattern, 'u');
    return true;
  } catch {
    return false;
  }
}

function checkInput(spec: Record<string, unknown>): Finding[] {
  const input = asMap(spec.input);
  const format = input.format ?? 'bytes';
  const findings: Finding[] = [];
  if (format === 'bytes' && input.columns !== undefined) {
    findings.push({
      at: ['spec', 'input', 'columns'],
      message: 'format bytes has no columns',
      hint: 'Set `format`, or remove `columns`.',
    });
  }
  if (format === 'bytes' && asMap(input.chunk).rows !== undefined) {
    findings.push({
      at: ['spec', 'input', 'chunk', 'rows'],
      message: 'format bytes has no rows',
      hint: 'Chunk by `bytes`, or set `format`.',
    });
  }
  return findings;
}

function checkResult(spec: Record<string, unknown>, stages: readonly RawStage[]): Finding[] {
  const wanted = asMap(spec.result).stages;
  if (!Array.isArray(wanted)) return [];
  const names = stages.map((stage) => stage.name);
  return wanted.flatMap((name: unknown, index): Finding[] =>
    typeof name !== 'string' || names.includes(name)
      ? []
      : [{ at: ['spec', 'result', 'stages', index], message: `there is no stage \`${name}\``, hint: knownHint(name, names) }],
  );
}

function checkExecutors(stages: readonly RawStage[]): Finding[] {
  return stages.flatMap(({ stage, index }): Finding[] => {
    const at = ['spec', 'stages', index];
    const findings: Finding[] = [];
    if ((stage.uses === undefined) === (stage.command === undefined)) {
      // In the words of the schema, which says it only where the rest of the stage is sound.
      findings.push({
        at,
        message: 'a stage has either `uses` (TypeScript) or `command` (any program), and not both',
        hint: 'Keep one of them.',
      });
    }
    if (stage.executor === 'container' || stage.executor === 'job') {
      findings.push({
        at: [...at, 'executor'],
        message: `the executor ${stage.executor} needs a cluster: on one machine the stage runs as a process`,
        hint: 'Nothing to do if the pipeline is meant for a cluster.',
        severity: 'warning',
      });
    }
    if (stage.uses !== undefined && stage.stdio !== undefined) {
      findings.push({
        at: [...at, 'stdio'],
        message: '`stdio` has no meaning with `uses`',
        hint: 'Remove it.',
        severity: 'warning',
      });
    }
    if (stage.uses !== undefined && stage.output !== undefined) {
      findings.push({
        at: [...at, 'output'],
        message: '`output` has no meaning with `uses`: the stage says so itself',
        hint: 'Remove it.',
        severity: 'warning',
      });
    }
    return findings;
  });
}

const asMap = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

function rawStages(value: unknown): RawStage[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((raw: unknown, index): RawStage[] => {
    const stage = asMap(raw);
    if (typeof stage.name !== 'string') return [];
    const after = Array.isArray(stage.after) ? stage.after.filter((name): name is string => typeof name === 'string') : [];
    return [{ index, name: stage.name, after, stage }];
  });
}
