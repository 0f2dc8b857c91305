/** A connector of an inlet and, if it has one, a way back: each runs, fails, waits and begins again on its own. */
import type { ConnectorView } from '../contracts/connectors.js';
import type { PodlineError } from '../contracts/errors.js';
import type { Logger } from '../platform/logger.js';
import type { Connector, Inlet } from './connector.js';
import { persist, type Patience } from './persist.js';
import type { Publisher } from './publisher.js';
import type { Part, Status } from './status.js';

export interface TwoWayParts {
  name: string;
  status: Status;
  patience: Patience;
  logger: Logger;
  inlet: Inlet;
  publisher: Publisher | undefined;
}

const runs: Record<Part, string> = { inlet: 'requests are taken', outlet: 'completions are published' };

export class TwoWayConnector implements Connector {
  readonly name: string;
  readonly #status: Status;
  readonly #ending = new AbortController();
  readonly #done: Promise<unknown>;

  constructor(private readonly parts: TwoWayParts) {
    this.name = parts.name;
    this.#status = parts.status;
    const { inlet, publisher } = parts;
    this.#done = Promise.all([
      this.#keep('inlet', (signal, onRunning) => inlet.run(signal, onRunning)),
      ...(publisher === undefined ? [] : [this.#keep('outlet', (signal, onRunning) => publisher.run(signal, onRunning))]),
    ]);
  }

  view(): ConnectorView {
    return this.#status.view();
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#done;
    this.#status.close();
  }

  #keep(part: Part, run: Inlet['run']): Promise<void> {
    const { logger, patience } = this.parts;
    this.#status.set(part, 'starting', 'it connects');
    return persist(
      (signal, onRunning) =>
        run(signal, () => {
          this.#status.set(part, 'running', runs[part]);
          onRunning();
        }),
      this.#ending.signal,
      patience,
      (error: PodlineError, pauseMs: number) => {
        this.#status.set(part, 'away', `${error.message} (${error.code})`);
        logger.warn(
          { part, code: error.code, pauseMs: Math.round(pauseMs), err: error.message },
          'a connector failed; it begins again',
        );
      },
    );
  }
}
