import { defineStage } from 'podline';

interface Answer {
  kilometres: number[];
}

export default defineStage({
  input: { latitude: { type: 'float64', nullable: true }, longitude: { type: 'float64', nullable: true } },
  output: { kilometres: 'float64' },
  parameters: { service: 'string' },
  async block(batch, ctx) {
    const { latitude, longitude } = batch.columns;
    const places = Array.from({ length: batch.rows }, (_, row) => [latitude.at(row), longitude.at(row)]);
    // ctx.fetch counts what goes over the network, and gives up when the shard is cancelled.
    const response = await ctx.fetch(ctx.parameters.service, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ places }),
    });
    // A throw fails the run of this shard's stage, which is tried again behind the last committed block.
    if (!response.ok) throw new Error(`${ctx.parameters.service} answered ${String(response.status)}`);
    const { kilometres } = (await response.json()) as Answer;
    return { columns: { kilometres: Float64Array.from(kilometres) } };
  },
});
