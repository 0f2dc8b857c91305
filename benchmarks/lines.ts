/** Lines over logarithmic axes as SVG, without a library. Pure. */
import { accent, decadesOf, escapeText, grid, page, soft, wordsOver } from './svg.js';

export interface Line {
  label: string;
  points: readonly { x: number; y: number }[];
  emphasis?: boolean | undefined;
}

export interface LinesOptions {
  title: string;
  note: string;
  xLabel: string;
  yLabel: string;
  xText: (value: number) => string;
  yText: (value: number) => string;
  /** An upright line with words, where two lines cross. */
  marks?: readonly { x: number; label: string }[] | undefined;
}

const [width, height, left, right, top, bottom] = [1040, 430, 84, 350, 76, 52];
/** Told apart by tone and by the words at their ends. */
const tones = ['#7b8794', '#b35900', '#6b4ba3', '#2d7d46', '#a3306b', '#5b6770', '#8a6d1a'];
/** Words closer than this would lie on one another. */
const wordHeight = 15;

export function linesOf({ title, note, xLabel, yLabel, xText, yText, marks }: LinesOptions, lines: readonly Line[]): string {
  const shown = lines.map((line) => ({
    ...line,
    points: line.points.filter(({ x, y }) => x > 0 && y > 0 && Number.isFinite(y)),
  }));
  const points = shown.flatMap((line) => line.points);
  const xs = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
  const [first, last] = [Math.log10(xs[0] ?? 1), Math.log10(xs.at(-1) ?? 10)];
  const decades = decadesOf(points.map(({ y }) => y));
  const [low, high] = [decades[0] ?? 0, decades.at(-1) ?? 1];
  const x = (value: number): number => left + ((Math.log10(value) - first) / (last - first || 1)) * (width - left - right);
  const y = (value: number): number => top + ((high - Math.log10(value)) / (high - low)) * (height - top - bottom);
  const ticks = [
    ...decades.map((decade) => {
      const at = y(10 ** decade).toFixed(1);
      return `<path d="M${left} ${at} H${width - right}" stroke="${grid}"/><text x="${left - 8}" y="${(y(10 ** decade) + 4).toFixed(1)}" text-anchor="end" fill="${soft}">${escapeText(yText(10 ** decade))}</text>`;
    }),
    ...xs.map(
      (value) =>
        `<path d="M${x(value).toFixed(1)} ${height - bottom} v5" stroke="${soft}"/><text x="${x(value).toFixed(1)}" y="${height - bottom + 20}" text-anchor="middle" fill="${soft}">${escapeText(xText(value))}</text>`,
    ),
    `<text x="${left}" y="${top - 10}" fill="${soft}">${escapeText(yLabel)}</text>`,
    `<text x="${width - right}" y="${height - 8}" text-anchor="end" fill="${soft}">${escapeText(xLabel)}</text>`,
  ];
  const marked = (marks ?? [])
    .filter((mark) => mark.x >= (xs[0] ?? 0) && mark.x <= (xs.at(-1) ?? 0))
    .map((mark) => {
      const at = x(mark.x);
      // Towards the side that has more room.
      const isLeft = at > left + (width - left - right) / 2;
      const words = wordsOver(
        mark.label,
        `x="${(at + (isLeft ? -6 : 6)).toFixed(1)}" y="${height - bottom - 10}" text-anchor="${isLeft ? 'end' : 'start'}" fill="${accent}"`,
      );
      return `<path d="M${at.toFixed(1)} ${top} V${height - bottom}" stroke="${accent}" stroke-dasharray="4 4"/>${words}`;
    });
  const drawn = shown.map(({ points: own, emphasis }, index) => {
    const tone = emphasis === true ? accent : (tones[index % tones.length] ?? soft);
    const path = own.map((point) => `${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}`).join(' L');
    const dots = own.map((point) => `<circle cx="${x(point.x).toFixed(1)}" cy="${y(point.y).toFixed(1)}" r="3" fill="${tone}"/>`);
    return `<path d="M${path}" fill="none" stroke="${tone}" stroke-width="${emphasis === true ? 3 : 1.8}"/>${dots.join('')}`;
  });
  return page(title, note, width, height, [...ticks, ...drawn, ...marked, ...words(shown, x, y)]);
}

/** The names of the lines beside the axes, moved apart where they would lie on one another; a line that ends early is led to its own. */
function words(lines: readonly Line[], x: (value: number) => number, y: (value: number) => number): string[] {
  const edge = width - right;
  const ends = lines
    .flatMap(({ label, points, emphasis }, index) => {
      const end = points.at(-1);
      return end === undefined ? [] : [{ label, emphasis, index, x: x(end.x), y: y(end.y) }];
    })
    .sort((a, b) => a.y - b.y);
  let above = Number.NEGATIVE_INFINITY;
  return ends.map(({ label, emphasis, index, x: endX, y: endY }) => {
    above = Math.max(endY + 4, above + wordHeight);
    const tone = emphasis === true ? accent : (tones[index % tones.length] ?? soft);
    const lead =
      edge - endX < 1
        ? ''
        : `<path d="M${(endX + 6).toFixed(1)} ${endY.toFixed(1)} L${(edge + 6).toFixed(1)} ${(above - 4).toFixed(1)}" stroke="${tone}" stroke-dasharray="1 4"/>`;
    return `${lead}<text x="${(edge + 10).toFixed(1)}" y="${above.toFixed(1)}" fill="${tone}"${emphasis === true ? ' font-weight="600"' : ''}>${escapeText(label)}</text>`;
  });
}
