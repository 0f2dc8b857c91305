/**
 * The way back to a watched folder: a file whose shard has ended goes to `done/` or `failed/`, with the completion beside it. A rename is
 * its own mark: what is there was told, once, and no place in the journal's log need be kept.
 */
import { realpath } from 'node:fs/promises';
import type { Completion, FolderConfig } from '../../contracts/connectors.js';
import { isPodlineError } from '../../contracts/errors.js';
import type { Shard } from '../../contracts/shard.js';
import type { Logger } from '../../platform/logger.js';
import { completionOfShard } from '../completion.js';
import type { Cursor, Office, Outlet } from '../connector.js';
import { TakenFiles } from './taken-files.js';

export interface FolderOutletParts {
  config: FolderConfig;
  office: Office;
  logger: Logger;
}

/** Files that are put away at once: each waits for the disk. */
const sideBySide = 32;

export class FolderOutlet implements Outlet {
  #taken: TakenFiles | undefined;

  constructor(private readonly parts: FolderOutletParts) {}

  /** Files whose shards ended while nobody was here go where they belong. */
  async open(): Promise<Cursor> {
    const { config, office } = this.parts;
    const taken = (this.#taken = new TakenFiles(await realpath(config.dir)));
    await taken.make();
    const event = await office.lastEventId();
    for await (const { key } of taken.all()) {
      const shard = await this.#shard(key);
      const completion = shard === undefined ? undefined : completionOfShard(shard);
      if (completion !== undefined) await taken.finish(completion);
    }
    return { event };
  }

  async publish(completions: readonly Completion[]): Promise<void> {
    const waiting = completions.values();
    const work = async (): Promise<void> => {
      for (const completion of waiting) await this.#taken?.finish(completion);
    };
    await Promise.all(Array.from({ length: sideBySide }, work));
    await this.#taken?.settle();
  }

  async close(): Promise<void> {
    this.#taken = undefined;
  }

  /** `undefined`: it has not come to the journal yet. */
  async #shard(key: string): Promise<Shard | undefined> {
    try {
      return await this.parts.office.getByKey(this.parts.config.pipeline, key);
    } catch (thrown) {
      if (isPodlineError(thrown, 'PDL_SHARD_UNKNOWN')) return undefined;
      throw thrown;
    }
  }
}
