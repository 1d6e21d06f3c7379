/** Batches as callers write them, checked and encoded for the database. An error names the operation's position. */

import { encode, type LuaKey, type LuaValue } from './codec.js';
import { queryRequest, type Entry, type Query } from './query.js';
import { LimitError, UsageError, type UsageCode } from './errors.js';

/** A key inside a table. NaN is none. */
export type Key = LuaKey;

export type BatchOperation =
  /** Resolves to true. */
  | { type: 'set'; table: string; key: Key; value: unknown }
  /** Resolves to the value, null when there is none. */
  | { type: 'get'; table: string; key: Key }
  /** Resolves to whether there was something to delete. */
  | { type: 'delete'; table: string; key: Key }
  /** Sets the named fields of a stored object and leaves the others. Resolves to true. */
  | { type: 'update'; table: string; key: Key; value: Readonly<Record<string, unknown>> }
  /** Adds to a stored number, or to one field of a stored object. Resolves to the new number. */
  | { type: 'increment'; table: string; key: Key; field?: string; by?: number | bigint }
  /** Resolves to the documents that match, after what the operations before it have changed. The query may also be written beside `table`. */
  | ({ type: 'query'; table: string; query?: Query } & Query);

export interface BatchLimits {
  /** Operations. */
  maxBatchSize: number;
  /** Bytes, encoded. */
  maxBatchBytes: number;
}

/** How far something has come. */
export interface Progress {
  done: number;
  total: number;
}

export interface Reporting {
  /** Told of each step that is done. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** A batch goes to the database as a whole: its progress is told once, at its end. */
export interface BatchOptions extends Reporting {
  /**
   * `true` (the default): one failing operation undoes all. `false`: the others stand, and the failing one's result is
   * `{error: {code, message}}`.
   */
  atomic?: boolean;
  /** Looked at before the batch is handed to the database; from then on it commits or fails as a whole. */
  signal?: AbortSignal;
}

export function encodeBatch(operations: readonly BatchOperation[], limits: BatchLimits): Uint8Array {
  if (!Array.isArray(operations)) throw new UsageError('INVALID_INPUT', 'a batch is an array of operations');
  if (operations.length > limits.maxBatchSize) {
    throw exceeded(`${operations.length} operations are over the limit of ${limits.maxBatchSize}`);
  }
  const bytes = encode(operations.map(checkOperation));
  if (bytes.length > limits.maxBatchBytes) {
    throw exceeded(`a batch of ${bytes.length} bytes is over the limit of ${limits.maxBatchBytes}`);
  }
  return bytes;
}

/** Results as callers get them: of a query its documents. */
export function batchResults(operations: readonly BatchOperation[], results: readonly LuaValue[]): LuaValue[] {
  return results.map((result, position) => {
    if (operations[position]?.type !== 'query' || !Array.isArray(result)) return result;
    return (result as unknown as Entry[]).map(({ value }) => value);
  });
}

/** @throws UsageError `INVALID_TABLE_NAME` */
export function checkTable(table: unknown, position?: number): asserts table is string {
  if (typeof table !== 'string' || table === '') {
    throw invalid('INVALID_TABLE_NAME', 'a table is named by a string that is not empty', position);
  }
}

/** The table that only the audit log writes to. */
export const AUDIT_TABLE = '_audit';

/** @throws UsageError `INVALID_TABLE_NAME` */
export function checkWritable(table: unknown, position?: number): asserts table is string {
  checkTable(table, position);
  if (table === AUDIT_TABLE) throw invalid('INVALID_TABLE_NAME', `nothing but the audit log writes to '${AUDIT_TABLE}'`, position);
}

/** @throws UsageError `INVALID_KEY` */
export function checkKey(key: unknown, position?: number): asserts key is Key {
  const scalar = ['string', 'number', 'bigint', 'boolean'].includes(typeof key) && !Number.isNaN(key);
  if (!scalar && !(key instanceof Uint8Array)) {
    throw invalid('INVALID_KEY', 'a key is a string, a number, a boolean or bytes', position);
  }
}

/** The operation with the fields that the engine knows, and no others. */
function checkOperation(operation: BatchOperation, position: number): Record<string, unknown> {
  const type: unknown = (operation as Partial<BatchOperation> | null)?.type;
  if (typeof type !== 'string') throw invalid('INVALID_OPERATION_TYPE', 'an operation has a type', position);
  const { table } = operation;
  if (type === 'get' || type === 'query') checkTable(table, position);
  else checkWritable(table, position);
  if (operation.type === 'query') {
    const { query, ...inline } = operation;
    return { type, ...queryRequest(table, query ?? inline, false) };
  }
  const { key } = operation;
  checkKey(key, position);
  switch (operation.type) {
    case 'get':
    case 'delete':
      return { type, table, key };
    case 'set':
    case 'update':
      return { type, table, key, value: operation.value ?? null };
    case 'increment':
      return { type, table, key, field: operation.field, amount: operation.by ?? 1 };
    default:
      throw invalid('UNKNOWN_OPERATION', `there is no operation '${type}'`, position);
  }
}

function invalid(code: UsageCode, message: string, position: number | undefined): UsageError {
  if (position === undefined) return new UsageError(code, message);
  return new UsageError(code, `operation ${position}: ${message}`, { details: { position } });
}

function exceeded(message: string): LimitError {
  return new LimitError('BATCH_SIZE_EXCEEDED', message);
}
