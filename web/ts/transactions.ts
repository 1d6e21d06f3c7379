/**
 * The database with at most one transaction that stays open between calls. While it is open, batches and queries of this instance are part of
 * it, and what cannot be is refused: it would wait for the transaction's end, which may wait for it.
 */

import { decode, encode, type LuaValue } from './codec.js';
import type { Database, LiveQuery, Transaction } from './engine.js';
import { UsageError } from './errors.js';
import type { Upkeep } from './upkeep.js';

export class TransactingDatabase implements Database {
  private readonly database: Database;
  private open: Transaction | null = null;
  private isBeginning = false;
  /** Calls of the transaction go one after another. */
  private turn: Promise<unknown> = Promise.resolve();

  /** @param upkeep told of what may have been written */
  constructor(
    database: Database,
    private readonly upkeep: Upkeep | null,
  ) {
    this.database = database;
  }

  get isOpen(): boolean {
    return this.open !== null;
  }

  async begin(): Promise<Transaction> {
    if (this.open !== null || this.isBeginning) throw new UsageError('busy', 'a transaction is open already: commit it or roll it back first');
    this.isBeginning = true;
    try {
      this.open = await this.database.begin();
    } finally {
      this.isBeginning = false;
    }
    return this.open;
  }

  /** Makes what the transaction has changed durable. After a failure too it is over, and nothing of it is stored. */
  async commit(): Promise<void> {
    const transaction = this.end();
    this.upkeep?.written();
    await this.inTurn(() => transaction.commit().finally(() => transaction.free()));
  }

  /** Drops what the transaction has changed. */
  async rollBack(): Promise<void> {
    const transaction = this.end();
    await this.inTurn(async () => transaction.free());
  }

  batch(operations: Uint8Array, atomic: boolean): Promise<Uint8Array> {
    const { open } = this;
    if (open !== null) return this.inTurn(() => open.batch(operations, atomic));
    this.upkeep?.written();
    return this.database.batch(operations, atomic);
  }

  get(table: string, key: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const { open } = this;
    if (open === null) return this.database.get(table, key);
    const operation = { type: 'get', table, key: decode(key) };
    return this.inTurn(async () => {
      const [value] = decode(await open.batch(encode([operation]), true)) as LuaValue[];
      return encode(value);
    });
  }

  query(query: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const { open } = this;
    if (open === null) return this.database.query(query);
    // With `explain` a query of a batch gives what a query by itself gives, rows too.
    const operation = { type: 'query', ...(decode(query) as Record<string, LuaValue>), explain: true };
    return this.inTurn(async () => {
      const [answer] = decode(await open.batch(encode([operation]), true)) as LuaValue[];
      return encode(answer);
    });
  }

  /** A batch that is no part of a transaction. */
  async batchOutside(operations: Uint8Array, atomic: boolean): Promise<Uint8Array> {
    this.refuseWhileOpen('_home cannot be stored');
    return this.batch(operations, atomic);
  }

  subscribe(query: Uint8Array): LiveQuery {
    return this.database.subscribe(query);
  }

  refresh(): Promise<void> {
    return this.database.refresh();
  }

  async createIndex(table: string, definition: Uint8Array): Promise<void> {
    this.refuseWhileOpen('an index cannot be made');
    return this.database.createIndex(table, definition);
  }

  async dropIndex(table: string, name: string): Promise<boolean> {
    this.refuseWhileOpen('an index cannot be dropped');
    return this.database.dropIndex(table, name);
  }

  async setSchema(table: string, schema: Uint8Array): Promise<void> {
    this.refuseWhileOpen('a schema cannot be set');
    return this.database.setSchema(table, schema);
  }

  collections(): Promise<Uint8Array> {
    return this.database.collections();
  }

  logBytes(): number {
    return this.database.logBytes();
  }

  async checkpoint(): Promise<void> {
    this.refuseWhileOpen('no checkpoint can be written');
    return this.database.checkpoint();
  }

  wasmBytes(): number {
    return this.database.wasmBytes();
  }

  async close(): Promise<void> {
    this.upkeep?.end();
    if (this.open !== null) await this.rollBack().catch(() => undefined);
    return this.database.close();
  }

  private end(): Transaction {
    const { open } = this;
    if (open === null) throw new UsageError('INVALID_INPUT', 'no transaction is open: call beginTransaction first');
    this.open = null;
    return open;
  }

  private inTurn<T>(call: () => Promise<T>): Promise<T> {
    const turn = this.turn.then(call);
    this.turn = turn.catch(() => undefined);
    return turn;
  }

  private refuseWhileOpen(what: string): void {
    if (this.open !== null) throw new UsageError('busy', `${what} while a transaction is open`);
  }
}
