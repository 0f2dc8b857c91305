/** Durations and quantities as people write them in a manifest, and back into words. */
import { PodlineError } from '../contracts/errors.js';

const msOf = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const factorOf = {
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
} as const;

/** `250ms`, `90s`, `10m`, `2h`, `1d` → milliseconds. Throws PDL_MANIFEST_INVALID. */
export function parseDurationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  if (match === null) {
    throw new PodlineError('PDL_MANIFEST_INVALID', `\`${text}\` is not a duration`, {
      hint: 'Write a number and ms, s, m, h or d: 250ms, 90s, 10m, 2h.',
    });
  }
  return Number(match[1]) * msOf[match[2] as keyof typeof msOf];
}

/** `512Mi`, `2Gi`, `500m`, `1.5`, 3 → bytes or cores, as in Kubernetes. Throws PDL_MANIFEST_INVALID. */
export function parseQuantity(quantity: string | number): number {
  if (typeof quantity === 'number') return quantity;
  const match = /^(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(quantity);
  if (match === null) {
    throw new PodlineError('PDL_MANIFEST_INVALID', `\`${quantity}\` is not a quantity`, {
      hint: 'Write it as in Kubernetes: 512Mi, 2Gi, 500m.',
    });
  }
  const suffix = match[2] as keyof typeof factorOf | undefined;
  return Number(match[1]) * (suffix === undefined ? 1 : factorOf[suffix]);
}

/** A quantity of bytes: whole. */
export const parseBytes = (quantity: string | number): number => Math.ceil(parseQuantity(quantity));

const byteUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** 1536 → `1.5 KiB`. Three significant digits at most, so that columns of them line up. */
export function formatBytes(bytes: number): string {
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= 1023.5 && unit < byteUnits.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${bytes < 0 ? '-' : ''}${value.toFixed(digits).replace(/\.0$/, '')} ${byteUnits[unit] ?? 'B'}`;
}

/** 0.4 → `0.4 ms`, 4250 → `4.3 s`, 95_000 → `1 min 35 s`, 7_500_000 → `2 h 5 min`. */
export function formatDuration(ms: number): string {
  if (ms < 9.95) return `${ms.toFixed(1).replace(/\.0$/, '')} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1).replace(/\.0$/, '')} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return inTwo(seconds, 60, 'min', 's');
  return inTwo(Math.round(seconds / 60), 60, 'h', 'min');
}

function inTwo(small: number, per: number, large: string, rest: string): string {
  const whole = Math.floor(small / per);
  const left = small - whole * per;
  return left === 0 ? `${whole} ${large}` : `${whole} ${large} ${left} ${rest}`;
}

/** 3000000 → `3,000,000`. */
export const formatCount = (count: number): string => count.toLocaleString('en-US');
