#!/usr/bin/env node
/** Entry point of a coordinator in a container: `main.js [configuration]`, or PODLINE_CONFIG. SIGTERM ends it cleanly. */
import { readServerConfig } from '../config/server-config.js';
import { env } from '../contracts/env.js';
import { PodlineError } from '../contracts/errors.js';
import { endProcess } from '../platform/uninterrupted.js';
import { createLogger } from '../telemetry/logger.js';
import { serve, type Served } from './serve.js';

const logger = createLogger({ name: 'coordinator' });
let served: Served | undefined;
let ending = false;
// From the first moment on: as the first process of a container it would not be ended by a signal that nobody takes.
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (ending) return;
    ending = true;
    logger.info({ signal }, 'the coordinator ends');
    // While it starts, nobody relies on it yet; what is durable is as good as it is.
    (served?.close() ?? Promise.resolve()).then(
      () => endProcess(0),
      (thrown: unknown) => {
        logger.error({ err: String(thrown) }, 'the coordinator did not end cleanly');
        endProcess(1);
      },
    );
  });
}
try {
  const config = await readServerConfig(process.argv[2] ?? process.env[env.config], process.env, process.cwd());
  served = await serve(config, logger);
  logger.info({ url: served.url }, 'the coordinator is there');
} catch (thrown) {
  const { code, message, hint } = PodlineError.from(thrown);
  logger.error({ code, hint }, message);
  process.exitCode = 1;
}
