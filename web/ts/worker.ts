/**
 * The package `cu-wasm/worker`: the same API, with the VM and the database in a worker, so that no program of whatever length is felt in
 * the page. Functions of the page are called in the page.
 *
 * What differs: `callSync` is refused, since nothing can be waited for at once; `getMemoryStats`, `getHomeTableId`, `getMemoryTableId`
 * and `enableAuditLog` give promises; and functions of the page are, for Lua code, all of the kind that takes its time.
 */

import { abortReason, throwIfAborted } from './abort.js';
import type { AuditRecord } from './audit.js';
import type { Cu as Bare } from './cu.js';
import { pack, receiveError, sendError, unpack } from './crossing.js';
import type { LuaValue } from './codec.js';
import { EnhancedLuaError, engineError, UsageError } from './errors.js';
import { assignHandle, handleOf, iterate, LuaHandle, type Keeper } from './handles.js';
import type { HostFunction } from './host.js';
import type { Subscription } from './live.js';
import type { WasmSource } from './loader.js';
import type { WorkOptions } from './long-work.js';
import { migrate, type MigrationSteps } from './migration.js';
import type { CuOptions, StorageKind } from './options.js';
import { Opening } from './opening-once.js';
import { startWorker, type Callback, type Reply, type WorkerEnd } from './port.js';
import { askToPersist } from './space.js';
import { checkImage, guard, problemOf } from './validate.js';
import { inTransaction } from './work.js';
import { METHODS, RUNS, TAKES_VALUES, type Remote } from './worker-methods.js';

export interface WorkerOptions extends CuOptions {
  /** The worker, or the address of its script, a module that imports `cu-wasm/worker-thread`. Closing the instance ends it. */
  worker?: Worker | string | URL;
}

/** Errors of the page's functions that are kept for a caller who asks what was thrown. */
const THROWN_MAX = 100;

/** A call that the worker has not answered. */
interface Pending {
  method: string;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
  signal: AbortSignal | undefined;
  abort: () => void;
  /** What a callback threw. */
  thrown: { error: unknown } | null;
  /** Functions that are dropped when the call is over. */
  functions: number[];
}

interface Watched {
  functions: number[];
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** The functions of the page that the worker knows by number. */
interface Known {
  call: HostFunction;
  /** The call whose callback it is; null for a function that Lua code calls. */
  owner: number | null;
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export interface Cu extends Remote {}

/** One Lua state with one database, both in a worker. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class Cu {
  private worker: WorkerEnd | null = null;
  private readonly opening = new Opening();
  private isOpen = false;
  private closed = false;
  private lost: string | null = null;
  private image: Uint8Array | null = null;
  private where: StorageKind = 'none';
  private wasRunning = false;
  private readonly logged: AuditRecord[] = [];
  private count = 0;
  private readonly pending = new Map<number, Pending>();
  private readonly watched = new Map<number, Watched>();
  private readonly functions = new Map<number, Known>();
  private readonly thrown = new Map<number, unknown>();
  private readonly keeper: Keeper = {
    use: async (request, options = {}) => (await this.request('useHandle', [request, options])) as LuaValue[],
    release: async (number) => void (await this.request('releaseHandle', [number])),
  };

  /** Opens an instance. */
  static open(options: WorkerOptions = {}): Promise<Cu> {
    return new this().init(options);
  }

  /** Opens an instance; another name of {@link open}. */
  static init(options: WorkerOptions = {}): Promise<Cu> {
    return this.open(options);
  }

  /** Opens an instance whose Lua state goes on where the one of a snapshot stood, made here or anywhere else. */
  static async restore(image: Uint8Array | ArrayBuffer, options: WorkerOptions = {}): Promise<Cu> {
    checkImage(image);
    const cu = new this();
    cu.image = image instanceof Uint8Array ? image : new Uint8Array(image);
    return cu.init(options);
  }

  /** Opens an instance made with `new`. Called again, it waits for the first call. */
  async init(options: WorkerOptions = {}): Promise<this> {
    if (this.closed) throw new UsageError('closed', 'this instance is closed');
    await this.opening.once(() => this.open(options));
    return this;
  }

  /** Where the database is. */
  get storage(): StorageKind {
    this.ready();
    return this.where;
  }

  /** Whether a run is under way, as far as is known here. */
  get running(): boolean {
    this.ready();
    return this.wasRunning || [...this.pending.values()].some(({ method }) => RUNS.has(method));
  }

  /** What this instance has put into the audit log, as far as calls have been answered. */
  get auditLog(): readonly AuditRecord[] {
    return this.logged;
  }

  /** Is refused: a page cannot wait for its worker at once. */
  callSync(): never {
    throw new UsageError('INVALID_INPUT', 'callSync needs the VM in the page itself; use call()');
  }

  /** As {@link Bare.handle}. */
  async handle(...[source, options = {}]: Parameters<Bare['handle']>): Promise<LuaHandle> {
    this.ready();
    return handleOf(this.keeper, source, options);
  }

  /** As {@link Bare.iterate}. */
  iterate(...[source, options = {}]: Parameters<Bare['iterate']>): ReturnType<Bare['iterate']> {
    this.ready();
    return iterate(this.keeper, source, options);
  }

  /** As {@link Bare.set}. */
  async set(...[name, value, options = {}]: Parameters<Bare['set']>): Promise<void> {
    if (value instanceof LuaHandle) return assignHandle(this.keeper, name, value, options.sandbox);
    await this.request('set', [name, value, options]);
  }

  /** Does work inside a transaction, which is committed when it resolves and rolled back when it rejects. */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    return inTransaction(this, work);
  }

  /** As {@link Bare.migrate}; the steps are run in the page. */
  async migrate(version: number, steps: MigrationSteps<Cu>, options: WorkOptions = {}): Promise<number> {
    const problem = problemOf('migrate', [version, steps, options]);
    if (problem !== null) throw problem;
    return migrate<Cu>(this, version, steps, options);
  }

  /** As {@link Bare.subscribe}. */
  async subscribe(...[table, query, callback, options = {}]: Parameters<Bare['subscribe']>): Promise<Subscription> {
    this.ready();
    const { signal } = options;
    throwIfAborted(signal);
    const id = this.count;
    let [resolve, reject]: [() => void, (error: unknown) => void] = [() => undefined, () => undefined];
    const over = new Promise<void>((fulfil, fail) => ([resolve, reject] = [fulfil, fail]));
    over.catch(() => undefined);
    const end = (): void => this.worker?.send({ type: 'end', id });
    this.watched.set(id, { functions: [], resolve, reject });
    try {
      // The signal ends the subscription from here: in the call it would only end the beginning.
      await this.send('subscribe', [table, query, (change: Parameters<typeof callback>[0]) => {
        if (signal?.aborted !== true) callback(change);
      }, {}]);
    } catch (error) {
      this.watched.delete(id);
      throw error;
    }
    signal?.addEventListener('abort', end, { once: true });
    if (signal?.aborted === true) end();
    const ended = over.finally(() => signal?.removeEventListener('abort', end));
    ended.catch(() => undefined);
    return { end, ended };
  }

  /** Ends what runs, waits until everything written is durable, and ends the worker. Later calls reject with `closed`. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.opening.over();
    try {
      if (this.isOpen && this.lost === null) await this.send('close', []);
    } finally {
      this.worker?.terminate();
      this.worker = null;
      this.fail(() => new UsageError('closed', 'this instance is closed'));
      for (const { resolve } of this.watched.values()) resolve();
      this.watched.clear();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Calls a method of the instance in the worker. */
  protected request(method: string, args: unknown[]): Promise<unknown> {
    this.ready();
    return this.send(method, args);
  }

  private async open({ worker, signal, ...options }: WorkerOptions): Promise<void> {
    throwIfAborted(signal);
    const prepared: Record<string, unknown> = { ...options };
    for (const name of ['wasm', 'storageWasm', 'wasmPath'] as const) {
      if (options[name] !== undefined) prepared[name] = await sendable(await options[name]);
    }
    try {
      this.worker = await startWorker(worker, (reply) => this.receive(reply), (reason) => this.lose(reason));
    } catch (error) {
      throw engineError(error, 'INIT_FAILED');
    }
    try {
      const packed = pack(prepared, (call) => this.register(call, null));
      await this.ask('open', signal, (id) => {
        this.worker?.send({ type: 'open', id, options: packed, hasSignal: signal !== undefined, image: this.image });
      });
      this.image = null;
      this.isOpen = true;
      // Workers cannot ask.
      if (options.persistent === true && this.where === 'indexeddb') void askToPersist();
    } catch (error) {
      this.worker?.terminate();
      this.worker = null;
      this.lost = null;
      // What a getter among the options throws has no code; an aborted call rejects with its signal's reason.
      throw signal?.aborted === true ? error : engineError(error, 'INIT_FAILED');
    }
  }

  private ready(): void {
    if (this.closed) throw new UsageError('closed', 'this instance is closed');
    if (!this.isOpen) throw new UsageError('NOT_INITIALIZED', 'call init() and wait for it first');
    if (this.lost !== null) throw lostError(this.lost);
  }

  private send(method: string, args: unknown[]): Promise<unknown> {
    let signal: AbortSignal | undefined;
    let signalAt: number | null = null;
    const callbacks: (Omit<Callback, 'number'> & { call: HostFunction })[] = [];
    const given = TAKES_VALUES.has(method) ? args : args.map((arg, argument) => {
      if (typeof arg === 'function') {
        callbacks.push({ argument, name: null, call: arg as HostFunction });
        return null;
      }
      if (typeof arg !== 'object' || arg === null || Object.getPrototypeOf(arg) !== Object.prototype) return arg;
      const kept = Object.entries(arg).filter(([name, value]: [string, unknown]) => {
        if (typeof value === 'function') callbacks.push({ argument, name, call: value as HostFunction });
        if (!isSignal(value)) return typeof value !== 'function';
        [signal, signalAt] = [value, argument];
        return false;
      });
      return Object.fromEntries(kept);
    });
    return this.ask(method, signal, (id, functions) => {
      const register = (call: HostFunction, owner: number | null): number => {
        const number = this.register(call, owner);
        // What is set stays there.
        if (method !== 'set') functions.push(number);
        return number;
      };
      const numbered = callbacks.map(({ argument, name, call }) => ({ argument, name, number: register(call, id) }));
      const packed = pack(given, (call) => register(call, null));
      this.worker?.send({ type: 'call', id, method, args: packed, signalAt, callbacks: numbered });
    });
  }

  private ask(method: string, signal: AbortSignal | undefined, send: (id: number, functions: number[]) => void): Promise<unknown> {
    const id = this.count++;
    return new Promise((resolve, reject) => {
      throwIfAborted(signal);
      const abort = (): void => this.worker?.send({ type: 'abort', id });
      const functions: number[] = [];
      this.pending.set(id, { method, resolve, reject, signal, abort, thrown: null, functions });
      try {
        send(id, functions);
      } catch (error) {
        this.finish(id);
        throw error;
      }
      signal?.addEventListener('abort', abort, { once: true });
      this.hold();
    });
  }

  /** A worker that something is waited for keeps Node alive. */
  private hold(): void {
    this.worker?.hold(this.pending.size + this.watched.size > 0);
  }

  private register(call: HostFunction, owner: number | null): number {
    const number = this.count++;
    this.functions.set(number, { call, owner });
    return number;
  }

  /** The call is over; what was pending of it. */
  private finish(id: number): Pending | undefined {
    const pending = this.pending.get(id);
    if (pending === undefined) return undefined;
    this.pending.delete(id);
    pending.signal?.removeEventListener('abort', pending.abort);
    const watched = this.watched.get(id);
    if (watched !== undefined) watched.functions = pending.functions;
    else for (const number of pending.functions) this.functions.delete(number);
    this.hold();
    return pending;
  }

  private receive(reply: Reply): void {
    switch (reply.type) {
      case 'result':
        return this.succeed(reply);
      case 'failure':
        return this.rejectWith(reply);
      case 'callback':
        return this.callBack(reply.number, reply.args);
      case 'function':
        return void this.answer(reply);
      case 'ended': {
        const { resolve, reject, functions } = this.watched.get(reply.id) ?? { resolve: () => undefined, reject: () => undefined, functions: [] };
        this.watched.delete(reply.id);
        for (const number of functions) this.functions.delete(number);
        this.hold();
        return reply.error === null ? resolve() : reject(this.error(reply.error));
      }
    }
  }

  private succeed({ id, value, storage, running, logged }: Reply & { type: 'result' }): void {
    const pending = this.finish(id);
    this.logged.push(...logged);
    this.wasRunning = running;
    if (pending?.method === 'open') this.where = storage;
    if (pending?.thrown != null) pending.reject(callbackError(pending, pending.thrown.error));
    else pending?.resolve(unpack(value, () => () => undefined));
  }

  private rejectWith({ id, error, isAborted, running, logged }: Reply & { type: 'failure' }): void {
    const pending = this.finish(id);
    this.logged.push(...logged);
    this.wasRunning = running;
    if (pending?.thrown != null) pending.reject(callbackError(pending, pending.thrown.error));
    else pending?.reject(isAborted ? abortReason(pending.signal) : this.error(error));
  }

  private error(sent: Parameters<typeof receiveError>[0]): unknown {
    return receiveError(sent, (number) => this.thrown.get(number) ?? null);
  }

  private callBack(number: number, args: unknown): void {
    const known = this.functions.get(number);
    if (known === undefined || known.owner === null) return;
    const pending = this.pending.get(known.owner);
    // Nothing is reported after a callback that threw.
    if (pending !== undefined && pending.thrown !== null) return;
    try {
      known.call(...(unpack(args, () => () => undefined) as unknown[]));
    } catch (error) {
      if (pending !== undefined) {
        pending.thrown = { error };
        this.worker?.send({ type: 'abort', id: known.owner });
        return;
      }
      const watched = this.watched.get(known.owner);
      this.watched.delete(known.owner);
      this.functions.delete(number);
      this.worker?.send({ type: 'end', id: known.owner });
      watched?.reject(engineError(error, 'QUERY_FAILED'));
    }
  }

  private async answer({ id, number, args }: Reply & { type: 'function' }): Promise<void> {
    try {
      const known = this.functions.get(number);
      if (known === undefined) throw new UsageError('INVALID_INPUT', 'the function is not there any more');
      const value = await (known.call(...(unpack(args, () => () => undefined) as unknown[])) as unknown);
      this.worker?.send({ type: 'answer', id, value: pack(value, () => -1) });
    } catch (error) {
      const kept = this.count++;
      this.thrown.set(kept, error);
      if (this.thrown.size > THROWN_MAX) for (const first of [...this.thrown.keys()].slice(0, 1)) this.thrown.delete(first);
      this.worker?.send({ type: 'thrown', id, error: sendError(error, () => undefined), number: kept });
    }
  }

  private lose(reason: string): void {
    if (this.lost !== null || this.worker === null) return;
    this.lost = reason;
    this.fail(({ method }) => (method === 'open' ? new EnhancedLuaError('INIT_FAILED', `the worker is lost: ${reason}`) : lostError(reason)));
    for (const { reject } of this.watched.values()) reject(lostError(reason));
    this.watched.clear();
  }

  private fail(error: (pending: Pending) => EnhancedLuaError): void {
    for (const id of [...this.pending.keys()]) {
      const pending = this.finish(id);
      pending?.reject(error(pending));
    }
  }
}

for (const method of METHODS) {
  Object.defineProperty(Cu.prototype, method, {
    value: async function (this: { request(method: string, args: unknown[]): Promise<unknown> }, ...args: unknown[]) {
      return this.request(method, args);
    },
    writable: true,
    configurable: true,
  });
}

// Other arguments are looked at in the worker.
guard(Cu.prototype, ['iterate'], ['handle', 'iterate']);

function lostError(reason: string): UsageError {
  return new UsageError('poisoned', `the worker is lost: ${reason}; this instance cannot go on`);
}

function callbackError({ method }: Pending, error: unknown): unknown {
  return method === 'subscribe' ? engineError(error, 'QUERY_FAILED') : error;
}

function isSignal(value: unknown): value is AbortSignal {
  return typeof AbortSignal !== 'undefined' && value instanceof AbortSignal;
}

/** A module's source as it can be sent: addresses are the page's, and bodies of responses are read. */
async function sendable(source: WasmSource): Promise<unknown> {
  if (typeof Response !== 'undefined' && source instanceof Response) {
    if (!source.ok) throw new EnhancedLuaError('WASM_LOAD_FAILED', `cannot load the wasm module: ${source.url} answered ${source.status}`);
    return source.arrayBuffer();
  }
  if (source instanceof URL) return source.href;
  if (typeof source === 'string' && typeof document !== 'undefined') return new URL(source, document.baseURI).href;
  return source;
}

export { Cu as EnhancedCuWASM };
export * from './parts.js';
