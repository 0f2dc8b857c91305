/**
 * Counts a vitest JSON report: prints `PASSED FAILED`, and adds a line for each that failed to a file. A skipped test counts as failed, and so
 * does a file that could not be loaded, a report that is missing, and a run that ended badly although every test passed.
 * usage: node .ci/count.mjs REPORT EXIT_STATUS FAILED_FILE
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

const [, , path = '', status = '1', failedFile = ''] = process.argv;
let passed = 0;
const failures = [];
if (existsSync(path)) {
  for (const { name, status, message, assertionResults } of JSON.parse(readFileSync(path, 'utf8')).testResults) {
    const bad = assertionResults.filter((test) => test.status !== 'passed');
    passed += assertionResults.length - bad.length;
    const file = relative(process.cwd(), name);
    for (const test of bad)
      failures.push(`${file} > ${test.fullName}: ${firstLine(test.failureMessages?.join('\n') || test.status)}`);
    if (bad.length === 0 && status === 'failed') failures.push(`${file}: ${firstLine(message)}`);
  }
}
if (failures.length === 0 && (status !== '0' || passed === 0))
  failures.push(`${path}: the run ended with ${status}, and ${passed} tests passed`);
if (failures.length > 0) appendFileSync(failedFile, failures.map((line) => `FAILED ${line}\n`).join(''));
console.log(`${passed} ${failures.length}`);

function firstLine(text) {
  return text.trim().split('\n', 1)[0].slice(0, 300);
}
