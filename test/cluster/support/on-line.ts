/** A stage as a command for NDJSON, without a file of its own: does `code` with each `line` that comes in. */
export const onLine = (code: string): string[] => [
  'node',
  '-e',
  `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => { ${code} })`,
];
