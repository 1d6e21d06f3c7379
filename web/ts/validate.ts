/**
 * What the public methods take: one table of their arguments and limits (docs/LIMITS.md shows it), and the function that puts the checks before the
 * methods. An argument that does not pass is a `UsageError` that names it, from every method in the same words. What only the database or
 * the VM can judge (a query's operators, a program's syntax) is judged there.
 */

import { AUDITED } from './audit.js';
import { LuaHandle } from './handles.js';
import { engineError, UsageError, type UsageCode } from './errors.js';

/** Limits of what is passed in; all besides the limits that options set. Lengths of texts are in UTF-16 units. */
export const LIMITS = {
  /** Of a program or function, in units or bytes. */
  sourceLength: 16 * 1024 * 1024,
  /** Of names: databases, tables, global variables, functions, sandboxes, chunks, indexes. */
  nameLength: 1000,
  /** Of a file's path. */
  pathLength: 4096,
  /** Operations that can be listed, values that can be passed to a program. */
  listLength: 100_000,
} as const;

/** What is wrong with a value, or null. */
type Check = (value: unknown) => string | null;

interface Argument {
  name: string;
  check: Check;
  code?: UsageCode;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

const optional = (check: Check): Check => (value) => (value === undefined ? null : check(value));

const either = (wanted: string, ...types: string[]): Check => (value) => (types.includes(typeof value) ? null : `${wanted} is needed`);

const anything: Check = () => null;

const text = (wanted: string, lengthMax: number): Check => (value) => {
  if (typeof value !== 'string') return `${wanted} is needed`;
  return value.length > lengthMax ? `longer than ${lengthMax} characters` : null;
};

const name = text('a name', LIMITS.nameLength);
const path = text('a path', LIMITS.pathLength);
const flag = either('true or false', 'boolean');
const callback = either('a function', 'function');

const program: Check = (value) => {
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) return 'source text or bytes are needed';
  return value.length > LIMITS.sourceLength ? `longer than ${LIMITS.sourceLength} characters or bytes` : null;
};

/** A number from 0 on; also none at all, as `Infinity`. */
const amount: Check = (value) => (typeof value === 'number' && value >= 0 ? null : 'a number that is not negative is needed');

const bytes: Check = (value) =>
  typeof value === 'number' && value >= 0 && Number.isSafeInteger(value) ? null : 'a whole number of bytes is needed';

/** The engine counts versions in 32 bits. */
const version: Check = (value) =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32 ? null : 'a whole number from 0 on is needed';

const oneOf = (...choices: readonly unknown[]): Check => (value) => (choices.includes(value) ? null : `one of ${choices.join(', ')} is needed`);

const list = (each: Check): Check => (value) => {
  if (!Array.isArray(value)) return 'an array is needed';
  if (value.length > LIMITS.listLength) return `more than ${LIMITS.listLength} elements`;
  for (const [index, element] of value.entries()) {
    const problem = each(element);
    if (problem !== null) return `[${index}]: ${problem}`;
  }
  return null;
};

/** An object whose known fields pass; `path` in front of a problem says which one does not. */
const fields = (known: Readonly<Record<string, Check>>): Check => (value) => {
  if (!isObject(value)) return 'an object is needed';
  for (const [field, check] of Object.entries(known)) {
    const problem = optional(check)(value[field]);
    if (problem !== null) return `.${field}${problem.startsWith('.') || problem.startsWith('[') ? '' : ': '}${problem}`;
  }
  return null;
};

const signal: Check = (value) =>
  isObject(value) && typeof value['aborted'] === 'boolean' && typeof value['addEventListener'] === 'function' ? null : 'an AbortSignal is needed';

const moment: Check = (value) =>
  (value instanceof Date || typeof value === 'number') && Number.isFinite(Number(value)) ? null : 'milliseconds since 1970 or a date are needed';

const contents: Check = (value) => (typeof value === 'string' || value instanceof Uint8Array ? null : 'text or bytes are needed');

/** Names with what belongs to them: a plain object, or, where that is allowed, a map. */
const entries = (each: Check, allowsMap = false): Check => (value) => {
  if (!isObject(value) || Array.isArray(value) || (value instanceof Map && !allowsMap)) return 'an object is needed';
  const pairs: Iterable<[unknown, unknown]> = value instanceof Map ? (value as Map<unknown, unknown>) : Object.entries(value);
  for (const [key, element] of pairs) {
    const shown = typeof key === 'string' ? key.slice(0, 100) : typeof key;
    const problem = path(key) ?? each(element);
    if (problem !== null) return `['${shown}']: ${problem}`;
  }
  return null;
};

const RUN: Readonly<Record<string, Check>> = {
  fuel: amount, timeLimit: amount, signal, onOutput: callback, permissions: either('an object', 'object'), sandbox: name,
};

/** An object whose entries are looked at elsewhere. */
const plain: Check = (value) => (isObject(value) && !Array.isArray(value) && !(value instanceof Map) ? null : 'an object is needed');

/** An object with these methods. */
const methodsOf = (...names: readonly string[]): Check => (value) => {
  if (!isObject(value)) return 'an object is needed';
  const missing = names.find((method) => typeof value[method] !== 'function');
  return missing === undefined ? null : `.${missing}: a function is needed`;
};

/** What {@link CuOptions} may be. Where the wasm comes from is left to whoever loads it. */
const OPTIONS: Readonly<Record<string, Check>> = {
  name, storage: oneOf('indexeddb', 'opfs', 'memory', 'none'), durability: oneOf('strict', 'relaxed'), heapLimit: bytes, compile: oneOf('hot', 'never', 'eager'), fuel: amount, timeLimit: amount,
  seed: (value) => (typeof value === 'bigint' ? (BigInt.asIntN(64, value) === value ? null : 'more than 64 bits') : Number.isSafeInteger(value) ? null : 'a whole number is needed'),
  now: moment, files: entries(contents, true), filesLimit: bytes, cacheBytes: bytes, environment: entries(text('text', LIMITS.sourceLength)), maxBatchSize: amount, maxBatchBytes: amount,
  persistent: flag, maxFunctionBytes: amount, compressionThreshold: amount, cacheTimeout: amount, queryTimeout: amount, autoRestore: flag, modules: plain,
  home: (value) => (typeof value === 'boolean' ? null : fields({ commit: oneOf('run', 'manual'), atomic: flag })(value)),
  store: methodsOf('load', 'readPages', 'append', 'checkpoint', 'close'), sandbox: flag, permissions: either('an object', 'object'), functions: plain, signal,
};

const QUERY = optional(either('an object', 'object'));
const notNull = (check: Check): Check => (value) => (value === null ? 'an object is needed' : check(value));

/** The arguments of each method, in order. A missing one is `undefined`. */
const METHODS: Readonly<Record<string, readonly Argument[]>> = {
  run: [{ name: 'source', check: program }, { name: 'options', check: optional(fields({ ...RUN, args: list(anything), chunkName: name })) }],
  handle: [{ name: 'source', check: program }, { name: 'options', check: optional(fields({ ...RUN, args: list(anything), chunkName: name })) }],
  iterate: [
    { name: 'source', check: (value) => (value instanceof LuaHandle ? null : program(value)) },
    { name: 'options', check: optional(fields({ ...RUN, args: list(anything), chunkName: name })) },
  ],
  computeBatch: [
    { name: 'sources', check: list(program) },
    { name: 'options', check: optional(fields({ ...RUN, onProgress: callback })) },
  ],
  processBatch: [
    { name: 'operations', check: list(anything) },
    { name: 'options', check: optional(fields({ atomic: flag, signal, onProgress: callback, batchSize: amount })) },
  ],
  transaction: [{ name: 'work', check: callback }],
  createExternalTable: [
    { name: 'name', check: optional(name), code: 'INVALID_TABLE_NAME' },
    { name: 'entries', check: optional(either('an object', 'object')) },
  ],
  compressData: [{ name: 'data', check: contents }],
  decompressData: [
    { name: 'bytes', check: (value) => (value instanceof Uint8Array ? null : 'bytes are needed') },
    { name: 'limit', check: optional(amount) },
  ],
  setMemoryAliasEnabled: [{ name: 'enabled', check: flag }],
  optimizeQuery: [{ name: 'table', check: name, code: 'INVALID_TABLE_NAME' }, { name: 'query', check: notNull(QUERY) }],
  resume: [{ name: 'options', check: optional(fields(RUN)) }],
  set: [{ name: 'name', check: name }, { name: 'value', check: anything }, { name: 'options', check: optional(fields({ sandbox: name })) }],
  get: [{ name: 'name', check: name }, { name: 'options', check: optional(fields({ sandbox: name })) }],
  readFile: [{ name: 'path', check: path }],
  writeFile: [{ name: 'path', check: path }, { name: 'contents', check: contents }],
  persistFunction: [
    { name: 'table', check: name, code: 'INVALID_TABLE_NAME' },
    { name: 'name', check: name, code: 'INVALID_KEY' },
    { name: 'source', check: text('Lua source', LIMITS.sourceLength), code: 'INVALID_FUNCTION_CODE' },
    { name: 'options', check: optional(fields({ fuel: amount, timeLimit: amount, signal, compress: flag })) },
  ],
  restoreFunction: [{ name: 'table', check: name, code: 'INVALID_TABLE_NAME' }, { name: 'name', check: name, code: 'INVALID_KEY' }],
  callFunction: [{ name: 'table', check: name, code: 'INVALID_TABLE_NAME' }, { name: 'name', check: name, code: 'INVALID_KEY' }],
  batchTableOperations: [
    { name: 'operations', check: list(anything) },
    { name: 'options', check: optional(fields({ atomic: flag, signal, onProgress: callback })) },
  ],
  queryTable: [{ name: 'table', check: name, code: 'INVALID_TABLE_NAME' }, { name: 'query', check: notNull(QUERY) }],
  queryEntries: [{ name: 'table', check: name, code: 'INVALID_TABLE_NAME' }, { name: 'query', check: notNull(QUERY) }],
  queryPage: [{ name: 'table', check: name, code: 'INVALID_TABLE_NAME' }, { name: 'query', check: notNull(QUERY) }],
  getQueryPlan: [{ name: 'table', check: name, code: 'INVALID_TABLE_NAME' }, { name: 'query', check: notNull(QUERY) }],
  rangeQuery: [
    { name: 'table', check: name, code: 'INVALID_TABLE_NAME' },
    { name: 'field', check: name, code: 'INVALID_QUERY_FIELD' },
    { name: 'low', check: anything },
    { name: 'high', check: anything },
    { name: 'query', check: notNull(QUERY) },
  ],
  subscribe: [
    { name: 'table', check: name, code: 'INVALID_TABLE_NAME' },
    { name: 'query', check: fields({}) },
    { name: 'callback', check: callback },
    { name: 'options', check: optional(fields({ signal })) },
  ],
  createIndex: [
    { name: 'table', check: name, code: 'INVALID_TABLE_NAME' },
    { name: 'field', check: (value) => (Array.isArray(value) ? list(name)(value) : name(value)), code: 'INVALID_QUERY_FIELD' },
    {
      name: 'options',
      check: optional((value) => (typeof value === 'string' ? null : fields({ name, unique: flag, multi: flag, sparse: flag, signal, onProgress: callback })(value))),
    },
  ],
  dropIndex: [{ name: 'table', check: name, code: 'INVALID_TABLE_NAME' }, { name: 'field', check: name, code: 'INVALID_QUERY_FIELD' }],
  setSchema: [
    { name: 'table', check: name, code: 'INVALID_TABLE_NAME' },
    { name: 'schema', check: (value) => (value === null ? null : schema(value)) },
  ],
  migrate: [
    { name: 'version', check: version },
    { name: 'steps', check: (value) => (isObject(value) && !Array.isArray(value) ? entries(either('a function or Lua source', 'function', 'string'))(value) : 'an object is needed') },
    { name: 'options', check: optional(fields({ signal, onProgress: callback })) },
  ],
  beginMigration: [{ name: 'version', check: version }],
  enableAuditLog: [
    { name: 'operations', check: optional(list(oneOf(...AUDITED))) },
    { name: 'options', check: optional(fields({ who: name })) },
  ],
  verifyAuditLog: [{ name: 'noted', check: optional(fields({ count: amount, hash: name })) }],
};

/** An object; if it is none of JSON Schema, one of rules. */
function schema(value: unknown): string | null {
  if (!isObject(value) || Array.isArray(value)) return 'an object or null is needed';
  const { type } = value;
  if (typeof type === 'string' || Array.isArray(type) || '$schema' in value) return null;
  return entries(fields({}))(value);
}

/** @throws UsageError `INVALID_INPUT` that names the option */
export function checkOptions(options: unknown): void {
  let problem: string | null;
  try {
    problem = fields(OPTIONS)(options);
  } catch (error) {
    // A getter of the caller's.
    throw engineError(error, 'INIT_FAILED');
  }
  if (problem === null) {
    const { sandbox: isSandbox, modules } = options as { sandbox?: unknown; modules?: unknown };
    if (isSandbox === true && modules !== undefined) problem = '.modules: there is no `require` in a sandbox';
  }
  if (problem === null) return;
  // Options go by their own names.
  const [, name, rest] = /^\.(\w+)(?:: )?(.*)$/s.exec(problem) ?? [null, 'options', problem];
  throw refused({ name: name!, check: anything }, rest!);
}

/** @throws UsageError `INVALID_INPUT` */
export function checkImage(image: unknown): void {
  const isBytes = image instanceof Uint8Array || image instanceof ArrayBuffer;
  if (!isBytes) throw refused({ name: 'image', check: anything }, 'the bytes of an image are needed');
}

/**
 * Puts the checks before the methods of a class. A method that gives a promise gives one that rejects.
 *
 * @param synchronous the methods that throw
 * @param only the methods that are checked; by default all
 */
export function guard(prototype: object, synchronous: readonly string[], only?: readonly string[]): void {
  const methods = prototype as Record<string, (...args: unknown[]) => unknown>;
  for (const name of Object.keys(METHODS)) {
    const method = methods[name];
    if (method === undefined || only?.includes(name) === false) continue;
    const value = function (this: unknown, ...given: unknown[]): unknown {
      const error = problemOf(name, given);
      if (error !== null && synchronous.includes(name)) throw error;
      if (error !== null) return Promise.reject(error);
      return method.apply(this, given);
    };
    Object.defineProperty(prototype, name, { value, configurable: true, writable: true });
  }
}

/** What is wrong with the arguments of a method, if anything. */
export function problemOf(method: string, given: readonly unknown[]): UsageError | null {
  for (const [index, argument] of (METHODS[method] ?? []).entries()) {
    const problem = argument.check(given[index]);
    if (problem !== null) return refused(argument, problem);
  }
  return null;
}

function refused({ name, code = 'INVALID_INPUT' }: Argument, problem: string): UsageError {
  const isInside = problem.startsWith('.') || problem.startsWith('[');
  const argument = isInside ? name + problem.slice(0, problem.indexOf(':')) : name;
  const message = isInside ? `${name}${problem}` : `${name}: ${problem}`;
  return new UsageError(code, message, { details: { argument } });
}
