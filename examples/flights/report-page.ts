/** A page of its own, without scripts or anything from elsewhere: pictures are SVG, drawn here. */

const escapeHtml = (text: string): string => text.replace(/[&<>"]/g, (char) => `&#${String(char.charCodeAt(0))};`);

const style = `
:root { --ink: #1d2733; --soft: #5f6f80; --line: #dfe5ea; --bar: #2f6f9f; --paper: #ffffff; --ground: #f4f6f8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #93a1b0; --line: #2c3640; --bar: #6aaedb; --paper: #161c22; --ground: #0f1418; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0 0 .8rem; }
p { color: var(--soft); margin: .3rem 0 1.5rem; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 1.2rem; margin: 0 0 1rem; overflow-x: auto; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem; }
.tiles div { border-left: 3px solid var(--bar); padding-left: .7rem; } .tiles small { color: var(--soft); display: block; } .tiles b { font-size: 1.15rem; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--soft); font-size: 11px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line); } th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 600; }
`;

export function page(title: string, lead: string, parts: readonly string[]): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title><style>${style}</style></head>
<body><main><h1>${escapeHtml(title)}</h1><p>${escapeHtml(lead)}</p>
${parts.join('\n')}
</main></body></html>
`;
}

const section = (title: string, content: string): string => `<section><h2>${escapeHtml(title)}</h2>${content}</section>`;

export const statTiles = (tiles: readonly (readonly [string, string])[]): string =>
  `<section class="tiles">${tiles.map(([name, value]) => `<div><small>${escapeHtml(name)}</small><b>${escapeHtml(value)}</b></div>`).join('')}</section>`;

/** Bars from a common zero; values below zero hang down from it. */
export function barChart(title: string, bars: readonly { label: string; value: number }[], format: (value: number) => string): string {
  const [width, height, left, bottom, top] = [900, 240, 8, 22, 18];
  const highest = Math.max(0, ...bars.map((bar) => bar.value));
  const lowest = Math.min(0, ...bars.map((bar) => bar.value));
  const range = highest - lowest || 1;
  const y = (value: number): number => top + ((highest - value) / range) * (height - top - bottom);
  const step = (width - 2 * left) / Math.max(1, bars.length);
  const drawn = bars.map((bar, index) => {
    const x = left + index * step;
    const tip = `${bar.label}: ${format(bar.value)}`;
    const rect = `<rect x="${(x + 2).toFixed(1)}" y="${Math.min(y(bar.value), y(0)).toFixed(1)}" width="${(step - 4).toFixed(1)}" height="${Math.abs(y(bar.value) - y(0)).toFixed(1)}" rx="2" fill="var(--bar)"><title>${escapeHtml(tip)}</title></rect>`;
    const label = `<text x="${(x + step / 2).toFixed(1)}" y="${String(height - 6)}" text-anchor="middle">${escapeHtml(bar.label)}</text>`;
    const value = step > 55 ? `<text x="${(x + step / 2).toFixed(1)}" y="${(Math.min(y(bar.value), y(0)) - 5).toFixed(1)}" text-anchor="middle">${escapeHtml(format(bar.value))}</text>` : '';
    return rect + label + value;
  });
  const zero = `<line x1="${String(left)}" x2="${String(width - left)}" y1="${y(0).toFixed(1)}" y2="${y(0).toFixed(1)}" stroke="var(--line)"/>`;
  const peak = `<text x="${String(left)}" y="12">${escapeHtml(`highest: ${format(highest)}`)}</text>`;
  return section(title, `<svg viewBox="0 0 ${String(width)} ${String(height)}" role="img" aria-label="${escapeHtml(title)}">${zero}${peak}${drawn.join('')}</svg>`);
}

/** Rows by columns; the stronger the colour, the higher the value; empty cells had no flight. */
export function heatMap(
  title: string,
  rows: readonly string[],
  columns: readonly string[],
  valueOf: (row: string, column: string) => number | undefined,
  format: (value: number) => string,
): string {
  const [width, left, cellHeight, top] = [900, 44, 20, 18];
  const step = (width - left) / Math.max(1, columns.length);
  const values = rows.flatMap((row) => columns.map((column) => valueOf(row, column))).filter((value) => value !== undefined);
  const highest = values.reduce((max, value) => Math.max(max, value), 0) || 1;
  const heads = columns.map((column, index) => `<text x="${(left + (index + 0.5) * step).toFixed(1)}" y="12" text-anchor="middle">${escapeHtml(column)}</text>`);
  const lines = rows.map((row, line) => {
    const y = top + line * cellHeight;
    const name = `<text x="0" y="${String(y + 14)}">${escapeHtml(row)}</text>`;
    const cells = columns.map((column, index) => {
      const value = valueOf(row, column);
      if (value === undefined) return '';
      const strength = Math.max(0.04, Math.min(1, value / highest));
      return `<rect x="${(left + index * step).toFixed(1)}" y="${String(y)}" width="${(step - 1).toFixed(1)}" height="${String(cellHeight - 1)}" fill="var(--bar)" fill-opacity="${strength.toFixed(2)}"><title>${escapeHtml(`${row}, ${column}:00: ${format(value)}`)}</title></rect>`;
    });
    return name + cells.join('');
  });
  const height = top + rows.length * cellHeight + 4;
  return section(title, `<svg viewBox="0 0 ${String(width)} ${String(height)}" role="img" aria-label="${escapeHtml(title)}">${heads.join('')}${lines.join('')}</svg>`);
}

export function tableOf(title: string, heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const head = heads.map((cell) => `<th>${escapeHtml(cell)}</th>`).join('');
  const body = rows.map((row) => `<tr>${row.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`).join('');
  return section(title, `<table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>`);
}
