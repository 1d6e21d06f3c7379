/** Writes values as documents (`codec.ts`). */

import { DEPTH_MAX, FunctionBlob, HomeRecord, SHORT, Tag } from './document.js';
import { UsageError } from './errors.js';
import { fits, toZigzag } from './wide.js';

/** What is reached on several ways is encoded as often, so a small object may stand for any number of bytes. */
const ENCODED_BYTES_MAX = 64 * 1024 * 1024;

/** The keys and positions that lead to a value: as many as its depth, and then those of earlier values. */
type Path = (string | number)[];

const textEncoder = new TextEncoder();

export class Encoder {
  private bytes: Uint8Array;
  /** Made for the first float. */
  private view: DataView | null = null;
  private length = 0;
  /** Bytes that the length of the last container took, by depth. */
  private readonly lengthRoom: number[] = [];

  /** Writes into the bytes while there is room, then into larger ones of its own. */
  constructor(bytes: Uint8Array = new Uint8Array(256)) {
    this.bytes = bytes;
  }

  /** The length of what was written into these bytes, or all that was written when it had to leave them. */
  written(bytes: Uint8Array): number | Uint8Array {
    return this.bytes === bytes ? this.length : this.finish();
  }

  /** Bytes of the buffer. */
  get size(): number {
    return this.bytes.length;
  }

  /** The bytes; the encoder can then be used again. */
  finish(): Uint8Array {
    const bytes = this.bytes.slice(0, this.length);
    this.length = 0;
    return bytes;
  }

  value(value: unknown, depth: number, path: Path): void {
    switch (typeof value) {
      case 'undefined':
        return this.byte(Tag.Nil);
      case 'boolean':
        return this.byte(value ? Tag.True : Tag.False);
      case 'number':
        return this.number(value);
      case 'bigint':
        if (!fits(value)) throw unencodable('a BigInt over 64 bits', path, depth);
        return this.integer(Number.isSafeInteger(Number(value)) ? Number(value) : value);
      case 'string':
        return this.string(value);
      case 'object':
        if (value === null) return this.byte(Tag.Nil);
        if (depth >= DEPTH_MAX) throw unencodable(`nesting deeper than ${DEPTH_MAX} levels`, path, depth);
        return this.object(value, depth + 1, path);
      default:
        throw unencodable(`a ${typeof value}`, path, depth);
    }
  }

  private object(value: object, depth: number, path: Path): void {
    if (Array.isArray(value)) return this.array(value, depth, path);
    if (isPlain(value)) return this.plain(value as Readonly<Record<string, unknown>>, depth, path);
    if (value instanceof Uint8Array) return this.byteString(value, depth, path);
    if (value instanceof FunctionBlob) return this.blob(FunctionBlob.kind, value.bytes);
    if (value instanceof HomeRecord) return this.blob(HomeRecord.kind, value.bytes);
    if (value instanceof Map) return this.map(value, depth, path);
    const name: unknown = value.constructor?.name;
    throw unencodable(typeof name === 'string' && name !== '' ? `an instance of ${name}` : 'a class instance', path, depth - 1);
  }

  private plain(value: Readonly<Record<string, unknown>>, depth: number, path: Path): void {
    const keys = Object.keys(value);
    const start = this.open(Tag.Map, keys.length, depth);
    const behindCount = this.length;
    let missing = 0;
    for (let index = 0; index < keys.length; index++) {
      const key = keys[index] as string;
      const property = value[key];
      if (property === undefined) {
        missing++;
        continue;
      }
      this.string(key);
      path[depth - 1] = key;
      this.value(property, depth, path);
    }
    if (missing > 0) this.recount(start, behindCount, keys.length - missing);
    this.close(start, depth);
  }

  private array(array: readonly unknown[], depth: number, path: Path): void {
    const start = this.open(Tag.Array, array.length, depth);
    for (let index = 0; index < array.length; index++) {
      path[depth - 1] = index;
      this.value(array[index], depth, path);
    }
    this.close(start, depth);
  }

  private map(map: ReadonlyMap<unknown, unknown>, depth: number, path: Path): void {
    const start = this.open(Tag.Map, map.size, depth);
    for (const [key, entry] of map) {
      path[depth - 1] = String(key);
      const scalar = key instanceof Uint8Array || ['boolean', 'number', 'bigint', 'string'].includes(typeof key);
      if (!scalar || Number.isNaN(key)) throw unencodable('a key that is no boolean, number or string', path, depth);
      this.value(key, depth, path);
      this.value(entry, depth, path);
    }
    this.close(start, depth);
  }

  private number(value: number): void {
    // Most numbers are integers of 32 bits, of which -0 is none.
    if (value === (value | 0) && (value !== 0 || 1 / value > 0)) return this.smallInteger(value);
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) return this.integer(value);
    this.reserve(9);
    this.bytes[this.length++] = Tag.Float;
    const { bytes } = this;
    const view = (this.view ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    view.setFloat64(this.length, value, true);
    // One NaN: an engine may keep the bits that a NaN came with.
    if (Number.isNaN(value)) {
      view.setUint32(this.length, 0, true);
      view.setUint32(this.length + 4, 0x7ff80000, true);
    }
    this.length += 8;
  }

  private smallInteger(value: number): void {
    this.reserve(6);
    let at = this.length;
    this.bytes[at++] = Tag.Integer;
    let zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
    while (zigzag >= 0x80) {
      this.bytes[at++] = (zigzag & 0x7f) | 0x80;
      zigzag >>>= 7;
    }
    this.bytes[at++] = zigzag;
    this.length = at;
  }

  private integer(value: number | bigint): void {
    this.byte(Tag.Integer);
    if (typeof value === 'number' && Math.abs(value) < 2 ** 51) {
      return this.varint(value >= 0 ? value * 2 : -value * 2 - 1);
    }
    const parts = toZigzag(value);
    for (let index = 0; index < parts.length; index++) {
      this.byte((parts[index] as number) | (index < parts.length - 1 ? 0x80 : 0));
    }
  }

  private string(value: string): void {
    this.byte(Tag.String);
    if (value.length <= SHORT && this.ascii(value)) return;
    // UTF-8 takes at most three bytes per UTF-16 unit: encode behind room for the length, then close the gap.
    const room = varintLength(value.length * 3);
    this.reserve(room + value.length * 3);
    const start = this.length + room;
    const written = textEncoder.encodeInto(value, this.bytes.subarray(start)).written;
    this.varint(written);
    if (this.length !== start) this.bytes.copyWithin(this.length, start, start + written);
    this.length += written;
  }

  /** Writes a short string's length and its characters, or nothing when one of them is not ASCII. */
  private ascii(value: string): boolean {
    const { length } = value;
    this.reserve(1 + length);
    const start = this.length + 1;
    for (let index = 0; index < length; index++) {
      const unit = value.charCodeAt(index);
      if (unit >= 0x80) return false;
      this.bytes[start + index] = unit;
    }
    this.bytes[this.length] = length;
    this.length = start + length;
    return true;
  }

  private byteString(bytes: Uint8Array, depth: number, path: Path): void {
    // A copy of one whose buffer was transferred fails, and nothing else about it does.
    const isDetached = bytes.length === 0 && bytes.byteOffset === 0 && !isAttached(bytes);
    if (isDetached) throw unencodable('a Uint8Array whose buffer was transferred', path, depth - 1);
    this.byte(Tag.String);
    this.varint(bytes.length);
    this.append(bytes);
  }

  private blob(kind: number, bytes: Uint8Array): void {
    this.byte(Tag.Blob);
    this.byte(kind);
    this.varint(bytes.length);
    this.append(bytes);
  }

  /** Begins a container with as many bytes for its length as the last one at its depth took. Gives the place of its count. */
  private open(tag: Tag, count: number, depth: number): number {
    const room = this.lengthRoom[depth] ?? 1;
    this.reserve(1 + room);
    this.bytes[this.length] = tag;
    this.length += 1 + room;
    const start = this.length;
    this.varint(count);
    return start;
  }

  /** Puts the length before what was written since `start`, and moves that where the length takes more bytes or fewer. */
  private close(start: number, depth: number): void {
    const room = this.lengthRoom[depth] ?? 1;
    const length = this.length - start;
    const needed = varintLength(length);
    const place = start - room;
    if (needed !== room) {
      this.lengthRoom[depth] = needed;
      if (needed > room) this.reserve(needed - room);
      this.bytes.copyWithin(place + needed, start, start + length);
    }
    this.length = place;
    this.varint(length);
    this.length = place + needed + length;
  }

  /** Puts a smaller count at the start of a container, whose elements begin at `behind`. */
  private recount(start: number, behind: number, count: number): void {
    const moved = start + varintLength(count);
    this.bytes.copyWithin(moved, behind, this.length);
    const length = moved + this.length - behind;
    this.length = start;
    this.varint(count);
    this.length = length;
  }

  private varint(value: number): void {
    this.reserve(8);
    while (value >= 0x80) {
      this.bytes[this.length++] = (value % 0x80) | 0x80;
      value = Math.floor(value / 0x80);
    }
    this.bytes[this.length++] = value;
  }

  private byte(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  private append(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  private reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    if (needed > ENCODED_BYTES_MAX) throw unencodable('more than 64 MiB', [], 0);
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
    this.view = null;
  }
}

/** Whether an object was written as a literal (in any realm): its prototype is null or a root prototype. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) length++;
  return length;
}

function isAttached(bytes: Uint8Array): boolean {
  try {
    new Uint8Array(0).set(bytes);
    return true;
  } catch {
    return false;
  }
}

function unencodable(what: string, path: Path, depth: number): UsageError {
  const steps = path.slice(0, depth).map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`));
  const place = `value${steps.join('')}`;
  return new UsageError('INVALID_INPUT', `${place}: ${what} cannot be passed to Lua or stored`, {
    details: { path: place },
  });
}
