/**
 * Integers of 64 bits: numbers as far as those are exact, beyond that BigInt. Written without BigInt literals, which the oldest browsers
 * do not parse; where there is no BigInt at all, integers beyond 2^53 are refused.
 */

import { UsageError } from './errors.js';

/** An integer from its upper part and its lower one, `high * low size + low`. */
function join(high: bigint, lowSize: number, low: number): bigint {
  return high * BigInt(lowSize) + BigInt(low);
}

/** Whether a BigInt fits. */
export function fits(value: bigint): boolean {
  return BigInt.asIntN(64, value) === value;
}

/**
 * An integer by the parts of what is above its lowest six bits, from the lowest on, with seven bits each, as zigzag coding has it: the
 * first of them belongs to `low`, together with the sign. Null when it has more than 64 bits.
 *
 * @param low the lowest seven bits of the zigzag code
 */
export function fromZigzag(low: number, parts: readonly number[]): number | bigint | null {
  const isNegative = (low & 1) === 1;
  let rest = 0;
  for (let index = parts.length; index-- > 0; ) rest = rest * 0x80 + (parts[index] as number);
  if (rest < 2 ** 47) {
    const value = rest * 0x40 + (low >> 1);
    // The lowest integer with so many bits is one too far from zero.
    if (!isNegative) return value;
    if (value < Number.MAX_SAFE_INTEGER) return -value - 1;
  }
  check();
  let wide = BigInt(0);
  for (let index = parts.length; index-- > 0; ) wide = join(wide, 0x80, parts[index] as number);
  wide = join(wide, 0x40, low >> 1);
  if (BigInt.asUintN(63, wide) !== wide) return null;
  return isNegative ? -wide - BigInt(1) : wide;
}

/** Seven bits each of an integer's zigzag code, from the lowest on, at least two of them. */
export function toZigzag(value: number | bigint): number[] {
  if (typeof value === 'bigint') return toWideZigzag(value);
  // Exact where twice the value would not be.
  const distance = value < 0 ? -value - 1 : value;
  const parts = [(distance % 0x40) * 2 + Number(value < 0)];
  let rest = Math.floor(distance / 0x40);
  do {
    parts.push(rest % 0x80);
    rest = Math.floor(rest / 0x80);
  } while (rest > 0);
  return parts;
}

function toWideZigzag(value: bigint): number[] {
  const distance = value < 0 ? -value - BigInt(1) : value;
  const parts = [Number(distance % BigInt(0x40)) * 2 + Number(value < 0)];
  let rest = distance / BigInt(0x40);
  do {
    parts.push(Number(rest % BigInt(0x80)));
    rest /= BigInt(0x80);
  } while (rest > 0);
  return parts;
}

/** Writes eight bytes, little endian. */
export function setInteger(view: DataView, at: number, value: number | bigint): void {
  if (typeof value === 'bigint') return view.setBigInt64(at, value, true);
  view.setUint32(at, value % 2 ** 32, true);
  view.setInt32(at + 4, Math.floor(value / 2 ** 32), true);
}

/** Reads eight bytes, little endian. */
export function getInteger(view: DataView, at: number): number | bigint {
  const [low, high] = [view.getUint32(at, true), view.getInt32(at + 4, true)];
  const value = high * 2 ** 32 + low;
  if (Number.isSafeInteger(value)) return value;
  check();
  return view.getBigInt64(at, true);
}

function check(): void {
  if (typeof BigInt === 'undefined') throw new UsageError('INVALID_INPUT', 'an integer beyond 2^53 needs a browser with BigInt');
}
