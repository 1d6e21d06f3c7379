/**
 * `ext` in Lua code: tables of the database as it sees them. The VM and the storage engine are modules of their own, so what Lua code wants
 * comes here as bytes that the engine reads, and goes back as bytes. What the engine has in memory it answers at once; otherwise the run waits, as
 * for a promise of a function of the page.
 *
 * Transactions of Lua code are those of `TransactingDatabase`: inside one, calls of the page on this instance are part of it.
 */

import { TableRequest, type TablesInstance } from './engine.js';
import type { Permission } from './permissions.js';
import type { TransactingDatabase } from './transactions.js';
import type { Host } from './host.js';

const NOTHING = new Uint8Array();

export class External {
  /** Sandboxes that have `ext`. */
  private readonly shared = new Set<string>();

  /** @param changed called when a transaction has been stored */
  constructor(
    private readonly instance: TablesInstance,
    private readonly host: Host,
    private readonly database: TransactingDatabase,
    private readonly changed: () => void,
  ) {
    instance.connectTables((request, table, bytes) => this.answer(request, table, bytes));
  }

  /** Called before a run. A sandbox has `ext` from the first run on that may use a table. */
  beforeRun(permission: Permission, sandbox: string | undefined): void {
    if (sandbox === undefined || this.shared.has(sandbox) || !permission.allowsTables()) return;
    this.instance.shareTables(sandbox);
    this.shared.add(sandbox);
  }

  private answer(request: TableRequest, table: string, bytes: Uint8Array): Uint8Array | boolean | undefined {
    const access = this.host.permission.table(table);
    if (request === TableRequest.MayRead) return access !== 'none';
    if (request === TableRequest.MayWrite) return access === 'write';
    if (request === TableRequest.RollBackAll) return void this.database.giveUp();
    let answer: unknown;
    try {
      answer = this.carryOut(request, table, bytes);
    } catch (error) {
      throw new Error(reason(error));
    }
    if (!(answer instanceof Promise)) return bytesOf(answer);
    this.host.wait('ext', answer, (value, failed) => {
      const outcome = failed ? new TextEncoder().encode(reason(value)) : bytesOf(value);
      this.instance.answerTables(outcome, failed);
    });
    return undefined;
  }

  private carryOut(request: TableRequest, table: string, bytes: Uint8Array): unknown {
    const { database } = this;
    switch (request) {
      case TableRequest.Get:
        return database.get(table, bytes);
      case TableRequest.Batch:
        return database.batch(bytes, true);
      case TableRequest.Query:
        return database.query(bytes);
      case TableRequest.Index:
        return database.createIndex(table, bytes, () => undefined);
      case TableRequest.Begin:
        return database.enter();
      case TableRequest.RollBack:
        return database.leave(false);
      default:
        return this.commit();
    }
  }

  private commit(): void | Promise<void> {
    const stored = this.database.leave(true);
    return stored?.then(() => this.changed());
  }
}

function bytesOf(answer: unknown): Uint8Array {
  return answer instanceof Uint8Array ? answer : NOTHING;
}

/** Why something failed, for Lua code, which asks for one thing at a time. */
function reason(error: unknown): string {
  return String((error as Error | null)?.message ?? error).replace(/^operation 0 of the batch failed: /, '');
}
