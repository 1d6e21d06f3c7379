/**
 * The database with at most one transaction that stays open between calls: one of the page, or of Lua code. While it is open, batches and
 * queries of this instance are part of it, and `_home`, which cannot be, is not stored: that would wait for the transaction's end, which may wait for it.
 *
 * Transactions of Lua code nest, also inside one of the page. Inner ones are savepoints of the outermost.
 */

import { CellReader } from './cells.js';
import { decode, type LuaValue } from './codec.js';
import { Form, type Database, type LiveQuery, type Transaction } from './engine.js';
import { UsageError } from './errors.js';
import type { Page, QueryAnswer } from './query.js';
import type { Upkeep } from './upkeep.js';

/** What a database offers, but for answers as cells, which are read here. */
type EncodedDatabase = Omit<Database, 'get' | 'query' | 'memory' | `cells${string}` | 'releaseCells'>;

export class TransactingDatabase implements EncodedDatabase {
  private readonly database: Database;
  private readonly cells: CellReader;
  private open: Transaction | null = null;
  private isBeginning = false;
  /** Transactions of Lua code that are open. */
  private depth = 0;
  /** Whether the outermost one is of Lua code. */
  private isOfLua = false;
  /** Counts the times that Lua code's transactions were given up: what was begun before is not wanted any more. */
  private givenUp = 0;
  private entering: Promise<void> = Promise.resolve();
  /** Calls of the transaction go one after another. */
  private turn: Promise<unknown> = Promise.resolve();
  private calls = 0;
  /** Told when a transaction of Lua code has ended. */
  ended: () => void = () => undefined;

  /** @param upkeep told of what may have been written */
  constructor(
    database: Database,
    private readonly upkeep: Upkeep | null,
  ) {
    this.database = database;
    this.cells = new CellReader(database);
  }

  get isOpen(): boolean {
    return this.open !== null;
  }

  /** Whether a transaction of Lua code is open. */
  get isOpenInLua(): boolean {
    return this.depth > 0;
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
    this.refuseInLua();
    return this.store();
  }

  /** Drops what the transaction has changed. */
  async rollBack(): Promise<void> {
    this.refuseInLua();
    return this.drop();
  }

  /** Begins a transaction of Lua code, inside what is open. */
  enter(): void | Promise<void> {
    if (this.open === null) return (this.entering = this.enterFirst(this.entering));
    const { open } = this;
    return this.inTurn(() => {
      open.enter();
      this.depth++;
    });
  }

  /** Ends the innermost transaction of Lua code. Its changes go with that around it, are durable, or are dropped. */
  leave(keeps: boolean): void | Promise<void> {
    const open = this.open;
    if (open === null || this.depth === 0) throw new UsageError('INVALID_INPUT', 'the transaction is over');
    this.depth--;
    if (this.depth > 0 || !this.isOfLua) return this.inTurn(() => open.leave(keeps));
    this.isOfLua = false;
    return (keeps ? this.store() : this.drop()).finally(() => this.ended());
  }

  /** Drops what transactions of Lua code have changed that are open, or about to be: the run is over. */
  giveUp(): void {
    this.givenUp++;
    const { open, depth } = this;
    if (open === null || depth === 0) return;
    this.depth = 0;
    let done: void | Promise<void>;
    if (this.isOfLua) {
      this.isOfLua = false;
      done = this.drop().finally(() => this.ended());
    } else {
      done = this.inTurn(() => {
        for (let left = depth; left > 0; left--) open.leave(false);
      });
    }
    // A failure shows at the next call.
    if (done !== undefined) done.catch(() => undefined);
  }

  batch(operations: Uint8Array, atomic: boolean): Uint8Array | Promise<Uint8Array> {
    const { open } = this;
    if (open !== null) return this.inTurn(() => open.batch(operations, atomic));
    this.upkeep?.written();
    return this.database.batch(operations, atomic);
  }

  get(table: string, key: Uint8Array): Uint8Array | Promise<Uint8Array> {
    return this.getIn(Form.Encoded, table, key) as Uint8Array | Promise<Uint8Array>;
  }

  query(query: Uint8Array): Uint8Array | Promise<Uint8Array> {
    return this.queryIn(Form.Encoded, query) as Uint8Array | Promise<Uint8Array>;
  }

  /** What {@link get} gives, decoded. */
  value(table: string, key: Uint8Array): LuaValue | Promise<LuaValue> {
    const answer = this.getIn(Form.Cells, table, key);
    return typeof answer === 'number' ? this.cells.document() : decoded(answer, (value) => value);
  }

  /** The documents that a query has. */
  documents(query: Uint8Array): LuaValue[] | Promise<LuaValue[]> {
    const answer = this.queryIn(Form.Cells, query);
    if (typeof answer === 'number') return this.cells.documents(answer);
    return decoded(answer, (found) => (found as unknown as QueryAnswer).rows.map(({ value }) => value));
  }

  /** The same with their keys, and the position of the last one. */
  page(query: Uint8Array): Page | Promise<Page> {
    const answer = this.queryIn(Form.CellsWithKeys, query);
    if (typeof answer === 'number') return { rows: this.cells.entries(answer), cursor: decode(this.database.cellsCursor()) };
    return decoded(answer, (found) => found as unknown as QueryAnswer);
  }

  private getIn(form: Form, table: string, key: Uint8Array): number | Uint8Array | Promise<Uint8Array> {
    const { open } = this;
    return open === null ? this.database.get(table, key, form) : this.inTurn(() => open.get(table, key));
  }

  private queryIn(form: Form, query: Uint8Array): number | Uint8Array | Promise<Uint8Array> {
    const { open } = this;
    return open === null ? this.database.query(query, form) : this.inTurn(() => open.query(query));
  }

  /** A batch that is no part of a transaction. */
  async batchOutside(operations: Uint8Array, atomic: boolean): Promise<Uint8Array> {
    if (this.open !== null) throw new UsageError('busy', '_home cannot be stored while a transaction is open');
    return this.batch(operations, atomic);
  }

  subscribe(query: Uint8Array): LiveQuery {
    return this.database.subscribe(query);
  }

  refresh(): Promise<void> {
    return this.database.refresh();
  }

  async createIndex(table: string, definition: Uint8Array, report: (done: number, total: number) => Promise<unknown> | undefined): Promise<void> {
    const { open } = this;
    if (open === null) return this.database.createIndex(table, definition, report);
    await this.inTurn(() => open.createIndex(table, definition));
  }

  async dropIndex(table: string, name: string): Promise<boolean> {
    const { open } = this;
    if (open === null) return this.database.dropIndex(table, name);
    return (await this.inTurn(() => open.dropIndex(table, name)))[0] === 1;
  }

  async setSchema(table: string, schema: Uint8Array): Promise<void> {
    const { open } = this;
    if (open === null) return this.database.setSchema(table, schema);
    await this.inTurn(() => open.setSchema(table, schema));
  }

  /** Begins the transaction in which the data gets a version, unless it has that. The version it has. */
  async beginMigration(version: number): Promise<number> {
    if (this.open !== null) throw new UsageError('busy', 'a transaction is open already: commit it or roll it back first');
    const known = await this.knowVersion(version);
    if (known === version) return known;
    await this.begin();
    let found = version;
    try {
      found = await this.setVersion(version);
    } finally {
      // Refused, or another tab was faster.
      if (found === version) await this.drop();
    }
    return found;
  }

  knowVersion(version: number): Promise<number> {
    return this.database.knowVersion(version);
  }

  /** Gives the data a version as part of the transaction that is open. The one it had before. */
  private async setVersion(version: number): Promise<number> {
    const { open } = this;
    if (open === null) throw new UsageError('INVALID_INPUT', 'no transaction is open');
    const before = await this.inTurn(() => open.setVersion(version));
    return new DataView(before.buffer, before.byteOffset).getUint32(0, true);
  }

  collections(): Promise<Uint8Array> {
    return this.database.collections();
  }

  logBytes(): number {
    return this.database.logBytes();
  }

  async checkpoint(): Promise<void> {
    if (this.open !== null) throw new UsageError('busy', 'no checkpoint can be written while a transaction is open');
    return this.database.checkpoint();
  }

  wasmBytes(): number {
    return this.database.wasmBytes();
  }

  async close(): Promise<void> {
    this.upkeep?.end();
    await this.abandon();
    return this.database.close();
  }

  /** Drops what is open, whoever has opened it. */
  async abandon(): Promise<void> {
    this.giveUp();
    if (this.open !== null) await this.drop().catch(() => undefined);
  }

  private async enterFirst(before: Promise<void>): Promise<void> {
    const { givenUp } = this;
    // A beginning that is not wanted any more comes to its end first.
    await before.catch(() => undefined);
    if (givenUp !== this.givenUp) return;
    await this.begin();
    if (givenUp !== this.givenUp) return this.drop();
    [this.depth, this.isOfLua] = [1, true];
  }

  private async store(): Promise<void> {
    const transaction = this.end();
    this.upkeep?.written();
    await this.inTurn(() => transaction.commit().finally(() => transaction.free()));
  }

  private async drop(): Promise<void> {
    const transaction = this.end();
    await this.inTurn(() => transaction.free());
  }

  private end(): Transaction {
    const { open } = this;
    if (open === null) throw new UsageError('INVALID_INPUT', 'no transaction is open: call beginTransaction first');
    this.open = null;
    return open;
  }

  /** Calls at once when no call is under way. */
  private inTurn<T>(call: () => T | Promise<T>): T | Promise<T> {
    if (this.calls === 0) {
      const result = call();
      return result instanceof Promise ? this.queue(result) : result;
    }
    return this.queue(this.turn.then(call));
  }

  private queue<T>(turn: Promise<T>): Promise<T> {
    this.calls++;
    const done = (): void => void this.calls--;
    this.turn = turn.then(done, done);
    return turn;
  }

  private refuseInLua(): void {
    if (this.depth > 0) throw new UsageError('busy', 'Lua code is in ext.transaction, which ends by itself');
  }
}

/** What is made of an answer, now or when it is there. */
function decoded<T>(answer: Uint8Array | Promise<Uint8Array>, make: (value: LuaValue) => T): T | Promise<T> {
  return answer instanceof Promise ? answer.then((bytes) => make(decode(bytes))) : make(decode(answer));
}
