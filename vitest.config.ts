import { defineConfig } from 'vitest/config';

/** unit: one folder at a time, no processes. integration: spawns processes and threads from dist. cluster: needs the test cluster. */
const project = (name: string, options: { testTimeout: number; order: number; serial?: boolean }) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    setupFiles: ['./test/support/setup.ts'],
    environment: 'node' as const,
    pool: 'forks' as const,
    testTimeout: options.testTimeout,
    hookTimeout: options.testTimeout,
    sequence: { groupOrder: options.order },
    ...(options.serial === true ? { fileParallelism: false } : {}),
    ...(name === 'cluster' ? { globalSetup: './test/cluster/global-setup.ts' } : {}),
  },
});

export default defineConfig({
  test: {
    reporters: ['default', './test/reporters/skipped.ts'],
    passWithNoTests: true,
    projects: [
      project('unit', { testTimeout: 20_000, order: 0 }),
      project('contract', { testTimeout: 30_000, order: 0 }),
      project('tidy', { testTimeout: 30_000, order: 0 }),
      project('simulation', { testTimeout: 120_000, order: 1 }),
      // One file at a time: each starts several processes of its own, and two at once would starve on two cores.
      project('integration', { testTimeout: 180_000, order: 2, serial: true }),
      project('cluster', { testTimeout: 600_000, order: 3, serial: true }),
    ],
  },
});
