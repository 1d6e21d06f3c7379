/**
 * The I/O buffer of the basic API and the encoding of results in it.
 *
 * u32 length of the output, the output, then the last value: a tag byte and its payload. Numbers are little endian.
 *
 * | tag | value | payload |
 * |--|--|--|
 * | 0 | nil | |
 * | 1 | boolean | u8 |
 * | 2 | integer | i64 |
 * | 3 | float | f64 |
 * | 4 | string | u32 length, bytes |
 * | 7 | table | u32 length, the table in the encoding of `codec.ts` |
 * | 255 | error | |
 *
 * A float that is a whole number is written as an integer: in JavaScript they are the same number.
 */

import { decode, encode, type LuaValue } from './codec.js';
import { UsageError } from './errors.js';
import { getInteger, setInteger } from './wide.js';

export const BUFFER_SIZE = 64 * 1024;

/** Bytes of output that are kept; what is over them is cut and marked with `...`. */
export const OUTPUT_MAX = 64_512;

export interface ComputeResult {
  /** What was printed. */
  output: string;
  /** The last value that was returned, null when there was none. */
  result: LuaValue;
  /** Another name of `result`. */
  value: LuaValue;
}

const enum Tag {
  Nil = 0,
  Boolean = 1,
  Integer = 2,
  Float = 3,
  String = 4,
  Table = 7,
  Error = 255,
}

/** The memory that addresses (`ptr`) of the basic API count in. It holds the buffer and nothing else, from 0. */
export class IoBuffer {
  private readonly bytes = new Uint8Array(BUFFER_SIZE);

  /** @returns the text in this range; bytes that are no UTF-8 are replaced */
  read(address: number, length: number): string {
    return new TextDecoder().decode(this.range(address, length));
  }

  /** @returns how many bytes were written */
  write(address: number, text: string): number {
    const bytes = new TextEncoder().encode(text);
    this.range(address, bytes.length).set(bytes);
    return bytes.length;
  }

  /**
   * Writes an answer from the buffer's start.
   *
   * @returns its length
   * @throws UsageError `BUFFER_OVERFLOW` when the value does not fit; the buffer is unchanged
   */
  writeResult(output: string, value: LuaValue): number {
    const answer = encodeResult(output, value);
    this.range(0, answer.length).set(answer);
    return answer.length;
  }

  readResult(address: number, length: number): ComputeResult {
    return decodeResult(this.range(address, length));
  }

  private range(address: number, length: number): Uint8Array {
    const fits = Number.isInteger(address) && Number.isInteger(length) && address >= 0 && length >= 0;
    if (!fits || address + length > BUFFER_SIZE) {
      throw new UsageError('BUFFER_OVERFLOW', 'Buffer overflow', { details: { address, length, size: BUFFER_SIZE } });
    }
    return this.bytes.subarray(address, address + length);
  }
}

export function encodeResult(output: string, value: LuaValue): Uint8Array {
  const printed = cutOutput(new TextEncoder().encode(output));
  const payload = encodeValue(value);
  const answer = new Uint8Array(4 + printed.length + payload.length);
  new DataView(answer.buffer).setUint32(0, printed.length, true);
  answer.set(printed, 4);
  answer.set(payload, 4 + printed.length);
  return answer;
}

/** @throws UsageError `INVALID_INPUT` for bytes that are no answer */
export function decodeResult(bytes: Uint8Array): ComputeResult {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const payload = 4 + (bytes.length < 4 ? malformed() : view.getUint32(0, true));
  if (payload >= bytes.length) malformed();
  const output = new TextDecoder().decode(bytes.subarray(4, payload));
  const result = decodeValue(bytes.subarray(payload));
  return { output, result, value: result };
}

/** Cuts between characters, so that what is left is text. */
function cutOutput(bytes: Uint8Array): Uint8Array {
  if (bytes.length <= OUTPUT_MAX) return bytes;
  let end = OUTPUT_MAX;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  const cut = new Uint8Array(end + 3).fill('.'.charCodeAt(0));
  cut.set(bytes.subarray(0, end));
  return cut;
}

function encodeValue(value: LuaValue): Uint8Array {
  if (value === null) return Uint8Array.of(Tag.Nil);
  if (typeof value === 'boolean') return Uint8Array.of(Tag.Boolean, Number(value));
  if (typeof value === 'bigint') return number(Tag.Integer, (view) => setInteger(view, 1, value));
  if (typeof value === 'number') {
    const whole = Number.isSafeInteger(value) && !Object.is(value, -0);
    if (whole) return number(Tag.Integer, (view) => setInteger(view, 1, value));
    return number(Tag.Float, (view) => view.setFloat64(1, value, true));
  }
  if (typeof value === 'string') return counted(Tag.String, new TextEncoder().encode(value));
  if (value instanceof Uint8Array) return counted(Tag.String, value);
  return counted(Tag.Table, encode(value));
}

function number(tag: Tag, set: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(9);
  bytes[0] = tag;
  set(new DataView(bytes.buffer));
  return bytes;
}

function counted(tag: Tag, contents: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + contents.length);
  bytes[0] = tag;
  new DataView(bytes.buffer).setUint32(1, contents.length, true);
  bytes.set(contents, 5);
  return bytes;
}

function decodeValue(bytes: Uint8Array): LuaValue {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const payload = (length: number): void => {
    if (bytes.length !== 1 + length) malformed();
  };
  switch (bytes[0]) {
    case Tag.Nil:
    case Tag.Error:
      payload(0);
      return null;
    case Tag.Boolean:
      payload(1);
      return bytes[1] !== 0;
    case Tag.Integer:
      payload(8);
      return getInteger(view, 1);
    case Tag.Float:
      payload(8);
      return view.getFloat64(1, true);
    case Tag.String:
      return text(contents(bytes, view));
    case Tag.Table:
      return decode(contents(bytes, view));
    default:
      return malformed();
  }
}

function contents(bytes: Uint8Array, view: DataView): Uint8Array {
  if (bytes.length < 5 || view.getUint32(1, true) !== bytes.length - 5) malformed();
  return bytes.subarray(5);
}

/** Text when it is UTF-8, else a copy of the bytes. */
function text(bytes: Uint8Array): string | Uint8Array {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return bytes.slice();
  }
}

function malformed(): never {
  throw new UsageError('INVALID_INPUT', 'these bytes are no result');
}
