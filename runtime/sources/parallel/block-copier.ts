/** Copies stretches of one file into blocks of one stream, in a part of this thread's own; the parent commits them. */
import { PodlineError } from '../../contracts/errors.js';
import { openScratch } from '../../scratch/scratch.js';
import type { PartWriter, Scratch, WrittenBlock } from '../../scratch/types.js';
import { FileSource } from '../source-reader.js';
import type { CopyBlock } from './messages.js';

export class BlockCopier {
  #buffer = Buffer.alloc(0);

  private constructor(
    private readonly source: FileSource,
    private readonly scratch: Scratch,
    private readonly part: PartWriter,
  ) {}

  static async open({ uri, identity, target }: CopyBlock): Promise<BlockCopier> {
    const source = await FileSource.open(uri);
    let scratch: Scratch | undefined;
    try {
      if (source.identity !== identity)
        throw new PodlineError('PDL_SOURCE_UNREADABLE', `${source.name} was replaced while it was read`, { place: source.name });
      scratch = await openScratch({ ...target.scratch, role: 'stage' });
      return new BlockCopier(source, scratch, scratch.openPart(target.request));
    } catch (thrown) {
      await scratch?.close();
      await source.close();
      throw thrown;
    }
  }

  async copy({ from, to }: CopyBlock): Promise<WrittenBlock> {
    if (this.#buffer.length !== to - from) this.#buffer = Buffer.from(new ArrayBuffer(to - from));
    await this.source.readInto(this.#buffer, from);
    return this.part.writeBytes(this.#buffer);
  }

  /** What it wrote and nobody committed is given back. */
  async close(): Promise<void> {
    this.part.close();
    await this.scratch.close();
    await this.source.close();
  }
}
