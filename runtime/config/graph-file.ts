/**
 * The graph of a manifest as a file for the compiler: `podline graph pipeline.yaml > graph.ts`.
 *
 * It says again what the manifest says, and nothing more: it is written anew when the manifest changes, not by hand.
 */
import type { PipelineManifest, StageSpec } from '../contracts/manifest.js';

/** @param name of the manifest, as it is told at the top of the file. */
export function graphFile({ spec }: PipelineManifest, name: string): string {
  const imports = spec.stages.flatMap((stage) =>
    stage.uses === undefined ? [] : [`import ${identifier(stage.name)} from '${moduleOf(stage.uses)}';`],
  );
  return [
    `/** Written by \`podline graph ${name}\`: columns that do not fit from stage to stage do not compile. Nothing runs it. */`,
    `import { checkGraph } from 'podline';`,
    ...imports.sort(),
    '',
    'export default checkGraph({',
    ...inputLines(spec.input),
    '  stages: {',
    ...spec.stages.map((stage) => `    ${key(stage.name)}: ${nodeOf(stage)},`),
    '  },',
    '});',
    '',
  ].join('\n');
}

function inputLines({ format, columns }: PipelineManifest['spec']['input']): string[] {
  if (format === 'bytes') return ["  input: 'bytes',"];
  if (columns === undefined || Array.isArray(columns))
    return ["  input: 'table', // `input.columns` of the manifest gives no types"];
  return ['  input: {', ...Object.entries(columns).map(([name, type]) => `    ${key(name)}: '${type}',`), '  },'];
}

function nodeOf(stage: StageSpec): string {
  const what = stage.uses === undefined ? `command: '${stage.output}'` : `stage: ${identifier(stage.name)}`;
  const after = stage.after === undefined || stage.after.length === 0 ? '' : `, after: [${stage.after.map(quoted).join(', ')}]`;
  return `{ ${what}${after}${stage.combine === 'concat' ? ", combine: 'concat'" : ''} }`;
}

/** What TypeScript imports a source file as. */
const moduleOf = (uses: string): string => {
  const path = uses.startsWith('.') || uses.startsWith('/') ? uses : `./${uses}`;
  return path.replace(/\.([cm]?)tsx?$/, '.$1js').replaceAll("'", "\\'");
};

const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
const key = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : quoted(name));

const reserved = new Set(
  (
    'arguments await break case catch class const continue debugger default delete do else enum eval export extends false finally for ' +
    'function if implements import in instanceof interface let new null package private protected public return static super switch ' +
    'this throw true try typeof undefined var void while with yield'
  ).split(' '),
);

/** Names of stages are lower-case letters, digits and dashes: two different ones stay different. */
function identifier(stage: string): string {
  const word = stage.replaceAll('-', '_');
  return reserved.has(word) || /^\d/.test(word) ? `_${word}` : word;
}
