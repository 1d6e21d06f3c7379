/**
 * Functions of the page that Lua code calls.
 *
 * Arguments and results are copies. A function that returns a promise suspends the Lua code that called it, wherever that stands, until
 * the promise settles; meanwhile nothing else of the instance has its turn. What a function throws, or its promise rejects with, is an
 * error in Lua, which code there can catch: an `Error` as its message, a `LuaError` as the value that Lua raised, other values as copies.
 */

import { abortReason } from './abort.js';
import { decode, encode, encodeInto, type LuaValue } from './codec.js';
import type { Instance } from './engine.js';
import { LuaError, UsageError, type EnhancedLuaError } from './errors.js';
import { Exposed } from './expose.js';
import { Permission } from './permissions.js';
import type { Poison } from './poison.js';

/** A function that Lua code calls with copies of its arguments. It gives one value, several as {@link Values}, or a promise of either. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type HostFunction = (...args: any[]) => unknown;

/** Functions by name, also in groups: `{ fetch, math: { cbrt: Math.cbrt } }`. */
export interface HostFunctions {
  readonly [name: string]: HostFunction | HostFunctions | Exposed;
}

/** Several results of a host function, as `return a, b` in Lua. */
export class Values {
  readonly items: readonly unknown[];

  constructor(...items: unknown[]) {
    this.items = items;
  }
}

/** What `dispatch` gives instead of the length of an answer. */
const WAIT = -1;
/** The answer does not fit into the buffer; `take` gives it. */
const LONG = -2;
/** Lengths of errors are counted down from here. */
const ERROR = -3;
/** An error's text is cut to what fits into the buffer. */
const ERROR_TEXT_MAX = 500;

/** The functions of one instance. */
export class Host {
  private readonly instance: Instance;
  private readonly functions: { path: string; call: HostFunction }[] = [];
  private memory: WebAssembly.Memory | null = null;
  private place: readonly [address: number, length: number] = [0, 0];
  private view = new Uint8Array();
  /** What the run waits for, and whose promise it is. */
  private pending: { name: string; promise: PromiseLike<unknown>; settle: (value: unknown, failed: boolean) => void } | null = null;
  /** What the run may call. */
  permission = new Permission();
  /** Whether one of the functions runs. */
  calling = false;
  private stopWaiting: ((error: EnhancedLuaError) => void) | null = null;
  /** An answer that does not fit into the buffer. */
  private long: Uint8Array = new Uint8Array();
  /** What was thrown last, by the error that Lua code got for it. */
  private thrown: { value: unknown; error: unknown } | null = null;

  constructor(instance: Instance) {
    this.instance = instance;
  }

  /**
   * Makes a function known by its path, and gives the name by which Lua code refers to it. One that is known gets the new function; each
   * sandbox has functions of its own.
   */
  add(path: string, call: HostFunction, sandbox?: string): string {
    const name = sandbox === undefined ? path : `${sandbox}:${path}`;
    if (this.memory === null) {
      this.memory = this.instance.memory();
      const [address = 0, length = 0] = this.instance.connectFunctions(this);
      this.place = [address, length];
    }
    this.functions.push({ path, call });
    this.instance.addFunction(name, this.functions.length - 1);
    return name;
  }

  /** Whose promise the run waits for. */
  get waitsFor(): string {
    return this.pending?.name ?? '';
  }

  /** Has the run wait for a promise, in this name; `settle` is told what came of it. */
  wait(name: string, promise: PromiseLike<unknown>, settle: (value: unknown, failed: boolean) => void): void {
    this.pending = { name, promise, settle };
  }

  /** Waits for the promise and has its outcome settled. */
  async answer(poison: Poison, signal: AbortSignal | undefined): Promise<void> {
    const { pending } = this;
    this.pending = null;
    if (pending === null) throw new UsageError('INVALID_INPUT', 'the run waits for nothing that is known here');
    let abort = (): void => undefined;
    const stopped = new Promise<never>((_, reject) => {
      this.stopWaiting = reject;
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      abort = () => reject(abortReason(signal));
      signal?.addEventListener('abort', abort);
    });
    // Both may come after the other.
    stopped.catch(() => undefined);
    try {
      const outcome = Promise.resolve(pending.promise).then(
        (value) => ({ value, failed: false }),
        (value: unknown) => ({ value, failed: true }),
      );
      const { value, failed } = await poison.wait(() => Promise.race([outcome, stopped]));
      poison.call(() => pending.settle(value, failed));
    } finally {
      signal?.removeEventListener('abort', abort);
      this.stopWaiting = null;
    }
  }

  /** Nobody waits for the promise any more. */
  forget(): void {
    Promise.resolve(this.pending?.promise).catch(() => undefined);
    this.pending = null;
  }

  /** Ends the waiting, if there is any, with an error. */
  stop(error: EnhancedLuaError): void {
    this.stopWaiting?.(error);
  }

  /** Ends the waiting as the instance is closed. */
  close(): void {
    this.stop(new UsageError('closed', 'this instance is closed'));
  }

  /** What a function threw, if that became this error in Lua. */
  cause(value: unknown): unknown {
    const { thrown } = this;
    this.thrown = null;
    return thrown !== null && thrown.value === value ? thrown.error : undefined;
  }

  /** A call from Lua: an array, the function's number and the arguments, lies at this address. Never throws. */
  dispatch(address: number, length: number): number {
    this.calling = true;
    try {
      const request = address === 0 ? this.buffer() : new Uint8Array(this.memory!.buffer, address, length);
      const values = decode(request, length) as LuaValue[];
      const { path, call } = this.functions[values[0] as number]!;
      this.permission.checkCall(path);
      const result = apply(call, values);
      if (isThenable(result)) {
        this.wait(path, result, (value, failed) => this.settle(value, failed));
        return WAIT;
      }
      return this.leave(results(result));
    } catch (error) {
      return this.leaveError(this.errorValue(error));
    } finally {
      this.calling = false;
    }
  }

  /** The last answer that did not fit into the buffer. */
  take(): Uint8Array {
    const { long } = this;
    this.long = new Uint8Array();
    return long;
  }

  /** Leaves an answer in the buffer, or for {@link take} if it does not fit. */
  private leave(values: readonly unknown[]): number {
    const place = this.buffer();
    const written = encodeInto(place, values);
    // A getter may have let the memory grow.
    if (typeof written === 'number' && place.buffer === this.memory!.buffer) return written;
    this.long = typeof written === 'number' ? encode(values) : written;
    return LONG;
  }

  private leaveError(value: unknown): number {
    const written = encodeInto(this.buffer(), [value]);
    if (typeof written === 'number') return ERROR - written;
    const short = encodeInto(this.buffer(), [String(value).slice(0, ERROR_TEXT_MAX)]);
    return typeof short === 'number' ? ERROR - short : ERROR;
  }

  /** The buffer as it lies in memory now: when memory grows, what was there before is detached. */
  private buffer(): Uint8Array {
    const { buffer } = this.memory!;
    if (this.view.buffer !== buffer) this.view = new Uint8Array(buffer, ...this.place);
    return this.view;
  }

  /** Answers the call with what its promise has come to. */
  private settle(value: unknown, failed: boolean): void {
    const [answer, isError] = failed ? [encode([this.errorValue(value)]), true] : this.encoded(value);
    this.instance.answer(answer, isError);
  }

  private encoded(result: unknown): [Uint8Array, boolean] {
    try {
      return [encode(results(result)), false];
    } catch (error) {
      return [encode([this.errorValue(error)]), true];
    }
  }

  /** What Lua code sees of something that was thrown. */
  private errorValue(error: unknown): unknown {
    const value = luaError(error);
    this.thrown = { value, error };
    return value;
  }
}

/** Calls with all values but the first; few of them without making a list. */
function apply(call: HostFunction, values: readonly LuaValue[]): unknown {
  switch (values.length) {
    case 1:
      return call();
    case 2:
      return call(values[1]);
    case 3:
      return call(values[1], values[2]);
    default:
      return call(...values.slice(1));
  }
}

function results(result: unknown): readonly unknown[] {
  if (result === undefined) return [];
  return result instanceof Values ? result.items : [result];
}

function luaError(error: unknown): unknown {
  if (error instanceof LuaError) return error.value;
  if (error instanceof Error) return error.message;
  try {
    encode(error);
    return error;
  } catch {
    return String(error);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

/** A function in a value, by where it is. */
interface Found {
  path: string[];
  call: HostFunction;
}

/**
 * Takes the functions out of a value: what is left of it, and the functions with their paths, which begin with `name`. Only plain objects
 * are looked through.
 */
export function takeFunctions(name: string, value: unknown): { rest: unknown; found: Found[] } {
  const found: Found[] = [];
  const take = (part: unknown, path: string[]): unknown => {
    if (typeof part === 'function') {
      found.push({ path, call: part as HostFunction });
      return undefined;
    }
    if (!isGroup(part) || path.length > 100) return part;
    const before = found.length;
    const entries = Object.entries(part).map(([key, inner]) => [key, take(inner, [...path, key])] as const);
    // Without functions in it, it stays what it is.
    return found.length === before ? part : new Map(entries.filter(([, inner]) => inner !== undefined));
  };
  const rest = take(value instanceof Exposed ? value.functions : value, [name]);
  return { rest, found };
}

function isGroup(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
