/**
 * The document encoding, version 1: how values travel between JavaScript and wasm, one crossing a batch.
 *
 * One value is a tag byte and its payload; containers state the byte length of what follows, so a reader can
 * skip them. The Rust side holds the same format in the storage crate; `test/codec.test.mjs` has golden bytes.
 *
 * | tag | value | payload |
 * |--|--|--|
 * | 0 | nil | |
 * | 1, 2 | false, true | |
 * | 3 | integer (64 bit) | zigzag LEB128 |
 * | 4 | float | 8 bytes, little endian, one canonical NaN |
 * | 5 | string | byte length, bytes |
 * | 6, 7 | array, map | byte length of what follows, count, elements (map: key, value) |
 * | 8 | blob | kind byte, byte length, bytes |
 *
 * Keys such as `__proto__` are data: they become own properties, never a prototype.
 */

import { Decoder, corrupt } from './decoder.js';
import type { LuaValue } from './document.js';
import { Encoder } from './encoder.js';

export { FunctionBlob, HomeRecord, type LuaKey, type LuaValue } from './document.js';

/** An encoder to use again: making its buffer takes longer than encoding a few values. A larger buffer is not kept. */
let idle: Encoder | null = null;
const IDLE_BYTES_MAX = 512 * 1024;

/**
 * Encodes one value. `undefined` becomes nil (left out where it is a plain object's property), integral numbers
 * become integers, `-0` and other numbers floats, `Uint8Array` a string, plain objects and `Map`s maps.
 *
 * @throws UsageError `INVALID_INPUT` naming the path of what cannot be encoded: functions, symbols, class
 * instances, a BigInt over 64 bits, nesting deeper than 200 levels (cycles included), more than 64 MiB altogether.
 */
export function encode(value: unknown): Uint8Array {
  // A getter of the value may encode something too: it then finds none to use again.
  const encoder = idle ?? new Encoder();
  idle = null;
  encoder.value(value, 0, []);
  const bytes = encoder.finish();
  if (encoder.size <= IDLE_BYTES_MAX) idle = encoder;
  return bytes;
}

/**
 * Encodes an array into `target`, and gives the length; or gives the bytes when they do not fit there.
 *
 * @throws UsageError as {@link encode} does
 */
export function encodeInto(target: Uint8Array, array: readonly unknown[]): number | Uint8Array {
  const encoder = new Encoder(target);
  encoder.value(array, 0, []);
  return encoder.written(target);
}

/**
 * Decodes one value that fills all of `bytes`, or those up to a length.
 *
 * @throws StorageError `corrupt` when it does not.
 */
export function decode(bytes: Uint8Array, length = bytes.length): LuaValue {
  const decoder = new Decoder(bytes, length);
  const value = decoder.value(0);
  if (decoder.position !== length) throw corrupt(decoder.position);
  return value;
}
