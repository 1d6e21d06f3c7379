/**
 * What the two wasm modules offer to this package: the one description of that surface. The Rust crate implements it;
 * `test/types/vm-surface.ts` and `test/types/storage-surface.ts` hold the generated declarations against it.
 *
 * Values cross as documents (see `codec.ts`), one `Uint8Array` each way. A failing call throws a JavaScript
 * `Error` with a string property `code` and, where an operation of a batch is to blame, a number `position`; where a document does not pass a
 * schema, the string `path` says where.
 * Codes are `heap`, those of `StorageCode` in `errors.ts`, or of its `UsageCode`.
 */

import type { Store } from './store.js';

/** The classes of one instantiated `cu.wasm`. Each instantiation has its own memory. */
export interface VmBindings {
  readonly Instance: InstanceConstructor;
}

/** Likewise of `cu-compile.wasm`. */
export interface CompileBindings {
  readonly Instance: InstanceConstructor<TablesInstance>;
}

/** Likewise of `cu-home.wasm`. */
export interface HomeBindings {
  readonly Instance: InstanceConstructor<HomeInstance>;
}

/** What calls functions of the page for Lua code. */
export interface Dispatcher {
  /**
   * A call: an array of the function's number and the arguments lies at this address of wasm memory, 0 for the buffer. Leaves an array of
   * results in the buffer and gives its length; or gives -1 when `answer` comes later, -2 when {@link take} has the array, and -3 - n after n
   * bytes of an array with one error. Never throws.
   */
  dispatch(address: number, length: number): number;
  /** An array of results that does not fit into the buffer. */
  take(): Uint8Array;
}

/** Likewise of `cu-storage.wasm`. */
export interface StorageBindings {
  readonly Database: DatabaseConstructor;
}

export interface InstanceConstructor<Made = Instance> {
  /**
   * @param options a map:
   * - `heapLimit`: integer, bytes that Lua values may take
   * - `compile`: `hot`, `never` or `eager`: which functions become WebAssembly
   * - `seed`: integer, seeds `math.random`
   * - `now`: a number, milliseconds since 1970; when given, the clock stands still there, otherwise it is the host's
   * - `files`: a map from paths to strings; when given, Lua code has these files, and the functions that need files
   * - `filesLimit`: integer, bytes that names and contents of all files may take
   * - `environment`: a map from names of variables to strings
   * - `profile`: `whole` or `sandbox`: what there is of the library
   * - `tables`: `none` or `ext`: whether there is the global variable `ext`, in a {@link TablesInstance}
   */
  new (options: Uint8Array): Made;
  /**
   * A state that goes on where another one stood. Throws with code `corrupt`, `newerVersion`, `notFound` (a native function that is
   * not there) or `heap`.
   */
  restore(options: Uint8Array, image: Uint8Array): Made;
}

/** One Lua state. At most one run is under way at a time: `start…`, then `step` until it finishes or fails. */
export interface Instance {
  /**
   * Compiles a chunk and prepares to run it. A syntax error is not thrown: the first `step` gives `Failed`.
   *
   * @param source the bytes of the program
   * @param chunkName as `load` takes it: `=name`, `@file` or text
   * @param args an array: the chunk's varargs
   */
  start(source: Uint8Array, chunkName: string, args: Uint8Array): void;
  /** Prepares to call a live function; throws with code `UNKNOWN_FUNCTION` when {@link hasFunction} is false. */
  startCall(table: string, name: string, args: Uint8Array): void;
  /**
   * Calls a global function and runs it for at most this much fuel. The array of its values when it has finished by then;
   * otherwise `step` goes on, or gives `Failed`. What a call that finishes here prints is dropped.
   *
   * @param request an array: the function's name, and the arguments
   */
  call(request: Uint8Array, fuel: number): Uint8Array | undefined;
  /**
   * {@link call} with the request in the exchange buffer. Gives the byte length of the values, which then lie there; an
   * {@link Exchanged} where they do not.
   */
  callExchanged(length: number, fuel: number): number;
  /** The values that did not fit into the exchange buffer; throws what {@link call} would have thrown. */
  takeExchanged(): Uint8Array;
  /** The module's memory. */
  memory(): WebAssembly.Memory;
  /** Where in it the exchange buffer begins, and its length. */
  exchangePlace(): Uint32Array;
  /**
   * Prepares to run `source`, which is an expression giving a function or a chunk returning one, and to make the result
   * the live function `table`/`name`. A result that is no function fails with code `INVALID_FUNCTION_CODE`. The chunk
   * is named `=table.name`, and lines count in `source` itself.
   */
  startDefine(table: string, name: string, source: Uint8Array): void;
  /** Runs for about this much fuel, at most 2^30. Gives a {@link Status}. */
  step(fuel: number): number;
  /** After `Finished`: an array of the run's values. They are given once. */
  takeValues(): Uint8Array;
  /** What was printed since the last call, as raw bytes. Also during a run and after a failed one. */
  takeOutput(): Uint8Array;
  /** After `Failed`: an {@link EngineError} as a map. It is given once. */
  takeError(): Uint8Array;
  /** Ends a run that is under way; to-be-closed variables are not run. The state stays usable. */
  abort(): void;
  /** Of the current or last run. */
  fuelUsed(): number;
  /** Whether a run is under way. */
  isRunning(): boolean;
  /**
   * The whole state as an image, also during a run. Throws with code `SAVE_STATE_FAILED` and the path of what cannot be
   * saved.
   */
  snapshot(): Uint8Array;

  /** Compiles what {@link startDefine} takes without running it: nil, or an {@link EngineError} of code `syntax`. */
  checkFunction(source: Uint8Array): Uint8Array;
  hasFunction(table: string, name: string): boolean;
  /** Makes a saved function live. Throws with code `corrupt` when the bytes do not verify, leaving all as it was. */
  loadFunction(table: string, name: string, blob: Uint8Array): void;
  /**
   * The live function with its upvalues as a blob; equal state gives equal bytes. Throws with code
   * `PERSIST_FUNCTION_FAILED` and the path of what cannot be saved.
   *
   * @param uncompressedMax bytes up to which the blob is not compressed; 32 bits
   */
  saveFunction(table: string, name: string, uncompressedMax: number): Uint8Array;
  /** Drops a live function; nothing happens when there is none. */
  forgetFunction(table: string, name: string): void;

  /** The next `start`, `setGlobal`, `getGlobal` or `setFunction` is about the globals of this sandbox. */
  useSandbox(name: string): void;
  /** Sets a global variable to a document. */
  setGlobal(name: string, value: Uint8Array): void;
  /** A global variable as a document. Throws with code `INVALID_INPUT` naming the path of what is none (a coroutine). */
  getGlobal(name: string): Uint8Array;

  /** A file's bytes, undefined when there is none. This and the next two throw with code `INVALID_INPUT` without `files`. */
  readFile(path: string): Uint8Array | undefined;
  /** Puts a file there, and the directories it lies in. Throws with code `INVALID_INPUT` when that cannot be. */
  writeFile(path: string, contents: Uint8Array): void;
  /** The paths of all files, an array of strings, sorted. */
  listFiles(): Uint8Array;

  /**
   * Has functions of the page called by `dispatcher`. Gives address and length of a buffer in wasm memory for calls and answers.
   */
  connectFunctions(dispatcher: Dispatcher): Uint32Array;
  /** Makes known that the page has the function `name`, as number `number`. */
  addFunction(name: string, number: number): void;
  /** Sets a global variable to the function `name` of the page; with more than one name in the array `path`, a field of what is there. */
  setFunction(path: Uint8Array, name: string): void;
  /** After `Waiting`: an array of results, or of one error. */
  answer(answer: Uint8Array, isError: boolean): void;

  /** Bytes in the format of deflate. */
  compress(bytes: Uint8Array): Uint8Array;
  /** What was compressed; undefined when the bytes are damaged or there is more than `lengthMax` (32 bits). */
  decompress(bytes: Uint8Array, lengthMax: number): Uint8Array | undefined;

  /** A map: `used`, `limit` (bytes of Lua values), `wasm` (bytes of this module's memory). */
  memoryStats(): Uint8Array;
  /** A full collection. */
  collect(): void;
  free(): void;
}

/** What `step` returns. */
export const enum Status {
  Finished = 0,
  /** The fuel of this slice is used up; step again. */
  Running = 1,
  /** A function of the page was called and has no answer yet: `answer`, then step again. */
  Waiting = 2,
  Failed = 3,
}

/** What `connectTables` has asked. */
export const enum TableRequest {
  /** The value under the key that the bytes are. */
  Get = 0,
  /** A batch of one operation. The answer is not looked at, nor that of those below but queries. */
  Batch = 1,
  Query = 2,
  /** A definition of an index. */
  Index = 3,
  /** Begins a transaction, inside the one that is open if there is one. */
  Begin = 4,
  /** Ends the innermost transaction. */
  Commit = 5,
  RollBack = 6,
  /** Ends all transactions of Lua code without their changes, also one that is about to begin. */
  RollBackAll = 7,
  /** Whether the run may look at the table, and change it: the answer is a boolean. */
  MayRead = 8,
  MayWrite = 9,
}

/** What `callExchanged` returns instead of a length. */
export const enum Exchanged {
  /** The call goes on, or has failed. */
  Nothing = -1,
  /** `takeExchanged` has the values or the error. */
  Take = -2,
}

/** The map that `takeError` gives. */
export interface EngineError {
  /** `syntax`, `runtime`, `heap`, or a `CallCode`. */
  code: string;
  /**
   * The message with its position, `chunk:line: text`. For an error value that is no string: what the `lua` program
   * reports, its `__tostring` or `(error object is a table value)`.
   */
  message: string;
  /** The error value as a document; nil when it is none. */
  value: unknown;
  traceback: string;
  /** The chunk's name as messages show it, and the line, where there is one. */
  chunk: string | null;
  line: number | null;
}

/** One Lua state that can have `ext`. */
export interface TablesInstance extends Instance {
  /**
   * Has `ask` answer what Lua code wants of tables: what the request is about, the table's name, and bytes. It gives the answer, nothing if
   * `answerTables` follows, or throws an error whose message Lua code gets.
   */
  connectTables(ask: (request: number, table: string, bytes: Uint8Array) => Uint8Array | boolean | undefined): void;
  /** After `Waiting`, if that is for a table: the answer, or the text of an error. */
  answerTables(answer: Uint8Array, isError: boolean): void;
  /** Gives a sandbox the global variable `ext`. */
  shareTables(sandbox: string): void;
}

/** One Lua state that can have `_home`. */
export interface HomeInstance extends TablesInstance {
  /** Gives the state its `_home`. `records` is an array: number and record in turn. */
  attachHome(records: Uint8Array): void;
  /** What is to be stored of `_home`: such an array, with nil for a record to be deleted. Nothing may run until that is done. */
  homeChanges(): Uint8Array;
  /** That is stored. What else is to be stored then, likewise. */
  confirmHome(): Uint8Array;
  /** Whether Lua code is kept from what is stored; everything has to be stored before. */
  closeHome(isClosed: boolean): void;
  /** Makes `_home` a global variable of a sandbox too. */
  shareHome(sandbox: string): void;
  /** Makes `_home` what is stored. */
  rollBackHome(): void;
}

export interface DatabaseConstructor {
  /**
   * @param options a map: `storage` (`indexeddb` or `memory`), `durability` (`strict` or `relaxed`), `cacheBytes`: bytes of
   * pages in memory. Rejects with `unavailable` where IndexedDB is missing or refused.
   * @param isAlone whether a read that begins now need not look for what others have committed
   */
  open(name: string, options: Uint8Array, isAlone: () => boolean): Promise<Database>;
  /** Over a store that nobody else writes to. `options` is a map: `cacheBytes`. */
  openStore(store: Store, options: Uint8Array): Promise<Database>;
}

/** In which form `get` and `query` answer at once. */
export const enum Form {
  /** A document. */
  Encoded = 0,
  /** Values or rows as cells, and their count (`cells.ts`). */
  Cells = 1,
  /** The same with the keys of rows. */
  CellsWithKeys = 2,
}

/** One open database. Calls may overlap; each sees what earlier calls committed. */
export interface Database {
  /**
   * One atomic transaction, or each operation for itself. Resolves when it is durable.
   *
   * @param operations an array of maps `{type, table, key}` with, by type: `set` and `update` `value`, `increment` `field`
   * (nil: the document itself) and `amount`; `{type: 'query'}` is what {@link query} takes and gives its rows; see `BatchOperation` in `batch.ts`
   * @returns an array with one result per operation: `set`, `update` true; `get` the value or nil; `delete` whether
   * there was something; `increment` the new number; without `atomic`, `{error: {code, message}}` where one failed
   */
  batch(operations: Uint8Array, atomic: boolean): Uint8Array | Promise<Uint8Array>;
  /** A value, nil when there is none; at once when it is in memory, then in that form. */
  get(table: string, key: Uint8Array, form: Form): number | Uint8Array | Promise<Uint8Array>;
  /**
   * @param query a map `{table, where: [{field, operator, value}], sort: [{field, order}], limit?, offset?, after?, fields?,
   * groupBy?, aggregates?, using?, explain?}`. `field` is a path such as `address.city`; an empty `where` gives all; instead
   * of a condition there may be `{and: […]}`, `{or: […]}`, `{not: …}`. Order: filter, sort, offset, limit; without `sort`, by key.
   * @returns a map `{rows: [{key, value}], cursor, examined, matched}`: also how much was looked at and how many rows there are without the limit; with
   * `explain`, `rows` is empty and there is a `plan`. At once when all that is needed is in memory, then, unless it is a plan, in that form
   */
  query(query: Uint8Array, form: Form): number | Uint8Array | Promise<Uint8Array>;
  /** The module's memory. */
  memory(): WebAssembly.Memory;
  /** Where in it is said where cells lie: what `CellReader` reads, until the next call. */
  cellsPlace(): number;
  /** An array: the keys that a shape stands for. */
  cellsShape(shape: number): Uint8Array;
  /** The `cursor` of the query whose rows are there as cells, given once. */
  cellsCursor(): Uint8Array;
  /** Gives the memory of the cells back. */
  releaseCells(): void;
  /** Begins a transaction that stays open between calls. Whoever writes meanwhile, other than through it, waits. */
  begin(): Promise<Transaction>;
  /** @param query as {@link query} takes it. What others commit is reported when it is taken in: by any call that reads, or writes. */
  subscribe(query: Uint8Array): LiveQuery;
  /** Takes in what other tabs have committed. */
  refresh(): Promise<void>;
  /**
   * @param definition a map `{name?, fields, kind, unique?, multi?, sparse?}`
   * @param report is told now and then how many documents of how many were looked at. The work waits for the promise that it gives, if any, and
   * ends with `cancelled` when that rejects, or `report` throws
   */
  createIndex(table: string, definition: Uint8Array, report: (done: number, total: number) => Promise<unknown> | undefined): Promise<void>;
  /** Resolves to whether there was such an index. */
  dropIndex(table: string, name: string): Promise<boolean>;
  /** @param schema a JSON Schema; nil takes the present one away */
  setSchema(table: string, schema: Uint8Array): Promise<void>;
  /**
   * Says up to which version the page knows data. The version that the data has; `newerVersion` when that is higher, and from then on, or when
   * another tab brings it there later, for all that writes.
   */
  knowVersion(version: number): Promise<number>;
  /** An array of maps `{name, count}`, ordered by name. */
  collections(): Promise<Uint8Array>;
  /** Bytes of log since the last checkpoint, which opening would have to read. */
  logBytes(): number;
  /** Writes what is only in the log to its pages. Commits do it by themselves when much has gathered, and `close` does. */
  checkpoint(): Promise<void>;
  /** Bytes of this module's memory. */
  wasmBytes(): number;
  /** Later calls reject with `closed`. */
  close(): Promise<void>;
}

/** An open transaction. One call at a time. */
export interface Transaction {
  /** As {@link Database.batch}, but nothing is durable yet. When an operation of an atomic batch fails, those of this batch are undone. */
  batch(operations: Uint8Array, atomic: boolean): Uint8Array | Promise<Uint8Array>;
  /** As {@link Database.get}. */
  get(table: string, key: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** As {@link Database.query}. */
  query(query: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** As {@link Database.createIndex}; what it gives means nothing. */
  createIndex(table: string, definition: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** As those of {@link Database}. What they give means nothing, but for `dropIndex`: one byte, 1 if there was such an index. */
  dropIndex(table: string, name: string): Uint8Array | Promise<Uint8Array>;
  setSchema(table: string, schema: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** Gives the data a version, if it has no higher one (`newerVersion`). The version before, as four bytes, the lowest first. */
  setVersion(version: number): Uint8Array | Promise<Uint8Array>;
  /** Begins one inside it, and ends the innermost of those: its changes stay or go. */
  enter(): void;
  leave(keeps: boolean): void;
  /** Rejects with `conflict` when another tab has committed meanwhile; nothing is stored then. */
  commit(): Promise<void>;
  /** Drops what was not committed. */
  free(): void;
}

/** A query whose changes are reported. */
export interface LiveQuery {
  /**
   * Waits for the next change; one call at a time. The first call gives all rows as added, at once. Nil when the query was ended, or the
   * database closed.
   *
   * @returns a map `{added: [{key, value}], changed: [{key, value}], removed: [key], order: [key] or nil}`; there is an order when the
   * query has a sort, a limit, an offset, a position or aggregates
   */
  next(): Promise<Uint8Array>;
  /** Who waits gets nil. */
  end(): void;
  free(): void;
}
