import { it } from 'vitest';
import { Bench } from '../../support/podline.js';
import { chaosPipeline, callsIn } from '../../support/chaos-pipeline.js';
import { join } from 'node:path';
it('x', async () => {
  const bench = chaosPipeline(Bench.make());
  const t = Date.now();
  const trace = join(bench.dir, 'trace');
  const s = await bench.run({ args: ['--lines', '2'], env: {PODLINE_TEST_TRACE: trace} });
  console.log(Date.now() - t, s.elapsedMs, s.swaps, JSON.stringify(s.stages.map((x) => [x.stage, x.runs, x.rows, x.blocks, Math.round(x.workMs), Math.round(x.swapMs)])), s.results, callsIn(trace).length);
  const j = await bench.journal();
  const t0 = Date.parse(j.events[0].at);
  console.log(j.events.map((e) => `${Date.parse(e.at)-t0} ${e.type} ${e.line??''} ${e.shardId??''} ${JSON.stringify(e.data).slice(0,150)}`).join('\n'));
});
