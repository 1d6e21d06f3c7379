/**
 * Values and errors on their way between a page and the worker that has its VM.
 *
 * Messages are cloned by the engine, which loses classes, and refuses functions and symbols. What it would lose is replaced by a plain
 * object that tells its kind, and made anew on the other side; what nobody can encode (a symbol, an instance of some class) becomes
 * something of the same sort there, so that the caller gets the very error that it would get without a worker.
 */

import { FunctionBlob, HomeRecord } from './codec.js';
import { EnhancedLuaError, LimitError, LuaError, StorageError, UsageError, type ErrorCode } from './errors.js';
import { Exposed } from './expose.js';
import { Values, type HostFunction, type HostFunctions } from './host.js';

/** The property that tells a replacement's kind. A caller's object with such a property is replaced itself. */
const KIND = '\u0000cu';
/** Deeper values are refused by whoever encodes them; how they go on does not matter. */
const DEPTH_MAX = 210;

/** Gives a function a number that stands for it on the other side. */
export type Register = (call: HostFunction) => number;
/** Makes a function that calls the one with this number. */
export type Revive = (number: number) => HostFunction;

/** A copy of a value that can be sent. Getters run once. */
export function pack(value: unknown, register: Register): unknown {
  return new Packer(register).value(value, 0);
}

class Packer {
  private readonly copies = new Map<object, object>();

  constructor(private readonly register: Register) {}

  value(value: unknown, depth: number): unknown {
    if (typeof value === 'symbol') return { [KIND]: 'symbol' };
    if (typeof value === 'function') return { [KIND]: 'function', number: this.register(value as HostFunction) };
    if (typeof value !== 'object' || value === null || depth > DEPTH_MAX) return depth > DEPTH_MAX ? null : value;
    const known = this.copies.get(value);
    if (known !== undefined) return known;
    return this.object(value, depth + 1);
  }

  private object(value: object, depth: number): unknown {
    if (Array.isArray(value)) {
      const copy = this.note(value, [] as unknown[]);
      for (let index = 0; index < value.length; index++) copy.push(this.value(value[index], depth));
      return copy;
    }
    // A copy of its own bytes: a clone takes along the whole buffer behind a view.
    if (value instanceof Uint8Array) return this.note(value, copyBytes(value));
    if (value instanceof FunctionBlob) return this.note(value, { [KIND]: 'function blob', bytes: value.bytes.slice() });
    if (value instanceof HomeRecord) return this.note(value, { [KIND]: 'home record', bytes: value.bytes.slice() });
    if (value instanceof Values) return this.note(value, { [KIND]: 'values', items: this.value(value.items, depth) });
    if (value instanceof Exposed) return this.note(value, { [KIND]: 'exposed', functions: this.value(value.functions, depth) });
    if (value instanceof Map) {
      const copy = this.note(value, new Map<unknown, unknown>());
      for (const [key, entry] of value) copy.set(this.value(key, depth), this.value(entry, depth));
      return copy;
    }
    if (isCloned(value)) return value;
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
      return this.note(value, { [KIND]: 'instance', name: nameOf(value) });
    }
    // Keys such as `__proto__` are data: they go as entries.
    const isSpecial = KIND in value || Object.prototype.hasOwnProperty.call(value, '__proto__');
    const copy: Record<string, unknown> = this.note(value, isSpecial ? { [KIND]: 'object' } : {});
    const entries = Object.entries(value).map(([key, entry]) => [key, this.value(entry, depth)] as const);
    if (isSpecial) copy['entries'] = entries;
    else for (const [key, entry] of entries) copy[key] = entry;
    return copy;
  }

  private note<T extends object>(original: object, copy: T): T {
    this.copies.set(original, copy);
    return copy;
  }
}

function copyBytes(bytes: Uint8Array): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch {
    throw new UsageError('INVALID_INPUT', 'cannot encode a Uint8Array whose buffer was transferred');
  }
}

/** What engines clone as it is, and the API takes for options or refuses by its name. */
function isCloned(value: object): boolean {
  return (
    value instanceof Date ||
    value instanceof RegExp ||
    value instanceof ArrayBuffer ||
    ArrayBuffer.isView(value) ||
    value instanceof Set ||
    value instanceof WebAssembly.Module
  );
}

function nameOf(value: object): string {
  const name: unknown = value.constructor?.name;
  return typeof name === 'string' ? name : '';
}

/** What a value was on the other side. Takes the value over. */
export function unpack(value: unknown, revive: Revive): unknown {
  return new Unpacker(revive).value(value);
}

class Unpacker {
  private readonly seen = new Map<object, unknown>();

  constructor(private readonly revive: Revive) {}

  value(value: unknown): unknown {
    if (typeof value !== 'object' || value === null) return value;
    if (this.seen.has(value)) return this.seen.get(value);
    this.seen.set(value, value);
    if (Array.isArray(value)) {
      for (let index = 0; index < value.length; index++) value[index] = this.value(value[index]);
    } else if (value instanceof Map) {
      const entries = [...(value as Map<unknown, unknown>)];
      value.clear();
      for (const [key, entry] of entries) value.set(this.value(key), this.value(entry));
    } else if (Object.getPrototypeOf(value) === Object.prototype) {
      const made = this.object(value as Record<string, unknown>);
      this.seen.set(value, made);
      return made;
    }
    return value;
  }

  private object(value: Record<string, unknown>): unknown {
    switch (value[KIND]) {
      case undefined:
        for (const key of Object.keys(value)) value[key] = this.value(value[key]);
        return value;
      case 'object':
        return this.entries(value);
      case 'function':
        return this.revive(value['number'] as number);
      case 'function blob':
        return new FunctionBlob(value['bytes'] as Uint8Array);
      case 'home record':
        return new HomeRecord(value['bytes'] as Uint8Array);
      case 'values':
        return new Values(...(this.value(value['items']) as unknown[]));
      case 'exposed':
        return Exposed.of(this.value(value['functions']) as HostFunctions);
      case 'instance':
        return new (classNamed(value['name'] as string))();
      default:
        return Symbol('symbol');
    }
  }

  private entries(value: Record<string, unknown>): unknown {
    const made = {};
    // Before the entries, which may lead back here.
    this.seen.set(value, made);
    for (const [key, entry] of value['entries'] as [string, unknown][]) {
      Object.defineProperty(made, key, { value: this.value(entry), writable: true, enumerable: true, configurable: true });
    }
    return made;
  }
}

function classNamed(name: string): new () => object {
  const made = class {};
  Object.defineProperty(made, 'name', { value: name });
  return made;
}

/** An error as it is sent. */
export type SentError =
  | { kind: 'error'; name: string; code: ErrorCode | null; message: string; facts: unknown }
  /** One that was thrown on the other side, which has kept it. */
  | { kind: 'yours'; number: number }
  | { kind: 'value'; value: unknown };

const CLASSES = { EnhancedLuaError, LuaError, StorageError, LimitError, UsageError };

/** @param numberOf tells which error of the other side a value was made for */
export function sendError(error: unknown, numberOf: (error: object) => number | undefined): SentError {
  const number = typeof error === 'object' && error !== null ? numberOf(error) : undefined;
  if (number !== undefined) return { kind: 'yours', number };
  const none: Register = () => -1;
  if (!(error instanceof Error)) return { kind: 'value', value: pack(error, none) };
  const { name, message } = error;
  if (!(error instanceof EnhancedLuaError)) return { kind: 'error', name, code: null, message, facts: null };
  const { code, timestamp, details, suggestion, originalError } = error;
  const position = error instanceof LuaError ? { value: error.value, traceback: error.traceback, chunk: error.chunk, line: error.line } : null;
  const original = originalError === null ? null : sendError(originalError, numberOf);
  return { kind: 'error', name, code, message, facts: { timestamp, details: pack(details, none), suggestion, original, position: pack(position, none) } };
}

interface Facts {
  timestamp: string;
  details: Record<string, unknown>;
  suggestion: string | null;
  original: SentError | null;
  position: { value: unknown; traceback: string; chunk: string | null; line: number | null } | null;
}

/** @param mine gives the error of this side that has the number */
export function receiveError(sent: SentError, mine: (number: number) => unknown): unknown {
  if (sent.kind === 'yours') return mine(sent.number);
  const none: Revive = () => () => undefined;
  if (sent.kind === 'value') return unpack(sent.value, none);
  if (sent.code === null) return Object.defineProperty(new Error(sent.message), 'name', { value: sent.name, configurable: true });
  const { timestamp, details, suggestion, original, position } = unpack(sent.facts, none) as Facts;
  const options = {
    details,
    originalError: original === null ? null : receiveError(original, mine),
    ...(suggestion === null ? {} : { suggestion }),
  };
  let error: EnhancedLuaError;
  if (position !== null) {
    error = new LuaError(sent.code, sent.message, position, options);
  } else {
    const Class = CLASSES[sent.name as Exclude<keyof typeof CLASSES, 'LuaError'>] ?? EnhancedLuaError;
    error = new Class(sent.code, sent.message, options);
  }
  return Object.defineProperty(error, 'timestamp', { value: timestamp, enumerable: true });
}
