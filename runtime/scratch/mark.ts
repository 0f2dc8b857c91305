/**
 * The mark of a scratch: random, made with its index, in a file beside it. A scratch with another mark is another one, and what was
 * known of the first is gone.
 *
 * It is read before LMDB is: a damaged index would not raise an error there but SIGSEGV, so that nothing is opened that was not
 * finished, is of another format, or (the index is never synced) comes from before a reboot.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomically } from '../platform/files.js';

/** Of keys, values and files; another format is not read but begun anew. */
const format = 2;

interface Mark {
  format: number;
  mark: string;
  bootId: string;
}

/** By hand: a schema library would be half of what a shim loads when it starts. */
const isMark = (found: unknown): found is Mark => {
  const { format: of, mark, bootId: boot } = (found ?? {}) as Record<string, unknown>;
  return typeof of === 'number' && typeof mark === 'string' && typeof boot === 'string';
};

/** The mark in `dir`, or why what lies there cannot be gone on with. */
export function readMark(dir: string): { mark: string } | { fault: string } {
  let text: string;
  try {
    text = readFileSync(join(dir, 'mark.json'), 'utf8');
  } catch (error) {
    return { fault: `there is no mark (${(error as NodeJS.ErrnoException).code ?? 'unreadable'})` };
  }
  const found = parsed(text);
  if (!isMark(found)) return { fault: 'its mark is unreadable' };
  if (found.format !== format) return { fault: `it is of format ${String(found.format)}, this is ${String(format)}` };
  if (found.bootId !== bootId()) return { fault: 'it was made before this machine was booted' };
  return { mark: found.mark };
}

/** Writes a new mark; to be the last step of making a scratch. */
export async function writeMark(dir: string): Promise<string> {
  const mark = randomBytes(12).toString('hex');
  await writeFileAtomically(join(dir, 'mark.json'), JSON.stringify({ format, mark, bootId: bootId() }));
  return mark;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}
