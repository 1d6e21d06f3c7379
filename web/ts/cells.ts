/**
 * Reads answers of the database that lie in wasm memory as cells (`storage/src/cells.rs`, which has the form): the kinds of values in one
 * place, numbers in another, all texts in a third. Texts are decoded a block at a time and cut, which takes a fraction of decoding them one by one.
 */

import { decode, type LuaValue } from './codec.js';
import type { Database } from './engine.js';
import type { Key } from './batch.js';
import type { Entry } from './query.js';

const enum Kind {
  Nil = 0,
  False = 1,
  True = 2,
  Number = 3,
  Text = 4,
  Encoded = 5,
  /** A map of the first shape; those of the others follow. */
  Shapes = 16,
}

/** Where the words lie that say where the parts are, in the order in which they are there. */
const enum Word {
  Kinds,
  Numbers,
  Texts,
  Encoded,
  EncodedLength,
  Blocks,
  Epoch,
}

/** An answer of more bytes gives its memory back at once. */
const KEPT_BYTES_MAX = 256 * 1024;

const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

type Source = Pick<Database, 'memory' | 'cellsPlace' | 'cellsShape' | 'releaseCells'>;

export class CellReader {
  private readonly source: Source;
  private memory: WebAssembly.Memory | null = null;
  private place = 0;
  /** All of memory; it is another buffer when memory has grown. */
  private bytes = new Uint8Array();
  private words = new Uint32Array();
  private doubles = new Float64Array();
  /** Keys by shape, those that were asked for. */
  private shapes: (readonly string[] | undefined)[] = [];
  private epoch = 0;
  /** Where the next kind, number and text begin. */
  private kind = 0;
  private number = 0;
  private unit = 0;
  /** The texts of a block. */
  private text = '';
  /** What is encoded, from the first time that it is wanted. */
  private encoded: Uint8Array | null = null;
  private encodedAt = 0;

  constructor(source: Source) {
    this.source = source;
  }

  /** The one document that lies there. */
  document(): LuaValue {
    let document: LuaValue = null;
    this.eachBlock(1, () => (document = this.nextDocument()));
    return document;
  }

  /** The documents that lie there. */
  documents(count: number): LuaValue[] {
    const documents: LuaValue[] = [];
    this.eachBlock(count, (end) => {
      while (documents.length < end) documents.push(this.nextDocument());
    });
    return documents;
  }

  /** The documents that lie there with their keys. */
  entries(count: number): Entry[] {
    const entries: Entry[] = [];
    this.eachBlock(count, (end) => {
      while (entries.length < end) {
        const key = this.next(this.bytes[this.kind++] as number) as Key;
        entries.push({ key, value: this.nextDocument() });
      }
    });
    return entries;
  }

  /** Calls `read` for each block, with how many documents there are up to its end. */
  private eachBlock(count: number, read: (end: number) => void): void {
    this.begin();
    let block = this.word(Word.Blocks) >>> 2;
    const start = this.word(Word.Texts);
    let text = start;
    for (let end = 0; end < count; block += 2) {
      text = this.beginBlock(block, text);
      end += this.words[block] as number;
      read(end);
    }
    // What is large is not kept until the next answer, neither here nor there.
    this.text = '';
    const numbers = this.number * 8 - this.word(Word.Numbers);
    if (text - start + numbers + this.word(Word.EncodedLength) > KEPT_BYTES_MAX) this.source.releaseCells();
  }

  private begin(): void {
    this.memory ??= this.source.memory();
    if (this.place === 0) this.place = this.source.cellsPlace() >>> 2;
    this.look(this.memory);
    this.kind = this.word(Word.Kinds);
    this.number = this.word(Word.Numbers) >>> 3;
    this.encoded = null;
    this.encodedAt = 0;
    const epoch = this.word(Word.Epoch);
    if (epoch !== this.epoch) [this.epoch, this.shapes] = [epoch, []];
  }

  private word(word: Word): number {
    return this.words[this.place + word] as number;
  }

  /** Decodes the texts of a block, whose words and texts lie there. Gives the place of the next one's. */
  private beginBlock(words: number, texts: number): number {
    const end = texts + (this.words[words + 1] as number);
    this.text = end === texts ? '' : textDecoder.decode(this.bytes.subarray(texts, end));
    this.unit = 0;
    return end;
  }

  private nextDocument(): LuaValue {
    const kind = this.bytes[this.kind++] as number;
    if (kind < Kind.Shapes) return this.next(kind);
    const keys = this.shapes[kind - Kind.Shapes] ?? this.learn(kind - Kind.Shapes);
    const object: { [key: string]: LuaValue } = {};
    for (let index = 0; index < keys.length; index++) {
      object[keys[index] as string] = this.next(this.bytes[this.kind++] as number);
    }
    return object;
  }

  private next(kind: number): LuaValue {
    switch (kind) {
      case Kind.Number:
        return this.doubles[this.number++] as number;
      case Kind.Text: {
        const start = this.unit;
        this.unit = start + (this.doubles[this.number++] as number);
        return this.text.substring(start, this.unit);
      }
      case Kind.Nil:
        return null;
      case Kind.False:
        return false;
      case Kind.True:
        return true;
      default:
        return this.nextEncoded();
    }
  }

  private nextEncoded(): LuaValue {
    const start = this.word(Word.Encoded);
    this.encoded ??= this.bytes.subarray(start, start + this.word(Word.EncodedLength));
    const at = this.encodedAt;
    this.encodedAt = at + (this.doubles[this.number++] as number);
    return decode(this.encoded.subarray(at, this.encodedAt));
  }

  /** Asks for a shape. Memory may grow for that, so that its views have to be made anew; the places in it stay. */
  private learn(shape: number): readonly string[] {
    const keys = decode(this.source.cellsShape(shape)) as string[];
    this.shapes[shape] = keys;
    this.look(this.memory as WebAssembly.Memory);
    return keys;
  }

  private look({ buffer }: WebAssembly.Memory): void {
    if (this.bytes.buffer === buffer) return;
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
    this.doubles = new Float64Array(buffer);
    this.encoded = null;
  }
}
