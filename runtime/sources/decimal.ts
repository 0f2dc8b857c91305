/**
 * Decimal numbers to the nearest double, without a string in between.
 *
 * Up to 2^53 the mantissa is an exact double, and so is a power of ten up to 10^22: one operation rounds once and is right. A mantissa
 * of up to 19 digits is kept as two doubles and divided with the remainder carried along. The remainder is known to some 2^-50 of
 * itself; the result is taken only where 2^-36 of it would change nothing, and else it is for `Number` to say.
 */
const exactMax = 2 ** 53;
const splitter = 2 ** 27 + 1;
/** 10^0 to 10^22: those that are exact. */
export const powersOfTen = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${String(exponent)}`));

/** What rounding took from one * other. Nothing here comes near overflow. */
function productError(one: number, other: number, product: number): number {
  const oneScaled = splitter * one;
  const oneHigh = oneScaled - (oneScaled - one);
  const oneLow = one - oneHigh;
  const otherScaled = splitter * other;
  const otherHigh = otherScaled - (otherScaled - other);
  const otherLow = other - otherHigh;
  return oneLow * otherLow - (product - oneHigh * otherHigh - oneLow * otherHigh - oneHigh * otherLow);
}

/**
 * (head · 10^tailDigits + tail) / 10^decimals, where `head` has up to 15 digits, `tail` up to 4 and `decimals` is at most 22. NaN: this
 * cannot be told here.
 */
export function decimalOf(head: number, tail: number, tailDigits: number, decimals: number): number {
  const power = powersOfTen[decimals] ?? Number.NaN;
  if (tailDigits === 0) return decimals === 0 ? head : head / power;
  const scale = powersOfTen[tailDigits] ?? Number.NaN;
  const product = head * scale;
  const sum = product + tail;
  if (sum < exactMax) return sum / power;
  const rest = productError(head, scale, product) + (tail - (sum - product));
  if (decimals === 0) return rest === 0 ? sum : unlessClose(sum, rest);
  const quotient = sum / power;
  const back = quotient * power;
  return unlessClose(quotient, (sum - back - productError(quotient, power, back) + rest) / power);
}

/** value + correction, if it is the same for a correction that is a little larger or smaller. */
function unlessClose(value: number, correction: number): number {
  const low = value + correction * (1 - 2 ** -36);
  return low === value + correction * (1 + 2 ** -36) ? low : Number.NaN;
}
