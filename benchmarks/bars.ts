/** Bars as SVG, without a library. Pure. */
import { accent, decadesOf, escapeText, grid, ink, page, plain, soft, wordsOver } from './svg.js';

export interface Bar {
  label: string;
  value: number;
  /** A thin line across the end of the bar. */
  min?: number | undefined;
  max?: number | undefined;
  emphasis?: boolean | undefined;
}

export interface BarsOptions {
  title: string;
  note: string;
  textOf: (value: number) => string;
  /** Lengths by the logarithm, from a power of ten below the smallest value on: for what differs a hundredfold. */
  logarithmic?: boolean | undefined;
}

const rowHeight = 34;
const labelWidth = 400;
const barWidth = 430;
const top = 56;

/** Horizontal bars from zero. Values that are not finite, or not above zero, are drawn as none and told as they are. */
export function barsOf({ title, note, textOf, logarithmic }: BarsOptions, bars: readonly Bar[]): string {
  const values = bars.flatMap(({ value, min, max }) => [value, min ?? value, max ?? value]);
  const largest = Math.max(...values.filter(Number.isFinite), Number.MIN_VALUE);
  const decades = decadesOf(values);
  const [low, high] = [decades[0] ?? 0, decades.at(-1) ?? 1];
  const share = (value: number): number => (logarithmic === true ? (Math.log10(value) - low) / (high - low) : value / largest);
  const x = (value: number): number => (Number.isFinite(value) && value > 0 ? Math.max(share(value), 0) * barWidth : 0);
  const bottom = top + bars.length * rowHeight;
  const lines =
    logarithmic === true
      ? decades.map((decade) => {
          const at = (labelWidth + x(10 ** decade)).toFixed(1);
          return `<path d="M${at} ${top} V${bottom}" stroke="${grid}"/><text x="${at}" y="${bottom + 16}" text-anchor="middle" font-size="11" fill="${soft}">${escapeText(textOf(10 ** decade))}</text>`;
        })
      : [];
  const drawn = bars.map(({ label, value, min, max, emphasis }, index) => {
    const y = top + index * rowHeight;
    const middle = y + rowHeight / 2 - 3;
    const spread =
      min === undefined || max === undefined
        ? ''
        : `<path d="M${(labelWidth + x(min)).toFixed(1)} ${middle} H${(labelWidth + x(max)).toFixed(1)}" stroke="${ink}" stroke-width="1.5"/>`;
    const end = labelWidth + Math.max(x(value), max === undefined ? 0 : x(max)) + 8;
    return [
      `<text x="${labelWidth - 10}" y="${middle + 4}" text-anchor="end"${emphasis === true ? ' font-weight="600"' : ''}>${escapeText(label)}</text>`,
      `<rect x="${labelWidth}" y="${y + 3}" width="${x(value).toFixed(1)}" height="${rowHeight - 12}" fill="${emphasis === true ? accent : plain}"/>`,
      spread,
      wordsOver(textOf(value), `x="${end.toFixed(1)}" y="${middle + 4}"`),
    ].join('');
  });
  return page(title, note, labelWidth + barWidth + 120, bottom + (logarithmic === true ? 28 : 16), [...lines, ...drawn]);
}
