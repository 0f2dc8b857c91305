/**
 * Which of several coordinators leads. A lease says who should; the journal's term says who may write. Only the second is
 * safety: two that believe to lead at once cannot both write.
 */

/** A coordinator, as the others know it. */
export interface Candidate {
  /** Another one for each process. */
  id: string;
  /** `http://host:port` at which clients reach it. */
  address: string;
}

/** Held by one candidate at a time, until it says no more for `ttlMs`. */
export interface LeaderLease {
  readonly ttlMs: number;
  /** Takes it where it is free or ours, and answers whose it is now. */
  hold(me: Candidate): Promise<Candidate>;
  /** Lets others have it at once, if it is ours. */
  release(me: Candidate): Promise<void>;
  close(): Promise<void>;
}

export interface LeaderView {
  /** This coordinator does. */
  leads: boolean;
  /** Of the journal: counts up with each leader. Absent where this coordinator never led. */
  term?: number | undefined;
  /** Where the leader is, if that is known. */
  address?: string | undefined;
}
