/**
 * Lineage: what the stream of a stage was made from, as a digest, and in words where two differ.
 *
 * A stream may be taken from a scratch or a checkpoint exactly where its lineage equals the wanted one. A
 * lineage covers the version of the stage's code, the parameters that it can see, the options that shape its
 * output, and the lineages of the streams that it reads, down to the source; so a change anywhere upstream
 * reaches every stream that depends on it, and no other.
 *
 * Invariants
 *  1. Equal ingredients give equal digests, whatever the order in which parameters were written.
 *  2. Order of `after` counts: it is the order of columns and blocks.
 *  3. Nothing that leaves the output alone (workers, executor, resources, retries, timeout, slots) is part of it.
 */
import { createHash } from 'node:crypto';
import { inputStream, type Lineage } from '../contracts/block.js';
import type { Lease } from '../contracts/line-api.js';
import type { Parameters, Pipeline, ResolvedStage } from '../contracts/manifest.js';
import { PodlineError } from '../contracts/errors.js';
import { topologicalOrder } from './graph.js';
import type { Lineages } from './types.js';

/** Raised when the loader changes what it makes of the same source. */
const loaderVersion = 'input/1';
/** Values longer than this are kept as their sha256. */
const valueCharsMax = 120;
/** Of a digest, this much is shown to people. */
const digestCharsShown = 8;

/** What a stage of a shard can see: its constants, and over them the parameters of the shard. */
export const visibleParameters = (stage: Pick<ResolvedStage, 'parameters'>, shardParameters: Parameters): Parameters => ({
  ...stage.parameters,
  ...shardParameters,
});

/** Lineages of `input` and of every stage's stream, for one shard. The pipeline is checked: no cycle, no unknown name in `after`. */
export function lineages(pipeline: Pick<Pipeline, 'spec' | 'stages'>, shard: Pick<Lease, 'source' | 'parameters'>): Lineages {
  const made: Lineages = new Map([[inputStream, inputLineage(pipeline, shard)]]);
  for (const stage of topologicalOrder(pipeline.stages)) {
    const inputs: Record<string, string> = {};
    for (const name of stage.after) {
      const above = made.get(name);
      if (above === undefined)
        throw new PodlineError('PDL_MANIFEST_INVALID', `stage ${stage.name} reads ${name}, and there is no such stage`);
      inputs[name] = above.digest;
    }
    made.set(stage.name, stageLineage(stage, shard.parameters, inputs));
  }
  return made;
}

/**
 * Why a stream with lineage `found` is not the one that is `wanted`, in words; empty when it is.
 *
 * @example explainDifference(wanted, found) // 'parameter minDelay is 20, was 15'
 */
export function explainDifference(wanted: Lineage, found: Lineage): string {
  if (wanted.digest === found.digest) return '';
  const words: string[] = [];
  if (wanted.stage !== found.stage) words.push(`it was made by stage ${found.stage}, not by ${wanted.stage}`);
  if (wanted.source !== found.source)
    words.push(`the source has changed: it is ${wanted.source ?? 'none'}, was ${found.source ?? 'none'}`);
  if (wanted.version !== found.version) {
    const who = wanted.stage === inputStream ? 'the loader' : `stage ${wanted.stage}`;
    words.push(`${who} has changed (version ${shown(found.version)} → ${shown(wanted.version)})`);
  }
  if (wanted.parameters !== found.parameters) words.push(...differentValues(wanted, found));
  words.push(...differentInputs(wanted, found));
  if (words.length === 0) words.push('its lineage was computed by another version of Podline');
  return words.join('; ');
}

function differentValues(wanted: Lineage, found: Lineage): string[] {
  const now = wanted.values ?? {};
  const was = found.values ?? {};
  const names = [...new Set([...Object.keys(now), ...Object.keys(was)])].sort();
  const words = names.flatMap((name) => {
    const [here, there] = [now[name], was[name]];
    if (here === there) return [];
    const what = name.startsWith('@') ? `option ${name.slice(1)}` : `parameter ${name}`;
    if (there === undefined) return [`${what} is ${String(here)}, was not given`];
    if (here === undefined) return [`${what} is not given, was ${there}`];
    return [`${what} is ${here}, was ${there}`];
  });
  return words.length > 0 ? words : ['its parameters have changed'];
}

function differentInputs(wanted: Lineage, found: Lineage): string[] {
  const names = [...new Set([...Object.keys(wanted.inputs), ...Object.keys(found.inputs)])];
  const words = names.flatMap((name) => {
    const [here, there] = [wanted.inputs[name], found.inputs[name]];
    if (here === there) return [];
    const what = name === inputStream ? 'the input' : `stage ${name}`;
    if (there === undefined) return [`it reads from ${what}, which it did not`];
    if (here === undefined) return [`it no longer reads from ${what}`];
    return [`what it reads from ${what} has changed`];
  });
  const [order, orderFound] = [Object.keys(wanted.inputs).join(', '), Object.keys(found.inputs).join(', ')];
  if (words.length === 0 && order !== orderFound) words.push(`it reads in the order ${order}, was ${orderFound}`);
  return words;
}

function inputLineage(pipeline: Pick<Pipeline, 'spec'>, { source }: Pick<Lease, 'source'>): Lineage {
  const { columns, blockRows, blockBytes } = pipeline.spec.input;
  const options: Record<string, unknown> = { '@format': source.format };
  if (source.format === 'bytes') options['@blockBytes'] = blockBytes;
  else options['@blockRows'] = blockRows;
  if (columns !== undefined && source.format !== 'bytes')
    options['@columns'] = Array.isArray(columns) ? columns : Object.entries(columns);
  return finish({ stage: inputStream, version: loaderVersion, source: describeSource(source), inputs: {} }, options);
}

function stageLineage(stage: ResolvedStage, shardParameters: Parameters, inputs: Record<string, string>): Lineage {
  const values: Record<string, unknown> = visibleParameters(stage, shardParameters);
  if (stage.after.length > 1) values['@combine'] = stage.combine;
  if (stage.command !== undefined) {
    values['@stdio'] = stage.stdio;
    values['@output'] = stage.output;
  }
  return finish({ stage: stage.name, version: stage.version, inputs }, values);
}

function finish(parts: Omit<Lineage, 'digest' | 'parameters' | 'values'>, ingredients: Record<string, unknown>): Lineage {
  const parameters = sha256(canonicalJson(ingredients));
  const values: Record<string, string> = {};
  for (const name of Object.keys(ingredients).sort()) {
    const text = canonicalJson(ingredients[name]);
    values[name] = text.length <= valueCharsMax ? text : `sha256:${sha256(text)}`;
  }
  const digest = sha256(
    canonicalJson([parts.stage, parts.version, parameters, parts.source ?? null, Object.entries(parts.inputs)]),
  );
  return { digest, ...parts, parameters, values };
}

/** Readable identity of a source: equal texts, equal data. */
function describeSource(source: Lease['source']): string {
  if (!('uri' in source)) return `inline data sha256:${sha256(canonicalJson(source.inline))}`;
  const parts = [source.uri];
  if (source.rows !== undefined) parts.push(`rows ${source.rows.join('–')}`);
  if (source.bytes !== undefined) parts.push(`bytes ${source.bytes.join('–')}`);
  if (source.header !== undefined) parts.push(`columns ${canonicalJson(source.header)}`);
  if (source.identity !== undefined) parts.push(`(${source.identity})`);
  return parts.join(' ');
}

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');
const shown = (digest: string): string => (digest.length > digestCharsShown ? `${digest.slice(0, digestCharsShown)}…` : digest);

/** JSON with keys in order, so that equal values give equal texts. `undefined` members are left out, as in JSON. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`;
  }
  return value === undefined ? 'null' : JSON.stringify(value);
}
