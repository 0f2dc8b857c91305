/** What a terminal of so many rows shows of what was written to it: as much of a terminal as Podline's live view uses. */
export class Screen {
  readonly #lines: string[] = [''];
  #row = 0;
  #column = 0;

  constructor(private readonly rows: number) {}

  /** Lines as they stand, trailing blanks removed; those that scrolled away included. */
  get lines(): string[] {
    return this.#lines.map((line) => line.trimEnd());
  }

  write(text: string): void {
    for (let at = 0; at < text.length;) {
      const [code, count, letter] = /^\u001b\[([0-9;?]*)([A-Za-z])/.exec(text.slice(at)) ?? [];
      if (code !== undefined) {
        this.#control(letter ?? '', Number(count));
        at += code.length;
        continue;
      }
      this.#put(text.charAt(at));
      at += 1;
    }
  }

  #control(letter: string, count: number): void {
    // Above the first row of the terminal there is nothing that could be reached.
    if (letter === 'A') this.#row = Math.max(this.#row - count, this.#lines.length - this.rows, 0);
    else if (letter === 'J')
      this.#lines.splice(this.#row, Number.POSITIVE_INFINITY, (this.#lines[this.#row] ?? '').slice(0, this.#column));
    else if (letter !== 'm') throw new Error(`the screen does not know the control sequence ${letter}`);
  }

  #put(char: string): void {
    if (char === '\r') this.#column = 0;
    else if (char === '\n') {
      this.#row += 1;
      this.#column = 0;
      if (this.#row === this.#lines.length) this.#lines.push('');
    } else {
      const line = (this.#lines[this.#row] ?? '').padEnd(this.#column);
      this.#lines[this.#row] = line.slice(0, this.#column) + char + line.slice(this.#column + 1);
      this.#column += 1;
    }
  }
}
