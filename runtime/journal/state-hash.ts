/** What a journal's hash is made of: a line for each thing that is kept, the same whichever store keeps it. */
import { canonicalJson } from '../line/lineage.js';

export const canonicalLine = (...parts: readonly unknown[]): string => `${canonicalJson(JSON.parse(JSON.stringify(parts)))}\n`;
