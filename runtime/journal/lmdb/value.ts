/**
 * A value as it is written: text until its group is logged, then a place in the record that was logged. Values are kept in memory until
 * they are settled, and hardly any of them is read there; bytes outside of the heap are not copied by each round of garbage collection.
 */
export class Value {
  private record: Buffer | undefined;
  private from = 0;
  private to = 0;

  constructor(private own: string) {}

  get text(): string {
    return this.record === undefined ? this.own : this.record.toString('utf8', this.from, this.to);
  }

  get isEmpty(): boolean {
    return this.record === undefined ? this.own === '' : this.from === this.to;
  }

  /** It stands there from now on, and is changed by nobody. */
  moveTo(record: Buffer, from: number, to: number): void {
    this.record = record;
    this.from = from;
    this.to = to;
    this.own = '';
  }
}
