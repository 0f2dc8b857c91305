/** What a driver tells of lines and slots: to the line desk, and when that has dealt with it, to who scales lines. */
import type { DriverEvent } from '../contracts/driver.js';
import { defaultGroup } from '../line/groups.js';
import type { Logger } from '../platform/logger.js';
import type { FlowDesk } from './flow-desk.js';
import type { LineDesk } from './line-desk.js';

export async function heedDriver(desk: LineDesk, flow: FlowDesk, logger: Logger, event: DriverEvent): Promise<void> {
  const { type, ...fields } = event;
  logger.info({ ...fields }, `driver: ${type}`);
  if (event.type === 'lineStarted') desk.expect(event.pipeline, event.group ?? defaultGroup, event.line);
  if (event.type === 'swapFailed') desk.swapFailed(event.line, event.slot, event.step, event.error);
  if (event.type === 'lineEnded' && event.gone) {
    await desk.gone(event.line, event.reason).catch((thrown: unknown) => {
      logger.error(
        { line: event.line, err: String(thrown) },
        'could not give back the shards of a line; their leases will run out',
      );
    });
  }
  flow.heed(event);
}
