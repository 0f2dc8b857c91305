/**
 * Documents that are made from code, so that they cannot fall behind it. Pure: `generate.mjs` writes them, and a test in
 * `test/tidy` holds the files against them.
 */

/**
 * @param {Record<string, { status: number, retry: string, title: string, hint: string }>} catalogue
 * @param {Map<string, string>} sections the first code of each section and the section's heading
 */
export function errorsDocument(catalogue, sections = errorSections) {
  const lines = [
    '# Errors',
    '',
    'Every error that Podline shows has a code, which keeps its meaning. The same code stands in messages, logs, the journal and in the',
    'body of an answer over HTTP. *Again* says what a caller may do: `later` may pass on its own, `never` ends the same with the same input.',
    '',
    '<!-- Made from runtime/contracts/errors.ts by `npm run generate`. -->',
  ];
  for (const [code, { status, retry, title, hint }] of Object.entries(catalogue)) {
    const heading = sections.get(code);
    if (heading !== undefined)
      lines.push('', `## ${heading}`, '', '| code | meaning | way out | HTTP | again |', '| --- | --- | --- | --- | --- |');
    lines.push(`| <a id="${code.toLowerCase()}"></a>\`${code}\` | ${title} | ${cell(hint)} | ${status} | ${retry} |`);
  }
  return `${lines.join('\n')}\n`;
}

const errorSections = new Map([
  ['PDL_MANIFEST_SYNTAX', 'Manifest and input'],
  ['PDL_SCRATCH_FULL', 'Scratch'],
  ['PDL_STAGE_FAILED', 'Stages'],
  ['PDL_CHECKPOINT_FULL', 'Checkpoints'],
  ['PDL_WORKDIR_BUSY', 'Coordinator'],
  ['PDL_RESULT_DIR', 'Results'],
  ['PDL_REQUEST_INVALID', 'API and use'],
]);

const cell = (text) => text.replaceAll('|', '\\|');

/** @param {unknown} schema */
export const schemaDocument = (schema) => `${JSON.stringify(schema, null, 2)}\n`;
