/** From a configuration to connectors that run. The one who opens them closes them, before the coordinator that they speak to. */
import { connectorsSchema, type ConnectorConfig, type ConnectorView } from '../contracts/connectors.js';
import { PodlineError } from '../contracts/errors.js';
import type { Backoff } from '../line/backoff.js';
import { systemClock, type Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import type { Connector, Office, Outlet } from './connector.js';
import { FolderInlet } from './folder/folder-inlet.js';
import { FolderOutlet } from './folder/folder-outlet.js';
import { Intake } from './intake.js';
import { KafkaInlet } from './kafka/kafka-inlet.js';
import { KafkaOutlet } from './kafka/kafka-outlet.js';
import { Pace } from './pace.js';
import type { Patience } from './persist.js';
import { Publisher } from './publisher.js';
import { RabbitmqInlet } from './rabbitmq/rabbitmq-inlet.js';
import { RabbitmqOutlet } from './rabbitmq/rabbitmq-outlet.js';
import { Status } from './status.js';
import { TwoWayConnector } from './two-way.js';

export interface ConnectorParts {
  /** A `PodlineClient`, in process or over HTTP. */
  office: Office;
  logger: Logger;
  clock?: Clock | undefined;
  /** In [0, 1). */
  random?: (() => number) | undefined;
  backoff?: Backoff | undefined;
}

export interface Connectors {
  views(): ConnectorView[];
  /** Idempotent. */
  close(): Promise<void>;
}

const usualBackoff: Backoff = { initialMs: 100, factor: 2, maxMs: 15_000 };

/** Answers at once: a connector whose broker is away says so in its view, and comes when it does. Throws PDL_CONNECTOR_INVALID. */
export function openConnectors(config: unknown, parts: ConnectorParts): Connectors {
  const parsed = connectorsSchema.safeParse(config);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const place = ['connectors', ...(issue?.path ?? [])].join('.');
    throw new PodlineError('PDL_CONNECTOR_INVALID', `${place}: ${issue?.message ?? 'it does not fit'}`, { place });
  }
  const opened = parsed.data.map((connector) => openConnector(connector, parts));
  return {
    views: () => opened.map((connector) => connector.view()),
    close: async () => {
      await Promise.all(opened.map((connector) => connector.close()));
    },
  };
}

export function openConnector(config: ConnectorConfig, parts: ConnectorParts): Connector {
  const { office, clock = systemClock } = parts;
  const { name, kind } = config;
  const logger = parts.logger.child({ connector: name, kind });
  const status = new Status(name, kind);
  const patience: Patience = {
    backoff: parts.backoff ?? usualBackoff,
    random: parts.random ?? Math.random,
    delay: (ms, signal) => wait(clock, ms, signal),
  };
  const pace = new Pace(status, patience, clock);
  const publisher = (outlet: () => Outlet, pipelines?: readonly string[], from: 'oldest' | 'newest' = 'oldest'): Publisher =>
    new Publisher({ office, outlet, status, pipelines, from, clock, logger });
  const compose = (inlet: TwoWayConnector['parts']['inlet'], back: Publisher | undefined): Connector =>
    new TwoWayConnector({ name, status, patience, logger, inlet, publisher: back });

  switch (config.kind) {
    case 'kafka': {
      const { completions, pipeline } = config;
      return compose(
        new KafkaInlet({ config, intake: new Intake(office, status, pipeline, pace), pace, logger }),
        completions === false
          ? undefined
          : publisher(() => new KafkaOutlet(config, completions.topic, logger), completions.pipelines, completions.from),
      );
    }
    case 'rabbitmq': {
      const { completions, pipeline } = config;
      return compose(
        new RabbitmqInlet({ config, intake: new Intake(office, status, pipeline, pace), pace, logger }),
        completions === false
          ? undefined
          : publisher(() => new RabbitmqOutlet(config, completions.queue), completions.pipelines, completions.from),
      );
    }
    case 'folder':
      return compose(
        new FolderInlet({ config, office, status, pace, clock, logger }),
        config.after === 'leave' ? undefined : publisher(() => new FolderOutlet({ config, office, logger }), [config.pipeline]),
      );
  }
}

/** An abort ends the wait early and without an error. */
function wait(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = (): void => {
      cancel();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const cancel = clock.after(ms, end);
    signal.addEventListener('abort', end, { once: true });
  });
}
