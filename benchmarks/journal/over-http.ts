/** The same through the API: a server in this process, lines and submitters in others. */
import { startApiServer } from '../../runtime/api/server.js';
import { createCoordinator } from '../../runtime/coordinator/coordinator.js';
import type { Journal } from '../../runtime/journal/journal.js';
import { jsonOf } from '../child-json.js';
import type { CycleRate, JournalFigures } from './figures.js';
import { cpuUs, pipelineOnWire } from './work.js';

const token = 'bench-token';

export interface OverHttp {
  /** Shards wait. `perSecond` 0: as fast as it goes. */
  cycles(lines: number, cycles: number, perSecond: number): Promise<CycleRate>;
  submit(shards: number, from: number): Promise<NonNullable<JournalFigures['ndjson']>[number]>;
  close(): Promise<void>;
}

/** With a journal of its own. */
export async function serve(journal: Journal, signal: AbortSignal): Promise<OverHttp> {
  const coordinator = await createCoordinator({ journal });
  await coordinator.applyPipeline(pipelineOnWire);
  // One token for all lines: not to be taken for one caller that asks too often.
  const server = await startApiServer({ coordinator, token, bounds: { ratePerSecond: 1_000_000 } });
  return {
    cycles: async (lines, cycles, perSecond) => {
      const beganUs = cpuUs();
      const rate = await jsonOf<CycleRate>(
        'benchmarks/journal/lines-entry',
        [server.url, token, lines, cycles, perSecond],
        signal,
      );
      return { ...rate, cpuUsEach: (cpuUs() - beganUs) / cycles };
    },
    submit: async (shards, from) => {
      let rssBytes = 0;
      const look = setInterval(() => (rssBytes = Math.max(rssBytes, process.memoryUsage.rss())), 20);
      const [beganUs, rssBefore] = [cpuUs(), process.memoryUsage.rss()];
      const { seconds, accepted } = await jsonOf<{ seconds: number; accepted: number }>(
        'benchmarks/journal/submitter-entry',
        [server.url, token, shards, from],
        signal,
      ).finally(() => {
        clearInterval(look);
      });
      if (accepted !== shards) throw new Error(`${String(accepted)} of ${String(shards)} submissions were accepted`);
      return {
        perSecond: shards / seconds,
        cpuUsEach: (cpuUs() - beganUs) / shards,
        grewBytes: Math.max(0, rssBytes - rssBefore),
      };
    },
    close: async () => {
      await server.close();
      await coordinator.close();
    },
  };
}
