/**
 * What the stages of the works do, stage by stage from 0: on a piece of bytes, on one record, on columns. Peers take the form that suits
 * what they carry. Podline's own stages say the same in its words (`pipelines/*.ts`); the checker (`expected.ts`) does not use this file.
 */

export const xorKeyOf = (stage: number): number => (0x5a + 29 * stage) & 255;

/** Bytes, `xor`: `into` may be `from`, for peers that own what they received. */
export function xor(from: Uint8Array, into: Uint8Array, key: number): void {
  const { length } = from;
  for (let at = 0; at < length; at++) into[at] = from[at]! ^ key;
}

export const numberNames = ['id', 'a', 'b', 'c', 'd', 'e', 'f', 'x'] as const;
export type NumberRecord = Record<(typeof numberNames)[number], number>;
/** Column that a stage adds to half of x. */
export const addedBy = ['a', 'b', 'c', 'd', 'e'] as const;

export function stepNumber(record: NumberRecord, stage: number): void {
  record.x = record.x / 2 + record[addedBy[stage]!];
}

/** The same on columns; `into` may be `x`. */
export function stepNumbers(x: Float64Array, added: Float64Array, into: Float64Array): void {
  const { length } = x;
  for (let row = 0; row < length; row++) into[row] = x[row]! / 2 + added[row]!;
}

/** Fields in this order, in the source and, with what the stages add behind them, in the result. */
export interface Order {
  id: number;
  at: number;
  customer: string;
  country: string;
  price: number;
  quantity: number;
  discount: number;
  paid: boolean;
  /** By stage 0. */
  total?: number;
  /** By stage 2. */
  net?: number;
  /** By stage 3. */
  band?: string;
  /** By stage 4. */
  label?: string;
}

/** False: the order is dropped (stage 1: those that are not paid). Exact in doubles, whatever the order of work. */
export function stepOrder(order: Order, stage: number): boolean {
  switch (stage) {
    case 0:
      order.total = order.price * order.quantity;
      return true;
    case 1:
      return order.paid;
    case 2:
      order.net = order.total! - order.total! * order.discount;
      return true;
    case 3:
      order.band = bandOf(order.net!);
      return true;
    default:
      order.label = `${order.country}-${order.band!}`;
      return true;
  }
}

export const bandOf = (net: number): string => (net < 100 ? 'small' : net < 1000 ? 'medium' : 'large');
