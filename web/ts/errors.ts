/**
 * Everything that this package throws, except an `AbortSignal`'s own reason.
 *
 * All are {@link EnhancedLuaError}s with a `code`; the subclass says whose matter it is: the Lua program's
 * ({@link LuaError}), the database's ({@link StorageError}), a limit's ({@link LimitError}) or the caller's
 * ({@link UsageError}). Where one failure has several causes, the innermost one's code is the one thrown.
 */

/** Codes that name what the failing call was doing. */
export type CallCode =
  | 'INIT_FAILED'
  | 'WASM_LOAD_FAILED'
  | 'NOT_INITIALIZED'
  | 'LUA_EXECUTION_ERROR'
  | 'EVAL_FAILED'
  | 'FUNCTION_COMPILATION_FAILED'
  | 'PERSIST_FUNCTION_FAILED'
  | 'INVALID_FUNCTION_CODE'
  | 'FUNCTION_TOO_LARGE'
  | 'INVALID_FUNCTION_SYNTAX'
  | 'INVALID_INPUT'
  | 'BATCH_SIZE_EXCEEDED'
  | 'BATCH_OPERATION_FAILED'
  | 'INVALID_OPERATION_TYPE'
  | 'INVALID_TABLE_NAME'
  | 'INVALID_KEY'
  | 'UNKNOWN_OPERATION'
  | 'CREATE_INDEX_FAILED'
  | 'QUERY_FAILED'
  | 'INVALID_QUERY_FIELD'
  | 'INVALID_QUERY_OPERATOR'
  | 'UNSUPPORTED_OPERATOR'
  | 'INVALID_QUERY_LIMIT'
  | 'BUFFER_OVERFLOW'
  | 'SAVE_STATE_FAILED'
  | 'COMPRESSION_FAILED'
  | 'DECOMPRESSION_FAILED';

/** Codes of the database, as it reports them. */
export type StorageCode =
  | 'blocked'
  | 'closed'
  | 'conflict'
  | 'connectionLost'
  | 'corrupt'
  | 'duplicate'
  | 'interrupted'
  | 'newerVersion'
  | 'notFound'
  | 'quota'
  | 'schema'
  | 'unavailable'
  | 'storage';

/** Codes of limits: `heap` is memory, `fuel` the instructions that a run may take, `time` how long it may last. */
export type LimitCode = 'heap' | 'fuel' | 'time' | 'FUNCTION_TOO_LARGE' | 'BATCH_SIZE_EXCEEDED';

/**
 * `poisoned`: wasm trapped, this instance is lost. `closed`: it was closed. `promise`: a call that cannot wait met a promise. `UNKNOWN_FUNCTION`:
 * nothing saved under that name. `denied`: the permissions do not allow it. `released`: the handle was released.
 */
export type UsageCode = CallCode | 'poisoned' | 'closed' | 'busy' | 'promise' | 'denied' | 'released' | 'UNKNOWN_FUNCTION';

export type ErrorCode = CallCode | StorageCode | LimitCode | UsageCode;

export interface ErrorOptions {
  /** What was thrown underneath. */
  originalError?: unknown;
  /** Facts for programs: the position in a batch, the field of a query. */
  details?: Readonly<Record<string, unknown>>;
  /** What the caller can do about it. */
  suggestion?: string;
}

export class EnhancedLuaError extends Error {
  override readonly name: string = 'EnhancedLuaError';
  readonly code: ErrorCode;
  readonly originalError: unknown;
  /** When it happened, as ISO 8601 text. */
  readonly timestamp: string = new Date().toISOString();
  readonly details: Readonly<Record<string, unknown>>;
  readonly suggestion: string | null;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message);
    this.code = code;
    this.originalError = options.originalError ?? null;
    this.details = options.details ?? {};
    this.suggestion = options.suggestion ?? SUGGESTIONS[code] ?? null;
  }

  toJSON(): Record<string, unknown> {
    const original = this.originalError;
    return {
      name: this.name,
      code: this.code,
      message: this.message,
      timestamp: this.timestamp,
      details: this.details,
      suggestion: this.suggestion,
      originalError: original instanceof Error ? { name: original.name, message: original.message } : original,
    };
  }
}

/** A Lua program that does not compile or that raised an error. */
export class LuaError extends EnhancedLuaError {
  override readonly name = 'LuaError';
  /** The error value that Lua raised: often its message, but any value. */
  readonly value: unknown;
  /** The Lua stack where it was raised, as `debug.traceback` writes it; empty for a syntax error. */
  readonly traceback: string;
  /** The chunk's name, where the message has a position. */
  readonly chunk: string | null;
  readonly line: number | null;

  constructor(code: ErrorCode, message: string, position: LuaErrorPosition, options: ErrorOptions = {}) {
    const { chunk, line } = position;
    super(code, message, { ...options, details: { chunk, line, ...options.details } });
    this.value = position.value;
    this.traceback = position.traceback;
    this.chunk = chunk;
    this.line = line;
  }
}

export interface LuaErrorPosition {
  value: unknown;
  traceback: string;
  chunk: string | null;
  line: number | null;
}

/** The database could not do it; what it held before is intact. */
export class StorageError extends EnhancedLuaError {
  override readonly name = 'StorageError';
}

/** A configured limit was reached. The instance goes on. */
export class LimitError extends EnhancedLuaError {
  override readonly name = 'LimitError';
}

/** The call was wrong, or came at the wrong time. */
export class UsageError extends EnhancedLuaError {
  override readonly name = 'UsageError';
}

const STORAGE_CODES: ReadonlySet<string> = new Set<StorageCode>([
  'blocked',
  'closed',
  'conflict',
  'connectionLost',
  'corrupt',
  'duplicate',
  'interrupted',
  'newerVersion',
  'notFound',
  'quota',
  'schema',
  'unavailable',
  'storage',
]);

const SUGGESTIONS: { readonly [code in ErrorCode]?: string } = {
  blocked: 'Close other tabs that have this database open.',
  closed: 'Open a new instance with Cu.open.',
  connectionLost: 'Call again; the connection is reopened.',
  corrupt: 'The rest of the database stays readable; save the damaged entry anew.',
  duplicate: 'Choose another value, or update the document that has it.',
  newerVersion: 'The database was written by a newer version; load that version of the page.',
  quota: 'Delete data or ask the user for more space, then call again.',
  poisoned: 'Open a new instance with Cu.open; everything committed is safe.',
  promise: 'Use call(), which waits for promises.',
  released: 'Make a new handle, or release this one later.',
  heap: 'Raise the option heapLimit, or keep large data in tables of the database.',
  fuel: 'Raise the option fuel, or make the program stop earlier.',
  time: 'Raise the option timeLimit, or make the program stop earlier.',
  FUNCTION_TOO_LARGE: 'Raise the option maxFunctionBytes.',
  BATCH_SIZE_EXCEEDED: 'Split the batch, or raise the options maxBatchSize and maxBatchBytes.',
};

/**
 * Gives what a call into wasm threw as a typed error. Errors made there carry their code and, in a batch, the
 * position of the operation that failed; anything else gets the code of the call.
 */
export function engineError(thrown: unknown, call: CallCode): EnhancedLuaError {
  if (thrown instanceof EnhancedLuaError) return thrown;
  const { code, position, path } = Object(thrown) as { code?: unknown; position?: unknown; path?: unknown };
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const options: ErrorOptions = {
    originalError: thrown,
    details: { ...(typeof position === 'number' ? { position } : {}), ...(typeof path === 'string' ? { path } : {}) },
  };
  if (typeof code !== 'string') return new EnhancedLuaError(call, message, options);
  if (code === 'heap') return new LimitError('heap', message, options);
  if (STORAGE_CODES.has(code)) return new StorageError(code as StorageCode, message, options);
  return new UsageError(isCallCode(code) ? code : call, message, options);
}

/** Codes of calls are written in capitals. */
function isCallCode(code: string): code is CallCode {
  return /^[A-Z_]+$/.test(code);
}
