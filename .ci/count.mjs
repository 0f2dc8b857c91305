/**
 * Counts a vitest JSON report: prints `PASSED FAILED`. A skipped test counts as failed, and so does a file that could not be
 * loaded, a report that is missing, and a run that ended badly although every test passed.
 * usage: node .ci/count.mjs REPORT EXIT_STATUS
 */
import { existsSync, readFileSync } from 'node:fs';

const [, , path = '', status = '1'] = process.argv;
let passed = 0;
let failed = 0;
if (existsSync(path)) {
  for (const file of JSON.parse(readFileSync(path, 'utf8')).testResults) {
    const results = file.assertionResults.map((test) => test.status === 'passed');
    passed += results.filter(Boolean).length;
    const bad = results.length - results.filter(Boolean).length;
    failed += bad === 0 && file.status === 'failed' ? 1 : bad;
  }
}
if (failed === 0 && (status !== '0' || passed === 0)) failed = 1;
console.log(`${passed} ${failed}`);
