/** How a connector is doing, as its parts report it: one view of inlet and outlet. */
import type { ConnectorView } from '../contracts/connectors.js';

export type Part = 'inlet' | 'outlet';
type PartState = Pick<ConnectorView, 'state' | 'because'>;

/** The most troubled part speaks for the whole. */
const order: readonly ConnectorView['state'][] = ['closed', 'away', 'paused', 'starting', 'running'];

export class Status {
  readonly #parts = new Map<Part, PartState>();
  #closed = false;
  taken = 0;
  duplicates = 0;
  refused = 0;
  published = 0;
  cursor: number | undefined;
  lastEvent: number | undefined;

  constructor(
    private readonly name: string,
    private readonly kind: ConnectorView['kind'],
  ) {}

  set(part: Part, state: ConnectorView['state'], because: string): void {
    this.#parts.set(part, { state, because });
  }

  close(): void {
    this.#closed = true;
  }

  view(): ConnectorView {
    const { taken, duplicates, refused, published, cursor, lastEvent } = this;
    const { state, because } = this.#whole();
    return {
      name: this.name,
      kind: this.kind,
      state,
      because,
      taken,
      duplicates,
      refused,
      published,
      ...(cursor === undefined ? {} : { cursor }),
      ...(cursor === undefined || lastEvent === undefined ? {} : { behind: Math.max(0, lastEvent - cursor) }),
    };
  }

  #whole(): PartState {
    if (this.#closed) return { state: 'closed', because: 'it was closed' };
    const parts = [...this.#parts.values()].sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
    return parts[0] ?? { state: 'starting', because: 'it was opened just now' };
  }
}
