/**
 * Files of a watched folder → shards. The system's notices only wake it: what there is to do is read from the folder itself, so that
 * whatever was dropped while nobody watched is found too.
 *
 * When a file is whole nobody can know who did not write it. Renamed into the folder it is (`ready: renamed`); otherwise it counts as
 * whole when its size and time have not changed for `settleMs`, and names that programs give to unfinished files are passed over. A
 * writer that pauses longer than that, and writes on, changes its identity: where files are left, the whole file is another shard.
 */
import { watch } from 'chokidar';
import { lstat, opendir, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { FolderConfig } from '../../contracts/connectors.js';
import { PodlineError } from '../../contracts/errors.js';
import type { Clock } from '../../platform/clock.js';
import type { Logger } from '../../platform/logger.js';
import { completionOfShard } from '../completion.js';
import type { Inlet, Office } from '../connector.js';
import { Intake } from '../intake.js';
import type { Pace } from '../pace.js';
import type { Status } from '../status.js';
import { Looks, identityOf, isTemporary, keyOf, type Drop } from './drop.js';
import { TakenFiles, isDropped, isMissing, ownFolders, type Taken } from './taken-files.js';

export interface FolderInletParts {
  config: FolderConfig;
  office: Office;
  status: Status;
  pace: Pace;
  clock: Clock;
  logger: Logger;
}

/** Files that are taken together, and files that are waited for at a time. */
const groupMax = 256;
const looksMax = 10_000;
/** Where files are left: so many are remembered as done; beyond that they are handed in again, which the journal sees. */
const knownMax = 100_000;

const isAborted = (signal: AbortSignal): boolean => signal.aborted;

export class FolderInlet implements Inlet {
  readonly #known = new Set<string>();
  readonly #linksTold = new Set<string>();

  constructor(private readonly parts: FolderInletParts) {}

  async run(signal: AbortSignal, onRunning: () => void): Promise<void> {
    const { config, office, status } = this.parts;
    const dir = await this.#dir();
    const taken = config.after === 'move' ? new TakenFiles(dir) : undefined;
    await taken?.make();
    const work = new FolderWork(this.parts, new Intake(office, status, config.pipeline, this.parts.pace), taken);
    const bell = new Bell();
    const watcher = watch(dir, {
      depth: 0,
      followSymlinks: false,
      ignoreInitial: true,
      ignored: (path) => dirname(path) === dir && (ownFolders.includes(basename(path)) || isTemporary(basename(path))),
    });
    watcher.on('all', () => {
      bell.ring();
    });
    // Too many watches, a file system that tells nothing: the folder is read again anyway.
    watcher.on('error', (thrown) => {
      this.parts.logger.warn({ err: String(thrown) }, 'the system cannot watch the folder; it is read every `rescanMs`');
    });
    const end = (): void => {
      bell.ring();
    };
    signal.addEventListener('abort', end);
    try {
      await new Promise<void>((resolve) => watcher.once('ready', resolve));
      await work.again(signal);
      onRunning();
      const looks = new Looks(config.ready === 'renamed' ? 0 : config.settleMs, looksMax);
      while (!isAborted(signal)) {
        await this.#scan(dir, looks, work, signal);
        if (isAborted(signal)) return;
        await bell.wait(looks.size > 0 ? Math.min(config.settleMs, config.rescanMs) : config.rescanMs, this.parts.clock);
      }
    } finally {
      signal.removeEventListener('abort', end);
      await watcher.close();
    }
  }

  async #scan(dir: string, looks: Looks, work: FolderWork, signal: AbortSignal): Promise<void> {
    const present = new Set<string>();
    let group: Drop[] = [];
    for await (const entry of await opendir(dir)) {
      if (isAborted(signal)) return;
      if (entry.isSymbolicLink()) this.#tellLink(entry.name);
      if (!isDropped(entry) || isTemporary(entry.name)) continue;
      const drop = await look(dir, entry.name);
      if (drop === undefined || this.#known.has(keyOf(drop))) continue;
      present.add(drop.name);
      if (!this.#isWhole(drop, looks)) continue;
      looks.forget(drop.name);
      group.push(drop);
      if (group.length < groupMax) continue;
      await this.#take(dir, group, work, signal);
      group = [];
    }
    await this.#take(dir, group, work, signal);
    looks.keepOnly(present);
  }

  #isWhole(drop: Drop, looks: Looks): boolean {
    return this.parts.config.ready === 'renamed' || looks.isSettled(drop, this.parts.clock.nowMs());
  }

  async #take(dir: string, drops: readonly Drop[], work: FolderWork, signal: AbortSignal): Promise<void> {
    if (drops.length === 0 || !(await work.take(dir, drops, signal)) || this.parts.config.after === 'move') return;
    if (this.#known.size > knownMax) this.#known.clear();
    for (const drop of drops) this.#known.add(keyOf(drop));
  }

  #tellLink(name: string): void {
    if (this.#linksTold.has(name) || this.#linksTold.size >= looksMax) return;
    this.#linksTold.add(name);
    this.parts.logger.warn({ name }, 'a link in a watched folder is not followed: put the file itself there');
  }

  /** Throws PDL_SOURCE_MISSING. */
  async #dir(): Promise<string> {
    const { dir } = this.parts.config;
    try {
      const real = await realpath(dir);
      if ((await lstat(real)).isDirectory()) return real;
    } catch (thrown) {
      if (!isMissing(thrown)) throw thrown;
    }
    throw new PodlineError('PDL_SOURCE_MISSING', `there is no folder ${dir} to watch`, {
      place: dir,
      hint: 'Make it, or mend its name.',
    });
  }
}

async function look(dir: string, name: string): Promise<Drop | undefined> {
  try {
    const found = await lstat(join(dir, name), { bigint: true });
    return found.isFile() ? { name, identity: identityOf(found) } : undefined;
  } catch (thrown) {
    if (isMissing(thrown)) return undefined;
    throw thrown;
  }
}

/** Files into the journal: until it has them, or says for good that it will not. */
class FolderWork {
  constructor(
    private readonly parts: FolderInletParts,
    private readonly intake: Intake,
    private readonly taken: TakenFiles | undefined,
  ) {}

  /** What was taken before and may not have come to the journal. */
  async again(signal: AbortSignal): Promise<void> {
    if (this.taken === undefined) return;
    let group: Taken[] = [];
    for await (const file of this.taken.all()) {
      group.push(file);
      if (group.length < groupMax) continue;
      await this.#submit(group, signal);
      group = [];
    }
    await this.#submit(group, signal);
  }

  /** `false`: it was called off. */
  async take(dir: string, drops: readonly Drop[], signal: AbortSignal): Promise<boolean> {
    const { taken } = this;
    const files =
      taken === undefined
        ? drops.map((drop) => ({ name: drop.name, key: keyOf(drop), path: join(dir, drop.name) }))
        : (await Promise.all(drops.map((drop) => taken.take(drop)))).filter((file) => file !== undefined);
    return this.#submit(files, signal);
  }

  async #submit(files: readonly Taken[], signal: AbortSignal): Promise<boolean> {
    const { logger, pace } = this.parts;
    let waiting = files;
    while (waiting.length > 0) {
      if (isAborted(signal)) return false;
      const group = waiting.slice(0, pace.batch(groupMax));
      const fates = await this.intake.take(group.map((file) => this.#message(file)));
      const held: Taken[] = [];
      for (const [index, file] of group.entries()) {
        const fate = fates[index];
        if (fate?.fate === 'taken' && fate.duplicate) await this.#heedDuplicate(file);
        if (fate?.fate === 'refused') {
          logger.warn({ name: file.name, code: fate.error.code, reason: fate.error.message }, 'a file is no shard');
          await this.taken?.refuse(file, fate.error);
        }
        if (fate?.fate === 'later') held.push(file);
      }
      waiting = [...held, ...waiting.slice(group.length)];
      const why = fates.find(({ fate }) => fate === 'later');
      if (why?.fate === 'later') await pace.pause(why.error, signal);
      else await pace.rest(signal);
    }
    return true;
  }

  /** It may have ended before, and then no event will tell of it. */
  async #heedDuplicate({ key }: Taken): Promise<void> {
    if (this.taken === undefined) return;
    const completion = completionOfShard(await this.parts.office.getByKey(this.parts.config.pipeline, key));
    if (completion !== undefined) await this.taken.finish(completion);
  }

  #message({ key, name, path }: Taken): { body: Uint8Array; place: string } {
    const { pipeline, resultDir } = this.parts.config;
    const request = { task: pipeline, key, payload: { uri: path }, ...(resultDir === undefined ? {} : { resultDir }) };
    return { body: Buffer.from(JSON.stringify(request)), place: name };
  }
}

/** Rung once or often while nobody waits: the next wait is over at once. */
class Bell {
  #rung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  async wait(ms: number, clock: Clock): Promise<void> {
    if (!this.#rung) {
      await new Promise<void>((resolve) => {
        const cancel = clock.after(ms, resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
    }
    this.#wake = undefined;
    this.#rung = false;
  }
}
