/**
 * Values of a label, so many and no more: a label that grows without bound fills the memory of whoever scrapes it. What comes when all
 * places are taken is counted together, as `other`.
 */
export class BoundedNames {
  readonly #known = new Set<string>();

  constructor(private readonly most: number) {}

  label(name: string): string {
    if (this.#known.has(name)) return name;
    if (this.#known.size >= this.most) return otherName;
    this.#known.add(name);
    return name;
  }

  /** Its place is free again. */
  forget(name: string): void {
    this.#known.delete(name);
  }
}

export const otherName = 'other';
