/** Reads documents (`codec.ts`). Everything is checked against the bytes that are there. */

import { DEPTH_MAX, FunctionBlob, HomeRecord, SHORT, Tag, type LuaKey, type LuaValue } from './document.js';
import { StorageError } from './errors.js';
import { fromZigzag } from './wide.js';

const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A key of a map that has been read before. Most maps have the keys of the one before them, in the same order. */
interface KnownKey {
  /** Its encoding. */
  readonly bytes: Uint8Array;
  readonly text: string;
  /** The key that came behind it the last time. */
  next: KnownKey | null;
}

/** Keys by a hash of their bytes; one that comes to the same place takes it over. */
const KNOWN_KEYS = 512;
/** Longer keys, and those further behind in a map, are rather data. */
const KNOWN_BYTES_MAX = 64;
const FOLLOWED_MAX = 64;
const knownKeys: (KnownKey | undefined)[] = new Array<KnownKey | undefined>(KNOWN_KEYS).fill(undefined);
/** The first key of the last map, by depth. */
const firsts: (KnownKey | undefined)[] = new Array<KnownKey | undefined>(DEPTH_MAX + 1).fill(undefined);

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
    const start = this.position;
    const object: { [key: string]: LuaValue } = {};
    let known = firsts[depth] ?? null;
    let before: KnownKey | null = null;
    for (let index = 0; index < count; index++) {
      if (known === null || !this.skipKnown(known)) {
        known = this.knownKey();
        // A key that is none of a plain object: once more from the start.
        if (known === null) {
          this.position = start;
          return this.oddMap(count, end, depth);
        }
        if (index < FOLLOWED_MAX && known.bytes.length <= KNOWN_BYTES_MAX) {
          if (before === null) firsts[depth] = known;
          else before.next = known;
        }
      }
      object[known.text] = this.value(depth);
      before = known;
      known = known.next;
    }
    if (this.position !== end) throw corrupt(this.position);
    return object;
  }

  /** A map with any keys, in the order in which they come. */
  private oddMap(count: number, end: number, depth: number): Map<LuaKey, LuaValue> | { [key: string]: LuaValue } {
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

  /** Passes a key when it is this one. */
  private skipKnown({ bytes: expected }: KnownKey): boolean {
    const { bytes, position } = this;
    const { length } = expected;
    if (position + length > this.end) return false;
    for (let index = 0; index < length; index++) {
      if (bytes[position + index] !== expected[index]) return false;
    }
    this.position = position + length;
    return true;
  }

  /** Reads a key that a plain object can have; null when it is another one, with the position anywhere. */
  private knownKey(): KnownKey | null {
    const { bytes, position: start } = this;
    if (this.byte() !== Tag.String) return null;
    const length = this.length();
    let hash = length;
    for (let index = this.position; index < this.position + length; index++) {
      hash = Math.imul(hash ^ (bytes[index] as number), 0x01000193);
    }
    const place = (hash ^ (hash >>> 15)) & (KNOWN_KEYS - 1);
    const found = knownKeys[place];
    this.position = start;
    if (found !== undefined && this.skipKnown(found)) return found;
    const text = this.value(0);
    if (typeof text !== 'string' || text === '__proto__') return null;
    const known = { bytes: bytes.slice(start, this.position), text, next: null };
    if (known.bytes.length <= KNOWN_BYTES_MAX) knownKeys[place] = known;
    return known;
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
