/**
 * Calls whose arguments and values go through a buffer in wasm memory: one crossing, and nothing is allocated for it but the
 * values. What does not fit there goes as bytes of its own.
 */

import { decode, encode, encodeInto, type LuaValue } from './codec.js';
import { Tag } from './document.js';
import { Exchanged, type Instance } from './engine.js';

/** An array's tag, the length of what follows and the count: a byte each in a short array. */
const HEADER_BYTES = 3;
/** What the length of a short array can be. */
const SHORT_MAX = 0x7f;
/** The names of functions whose encoding is kept. */
const NAMES_MAX = 256;

export class Exchange {
  private readonly instance: Instance;
  private memory: WebAssembly.Memory | null = null;
  private buffer = new Uint8Array();
  private view = new DataView(new ArrayBuffer(0));
  /** The names that were called, encoded. */
  private readonly names = new Map<string, Uint8Array>();
  /** Whether a request is being written: a getter of an argument may call something too. */
  private writing = false;

  constructor(instance: Instance) {
    this.instance = instance;
  }

  /**
   * The values of a call; null when it goes on or has failed.
   *
   * @param request the name of a global function, and the arguments
   */
  call(request: readonly unknown[], fuel: number): LuaValue[] | null {
    const { instance } = this;
    const written = this.write(request);
    if (typeof written !== 'number') {
      const values = instance.call(written, fuel);
      return values === undefined ? null : (decode(values) as LuaValue[]);
    }
    const answer = instance.callExchanged(written, fuel);
    if (answer >= 0) return this.shortValue() ?? (decode(this.place(), answer) as LuaValue[]);
    return answer === Exchanged.Nothing ? null : (decode(instance.takeExchanged()) as LuaValue[]);
  }

  /** The length of the request in the buffer, or the request. */
  private write(request: readonly unknown[]): number | Uint8Array {
    const short = this.writeShort(request);
    if (short > 0) return short;
    if (this.writing) return encode(request);
    this.writing = true;
    try {
      const place = this.place();
      const written = encodeInto(place, request);
      // Where such a call let memory grow, the rest was written to nowhere.
      return place.buffer === this.memory?.buffer ? written : encode(request);
    } finally {
      this.writing = false;
    }
  }

  /** The length of a request with few plain arguments, which was written; 0 for any other. */
  private writeShort(request: readonly unknown[]): number {
    if (this.writing) return 0;
    const place = this.place();
    const name = this.encodedName(request[0]);
    if (name.length === 0 || request.length > 10) return 0;
    place.set(name, HEADER_BYTES);
    let at = HEADER_BYTES + name.length;
    for (let index = 1; index < request.length; index++) {
      const value = request[index];
      if (typeof value === 'number') {
        // Integers of 32 bits, of which -0 is none, and what is no integer.
        if (value === (value | 0) && (value !== 0 || 1 / value > 0)) {
          place[at++] = Tag.Integer;
          let zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
          for (; zigzag >= 0x80; zigzag >>>= 7) place[at++] = (zigzag & 0x7f) | 0x80;
          place[at++] = zigzag;
        } else if (!Number.isInteger(value) && !Number.isNaN(value)) {
          place[at++] = Tag.Float;
          this.view.setFloat64(at, value, true);
          at += 8;
        } else return 0;
      } else if (typeof value === 'boolean') place[at++] = value ? Tag.True : Tag.False;
      else if (value === null || value === undefined) place[at++] = Tag.Nil;
      else return 0;
    }
    const length = at - (HEADER_BYTES - 1);
    if (length > SHORT_MAX) return 0;
    place[0] = Tag.Array;
    place[1] = length;
    place[2] = request.length;
    return at;
  }

  /** A name as it is encoded; no bytes for a long one. */
  private encodedName(name: unknown): Uint8Array {
    const known = this.names.get(name as string);
    if (known !== undefined) return known;
    // Behind its tag and a length of one byte; an array has its header before that.
    const bytes = typeof name === 'string' ? encode(name) : new Uint8Array();
    const encoded = bytes.length <= SHORT_MAX / 2 ? bytes : new Uint8Array();
    if (this.names.size >= NAMES_MAX) this.names.clear();
    this.names.set(name as string, encoded);
    return encoded;
  }

  /** The values in the buffer, if that is a short array of just a number; otherwise null. */
  private shortValue(): LuaValue[] | null {
    const place = this.place();
    if ((place[1] as number) > SHORT_MAX || place[2] !== 1) return null;
    if (place[3] === Tag.Float) return [this.view.getFloat64(4, true)];
    if (place[3] !== Tag.Integer) return null;
    let zigzag = 0;
    for (let index = 0; index < 4; index++) {
      const byte = place[4 + index] as number;
      zigzag |= (byte & 0x7f) << (7 * index);
      if (byte < 0x80) return [(zigzag >>> 1) ^ -(zigzag & 1)];
    }
    return null;
  }

  /** The buffer as it lies in memory now: when memory grows, what was there before is detached, and has no length any more. */
  private place(): Uint8Array {
    if (this.buffer.length > 0) return this.buffer;
    this.memory ??= this.instance.memory();
    const [address, length] = this.instance.exchangePlace();
    this.buffer = new Uint8Array(this.memory.buffer, address, length);
    this.view = new DataView(this.memory.buffer, address, length);
    return this.buffer;
  }
}
