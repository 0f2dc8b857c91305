/** The last bytes of what a process wrote, as text. */
export class Tail {
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(private readonly bytesMax: number) {}

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (this.#bytes - (this.#chunks[0]?.length ?? 0) >= this.bytesMax) this.#bytes -= this.#chunks.shift()?.length ?? 0;
  }

  /** Undefined when nothing was written. */
  get text(): string | undefined {
    if (this.#bytes === 0) return undefined;
    return Buffer.concat(this.#chunks).subarray(-this.bytesMax).toString('utf8').trimEnd();
  }

  clear(): void {
    this.#chunks = [];
    this.#bytes = 0;
  }
}
