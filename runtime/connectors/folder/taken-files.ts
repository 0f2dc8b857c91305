/**
 * Files that were taken out of a watched folder, and where they go in the end:
 *
 *   DIR/name                  dropped
 *   DIR/.taken/DIGEST/name    taken: nobody who drops another file of that name disturbs it; the shard's source
 *   DIR/done/name             its shard has completed; beside it name.completion.json
 *   DIR/failed/name           its shard has failed or was cancelled; beside it name.completion.json
 *   DIR/refused/name          it is no shard; beside it name.reason.json
 *
 * Every step is a rename within one folder, so that a file is always at one of these places, whole, and every step can be done again.
 */
import type { Dirent } from 'node:fs';
import { lstat, mkdir, open, opendir, readFile, readdir, rename, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import type { Completion } from '../../contracts/connectors.js';
import type { WireError } from '../../contracts/errors.js';
import { syncFolder } from '../../platform/files.js';
import { digestOf, identityOf, keyOf, otherName, type Drop } from './drop.js';

export interface Taken {
  name: string;
  key: string;
  path: string;
}

const keySchema = z.object({ key: z.string() });

type EndPlace = 'done' | 'failed' | 'refused';
export const ownFolders: readonly string[] = ['.taken', 'done', 'failed', 'refused'];

export class TakenFiles {
  readonly #ending = new Map<string, Promise<void>>();

  constructor(private readonly dir: string) {}

  async make(): Promise<void> {
    for (const folder of ownFolders)
      await mkdir(join(this.dir, folder), { recursive: true, mode: folder === '.taken' ? 0o700 : 0o755 });
  }

  /** `undefined`: it is gone, or is another than what was seen; then it lies where it was, or among the refused. */
  async take(drop: Drop): Promise<Taken | undefined> {
    const key = keyOf(drop);
    const folder = this.#folder(key);
    const path = join(folder, drop.name);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    try {
      await rename(join(this.dir, drop.name), path);
    } catch (thrown) {
      await rmdir(folder).catch(() => undefined);
      if (isMissing(thrown)) return undefined;
      throw thrown;
    }
    // Looked at again where only we reach it: a link or a change that came between the two is seen.
    const found = await lstat(path, { bigint: true });
    if (found.isFile() && identityOf(found) === drop.identity) return { name: drop.name, key, path };
    if (found.isFile() && !(await exists(join(this.dir, drop.name)))) await rename(path, join(this.dir, drop.name));
    else await this.refuse({ name: drop.name, key, path }, changed(drop.name));
    await rmdir(folder).catch(() => undefined);
    return undefined;
  }

  /** Whatever was taken before and has not ended. */
  async *all(): AsyncGenerator<Taken, void, undefined> {
    for await (const { name: digest } of await opendir(join(this.dir, '.taken'))) {
      const folder = join(this.dir, '.taken', digest);
      for (const name of await namesIn(folder)) {
        const path = join(folder, name);
        const found = await lstat(path, { bigint: true }).catch(unlessMissing);
        if (found !== undefined) yield { name, key: keyOf({ name, identity: identityOf(found) }), path };
      }
    }
  }

  /** The file goes where its shard's end says. Does nothing for shards that are of no file here. */
  async finish(completion: Completion): Promise<void> {
    const folder = this.#folder(completion.key);
    const place = completion.outcome === 'completed' ? 'done' : 'failed';
    for (const name of await namesIn(folder))
      await this.#end({ name, key: completion.key, path: join(folder, name) }, place, 'completion', completion);
  }

  /** What was finished stays so, even if power is lost. */
  async settle(): Promise<void> {
    await Promise.all(['done', 'failed'].map((folder) => syncFolder(join(this.dir, folder))));
  }

  async refuse(taken: Taken, error: WireError): Promise<void> {
    await this.#end(taken, 'refused', 'reason', { key: taken.key, ...error });
  }

  /** Of two files of one name the second looks for its place when the first has its own. */
  async #end(taken: Taken, place: EndPlace, kind: 'completion' | 'reason', said: object): Promise<void> {
    const target = join(place, taken.name);
    const before = this.#ending.get(target) ?? Promise.resolve();
    const end = before.then(() => this.#putAway(taken, place, kind, said));
    const settled = end.catch(() => undefined);
    this.#ending.set(target, settled);
    try {
      await end;
    } finally {
      if (this.#ending.get(target) === settled) this.#ending.delete(target);
    }
  }

  /** What is said of it is there before it is. */
  async #putAway({ name, key, path }: Taken, place: EndPlace, kind: 'completion' | 'reason', said: object): Promise<void> {
    const folder = join(this.dir, place);
    const target = join(folder, (await this.#isOthers(join(folder, name), kind, key)) ? otherName(name, key) : name);
    await this.#say(`${target}.${kind}.json`, said);
    await rename(path, target).catch((thrown: unknown) => {
      // Who looked for it at the same time has moved it there.
      if (!isMissing(thrown)) throw thrown;
    });
    await rmdir(this.#folder(key)).catch(() => undefined);
  }

  /** Whole or not at all; that its name is durable, `settle` sees to, once for many. */
  async #say(path: string, said: object): Promise<void> {
    const beside = join(dirname(path), `.${basename(path)}.tmp`);
    const file = await open(beside, 'w');
    try {
      await file.writeFile(`${JSON.stringify(said, undefined, 2)}\n`);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  }

  /** Whether a file lies there already that is not this one dropped again. */
  async #isOthers(target: string, kind: string, key: string): Promise<boolean> {
    if (!(await exists(target))) return false;
    const said = await readFile(`${target}.${kind}.json`, 'utf8').catch(unlessMissing);
    return said === undefined || keySchema.safeParse(JSON.parse(said)).data?.key !== key;
  }

  #folder(key: string): string {
    return join(this.dir, '.taken', digestOf(key));
  }
}

/** What can be a file that was dropped: no folder, no link, nothing of ours. */
export const isDropped = (entry: Dirent): boolean => entry.isFile() && !ownFolders.includes(entry.name);

export const isMissing = (thrown: unknown): boolean => thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT';

function unlessMissing(thrown: unknown): undefined {
  if (!isMissing(thrown)) throw thrown;
}

const namesIn = async (folder: string): Promise<string[]> => (await readdir(folder).catch(unlessMissing)) ?? [];

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(unlessMissing)) !== undefined;
}

const changed = (name: string): WireError => ({
  code: 'PDL_REQUEST_INVALID',
  message: `${name} became a link or another file while it was taken`,
  place: name,
  hint: 'Write beside the folder and rename the file into it.',
  retry: 'never',
});
