/** What documents are to JavaScript: the types of values that come out of Lua or the database, and the tags of their encoding (`codec.ts`). */

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

export const enum Tag {
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

/** Levels of arrays and maps inside each other. */
export const DEPTH_MAX = 200;

/** Strings up to this long go character by character as long as they are ASCII: calling the coders takes longer. */
export const SHORT = 24;
