/** The half of the API that is about the database: tables, batches, indexes, queries, schemas. */

import { throwIfAborted } from './abort.js';
import { advise, type QueryAdvice } from './advice.js';
import { AUDIT_TABLE, batchResults, checkKey, checkTable, checkWritable, encodeBatch, type BatchOperation, type BatchOptions, type Key } from './batch.js';
import { decode, encode, type LuaValue } from './codec.js';
import { encodeIndex, encodeSchema, type IndexKind, type IndexOptions, type Schema } from './definitions.js';
import { EnhancedLuaError, engineError, UsageError, type CallCode } from './errors.js';
import { HOME_TABLE } from './home.js';
import { subscribe, type LiveChange, type SubscribeOptions, type Subscription } from './live.js';
import { migrate, type MigrationSteps } from './migration.js';
import type { Parts } from './opening.js';
import type { CuOptions } from './options.js';
import { checkField, conditions, encodeQuery, type Condition, type Entry, type Page, type Query, type QueryAnswer, type QueryPlan } from './query.js';
import type { TransactingDatabase } from './transactions.js';
import { Work, type WorkOptions } from './long-work.js';
import { inTransaction } from './work.js';

export interface TableInfo {
  name: string;
  /** Documents in it. */
  count: number;
}

export interface ProcessOptions extends BatchOptions {
  /** Operations in one batch. Default `maxBatchSize`, which it cannot exceed. */
  batchSize?: number;
}

const BATCH_SIZE_MAX = 1000;
/** Milliseconds. */
const QUERY_TIMEOUT = 10_000;

export abstract class Tables {
  protected options: CuOptions = {};
  private namesGiven = 0;

  abstract run(source: string, options: { chunkName: string; signal?: AbortSignal | undefined }): Promise<unknown>;

  /** What is open. */
  protected abstract ready(): Parts;

  /** Runs operations as one atomic transaction. Resolves to their results, in order, when all is durable. */
  async batchTableOperations(operations: readonly BatchOperation[], options: BatchOptions = {}): Promise<LuaValue[]> {
    const { maxBatchSize = BATCH_SIZE_MAX, maxBatchBytes = Infinity } = this.options;
    this.ready();
    const bytes = encodeBatch(operations, { maxBatchSize, maxBatchBytes });
    throwIfAborted(options.signal);
    const answer = await this.ask('BATCH_OPERATION_FAILED', (database) => database.batch(bytes, options.atomic ?? true));
    const results = batchResults(operations, decode(answer) as LuaValue[]);
    options.onProgress?.({ done: results.length, total: results.length });
    return results;
  }

  /**
   * Runs any number of operations, in batches of `maxBatchSize` or fewer, each a transaction of its own unless one is open. One that
   * fails ends it: what the batches before it did stays. The signal is looked at between them.
   */
  async processBatch(operations: readonly BatchOperation[], options: ProcessOptions = {}): Promise<LuaValue[]> {
    if (!Array.isArray(operations)) throw new UsageError('INVALID_INPUT', 'operations: an array was expected');
    const { maxBatchSize = BATCH_SIZE_MAX } = this.options;
    const { onProgress, batchSize = maxBatchSize, ...batch } = options;
    if (!Number.isInteger(batchSize) || batchSize < 1) throw new UsageError('INVALID_INPUT', 'batchSize: a whole number from 1 on was expected');
    const size = Math.min(batchSize, maxBatchSize);
    const results: LuaValue[] = [];
    while (results.length < operations.length) {
      const start = results.length;
      const piece = operations.slice(start, start + size);
      results.push(...(await this.batchTableOperations(piece, batch).catch((error: unknown) => {
        throw laterBy(start, error);
      })));
      onProgress?.({ done: results.length, total: operations.length });
    }
    return results;
  }

  /**
   * Begins a transaction: until it is committed or rolled back, the batches, values, queries, saved functions, indexes and schemas of this
   * instance are part of it. Other instances and tabs go on and do not see it. `_home` cannot be stored meanwhile (`busy`).
   */
  async beginTransaction(): Promise<true> {
    await this.ask('BATCH_OPERATION_FAILED', (database) => database.begin());
    return true;
  }

  /**
   * Makes what the transaction has changed durable. Rejects with `conflict` when another tab has committed meanwhile: then nothing of it is
   * stored, and it can be begun again.
   */
  async commitTransaction(): Promise<true> {
    await this.ask('BATCH_OPERATION_FAILED', (database) => database.commit());
    this.ready().neighbours?.tell();
    return true;
  }

  /** Drops what the transaction has changed. */
  async rollbackTransaction(): Promise<true> {
    await this.ask('BATCH_OPERATION_FAILED', (database) => database.rollBack());
    return true;
  }

  /** Does work inside a transaction, which is committed when it resolves and rolled back when it rejects. */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    return inTransaction(this, work);
  }

  /**
   * Puts entries into a table, which comes to be with its first one, and gives its name: a free one, `external_1` or so, when none is given.
   */
  async createExternalTable(
    name?: string,
    entries: Readonly<Record<string, unknown>> | ReadonlyMap<Key, unknown> = {},
  ): Promise<string> {
    if (typeof entries !== 'object' || entries === null) throw new UsageError('INVALID_INPUT', 'entries: an object or a Map was expected');
    const table = name ?? (await this.freeName());
    checkTable(table);
    const pairs: Iterable<[Key, unknown]> = entries instanceof Map ? (entries as ReadonlyMap<Key, unknown>) : Object.entries(entries);
    await this.processBatch([...pairs].map(([key, value]) => ({ type: 'set', table, key, value })));
    return table;
  }

  async setValue(table: string, key: Key, value: unknown): Promise<true> {
    await this.single({ type: 'set', table, key, value });
    return true;
  }

  /** A stored value, null when there is none. */
  async getValue(table: string, key: Key): Promise<LuaValue> {
    checkTable(table);
    checkKey(key);
    return this.answer('BATCH_OPERATION_FAILED', (database) => database.value(table, encode(key)));
  }

  /** Whether there was something to delete. */
  async deleteValue(table: string, key: Key): Promise<boolean> {
    return (await this.single({ type: 'delete', table, key })) === true;
  }

  /** The documents that match. */
  async queryTable(table: string, query: Query = {}): Promise<LuaValue[]> {
    return this.query(table, query, (database, bytes) => database.documents(bytes));
  }

  /** The documents that match, with their keys. */
  async queryEntries(table: string, query: Query = {}): Promise<Entry[]> {
    return (await this.queryPage(table, query)).rows;
  }

  /** The documents that match, with their keys and the position to go on from (`after` of the next query). */
  async queryPage(table: string, query: Query = {}): Promise<Page> {
    const { rows, cursor } = await this.query(table, query, (database, bytes) => database.page(bytes));
    return { rows, cursor };
  }

  /** How {@link queryTable} would answer, by which index above all; no document is read. */
  async getQueryPlan(table: string, query: Query = {}): Promise<QueryPlan> {
    const bytes = await this.query(table, query, (database, bytes) => database.query(bytes), true);
    return (decode(bytes) as unknown as QueryAnswer).plan;
  }

  /**
   * Builds an index over what is there and keeps it from then on; queries use it by themselves. One of the same name is
   * replaced. Fails with code `duplicate` when documents agree under a `unique` one. The page has its turn between parts of the work, and
   * can end it by the signal; then there is no index. Inside a transaction it is built at once.
   *
   * @param field a field's path, or several
   */
  async createIndex(
    table: string,
    field: string | readonly string[],
    options: IndexKind | (IndexOptions & WorkOptions) = 'btree',
  ): Promise<true> {
    checkTable(table);
    const { onProgress, signal, ...definition } = typeof options === 'string' ? { kind: options } : options;
    const encoded = encodeIndex(field, definition);
    const work = new Work(onProgress, signal);
    await work.run(() => this.ask('CREATE_INDEX_FAILED', (database) => database.createIndex(table, encoded, work.report)));
    return true;
  }

  /**
   * Calls back with the rows that a query has, and then with what each commit changes about them, those of other instances and
   * tabs too, until the signal is aborted or `end` is called. Resolves when the first report was made. Queries with nothing but
   * conditions are kept up without reading the table again.
   */
  async subscribe(
    table: string,
    query: Query,
    callback: (change: LiveChange) => void,
    options: SubscribeOptions = {},
  ): Promise<Subscription> {
    const { database, poison, neighbours } = this.ready();
    const watched = await subscribe(database, poison, table, query, callback, options);
    neighbours?.watch(watched.ended);
    return watched;
  }

  /** Removes an index by its name, which is its field unless it was given another. Whether there was such an index. */
  async dropIndex(table: string, field: string): Promise<boolean> {
    checkTable(table);
    checkField(field);
    return this.ask('QUERY_FAILED', (database) => database.dropIndex(table, field));
  }

  /** How a query is answered, and what indexes would make it faster. It changes nothing. */
  async optimizeQuery(table: string, query: Query = {}): Promise<QueryAdvice> {
    return advise(query, await this.getQueryPlan(table, query));
  }

  /** The documents whose field is not below `low` and not above `high`. */
  async rangeQuery(table: string, field: string, low: unknown, high: unknown, query: Query = {}): Promise<LuaValue[]> {
    const range: Condition = { field, operator: 'between', value: [low, high] };
    return this.queryTable(table, { ...query, where: [range, ...conditions(query)] });
  }

  /**
   * Checks every document that is written to a table from now on; those that are there must pass too. `null` takes the
   * schema away. A document that does not pass fails with code `schema` and a message that names the field.
   *
   * @param schema rules for fields (`{age: {type: 'integer', min: 0}}`), or a JSON Schema, known by its `type` or `$schema`
   */
  async setSchema(table: string, schema: Schema | null): Promise<true> {
    checkWritable(table);
    const bytes = encodeSchema(schema);
    await this.ask('INVALID_INPUT', (database) => database.setSchema(table, bytes));
    return true;
  }

  /**
   * Brings the data to a version, by the steps to each version between. They are one transaction: what they do by calls of this instance, indexes,
   * schemas and Lua programs with `ext` included, is kept as a whole. When a step fails, or the signal is aborted, the old version stays with
   * the old data. When another tab has committed meanwhile, the steps are run again.
   *
   * Fails with code `newerVersion` when the data is newer than that: such data can be read here, and not changed, also when another tab makes it so later.
   *
   * @param steps functions or Lua programs by the version that they lead to, from 1 on: `{ 1: (cu) => cu.createIndex('users', 'age'), 2: '…' }`
   * @returns the version that the data came from; 0 before the first migration
   */
  async migrate(version: number, steps: MigrationSteps<this>, options: WorkOptions = {}): Promise<number> {
    return migrate(this, version, steps, options);
  }

  /** For those who write steps in another way: begins the transaction that brings the data to a version, unless it has that. The version it has. */
  async beginMigration(version: number): Promise<number> {
    return this.ask('INVALID_INPUT', (database) => database.beginMigration(version));
  }

  /** What is stored, ordered by name. */
  async listTables(): Promise<TableInfo[]> {
    const tables = await this.ask('QUERY_FAILED', (database) => database.collections());
    return (decode(tables) as unknown as TableInfo[]).filter(({ name }) => name !== HOME_TABLE && name !== AUDIT_TABLE);
  }

  private async single(operation: Exclude<BatchOperation, { type: 'query' }>): Promise<LuaValue> {
    checkTable(operation.table);
    checkKey(operation.key);
    const [result = null] = await this.batchTableOperations([operation]);
    return result;
  }

  /** At once where the database answers at once, and throws at once. */
  private query<T>(
    table: string,
    query: Query,
    ask: (database: TransactingDatabase, bytes: Uint8Array) => T | Promise<T>,
    explain = false,
  ): T | Promise<T> {
    const bytes = encodeQuery(table, query, explain);
    const { queryTimeout = QUERY_TIMEOUT } = this.options;
    return this.answer('QUERY_FAILED', (database) => within(queryTimeout, ask(database, bytes)));
  }

  private async freeName(): Promise<string> {
    const names = new Set((await this.listTables()).map(({ name }) => name));
    this.namesGiven++;
    while (names.has(`external_${this.namesGiven}`)) this.namesGiven++;
    return `external_${this.namesGiven}`;
  }

  private async ask<T>(call: CallCode, ask: (database: TransactingDatabase) => T | Promise<T>): Promise<T> {
    return this.answer(call, ask);
  }

  /** What the database answers: at once when it does, because waiting for a promise takes as long as a short read. */
  private answer<T>(call: CallCode, ask: (database: TransactingDatabase) => T | Promise<T>): T | Promise<T> {
    const { database, poison } = this.ready();
    try {
      const answer = poison.call(() => ask(database));
      if (!(answer instanceof Promise)) return answer;
      return poison.wait(() => answer).catch((error: unknown) => {
        throw engineError(error, call);
      });
    } catch (error) {
      throw engineError(error, call);
    }
  }
}

/** An error of a batch whose first operation has another position among all. */
function laterBy(start: number, error: unknown): unknown {
  if (!(error instanceof EnhancedLuaError) || typeof error.details['position'] !== 'number') return error;
  const position = error.details['position'] + start;
  const Kind = error.constructor as new (...parameters: ConstructorParameters<typeof EnhancedLuaError>) => EnhancedLuaError;
  const message = error.message.replace(/^operation \d+/, `operation ${position}`);
  return new Kind(error.code, message, { originalError: error, details: { ...error.details, position } });
}

/** Rejects when the answer takes longer than so many milliseconds. */
function within<T>(milliseconds: number, answer: T | Promise<T>): T | Promise<T> {
  if (typeof milliseconds !== 'number' || !(milliseconds >= 0)) {
    throw new UsageError('INVALID_INPUT', 'queryTimeout: a number of milliseconds was expected');
  }
  // Timers count in 31 bits.
  return milliseconds >= 2 ** 31 || !(answer instanceof Promise) ? answer : inTime(milliseconds, answer);
}

async function inTime<T>(milliseconds: number, answer: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new EnhancedLuaError('QUERY_FAILED', `the query took longer than the queryTimeout of ${milliseconds} ms`);
    timer = setTimeout(() => reject(error), milliseconds);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
