/**
 * Names every test that was skipped, and why, at the end of a run: what was not proved must be seen.
 * With PODLINE_TEST_SKIPS=forbid a skipped test fails the run, which is what CI wants where everything is there.
 */
import type { Reporter, TestCase, TestModule } from 'vitest/node';

export default class SkippedReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped = modules.flatMap((module) => [...module.children.allTests('skipped')]).filter((test) => wasSelected(test));
    if (skipped.length === 0) return;
    console.log(`\nSkipped, and so not proved here (${String(skipped.length)}):`);
    for (const test of skipped) console.log(`  - ${test.module.relativeModuleId} > ${test.fullName}: ${reasonOf(test)}`);
    if (process.env.PODLINE_TEST_SKIPS === 'forbid') {
      console.error('PODLINE_TEST_SKIPS=forbid: a skipped test fails this run.');
      process.exitCode = 1;
    }
  }
}

/** A test that `-t` or `.only` left out was not asked for: it is no gap. */
const wasSelected = (test: TestCase): boolean =>
  test.project.globalConfig.testNamePattern === undefined && !(test.options.mode === 'run' && reasonOf(test) === noReason);

const noReason = 'no reason given';

function reasonOf(test: TestCase): string {
  const result = test.result();
  return result.state === 'skipped' ? (result.note ?? noReason) : noReason;
}
