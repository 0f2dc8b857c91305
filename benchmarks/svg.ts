/** What the pictures have in common. Pure. */
export const ink = '#1f2933';
export const soft = '#52606d';
export const grid = '#e4e7eb';
export const accent = '#2f6fde';
export const plain = '#9fb3c8';

export const escapeText = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Words that stay readable over lines: drawn twice, since not every viewer knows `paint-order`. `attributes` has no stroke. */
export const wordsOver = (text: string, attributes: string): string =>
  `<text ${attributes} stroke="#ffffff" stroke-width="4" stroke-linejoin="round">${escapeText(text)}</text><text ${attributes}>${escapeText(text)}</text>`;

/** A white page with a title and a note; `content` begins at y = 56. */
export function page(title: string, note: string, width: number, height: number, content: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="13" fill="${ink}" role="img">`,
    `<title>${escapeText(title)}</title>`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="12" y="24" font-size="16" font-weight="600">${escapeText(title)}</text>`,
    `<text x="12" y="43" fill="${soft}">${escapeText(note)}</text>`,
    ...content,
    '</svg>',
    '',
  ].join('\n');
}

/** Powers of ten that enclose all values. */
export function decadesOf(values: readonly number[]): number[] {
  const logs = values.filter((value) => value > 0 && Number.isFinite(value)).map(Math.log10);
  if (logs.length === 0) return [0, 1];
  const first = Math.floor(Math.min(...logs));
  const last = Math.max(Math.ceil(Math.max(...logs)), first + 1);
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
