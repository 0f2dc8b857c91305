/**
 * The mark of a scratch: random, made with its index. A scratch with another mark is another one, and what was known of the first
 * is gone. It carries the boot id too: the index is never synced, so that one from before a reboot is not believed.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { MarkEntry } from './index-store.js';

/** Of keys, values and files; another format is not read but begun anew. */
const format = 1;

export function newMark(): MarkEntry {
  return { format, mark: randomBytes(12).toString('hex'), bootId: bootId() };
}

/** Why a mark cannot be gone on with; undefined when it can. */
export function faultOfMark(mark: MarkEntry | undefined): string | undefined {
  if (!mark) return 'it has no mark';
  if (mark.format !== format) return `it is of format ${String(mark.format)}, this is ${String(format)}`;
  if (mark.bootId !== bootId()) return 'it was made before this machine was booted';
  return undefined;
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}
