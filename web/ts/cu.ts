/**
 * The class that people use: one Lua state with one database.
 *
 * Runs, function calls and access to globals take turns in the order they were called. Operations on the database
 * go to it at once and resolve when they are durable. Every failure is an `EnhancedLuaError`, except that an aborted
 * call rejects with its signal's reason.
 */

import { audit, AUDITED, AuditLog, type AuditedOperation, type AuditHead, type AuditOptions, type AuditRecord } from './audit.js';
import type { Reporting } from './batch.js';
import { decode, encode, type LuaValue } from './codec.js';
import { compressData, decompressData } from './compression.js';
import type { Instance } from './engine.js';
import { EnhancedLuaError, engineError, UsageError } from './errors.js';
import { EXPOSE, Exposed } from './expose.js';
import { assignHandle, handleOf, iterate, LuaHandle, type Keeper, type Request } from './handles.js';
import { takeFunctions, type HostFunctions } from './host.js';
import type { Home } from './home.js';
import type { Modules } from './loader.js';
import { checkModules, PRELOAD } from './lua-modules.js';
import { closingOnFailure, openParts, type Parts } from './opening.js';
import { Opening } from './opening-once.js';
import type { CuOptions, StorageKind } from './options.js';
import { storageStats, type Stats } from './space.js';
import { Tables } from './tables.js';
import { checkImage, checkOptions, guard } from './validate.js';
import { utf8, type RunCodes, type RunOptions, type RunResult } from './vm.js';

export interface RunChunkOptions extends RunOptions {
  /** The chunk's varargs (`...`). */
  args?: readonly unknown[];
  /** Names the program in messages and tracebacks. Default `script`. */
  chunkName?: string;
}

/** Whose global variables are meant: those of the sandbox of this name. Default: the instance's own. */
export interface GlobalOptions {
  sandbox?: string | undefined;
}

export type EvalOptions = RunChunkOptions;
export type FunctionOptions = Pick<RunOptions, 'fuel' | 'timeLimit' | 'signal'>;

export interface PersistOptions extends FunctionOptions {
  /** Whether the saved function is compressed. Default: when it is over `compressionThreshold`. */
  compress?: boolean;
}

export interface BatchRunOptions extends RunOptions, Reporting {}

export interface MemoryStats {
  /** Bytes that Lua values may take: the heap limit. */
  total: number;
  /** Bytes that they take. */
  used: number;
  free: number;
  /** Bytes of wasm memory, those of the storage engine included. */
  wasm: number;
}

/** The number of `_home`, as in the basic API. */
const HOME_TABLE_ID = 1;
const RUN_CODES: RunCodes = { syntax: 'EVAL_FAILED', runtime: 'LUA_EXECUTION_ERROR' };

export class Cu extends Tables {
  /** Gives the wasm modules that come with this class. An entry of the package that has some derives a class with them. */
  protected static readonly modules: () => Modules = () => ({});

  /** What the Lua state is made from, if not new. */
  private image: Uint8Array | null = null;
  private parts: Parts | null = null;
  private readonly opening = new Opening();
  private closed = false;
  private hasAlias = true;
  private logged: AuditLog | null = null;
  private readonly keeper: Keeper = {
    use: async (request, options) => this.useHandle(request, options),
    release: async (number) => this.releaseHandle(number),
  };

  /** Opens an instance. */
  static open(options: CuOptions = {}): Promise<Cu> {
    return new this().init(options);
  }

  /** Opens an instance; another name of {@link open}. */
  static init(options: CuOptions = {}): Promise<Cu> {
    return this.open(options);
  }

  /**
   * Opens an instance whose Lua state goes on where the one of a {@link snapshot} stood: globals, functions, coroutines, and a run
   * that was under way, which {@link resume} goes on with. The image may come from another tab, from Node or from the program
   * `cu`. Stored data and files of {@link CuOptions.files} are no part of it.
   */
  static async restore(image: Uint8Array | ArrayBuffer, options: CuOptions = {}): Promise<Cu> {
    checkImage(image);
    const cu = new this();
    cu.image = image instanceof Uint8Array ? image : new Uint8Array(image);
    return cu.init(options);
  }

  /** Opens an instance made with `new`. Called again, it waits for the first call. */
  async init(options: CuOptions = {}): Promise<this> {
    if (this.closed) throw new UsageError('closed', 'this instance is closed');
    await this.opening.once(() => this.open(options));
    return this;
  }

  /** Where the database is: `memory` also when IndexedDB is missing and the options asked for nothing. */
  get storage(): StorageKind {
    return this.ready().storage;
  }

  /** Runs a program. All values it returns and what it prints. */
  async run(source: string | Uint8Array, options: RunChunkOptions = {}): Promise<RunResult> {
    const { vm } = this.ready();
    const { args = [], chunkName = 'script', sandbox } = options;
    const bytes = typeof source === 'string' ? utf8(source) : source;
    if (!(bytes instanceof Uint8Array)) throw new UsageError('INVALID_INPUT', 'a program is a string or bytes');
    const encoded = encode([...args]);
    const start = (instance: Instance): void => within(instance, sandbox).start(bytes, `@${chunkName}`, encoded);
    return vm.exclusive(() => vm.run(start, RUN_CODES, options));
  }

  /**
   * The whole Lua state as bytes, at once, also while something runs: from there {@link Cu.restore} goes on. A full collection
   * before (`collectgarbage()`) keeps it small. While Lua code is in `ext.transaction` there is none (`busy`).
   */
  async snapshot(): Promise<Uint8Array> {
    const { vm, database } = this.ready();
    if (database.isOpenInLua) throw new UsageError('busy', 'Lua code is in ext.transaction, which cannot be gone on with elsewhere');
    try {
      return vm.call((instance) => instance.snapshot());
    } catch (error) {
      throw engineError(error, 'SAVE_STATE_FAILED');
    }
  }

  /** Whether a run is under way: after {@link Cu.restore}, one that {@link resume} goes on with. */
  get running(): boolean {
    return this.ready().vm.call((instance) => instance.isRunning());
  }

  /**
   * Goes on with the run that a restored state is in the middle of: its values, and what it prints from here on. Before that, other
   * runs and calls fail with code `busy`; with `fuel: 0` the run is given up.
   */
  async resume(options: RunOptions = {}): Promise<RunResult> {
    const { vm } = this.ready();
    return vm.exclusive(() => vm.resume(RUN_CODES, options));
  }

  /** Runs a program and gives the first value it returns, null when there is none. */
  async eval(source: string | Uint8Array, options: EvalOptions = {}): Promise<LuaValue> {
    const { values } = await this.run(source, options);
    return values[0] ?? null;
  }

  /** Runs programs one after another: their first values. One that fails ends it; its position is in the chunk's name, `batch[2]`. */
  async computeBatch(sources: readonly (string | Uint8Array)[], options: BatchRunOptions = {}): Promise<LuaValue[]> {
    this.ready();
    if (!Array.isArray(sources)) throw new UsageError('INVALID_INPUT', 'sources: an array of programs was expected');
    const { onProgress, ...run } = options;
    const values: LuaValue[] = [];
    for (const [position, source] of sources.entries()) {
      values.push(await this.eval(source, { ...run, chunkName: `batch[${position}]` }));
      onProgress?.({ done: position + 1, total: sources.length });
    }
    return values;
  }

  /**
   * Calls a global function with copies of the arguments and gives the first value it returns, null when there is none.
   * What it prints is dropped.
   */
  async call(name: string, ...args: unknown[]): Promise<LuaValue> {
    const [value] = await this.ready().vm.callGlobal(callRequest(name, args), RUN_CODES);
    return value ?? null;
  }

  /**
   * {@link call} for short functions: gives the value itself, and nothing else has its turn until then. Throws with code `busy`
   * while something is under way.
   */
  callSync(name: string, ...args: unknown[]): LuaValue {
    const [value] = this.ready().vm.callGlobalSync(callRequest(name, args), RUN_CODES);
    return value ?? null;
  }

  /**
   * Runs a program and gives a live handle to the first value it returns: a table, function, coroutine or userdata, which stays in Lua. Fails
   * with `INVALID_INPUT` when it is none of these. Handles among `args` stand for their values.
   */
  async handle(source: string | Uint8Array, options: EvalOptions = {}): Promise<LuaHandle> {
    this.ready();
    return handleOf(this.keeper, source, options);
  }

  /**
   * Runs a program as a coroutine, or the function or coroutine of a handle, and iterates over what it yields: the first value each. What it returns is the
   * iterator's return value, and what `next` is given comes out of `coroutine.yield`. Leaving the loop early closes the coroutine. Fuel counts for each step.
   */
  iterate(source: string | Uint8Array | LuaHandle, options: EvalOptions = {}): AsyncGenerator<LuaValue, LuaValue, unknown> {
    this.ready();
    return iterate(this.keeper, source, options);
  }

  /** Stores what has changed in `_home`. Resolves when that is durable. */
  async commitHome(): Promise<void> {
    const { vm } = this.ready();
    await vm.exclusive(() => this.home().commit());
  }

  /** Makes `_home` what was stored last. */
  async rollBackHome(): Promise<void> {
    const { vm } = this.ready();
    await vm.exclusive(() => this.home().rollBack());
  }

  /** {@link commitHome}, where there is a `_home`; what is in tables is durable anyway. */
  async saveState(): Promise<true> {
    if (this.ready().home !== null) await this.commitHome();
    return true;
  }

  /** Makes `_home`, where there is one, what was stored last. Tables and saved functions are always as they are stored. */
  async loadState(): Promise<true> {
    const { vm, home } = this.ready();
    if (home === null) return true;
    await vm.exclusive(async () => {
      // Attaching takes the name again where it is free.
      if (this.hasAlias) vm.call((instance) => instance.setGlobal('Memory', encode(null)));
      await home.restore();
    });
    await this.setMemoryAliasEnabled(this.hasAlias);
    return true;
  }

  /** The number by which the older system knew `_home`; null without the option `home`. */
  getHomeTableId(): number | null {
    return this.ready().home === null ? null : HOME_TABLE_ID;
  }

  /** Another name of {@link getHomeTableId}: `Memory` is `_home`. */
  getMemoryTableId(): number | null {
    return this.getHomeTableId();
  }

  /** Whether the global variable `Memory` is `_home`. It is from the start, unless there is one of that name. */
  async setMemoryAliasEnabled(enabled: boolean): Promise<void> {
    if (typeof enabled !== 'boolean') throw new UsageError('INVALID_INPUT', 'enabled: true or false was expected');
    const { vm } = this.ready();
    this.home();
    const source = utf8(enabled ? 'Memory = _home' : 'if Memory == _home then Memory = nil end');
    await vm.exclusive(() => vm.run((instance) => instance.start(source, '=alias', encode([])), RUN_CODES, {}));
    this.hasAlias = enabled;
  }

  /** Text (as UTF-8) or bytes, in the format of deflate (RFC 1951). */
  async compressData(data: string | Uint8Array): Promise<Uint8Array> {
    return compressData(this.ready().vm, data);
  }

  /** What {@link compressData} was given, as bytes: at most `limit` of them, by default 64 MiB. */
  async decompressData(bytes: Uint8Array, limit?: number): Promise<Uint8Array> {
    return decompressData(this.ready().vm, bytes, limit);
  }

  /**
   * Sets a global variable to a copy of the value. Functions, also as properties of plain objects, are called from Lua by their names and
   * keys (`api.fetch`), which is how saved state refers to them: see {@link CuOptions.functions}. A {@link LuaHandle} stands for its value.
   */
  async set(name: string, value: unknown, { sandbox }: GlobalOptions = {}): Promise<void> {
    const { vm } = this.ready();
    if (value instanceof LuaHandle) return assignHandle(this.keeper, name, value, sandbox);
    const { rest, found } = takeFunctions(name, value);
    const bytes = encode(rest);
    await this.withInstance((instance) => {
      if (rest !== undefined || found.length === 0) within(instance, sandbox).setGlobal(name, bytes);
      for (const { path, call } of found) {
        const known = vm.host.add(path.join('.'), call, sandbox);
        within(instance, sandbox).setFunction(encode(path), known);
      }
    });
    if (value instanceof Exposed) await this.run(EXPOSE, { args: [name], chunkName: '=expose', sandbox });
  }

  /** A copy of a global variable's value. */
  async get(name: string, { sandbox }: GlobalOptions = {}): Promise<LuaValue> {
    return this.withInstance((instance) => decode(within(instance, sandbox).getGlobal(name)));
  }

  /** The bytes of a file of {@link CuOptions.files}, null when there is none. */
  async readFile(path: string): Promise<Uint8Array | null> {
    return this.withInstance((instance) => instance.readFile(path) ?? null);
  }

  /** Puts a file there, and the directories it lies in. */
  async writeFile(path: string, contents: string | Uint8Array): Promise<void> {
    const bytes = typeof contents === 'string' ? utf8(contents) : contents;
    await this.withInstance((instance) => instance.writeFile(path, bytes));
  }

  /** The paths of all files, sorted. */
  async listFiles(): Promise<string[]> {
    return this.withInstance((instance) => decode(instance.listFiles()) as string[]);
  }

  /**
   * Saves a function with its upvalues. Resolves to true when that is durable.
   *
   * @param source an expression that gives a function (`function(x) return x end`), or a program that returns one, for
   * a function with upvalues: `local n = 0; return function() n = n + 1; return n end`
   */
  async persistFunction(table: string, name: string, source: string, options: PersistOptions = {}): Promise<true> {
    const { compress, ...run } = options;
    await this.ready().functions.persist(table, name, source, run, compress);
    return true;
  }

  /** Loads a saved function ahead of its first call. */
  async restoreFunction(table: string, name: string): Promise<true> {
    await this.ready().functions.restore(table, name);
    return true;
  }

  /**
   * Calls a saved function and gives its first value. Upvalues that it changed are saved again: the call resolves
   * when that is durable. A call that fails leaves them as they were stored.
   */
  async callFunction(table: string, name: string, ...args: unknown[]): Promise<LuaValue> {
    const [value] = await this.ready().functions.call(table, name, args, {});
    return value ?? null;
  }

  /** Whether a function's source compiles. It is not run. */
  async validateFunction(source: string): Promise<{ isValid: boolean; error: string | null }> {
    const { functions } = this.ready();
    try {
      const error = await functions.validate(source);
      return { isValid: error === null, error: error?.message ?? null };
    } catch (error) {
      if (error instanceof EnhancedLuaError && error.code === 'INVALID_FUNCTION_CODE') {
        return { isValid: false, error: error.message };
      }
      throw error;
    }
  }

  /**
   * From now on, records in the database's audit log who has called these methods, on what, when, and with what result. A method resolves
   * when its record is durable; inside a transaction, records are written when that ends.
   */
  enableAuditLog(operations: readonly AuditedOperation[] = AUDITED, { who = '' }: AuditOptions = {}): void {
    audit(this, Cu.prototype, this.log(), who, operations);
  }

  /** What this instance has put into the audit log. */
  get auditLog(): readonly AuditRecord[] {
    return this.log().appended;
  }

  /** The audit log of the database, in order. */
  async audit(): Promise<AuditRecord[]> {
    return this.log().list();
  }

  /**
   * Checks that the audit log is as it was written, and, given a head from earlier, that it goes on from there. Its head now. Fails
   * with code `corrupt` and the number of the first record that is not right.
   */
  async verifyAuditLog(noted?: AuditHead): Promise<AuditHead> {
    return this.log().verify(noted);
  }

  private log(): AuditLog {
    const { database, poison, storage } = this.ready();
    const { name = 'cu', now } = this.options;
    const clock = now === undefined ? Date.now : () => Number(now);
    return (this.logged ??= new AuditLog(database, poison, clock, storage === 'indexeddb' ? `cu-audit:${name}` : null));
  }

  getMemoryStats(): MemoryStats {
    const { vm, database, poison } = this.ready();
    const stats = vm.call((instance) => decode(instance.memoryStats()));
    const { used, limit, wasm } = stats as { used: number; limit: number; wasm: number };
    const storage = poison.call(() => database.wasmBytes());
    return { total: limit, used, free: Math.max(limit - used, 0), wasm: wasm + storage };
  }

  /** What the instance takes in memory and in the database, and what space the browser gives. */
  async stats(): Promise<Stats> {
    const { storage: kind } = this.ready();
    const [storage, tables] = await Promise.all([storageStats(kind), kind === 'none' ? [] : this.listTables()]);
    return { memory: this.getMemoryStats(), storage, tables };
  }

  /** Ends what runs, waits until everything written is durable, and frees the memory. Later calls reject with `closed`. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.opening.over();
    if (this.parts === null) return;
    const { vm, database, poison, home, neighbours } = this.parts;
    await vm.close();
    try {
      await poison.wait(() => database.close());
    } catch (error) {
      const thrown = engineError(error, 'SAVE_STATE_FAILED');
      if (thrown.code !== 'poisoned') throw thrown;
    } finally {
      neighbours?.leave();
    }
    home?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async open(options: CuOptions): Promise<void> {
    checkOptions(options);
    const { image } = this;
    const parts = await openParts(options, image, (this.constructor as typeof Cu).modules());
    await closingOnFailure(parts, options.signal, async () => {
      this.parts = parts;
      this.options = options;
      await this.addFunctions(options.functions ?? {}, image !== null);
      if (image === null && options.modules !== undefined) {
        await this.run(PRELOAD, { args: [checkModules(options.modules)], chunkName: '=modules' });
      }
      this.image = null;
      parts.vm.home = parts.home;
    }).catch((error: unknown) => {
      this.parts = null;
      parts.home?.close();
      throw error;
    });
  }

  /** What is done with handles. The audit log, and the worker's side of a page, know it by this name. */
  protected useHandle(request: Request, options?: RunOptions): Promise<LuaValue[]> {
    return this.ready().handles.use(request, options);
  }

  protected releaseHandle(number: number): Promise<void> {
    return this.ready().handles.release(number);
  }

  private async addFunctions(functions: HostFunctions, isRestored: boolean): Promise<void> {
    const { vm } = this.ready();
    for (const [name, value] of Object.entries(functions)) {
      if (!isRestored) await this.set(name, value);
      else for (const { path, call } of takeFunctions(name, value).found) vm.host.add(path.join('.'), call);
    }
  }

  protected ready(): Parts {
    if (this.closed) throw new UsageError('closed', 'this instance is closed');
    if (this.parts === null) throw new UsageError('NOT_INITIALIZED', 'call init() and wait for it first');
    return this.parts;
  }

  /** Calls the instance when it is this call's turn. */
  private async withInstance<T>(call: (instance: Instance) => T): Promise<T> {
    const { vm } = this.ready();
    try {
      return await vm.exclusive(() => vm.call(call));
    } catch (error) {
      throw engineError(error, 'INVALID_INPUT');
    }
  }

  private home(): Home {
    const { home } = this.ready();
    if (home === null) throw new UsageError('INVALID_INPUT', 'this instance was opened without `home`');
    return home;
  }
}

guard(Cu.prototype, ['iterate', 'enableAuditLog', 'getHomeTableId', 'getMemoryTableId']);

/** The instance, whose next call is about the globals of a sandbox if one is named. */
function within(instance: Instance, sandbox: string | undefined): Instance {
  if (sandbox !== undefined) instance.useSandbox(sandbox);
  return instance;
}

/** A call as the VM takes it. */
function callRequest(name: string, args: readonly unknown[]): unknown[] {
  if (typeof name !== 'string') throw new UsageError('INVALID_INPUT', 'a global function is called by its name');
  return [name, ...args];
}
