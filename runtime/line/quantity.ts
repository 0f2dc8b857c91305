/**
 * Quantities of resources, exact: whole numbers of nano-units, the finest that Kubernetes knows. Sums and quotients of them have
 * no rounding errors, so a quota is used to the last line and never by one more.
 */
import type { Amount, Amounts } from '../contracts/capacity.js';
import { PodlineError } from '../contracts/errors.js';

const one = 1_000_000_000n;
const decimal: Record<string, Amount> = {
  n: 1n,
  u: 1_000n,
  m: 1_000_000n,
  '': one,
  k: one * 1_000n,
  M: one * 1_000n ** 2n,
  G: one * 1_000n ** 3n,
  T: one * 1_000n ** 4n,
  P: one * 1_000n ** 5n,
  E: one * 1_000n ** 6n,
};
const binary: readonly [suffix: string, unit: Amount][] = [
  ['Ei', one * 1_024n ** 6n],
  ['Pi', one * 1_024n ** 5n],
  ['Ti', one * 1_024n ** 4n],
  ['Gi', one * 1_024n ** 3n],
  ['Mi', one * 1_024n ** 2n],
  ['Ki', one * 1_024n],
];
const unitOf: Record<string, Amount> = { ...decimal, ...Object.fromEntries(binary) };

/** A number with more digits than any quantity of this world has is not one. */
const digitsMax = 64;

/** `500m`, `1.5`, `8Gi`, `1e3`, 3 → nano-units; what is finer is rounded up, as Kubernetes does. Throws PDL_MANIFEST_INVALID. */
export function parseAmount(quantity: string | number): Amount {
  const text = String(quantity);
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:e([+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i))?$/i.exec(text);
  const [, sign = '', whole = '', fraction = '', exponent, suffix = ''] = match ?? [];
  const unit = unitOf[suffix];
  if (match === null || whole + fraction === '' || unit === undefined || text.length > digitsMax) {
    throw new PodlineError('PDL_MANIFEST_INVALID', `\`${text}\` is not a quantity`, {
      hint: 'Write it as in Kubernetes: 512Mi, 2Gi, 500m.',
    });
  }
  const shift = fraction.length - Number(exponent ?? 0);
  const digits = BigInt(whole + fraction) * unit;
  const amount = shift <= 0 ? digits * 10n ** BigInt(-shift) : ceilOf(digits, 10n ** BigInt(shift));
  return sign === '-' ? -amount : amount;
}

const ceilOf = (amount: bigint, by: bigint): bigint => (amount + by - 1n) / by;

/** As people write it, exact: `8Gi`, `1500m`, `3`. Bytes of memory and storage take binary units where they come out whole. */
export function formatAmount(resource: string, amount: Amount): string {
  if (amount < 0n) return `-${formatAmount(resource, -amount)}`;
  if (amount === 0n) return '0';
  if (isBytes(resource))
    for (const [suffix, unit] of binary) if (amount % unit === 0n) return `${String(amount / unit)}${suffix}`;
  for (const suffix of ['', 'm', 'u']) {
    const unit = unitOf[suffix] ?? one;
    if (amount % unit === 0n) return `${String(amount / unit)}${suffix}`;
  }
  return `${String(amount)}n`;
}

const isBytes = (resource: string): boolean => /(^|\.|\/)(memory|storage|ephemeral-storage|hugepages-.*)$/.test(resource);

/** The sum, over every resource that either names. */
export function addAmounts(left: Amounts, right: Amounts): Amounts {
  const sum: Record<string, Amount> = { ...left };
  for (const [resource, amount] of Object.entries(right)) sum[resource] = (sum[resource] ?? 0n) + amount;
  return sum;
}

export const timesAmounts = (amounts: Amounts, count: number): Amounts =>
  Object.fromEntries(Object.entries(amounts).map(([resource, amount]) => [resource, amount * BigInt(count)]));

export const parseAmounts = (quantities: Readonly<Record<string, string | number>>): Amounts =>
  Object.fromEntries(Object.entries(quantities).map(([resource, quantity]) => [resource, parseAmount(quantity)]));
