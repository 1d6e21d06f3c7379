/** The half of the API that is about the database: tables, batches, indexes, queries, schemas. */

import { checkKey, checkTable, encodeBatch, type BatchOperation, type BatchOptions, type Key } from './batch.js';
import { decode, type LuaValue } from './codec.js';
import { encodeIndex, encodeSchema, type IndexKind, type IndexOptions, type Schema } from './definitions.js';
import type { Database } from './engine.js';
import { engineError, type CallCode } from './errors.js';
import { HOME_TABLE } from './home.js';
import { subscribe, type LiveChange, type SubscribeOptions, type Subscription } from './live.js';
import type { Parts } from './opening.js';
import type { CuOptions } from './options.js';
import { checkField, conditions, encodeQuery, type Condition, type Entry, type Query, type QueryAnswer, type QueryPlan } from './query.js';

export interface TableInfo {
  name: string;
  /** Documents in it. */
  count: number;
}

const BATCH_SIZE_MAX = 1000;

export abstract class Tables {
  protected options: CuOptions = {};

  /** What is open. */
  protected abstract ready(): Parts;

  /** Runs operations as one atomic transaction. Resolves to their results, in order, when all is durable. */
  async batchTableOperations(operations: readonly BatchOperation[], options: BatchOptions = {}): Promise<LuaValue[]> {
    const { maxBatchSize = BATCH_SIZE_MAX, maxBatchBytes = Infinity } = this.options;
    this.ready();
    const bytes = encodeBatch(operations, { maxBatchSize, maxBatchBytes });
    options.signal?.throwIfAborted();
    const results = await this.ask('BATCH_OPERATION_FAILED', (database) => database.batch(bytes, options.atomic ?? true));
    return decode(results) as LuaValue[];
  }

  async setValue(table: string, key: Key, value: unknown): Promise<true> {
    await this.single({ type: 'set', table, key, value });
    return true;
  }

  /** A stored value, null when there is none. */
  async getValue(table: string, key: Key): Promise<LuaValue> {
    return this.single({ type: 'get', table, key });
  }

  /** Whether there was something to delete. */
  async deleteValue(table: string, key: Key): Promise<boolean> {
    return (await this.single({ type: 'delete', table, key })) === true;
  }

  /** The documents that match. */
  async queryTable(table: string, query: Query = {}): Promise<LuaValue[]> {
    const entries = await this.queryEntries(table, query);
    return entries.map(({ value }) => value);
  }

  /** The documents that match, with their keys. */
  async queryEntries(table: string, query: Query = {}): Promise<Entry[]> {
    return (await this.query(table, query, false)).rows;
  }

  /** The documents that match, with their keys and the position to go on from (`after` of the next query). */
  async queryPage(table: string, query: Query = {}): Promise<{ rows: Entry[]; cursor: LuaValue }> {
    const { rows, cursor } = await this.query(table, query, false);
    return { rows, cursor };
  }

  /** How {@link queryTable} would answer, by which index above all; no document is read. */
  async getQueryPlan(table: string, query: Query = {}): Promise<QueryPlan> {
    return (await this.query(table, query, true)).plan;
  }

  /**
   * Builds an index over what is there and keeps it from then on; queries use it by themselves. One of the same name is
   * replaced. Fails with code `duplicate` when documents agree under a `unique` one.
   *
   * @param field a field's path, or several
   */
  async createIndex(table: string, field: string | readonly string[], options: IndexKind | IndexOptions = 'btree'): Promise<true> {
    checkTable(table);
    const definition = encodeIndex(field, typeof options === 'string' ? { kind: options } : options);
    await this.ask('CREATE_INDEX_FAILED', (database) => database.createIndex(table, definition));
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
    checkTable(table);
    const bytes = encodeSchema(schema);
    await this.ask('INVALID_INPUT', (database) => database.setSchema(table, bytes));
    return true;
  }

  /** What is stored, ordered by name. */
  async listTables(): Promise<TableInfo[]> {
    const tables = await this.ask('QUERY_FAILED', (database) => database.collections());
    return (decode(tables) as unknown as TableInfo[]).filter(({ name }) => name !== HOME_TABLE);
  }

  private async single(operation: BatchOperation): Promise<LuaValue> {
    checkTable(operation.table);
    checkKey(operation.key);
    const [result = null] = await this.batchTableOperations([operation]);
    return result;
  }

  private async query(table: string, query: Query, explain: boolean): Promise<QueryAnswer> {
    const bytes = encodeQuery(table, query, explain);
    const result = await this.ask('QUERY_FAILED', (database) => database.query(bytes));
    return decode(result) as unknown as QueryAnswer;
  }

  private async ask<T>(call: CallCode, ask: (database: Database) => Promise<T>): Promise<T> {
    const { database, poison } = this.ready();
    try {
      return await poison.wait(() => ask(database));
    } catch (error) {
      throw engineError(error, call);
    }
  }
}
