/**
 * Reads a pipeline manifest and says where it is wrong.
 *
 * Owns: YAML with positions, zod's issues as faults, semantic checks. It reads the manifest, and looks whether the files that
 * `uses` names are there; stages are loaded by `pipeline.ts`.
 *
 * Invariants
 *  1. All faults that can be seen are told at once, in the order of the file.
 *  2. Every fault has a position in the file, also that of a key which is missing (its parent's).
 */
import { access, readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { isMap, isNode, isPair, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import { PodlineError } from '../contracts/errors.js';
import { pipelineSchema, type PipelineManifest } from '../contracts/manifest.js';
import { checkManifest } from './checks.js';
import { findingsOf, ManifestError, pathText, type Fault, type FieldPath, type Finding } from './faults.js';
import { manifestJsonSchema } from './json-schema.js';

export interface LoadedManifest {
  manifest: PipelineManifest;
  /** As it was given. */
  file: string;
  /** Absolute: what relative paths of the manifest start from. */
  baseDir: string;
}

/** Throws ManifestError with every fault, PDL_USAGE when there is no such file. Warnings do not throw: see `lintManifest`. */
export async function readManifest(file: string): Promise<LoadedManifest> {
  const { manifest, faults } = await inspect(file);
  if (manifest === undefined) throw new ManifestError(faults);
  return { manifest, file, baseDir: dirname(resolve(file)) };
}

/** Every fault of a manifest, warnings too, in the order of the file; empty when it is sound. Throws PDL_USAGE when there is no such file. */
export async function lintManifest(file: string): Promise<Fault[]> {
  return (await inspect(file)).faults;
}

/** A manifest from text; `file` stands in messages only. */
export function parseManifest(text: string, file: string): { manifest: PipelineManifest | undefined; faults: Fault[] } {
  const { document, faults, locate } = parseYaml(text, file);
  if (document === undefined) return { manifest: undefined, faults };
  const raw: unknown = document.toJS();
  const parsed = pipelineSchema.safeParse(raw);
  const valueAt = (path: FieldPath): unknown =>
    path.reduce<unknown>((value, part) => (value as Record<string, unknown> | undefined | null)?.[part], raw);
  const schema = manifestJsonSchema();
  const findings = [
    ...(parsed.success ? [] : parsed.error.issues.flatMap((issue) => findingsOf(issue, schema, valueAt))),
    ...checkManifest(raw),
  ];
  const located = inOrder(withoutDoubles(findings.map(locate)));
  const sound = parsed.success && located.every((fault) => fault.severity === 'warning');
  return { manifest: sound ? parsed.data : undefined, faults: located };
}

async function inspect(file: string): Promise<{ manifest: PipelineManifest | undefined; faults: Fault[] }> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new PodlineError(
      'PDL_USAGE',
      `the manifest ${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      {
        place: file,
        hint: 'Name the YAML file of a pipeline.',
        cause: error,
      },
    );
  });
  const { manifest, faults } = parseManifest(text, file);
  const absent = await missingModules(text, file);
  return { manifest: absent.length === 0 ? manifest : undefined, faults: inOrder([...faults, ...absent]) };
}

/** The schema and the checks may see the same fault; the one with a hint is kept. */
const withoutDoubles = (faults: Fault[]): Fault[] => [
  ...new Map(
    faults.toSorted((a, b) => a.hint.length - b.hint.length).map((fault) => [`${fault.path} ${fault.message}`, fault]),
  ).values(),
];

const inOrder = (faults: Fault[]): Fault[] => faults.sort((a, b) => a.line - b.line || a.column - b.column);

async function missingModules(text: string, file: string): Promise<Fault[]> {
  const { document, locate } = parseYaml(text, file);
  const stages = (document?.toJS() as { spec?: { stages?: unknown } } | null | undefined)?.spec?.stages;
  if (!Array.isArray(stages)) return [];
  const looked = stages.map(async (stage: { uses?: unknown } | null, index): Promise<Fault[]> => {
    const uses = stage?.uses;
    if (typeof uses !== 'string') return [];
    const path = resolve(dirname(resolve(file)), uses);
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere) return [];
    return [
      locate({
        at: ['spec', 'stages', index, 'uses'],
        message: `there is no file ${path}`,
        hint: 'The path is relative to the manifest.',
        code: 'PDL_STAGE_LOAD',
      }),
    ];
  });
  return (await Promise.all(looked)).flat();
}

interface ParsedYaml {
  document: Document | undefined;
  faults: Fault[];
  locate: (finding: Finding) => Fault;
}

export function parseYaml(text: string, file: string): ParsedYaml {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true });
  const position = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const locate = (finding: Finding): Fault => ({
    file,
    ...position(offsetOf(document, finding)),
    path: pathText(finding.at),
    message: finding.message,
    hint: finding.hint,
    severity: finding.severity ?? 'error',
    code: finding.code ?? 'PDL_MANIFEST_INVALID',
  });
  if (document.errors.length === 0) return { document, faults: [], locate };
  const faults = document.errors.map((error): Fault => ({
    file,
    ...position(error.pos[0]),
    path: '',
    message: error.message,
    hint: error.code === 'MULTIPLE_DOCS' ? 'Put each pipeline into a file of its own.' : 'Mend the YAML of this line.',
    severity: 'error',
    code: 'PDL_MANIFEST_SYNTAX',
  }));
  return { document: undefined, faults, locate };
}

/** Where in the text a path begins: its key where the key is the fault, its value, or the nearest parent that is there. */
function offsetOf(document: Document, { at, key }: Finding): number {
  const parent = at.length === 0 ? undefined : document.getIn(at.slice(0, -1), true);
  const pair = isMap(parent) ? parent.items.find((item) => isScalar(item.key) && item.key.value === at.at(-1)) : undefined;
  if (pair !== undefined && isPair(pair) && isNode(pair.key) && (key === true || !isNode(pair.value)))
    return pair.key.range?.[0] ?? 0;
  for (let length = at.length; length >= 0; length -= 1) {
    const node = length === 0 ? document.contents : document.getIn(at.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}
