/** Whether this coordinator leads, and who does otherwise. What is here is courtesy: the journal refuses who does not. */
import { PodlineError } from '../contracts/errors.js';
import type { LeaderView } from '../contracts/leadership.js';

export class Leadership {
  #view: LeaderView = { leads: false };

  get view(): LeaderView {
    return this.#view;
  }

  took(term: number, address: string | undefined): void {
    this.#view = { leads: true, term, ...(address === undefined ? {} : { address }) };
  }

  /** Another one leads, at this address if that is known. */
  follows(address: string | undefined): void {
    const { term } = this.#view;
    this.#view = {
      leads: false,
      ...(term === undefined ? {} : { term }),
      ...(address === undefined ? {} : { address }),
    };
  }

  /** Throws PDL_NOT_LEADER with the leader's address. */
  must(): void {
    const { leads, address } = this.#view;
    if (leads) return;
    throw new PodlineError(
      'PDL_NOT_LEADER',
      `this coordinator is a standby: it answers questions, and ${address === undefined ? 'nobody leads yet' : `${address} leads`}`,
      { place: address },
    );
  }
}
