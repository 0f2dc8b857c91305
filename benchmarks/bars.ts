/** Bars as SVG, without a library. Pure. */
export interface Bar {
  label: string;
  value: number;
  /** A thin line across the end of the bar. */
  min?: number | undefined;
  max?: number | undefined;
  emphasis?: boolean | undefined;
}

const rowHeight = 34;
const labelWidth = 380;
const barWidth = 430;
const top = 56;
const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Horizontal bars from zero. Values that are not finite, or below zero, are drawn as none and told as they are. */
export function barsOf(title: string, note: string, bars: readonly Bar[], textOf: (value: number) => string): string {
  const largest = Math.max(...bars.flatMap(({ value, max }) => [value, max ?? 0]).filter(Number.isFinite), Number.MIN_VALUE);
  const x = (value: number): number => (Number.isFinite(value) ? (Math.max(value, 0) / largest) * barWidth : 0);
  const height = top + bars.length * rowHeight + 16;
  const drawn = bars.map(({ label, value, min, max, emphasis }, index) => {
    const y = top + index * rowHeight;
    const middle = y + rowHeight / 2 - 3;
    const spread =
      min === undefined || max === undefined
        ? ''
        : `<path d="M${(labelWidth + x(min)).toFixed(1)} ${middle} H${(labelWidth + x(max)).toFixed(1)}" stroke="#1f2933" stroke-width="1.5"/>`;
    const end = labelWidth + Math.max(x(value), max === undefined ? 0 : x(max)) + 8;
    return [
      `<text x="${labelWidth - 10}" y="${middle + 4}" text-anchor="end"${emphasis === true ? ' font-weight="600"' : ''}>${escape(label)}</text>`,
      `<rect x="${labelWidth}" y="${y + 3}" width="${x(value).toFixed(1)}" height="${rowHeight - 12}" fill="${emphasis === true ? '#2f6fde' : '#9fb3c8'}"/>`,
      spread,
      `<text x="${end.toFixed(1)}" y="${middle + 4}">${escape(textOf(value))}</text>`,
    ].join('');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${labelWidth + barWidth + 110} ${height}" font-family="system-ui, sans-serif" font-size="13" fill="#1f2933" role="img">`,
    `<title>${escape(title)}</title>`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="12" y="24" font-size="16" font-weight="600">${escape(title)}</text>`,
    `<text x="12" y="43" fill="#52606d">${escape(note)}</text>`,
    ...drawn,
    '</svg>',
    '',
  ].join('\n');
}
