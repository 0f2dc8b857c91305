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
svg { width: 100%; min-width: 40rem; height: auto; display: block; } svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
svg .axis { font-weight: 600; } svg .value { fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 4px; } svg line { stroke: var(--line); } svg .zero { stroke: var(--soft); } svg .bar { fill: var(--bar); }
.note { font-size: .85rem; margin: .6rem 0 0; }
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

/** Round values that cover a range, four to seven of them. */
function ticksOf(lowest: number, highest: number): number[] {
  const rough = (highest - lowest || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
  const first = Math.floor(lowest / step);
  const last = Math.ceil(highest / step);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

const noteOf = (note: string | undefined): string => (note === undefined ? '' : `<p class="note">${escapeHtml(note)}</p>`);
const picture = (title: string, width: number, height: number, content: string): string =>
  `<svg viewBox="0 0 ${String(width)} ${String(height)}" role="img" aria-label="${escapeHtml(title)}">${content}</svg>`;

export interface BarChart {
  title: string;
  /** What the bars are of, and what they measure. */
  axes: { x: string; y: string };
  bars: readonly { label: string; value: number }[];
  format: (value: number) => string;
  note?: string | undefined;
}

/** Bars from a common zero; values below zero hang down from it. */
export function barChart({ title, axes, bars, format, note }: BarChart): string {
  const [width, height, left, right, top, bottom] = [900, 270, 64, 8, 30, 44];
  const values = bars.map((bar) => bar.value);
  const ticks = ticksOf(Math.min(0, ...values), Math.max(0, ...values));
  const [lowest, highest] = [ticks[0] ?? 0, ticks.at(-1) ?? 1];
  const y = (value: number): number => top + ((highest - value) / (highest - lowest)) * (height - top - bottom);
  const step = (width - left - right) / Math.max(1, bars.length);
  const grid = ticks.map((tick) => {
    const at = y(tick).toFixed(1);
    const strong = tick === 0 ? ' class="zero"' : '';
    return `<line${strong} x1="${String(left)}" x2="${String(width - right)}" y1="${at}" y2="${at}"/><text x="${String(left - 8)}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${escapeHtml(format(tick))}</text>`;
  });
  const drawn = bars.map((bar, index) => {
    const x = left + index * step;
    const middle = (x + step / 2).toFixed(1);
    const top = Math.min(y(bar.value), y(0));
    const rect = `<rect class="bar" x="${(x + step * 0.1).toFixed(1)}" y="${top.toFixed(1)}" width="${(step * 0.8).toFixed(1)}" height="${Math.abs(y(bar.value) - y(0)).toFixed(1)}" rx="2"><title>${escapeHtml(`${bar.label}: ${format(bar.value)}`)}</title></rect>`;
    const label = `<text x="${middle}" y="${String(height - bottom + 17)}" text-anchor="middle">${escapeHtml(bar.label)}</text>`;
    const value =
      step > 70
        ? `<text class="value" x="${middle}" y="${(top - 5).toFixed(1)}" text-anchor="middle">${escapeHtml(format(bar.value))}</text>`
        : '';
    return rect + label + value;
  });
  const names = `<text class="axis" x="0" y="12">${escapeHtml(axes.y)}</text><text class="axis" x="${String(width - right)}" y="${String(height - 6)}" text-anchor="end">${escapeHtml(axes.x)}</text>`;
  return section(title, picture(title, width, height, grid.join('') + drawn.join('') + names) + noteOf(note));
}

export interface HeatMap {
  title: string;
  axes: { x: string; y: string };
  rows: readonly string[];
  columns: readonly string[];
  /** `undefined`: an empty cell. */
  valueOf: (row: string, column: string) => number | undefined;
  /** Where one tone ends and the next, stronger one begins; rising. */
  steps: readonly number[];
  format: (value: number) => string;
  note?: string | undefined;
}

/** Rows by columns in tones; a legend says what each stands for. */
export function heatMap({ title, axes, rows, columns, valueOf, steps, format, note }: HeatMap): string {
  const [width, left, cell, top] = [900, 64, 21, 38];
  const step = (width - left) / Math.max(1, columns.length);
  const opacity = (tone: number): string => (0.08 + (0.92 * tone) / steps.length).toFixed(2);
  const toneOf = (value: number): number => steps.filter((from) => value >= from).length;
  const heads = columns.map(
    (column, index) =>
      `<text x="${(left + (index + 0.5) * step).toFixed(1)}" y="${String(top - 7)}" text-anchor="middle">${escapeHtml(column)}</text>`,
  );
  const lines = rows.map((row, line) => {
    const y = top + line * cell;
    const name = `<text x="${String(left - 8)}" y="${String(y + 15)}" text-anchor="end">${escapeHtml(row)}</text>`;
    const cells = columns.map((column, index) => {
      const value = valueOf(row, column);
      if (value === undefined) return '';
      const tip = `${row}, ${column}: ${format(value)}`;
      return `<rect class="bar" x="${(left + index * step).toFixed(1)}" y="${String(y)}" width="${(step - 1).toFixed(1)}" height="${String(cell - 1)}" fill-opacity="${opacity(toneOf(value))}"><title>${escapeHtml(tip)}</title></rect>`;
    });
    return name + cells.join('');
  });
  const below = top + rows.length * cell + 14;
  const legendStep = 118;
  const legend = [...steps, Number.POSITIVE_INFINITY].map((to, tone) => {
    const from = steps[tone - 1];
    const words =
      from === undefined
        ? `under ${format(to)}`
        : to === Number.POSITIVE_INFINITY
          ? `${format(from)} and more`
          : `from ${format(from)}`;
    const x = left + tone * legendStep;
    return `<rect class="bar" x="${String(x)}" y="${String(below)}" width="14" height="14" fill-opacity="${opacity(tone)}"/><text x="${String(x + 20)}" y="${String(below + 11)}">${escapeHtml(words)}</text>`;
  });
  const names = `<text class="axis" x="0" y="12">${escapeHtml(axes.y)}</text><text class="axis" x="${String(width)}" y="12" text-anchor="end">${escapeHtml(axes.x)}</text>`;
  return section(
    title,
    picture(title, width, below + 18, names + heads.join('') + lines.join('') + legend.join('')) + noteOf(note),
  );
}

export function tableOf(title: string, heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const head = heads.map((cell) => `<th>${escapeHtml(cell)}</th>`).join('');
  const body = rows.map((row) => `<tr>${row.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`).join('');
  return section(title, `<table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>`);
}
