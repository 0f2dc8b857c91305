/**
 * Keeps asking for the lease of the leader, and tells the coordinator when it has it and when it has not any more.
 *
 * Invariants
 *  1. `lead` and `follow` are called one at a time, and `lead` only while the lease is ours.
 *  2. Who cannot renew stands down before the lease can be another's, by the monotonic clock: it was last renewed at a time that is
 *     known here. That is courtesy to lines and clients; the journal's term is what keeps a late leader from writing.
 *  3. A coordinator that could not begin to lead lets the lease go, and tries again.
 */
import type { Candidate, LeaderLease } from '../contracts/leadership.js';
import type { Clock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';

export interface ElectionOptions {
  lease: LeaderLease;
  me: Candidate;
  clock: Clock;
  logger: Logger;
  /** The lease is ours. Rejects when the coordinator could not take over. */
  lead: () => Promise<void>;
  /** It is not: another one has it, at this address if that is known. Called again when the address changes. */
  follow: (address: string | undefined) => void;
}

export class Election {
  readonly #everyMs: number;
  #leading = false;
  #callOff: (() => void) | undefined;
  #callOffEnd: (() => void) | undefined;
  #round: Promise<void> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor(private readonly options: ElectionOptions) {
    this.#everyMs = options.lease.ttlMs / 4;
  }

  /** Resolves when it is known for the first time who leads, or that this cannot be learnt yet. */
  async start(): Promise<void> {
    this.#next(0);
    await this.#round;
  }

  /** Stands down, and lets another one lead at once. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      this.#callOff?.();
      this.#callOffEnd?.();
      await this.#round;
      const { lease, me } = this.options;
      if (this.#leading) {
        this.#standDown(undefined);
        await lease.release(me).catch(() => undefined);
      }
      await lease.close();
    })();
    return this.#closed;
  }

  #next(inMs: number): void {
    if (this.#closed !== undefined) return;
    if (inMs === 0) this.#round = this.#once();
    else
      this.#callOff = this.options.clock.after(inMs, () => {
        this.#round = this.#once();
      });
  }

  async #once(): Promise<void> {
    const { lease, me, clock, logger } = this.options;
    const askedMs = clock.nowMs();
    try {
      const holder = await lease.hold(me);
      if (holder.id !== me.id) this.#standDown(holder.address);
      else if (this.#renewed(askedMs) && !this.#leading) await this.#takeOver(askedMs + lease.ttlMs);
    } catch (thrown) {
      logger.warn({ err: String(thrown) }, 'the lease of the leader could not be asked for');
    } finally {
      this.#next(this.#everyMs);
    }
  }

  /** It may be another's `ttlMs` after it was asked for; an answer that is later than that is as good as none. */
  #renewed(askedMs: number): boolean {
    const { lease, clock } = this.options;
    const leftMs = askedMs + lease.ttlMs - clock.nowMs();
    if (leftMs <= 0) return false;
    this.#callOffEnd?.();
    this.#callOffEnd = clock.after(leftMs, () => {
      this.#standDown(undefined);
    });
    return true;
  }

  async #takeOver(untilMs: number): Promise<void> {
    const { lease, me, clock, logger, lead } = this.options;
    try {
      await lead();
      if (clock.nowMs() >= untilMs) throw new Error('it took longer than the lease lasts');
      this.#leading = true;
      logger.info({ address: me.address }, 'this coordinator leads');
    } catch (thrown) {
      logger.error({ err: String(thrown) }, 'this coordinator should lead and could not begin; it lets another one try');
      this.#standDown(undefined);
      await lease.release(me);
    }
  }

  #standDown(address: string | undefined): void {
    if (this.#leading) this.options.logger.warn({ leader: address }, 'this coordinator does not lead any more');
    this.#leading = false;
    this.options.follow(address);
  }
}
