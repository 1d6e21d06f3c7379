/** Reads documents (`codec.ts`). Everything is checked against the bytes that are there. */

import { DEPTH_MAX, FunctionBlob, HomeRecord, SHORT, Tag, type LuaKey, type LuaValue } from './document.js';
import { StorageError } from './errors.js';
import { fromZigzag } from './wide.js';

const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class Decoder {
  position = 0;
  private readonly bytes: Uint8Array;
  private readonly end: number;
  /** Made for the first float: it takes longer than decoding a few values. */
  private view: DataView | null = null;

  constructor(bytes: Uint8Array, end: number) {
    this.bytes = bytes;
    this.end = end;
  }

  value(depth: number): LuaValue {
    const tag = this.byte();
    switch (tag) {
      case Tag.Nil:
        return null;
      case Tag.False:
        return false;
      case Tag.True:
        return true;
      case Tag.Integer:
        return this.integer();
      case Tag.Float:
        return this.float();
      case Tag.String:
        return this.string();
      case Tag.Array:
        return this.array(depth + 1);
      case Tag.Map:
        return this.map(depth + 1);
      case Tag.Blob:
        return this.blob(this.byte());
      default:
        throw corrupt(this.position - 1);
    }
  }

  private blob(kind: number): LuaValue {
    if (kind === FunctionBlob.kind) return new FunctionBlob(this.slice(this.length()));
    if (kind === HomeRecord.kind) return new HomeRecord(this.slice(this.length()));
    throw corrupt(this.position - 1);
  }

  private array(depth: number): LuaValue[] {
    const { count, end } = this.containerHead(depth, 1);
    const array: LuaValue[] = [];
    for (let index = 0; index < count; index++) array.push(this.value(depth));
    if (this.position !== end) throw corrupt(this.position);
    return array;
  }

  private map(depth: number): Map<LuaKey, LuaValue> | { [key: string]: LuaValue } {
    const { count, end } = this.containerHead(depth, 2);
    const entries: [LuaKey, LuaValue][] = [];
    for (let index = 0; index < count; index++) {
      const at = this.position;
      const key = this.value(depth);
      if (!isKey(key)) throw corrupt(at);
      entries.push([key, this.value(depth)]);
    }
    if (this.position !== end) throw corrupt(this.position);
    if (entries.some(([key]) => typeof key !== 'string')) return new Map(entries);
    const object: { [key: string]: LuaValue } = {};
    for (const [key, value] of entries as [string, LuaValue][]) {
      if (key === '__proto__') {
        Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
      } else {
        object[key] = value;
      }
    }
    return object;
  }

  /** The count is checked against the bytes that are left, so that no attacker sizes a loop. */
  private containerHead(depth: number, bytesPerElement: number): { count: number; end: number } {
    if (depth > DEPTH_MAX) throw corrupt(this.position);
    const length = this.length();
    const end = this.position + length;
    const count = this.varint();
    if (end > this.end || count * bytesPerElement > end - this.position) throw corrupt(this.position);
    return { count, end };
  }

  private float(): number {
    const { bytes } = this;
    this.view ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return this.view.getFloat64(this.skip(8), true);
  }

  private integer(): number | bigint {
    const start = this.position;
    const first = this.byte();
    if (first < 0x80) return (first & 1) === 0 ? first >> 1 : -((first + 1) >> 1);
    let shift = 0x80;
    let zigzag = first & 0x7f;
    for (let index = 1; index < 7; index++) {
      const byte = this.byte();
      zigzag += (byte & 0x7f) * shift;
      if (byte < 0x80) return zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
      shift *= 0x80;
    }
    this.position = start;
    return this.wideInteger();
  }

  private wideInteger(): number | bigint {
    const low = this.byte() & 0x7f;
    const parts: number[] = [];
    for (let byte = 0x80; byte >= 0x80; ) {
      if (parts.length === 9) throw corrupt(this.position);
      byte = this.byte();
      parts.push(byte & 0x7f);
    }
    const value = fromZigzag(low, parts);
    if (value === null) throw corrupt(this.position);
    return value;
  }

  private string(): string | Uint8Array {
    const length = this.length();
    const start = this.position;
    this.position = start + length;
    if (length <= SHORT) {
      const text = this.ascii(start, length);
      if (text !== null) return text;
    }
    const bytes = this.bytes.subarray(start, start + length);
    try {
      return textDecoder.decode(bytes);
    } catch {
      return bytes.slice();
    }
  }

  private ascii(start: number, length: number): string | null {
    let text = '';
    for (let index = start; index < start + length; index++) {
      const byte = this.bytes[index] as number;
      if (byte >= 0x80) return null;
      text += String.fromCharCode(byte);
    }
    return text;
  }

  private slice(length: number): Uint8Array {
    const start = this.skip(length);
    return this.bytes.slice(start, start + length);
  }

  /** A byte length, checked against what is left. */
  private length(): number {
    const length = this.varint();
    if (length > this.end - this.position) throw corrupt(this.position);
    return length;
  }

  /** An unsigned number below 2^49, more than any length. */
  private varint(): number {
    let value = 0;
    let shift = 1;
    for (let index = 0; index < 7; index++) {
      const byte = this.byte();
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value;
      shift *= 0x80;
    }
    throw corrupt(this.position);
  }

  private byte(): number {
    if (this.position >= this.end) throw corrupt(this.position);
    return this.bytes[this.position++] as number;
  }

  private skip(count: number): number {
    const start = this.position;
    if (count > this.end - start) throw corrupt(start);
    this.position = start + count;
    return start;
  }
}

function isKey(value: LuaValue): value is LuaKey {
  return value !== null && (typeof value !== 'object' || value instanceof Uint8Array) && !Number.isNaN(value);
}

export function corrupt(offset: number): StorageError {
  return new StorageError('corrupt', `document bytes are corrupt at offset ${offset}`, { details: { offset } });
}
