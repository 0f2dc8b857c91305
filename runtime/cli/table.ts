/** Columns of equal width; two spaces before each. `numbers`: all but the first are set to the right. */
export function alignTable(rows: readonly (readonly string[])[], kind: 'numbers' | 'left' = 'numbers'): string[] {
  const widths = (rows[0] ?? []).map((_, column) => rows.reduce((widest, row) => Math.max(widest, row[column]?.length ?? 0), 0));
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return `  ${kind === 'left' || column === 0 ? cell.padEnd(width) : cell.padStart(width)}`;
      })
      .join('')
      .trimEnd(),
  );
}
