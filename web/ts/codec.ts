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

import { UsageError, StorageError } from './errors.js';
import { fits, fromZigzag, toZigzag } from './wide.js';

/** A value as it comes out of Lua or the database. */
export type LuaValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | FunctionBlob
  | HomeRecord
  | LuaValue[]
  | Map<LuaKey, LuaValue>
  | { [key: string]: LuaValue };

/** A map's key. */
export type LuaKey = boolean | number | bigint | string | Uint8Array;

/** A saved function inside a document: opaque bytes that only the VM reads. */
export class FunctionBlob {
  static readonly kind = 1;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** What is stored of one object of `_home`. */
export class HomeRecord {
  static readonly kind = 2;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

const enum Tag {
  Nil = 0,
  False = 1,
  True = 2,
  Integer = 3,
  Float = 4,
  String = 5,
  Array = 6,
  Map = 7,
  Blob = 8,
}

const DEPTH_MAX = 200;
/** What is reached on several ways is encoded as often, so a small object may stand for any number of bytes. */
const ENCODED_BYTES_MAX = 64 * 1024 * 1024;

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

type Path = (string | number)[];

/** An encoder to use again: making its buffer takes longer than encoding a few values. A larger buffer is not kept. */
let idle: Encoder | null = null;
const IDLE_BYTES_MAX = 64 * 1024;

/** Strings up to this long go character by character as long as they are ASCII: calling the coders takes longer. */
const SHORT = 24;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

class Encoder {
  private bytes: Uint8Array;
  /** Made for the first float. */
  private view: DataView | null = null;
  private length = 0;

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
        if (!fits(value)) throw unencodable('a BigInt over 64 bits', path);
        return this.integer(Number.isSafeInteger(Number(value)) ? Number(value) : value);
      case 'string':
        return this.string(value);
      case 'object':
        if (value === null) return this.byte(Tag.Nil);
        if (depth >= DEPTH_MAX) throw unencodable(`nesting deeper than ${DEPTH_MAX} levels`, path);
        return this.object(value, depth + 1, path);
      default:
        throw unencodable(`a ${typeof value}`, path);
    }
  }

  private object(value: object, depth: number, path: Path): void {
    if (Array.isArray(value)) return this.array(value, depth, path);
    if (value instanceof Uint8Array) return this.byteString(value, path);
    if (value instanceof FunctionBlob) return this.blob(FunctionBlob.kind, value.bytes);
    if (value instanceof HomeRecord) return this.blob(HomeRecord.kind, value.bytes);
    if (value instanceof Map) return this.map(value, depth, path);
    if (!isPlain(value)) {
      const name: unknown = value.constructor?.name;
      throw unencodable(typeof name === 'string' && name !== '' ? `an instance of ${name}` : 'a class instance', path);
    }
    const entries = Object.entries(value).filter(([, property]) => property !== undefined);
    return this.container(Tag.Map, entries.length, () => {
      for (const [key, property] of entries) {
        this.string(key);
        path.push(key);
        this.value(property, depth, path);
        path.pop();
      }
    });
  }

  private array(array: readonly unknown[], depth: number, path: Path): void {
    this.container(Tag.Array, array.length, () => {
      for (let index = 0; index < array.length; index++) {
        path.push(index);
        this.value(array[index], depth, path);
        path.pop();
      }
    });
  }

  private map(map: ReadonlyMap<unknown, unknown>, depth: number, path: Path): void {
    this.container(Tag.Map, map.size, () => {
      for (const [key, entry] of map) {
        path.push(String(key));
        const scalar = key instanceof Uint8Array || ['boolean', 'number', 'bigint', 'string'].includes(typeof key);
        if (!scalar || Number.isNaN(key)) throw unencodable('a key that is no boolean, number or string', path);
        this.value(key, depth, path);
        this.value(entry, depth, path);
        path.pop();
      }
    });
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

  private byteString(bytes: Uint8Array, path: Path): void {
    // A copy of one whose buffer was transferred fails, and nothing else about it does.
    const isDetached = bytes.length === 0 && bytes.byteOffset === 0 && !isAttached(bytes);
    if (isDetached) throw unencodable('a Uint8Array whose buffer was transferred', path);
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

  /** Writes the content behind one byte for its length, and moves it where the length takes more. */
  private container(tag: Tag, count: number, content: () => void): void {
    this.byte(tag);
    const lengthAt = this.length;
    this.byte(0);
    this.varint(count);
    content();
    const start = lengthAt + 1;
    const length = this.length - start;
    const extra = varintLength(length) - 1;
    this.reserve(extra);
    if (extra > 0) this.bytes.copyWithin(start + extra, start, this.length);
    this.length = lengthAt;
    this.varint(length);
    this.length += length;
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
    if (needed > ENCODED_BYTES_MAX) throw unencodable('more than 64 MiB', []);
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
    this.view = null;
  }
}

class Decoder {
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

function unencodable(what: string, path: Path): UsageError {
  const steps = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`));
  const place = `value${steps.join('')}`;
  return new UsageError('INVALID_INPUT', `${place}: ${what} cannot be passed to Lua or stored`, {
    details: { path: place },
  });
}

function corrupt(offset: number): StorageError {
  return new StorageError('corrupt', `document bytes are corrupt at offset ${offset}`, { details: { offset } });
}
