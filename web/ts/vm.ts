/**
 * One Lua state and its turns. Work on it is queued, so that a run and what belongs to it (loading a function,
 * saving it again) is not interleaved with another's. A run goes in slices of a few milliseconds and gives the event
 * loop its turn between them; that is where it can be aborted.
 *
 * After a trap the wasm memory is in no known state: everything pending and later rejects with `poisoned`.
 */

import { throwIfAborted } from './abort.js';
import { Allowance, type RunLimits } from './allowance.js';
import { decode, type LuaValue } from './codec.js';
import { Exchange } from './exchange.js';
import { Status, type EngineError, type Instance, type TablesInstance } from './engine.js';
import { External } from './external.js';
import { Host } from './host.js';
import { nextTurn } from './turns.js';
import type { Poison } from './poison.js';
import { Permission, type Permissions, type TableAccess } from './permissions.js';
import type { TransactingDatabase } from './transactions.js';
import { EnhancedLuaError, engineError, LimitError, LuaError, UsageError, type CallCode, type ErrorCode, type ErrorOptions } from './errors.js';

export interface RunOptions extends RunLimits {
  /** Ends the run; it rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Takes what is printed, as it is printed: as text, and as the bytes behind it. `output` is then empty. */
  onOutput?: ((text: string, bytes: Uint8Array) => void) | undefined;
  /** What the run may use, of what the instance allows. */
  permissions?: Permissions | undefined;
  /** Runs it with the global variables of the sandbox of this name, which are there from its first use on. */
  sandbox?: string | undefined;
}

/** What has to be done about `_home` around runs. */
export interface RunHome {
  beforeRun(access: TableAccess, sandbox: string | undefined): Promise<void>;
  afterRun(): Promise<void>;
  afterFailure(): void;
}

export interface RunResult {
  /** All values that the chunk returned. */
  values: LuaValue[];
  /** What was printed. */
  output: string;
  fuelUsed: number;
}

/** Which codes a failing run gives, by what failed. */
export interface RunCodes {
  syntax: CallCode;
  runtime: CallCode;
}

/** How long a slice should take. Short enough for a frame, long enough that turns cost little. */
const SLICE_MS = 6;
const SLICE_FUEL_FIRST = 200_000;
const SLICE_FUEL_MIN = 1_000;
const SLICE_FUEL_MAX = 2 ** 30;

export class Vm<State extends Instance = Instance> {
  private readonly instance: State;
  private readonly poison: Poison;
  private readonly limits: RunLimits;
  private turn: Promise<unknown> = Promise.resolve();
  private closed = false;
  private sliceFuel = SLICE_FUEL_FIRST;
  /** Tasks that are under way or wait. */
  private queued = 0;
  private readonly exchange: Exchange;
  /** The functions that Lua code calls. */
  readonly host: Host;
  /** Told when a run has ended. */
  home: RunHome | null = null;
  /** What gives Lua code tables. */
  private external: External | null = null;

  /** What any run may use. */
  private readonly permission: Permission;
  /** Whether the state was restored in the middle of a run that nobody has gone on with. */
  private hasRestoredRun: boolean;

  /** @param limits of each run that states none */
  constructor(instance: State, poison: Poison, limits: RunLimits, permissions?: Permissions) {
    this.permission = new Permission(permissions);
    this.instance = instance;
    this.hasRestoredRun = instance.isRunning();
    this.exchange = new Exchange(instance);
    this.host = new Host(instance);
    this.host.permission = this.permission;
    this.poison = poison;
    this.limits = limits;
  }

  /** Runs a task when all earlier ones are done. Only tasks call {@link call} and {@link run}. */
  exclusive<T>(task: () => Promise<T> | T): Promise<T> {
    this.queued++;
    const turn = this.turn.then(() => {
      this.check();
      return task();
    });
    const done = (): void => {
      this.queued--;
    };
    this.turn = turn.then(done, done);
    return turn;
  }

  /** Answers what Lua code wants of tables from here on. `changed` is told when it has stored a transaction. */
  connect(database: TransactingDatabase, changed: () => void): void {
    const connect = (instance: Instance): External | null =>
      hasTables(instance) ? new External(instance, this.host, database, changed) : null;
    this.external = this.call(connect);
  }

  call<T>(call: (instance: State) => T): T {
    this.check();
    if (this.host.calling) throw new UsageError('busy', 'Lua code is calling a function of the page: wait until it has returned');
    return this.poison.call(() => call(this.instance));
  }

  /** Goes on with the run that the state was restored in the middle of. */
  async resume(codes: RunCodes, options: RunOptions): Promise<RunResult> {
    if (!this.hasRestoredRun) throw new UsageError('INVALID_INPUT', 'there is no run to go on with');
    const start = (): void => {
      this.hasRestoredRun = false;
    };
    return this.go(start, codes, options);
  }

  async run(start: (instance: Instance) => void, codes: RunCodes, options: RunOptions): Promise<RunResult> {
    this.refuseWhileRestored();
    return this.go(start, codes, options);
  }

  private async go(start: (instance: Instance) => void, codes: RunCodes, options: RunOptions): Promise<RunResult> {
    const { signal, permissions, sandbox } = options;
    throwIfAborted(signal);
    const output = new Output(options.onOutput);
    const permission = this.permission.narrowed(permissions, sandbox);
    await this.home?.beforeRun(permission.table('_home'), sandbox);
    this.host.permission = permission;
    this.call(() => this.external?.beforeRun(permission, sandbox));
    let committing = false;
    try {
      this.call(start);
      const allowance = new Allowance(options, this.limits);
      for (let status; (status = this.slice(allowance, codes)) !== Status.Finished; ) {
        output.add(this.call((instance) => instance.takeOutput()));
        if (status === Status.Waiting) await allowance.wait(this.host.answer(this.poison, signal), (error) => this.host.stop(error));
        else await nextTurn();
        throwIfAborted(signal);
      }
      const values = this.call((instance) => decode(instance.takeValues())) as LuaValue[];
      output.add(this.call((instance) => instance.takeOutput()));
      committing = true;
      await this.home?.afterRun();
      return { values, output: output.finish(), fuelUsed: this.call((instance) => instance.fuelUsed()) };
    } catch (error) {
      if (committing) throw error;
      this.end(output);
      // What the caller's own code threw (`onOutput`, the signal's reason) goes through as it is.
      throw isEngineError(error) ? engineError(error, codes.runtime) : error;
    } finally {
      this.host.permission = this.permission;
    }
  }

  /**
   * Calls a global function, at once when nothing is under way. Its values.
   *
   * @param request the function's name, and the arguments
   */
  async callGlobal(request: readonly unknown[], codes: RunCodes): Promise<LuaValue[]> {
    const goOn = async (): Promise<LuaValue[]> => (await this.run(() => undefined, codes, {})).values;
    if (this.home !== null) return this.exclusive(() => this.callAndCommit(request, codes, goOn));
    if (this.isBusy) return this.exclusive(() => this.begin(request, codes) ?? goOn());
    return this.begin(request, codes) ?? this.exclusive(goOn);
  }

  /** {@link run} tells `_home` of its end; a call that has ended at once is told of here. */
  private async callAndCommit(
    request: readonly unknown[],
    codes: RunCodes,
    goOn: () => Promise<LuaValue[]>,
  ): Promise<LuaValue[]> {
    let values: LuaValue[] | null;
    await this.home?.beforeRun(this.permission.table('_home'), undefined);
    try {
      values = this.begin(request, codes);
    } catch (error) {
      this.home?.afterFailure();
      throw error;
    }
    if (values === null) return goOn();
    await this.home?.afterRun();
    return values;
  }

  /**
   * Calls a global function and does not give the event loop its turn before it has ended. Its values. What it changes in `_home` is
   * stored with the next run.
   */
  callGlobalSync(request: readonly unknown[], codes: RunCodes): LuaValue[] {
    if (this.isBusy) throw new UsageError('busy', 'something is under way: wait for it, or use call()');
    if (this.home !== null && this.permission.table('_home') !== 'write') {
      throw new UsageError('denied', "callSync cannot keep '_home' from being changed: use call()");
    }
    return this.begin(request, codes) ?? this.finishSync(codes);
  }

  /** Whether a task is under way or waits. */
  get isBusy(): boolean {
    return this.queued > 0 || this.host.calling;
  }

  /** {@link callGlobalSync} for a live function. Only tasks call it, and others while nothing {@link isBusy}. */
  callLiveSync(table: string, name: string, args: Uint8Array, codes: RunCodes): LuaValue[] {
    this.refuseWhileRestored();
    this.call((instance) => instance.startCall(table, name, args));
    return this.finishSync(codes);
  }

  private finishSync(codes: RunCodes): LuaValue[] {
    const output = new Output(() => undefined);
    try {
      const allowance = new Allowance({}, this.limits);
      for (let status; (status = this.slice(allowance, codes)) !== Status.Finished; ) {
        if (status === Status.Waiting) {
          throw new UsageError('promise', `callSync cannot wait for the promise that '${this.host.waitsFor}' returned`);
        }
      }
      const results = this.call((instance) => decode(instance.takeValues())) as LuaValue[];
      output.add(this.call((instance) => instance.takeOutput()));
      return results;
    } catch (error) {
      this.end(output);
      throw engineError(error, codes.runtime);
    }
  }

  /** Drops what waits and frees the memory. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.host.close();
    await this.turn;
    try {
      this.poison.call(() => this.instance.free());
    } catch {
      // After a trap there is nothing to free: the memory goes with the instance.
    }
  }

  /** Starts a call of a global function. Its values, unless it takes longer than a slice or fails: then the run goes on. */
  private begin(request: readonly unknown[], codes: RunCodes): LuaValue[] | null {
    this.refuseWhileRestored();
    try {
      const sliceFuel = Math.min(this.sliceFuel, Math.ceil(this.limits.fuel ?? Infinity));
      this.check();
      return this.exchange.call(request, sliceFuel);
    } catch (error) {
      this.end(new Output(() => undefined));
      throw engineError(error, codes.runtime);
    }
  }

  /** Runs one slice: whether the run has finished, goes on or waits. */
  private slice(allowance: Allowance, codes: RunCodes): Status {
    const left = allowance.fuelAfter(this.call((instance) => instance.fuelUsed()));
    const started = performance.now();
    const sliceFuel = Math.min(this.sliceFuel, Math.ceil(left));
    const status = this.call((instance) => instance.step(sliceFuel));
    if (status === Status.Running) {
      if (sliceFuel === this.sliceFuel) this.adapt(performance.now() - started);
      return status;
    }
    if (status === Status.Finished || status === Status.Waiting) return status;
    if (status === Status.Failed) throw this.failure(codes);
    throw new EnhancedLuaError('LUA_EXECUTION_ERROR', `the run stopped with the unknown status ${status}`);
  }

  /** The error of a run that has failed. */
  private failure(codes: RunCodes): EnhancedLuaError {
    const fuelUsed = this.call((instance) => instance.fuelUsed());
    const decoded = this.call((instance) => decode(instance.takeError()));
    const { value } = decoded as unknown as EngineError;
    return runError(decoded, codes, { originalError: this.host.cause(value), details: { fuelUsed } });
  }

  /** Clocks in browsers are coarse, so the size changes in steps of two. */
  private adapt(elapsed: number): void {
    if (elapsed < SLICE_MS / 2) this.sliceFuel = Math.min(this.sliceFuel * 2, SLICE_FUEL_MAX);
    if (elapsed > SLICE_MS * 2) this.sliceFuel = Math.max(Math.floor(this.sliceFuel / 2), SLICE_FUEL_MIN);
  }

  /** After a failure: nothing may be left of the run, and the first error stays the one that is thrown. */
  private end(output: Output): void {
    try {
      this.host.forget();
      this.poison.call(() => this.instance.abort());
      output.add(this.poison.call(() => this.instance.takeOutput()));
      output.finish();
      this.home?.afterFailure();
    } catch {
      // Poisoned, or `onOutput` has thrown again.
    }
  }

  /** A run that was refused ends what is under way: the restored run would be lost. */
  private refuseWhileRestored(): void {
    if (this.hasRestoredRun) {
      const suggestion = 'Call resume() first; resume({ fuel: 0 }) gives the run up.';
      throw new UsageError('busy', 'the state was restored in the middle of a run', { suggestion });
    }
  }

  private check(): void {
    this.poison.check();
    if (this.closed) throw new UsageError('closed', 'this instance is closed');
  }
}

class Output {
  private readonly sink: RunOptions['onOutput'];
  private readonly decoder = new TextDecoder();
  private text = '';

  constructor(sink: RunOptions['onOutput']) {
    this.sink = sink;
  }

  add(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    // A character may be split between two slices.
    const text = this.decoder.decode(bytes, { stream: true });
    if (this.sink === undefined) this.text += text;
    else this.sink(text, bytes);
  }

  finish(): string {
    const rest = this.decoder.decode();
    if (this.sink !== undefined && rest !== '') this.sink(rest, new Uint8Array());
    return this.text + (this.sink === undefined ? rest : '');
  }
}

/** The smallest module has none. */
function hasTables(instance: Instance): instance is TablesInstance {
  return 'connectTables' in instance;
}

/** Errors that wasm throws carry a code that is a string; a `DOMException`'s is a number. */
function isEngineError(error: unknown): boolean {
  return error instanceof Error && typeof (error as { code?: unknown }).code === 'string';
}

/** The value behind a source text or name that the engine takes as bytes. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The engine's error as a typed one; the original error is what a function of the page threw, if it comes from there. */
export function runError(decoded: LuaValue, codes: RunCodes, options: ErrorOptions = {}): EnhancedLuaError {
  const { details = {} } = options;
  const { code, message, value, traceback, chunk, line } = decoded as unknown as EngineError;
  switch (code) {
    case 'heap':
      return new LimitError('heap', message, { details });
    case 'syntax':
      return new LuaError(codes.syntax, message, { value, traceback: '', chunk, line }, { details });
    case 'runtime':
      return new LuaError(codes.runtime, message, { value, traceback, chunk, line }, options);
    default:
      return new UsageError(code as ErrorCode, message, { details });
  }
}
