/**
 * `_home`: the Lua table that is there again when the page is opened the next time, with all it reaches. Its records lie in a table of the
 * database, one per object. They are read when the instance is opened; objects are made of them as Lua code touches them.
 *
 * A run that ends well is followed by a commit: what has changed is stored in one atomic batch, and the run resolves when that is
 * durable. One instance at a time has the `_home` of a database: a Web Lock keeps other tabs out.
 */

import { decode, encode, type LuaValue } from './codec.js';
import type { HomeInstance } from './engine.js';
import { engineError, StorageError } from './errors.js';
import { denied, type TableAccess } from './permissions.js';
import { encodeQuery } from './query.js';
import type { TransactingDatabase } from './transactions.js';
import type { Poison } from './poison.js';
import type { RunHome, Vm } from './vm.js';

export interface HomeOptions {
  /** `run` (the default): every run that ends well is followed by a commit. `manual`: `commitHome` commits. */
  commit?: 'run' | 'manual';
  /** Whether a run that fails, or whose changes cannot be stored, leaves `_home` as it was. Default false. */
  atomic?: boolean;
}

/** What `_home` needs of the database. */
type Store = Pick<TransactingDatabase, 'query' | 'batch'>;

/** The table of the database that holds the records. */
export const HOME_TABLE = '_home';

export class Home implements RunHome {
  private readonly vm: Vm<HomeInstance>;
  private readonly database: Store;
  private readonly poison: Poison;
  private readonly options: HomeOptions;
  private readonly release: () => void;
  /** Numbers of stored records that are none of this `_home`: the next commit removes them. */
  private foreign: readonly LuaValue[] = [];
  /** What the run may do that is under way or comes next. */
  private access: TableAccess = 'write';

  private constructor(vm: Vm<HomeInstance>, database: Store, poison: Poison, options: HomeOptions, release: () => void) {
    this.vm = vm;
    this.database = database;
    this.poison = poison;
    this.options = options;
    this.release = release;
  }

  /**
   * @param options also whether `_home` is what is stored, or empty
   * @param lock names what only one instance may have; null when nobody else can come by the database
   */
  static async open(
    vm: Vm<HomeInstance>,
    database: Store,
    poison: Poison,
    options: HomeOptions & { autoRestore?: boolean },
    lock: string | null,
  ): Promise<Home> {
    const release = lock === null ? (): void => undefined : await takeLock(lock);
    try {
      const home = new Home(vm, database, poison, options, release);
      await home.attach(options.autoRestore ?? true);
      return home;
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Called before a run. One that may not change `_home` starts from what is stored, so that what it has changed can be told. */
  async beforeRun(access: TableAccess, sandbox: string | undefined): Promise<void> {
    if (access !== 'write' && this.access === 'write') {
      if (this.options.commit === 'manual') this.refuse('has changes: commit or roll back before a run that may not change it');
      else await this.commit();
    }
    this.access = access;
    this.vm.call((instance) => {
      instance.closeHome(access === 'none');
      if (sandbox !== undefined && access !== 'none') instance.shareHome(sandbox);
    });
  }

  /** Undoes what a run has changed that may not, and throws if that was anything. */
  private refuse(what: string, undo = false): void {
    const changes = this.vm.call((instance) => instance.homeChanges());
    if (changes.length <= EMPTY.length) {
      this.vm.call((instance) => instance.confirmHome());
      return;
    }
    if (undo) {
      this.rollBack();
      // Rolled back tables are in memory: the next run that may not read them starts from a commit.
      this.access = 'write';
    }
    throw denied('table', HOME_TABLE, what);
  }

  /** Called when a run has ended well. */
  async afterRun(): Promise<void> {
    if (this.access !== 'write') return this.afterReading();
    if (this.options.commit === 'manual') return;
    try {
      await this.commit();
    } catch (error) {
      this.afterFailure();
      throw error;
    }
  }

  /** Called when a run has failed. */
  afterFailure(): void {
    if (this.access !== 'write') {
      this.vm.call((instance) => instance.closeHome(false));
      this.rollBack();
      this.access = 'write';
    } else if (this.options.atomic === true) this.rollBack();
  }

  private afterReading(): void {
    this.vm.call((instance) => instance.closeHome(false));
    this.refuse('may not be changed', true);
  }

  /** Stores what has changed. */
  async commit(): Promise<void> {
    try {
      let changes = this.vm.call((instance) => instance.homeChanges());
      do {
        await this.store(changes);
        changes = this.vm.call((instance) => instance.confirmHome());
      } while (changes.length > EMPTY.length);
    } catch (error) {
      throw engineError(error, 'SAVE_STATE_FAILED');
    }
  }

  rollBack(): void {
    this.vm.call((instance) => instance.rollBackHome());
  }

  /** Makes `_home` what is stored, also when it began empty: then it is another table. */
  async restore(): Promise<void> {
    if (this.foreign.length > 0) await this.attach(true);
    else this.rollBack();
  }

  private async attach(isRestored: boolean): Promise<void> {
    const answer = await this.poison.wait(() => this.database.query(encodeQuery(HOME_TABLE, {}, false)));
    const { rows } = decode(answer) as unknown as { rows: { key: LuaValue; value: LuaValue }[] };
    const records = encode(isRestored ? rows.flatMap(({ key, value }) => [key, value]) : []);
    this.vm.call((instance) => instance.attachHome(records));
    this.foreign = isRestored ? [] : rows.map(({ key }) => key);
  }

  close(): void {
    this.release();
  }

  private async store(changes: Uint8Array): Promise<void> {
    if (changes.length <= EMPTY.length) return;
    const parts = decode(changes) as LuaValue[];
    const kept = new Set<LuaValue>();
    const operations: Record<string, LuaValue>[] = [];
    for (let at = 0; at + 1 < parts.length; at += 2) {
      const [key = null, value = null] = parts.slice(at, at + 2);
      const target = { table: HOME_TABLE, key };
      operations.push(value === null ? { type: 'delete', ...target } : { type: 'set', ...target, value });
      kept.add(key);
    }
    for (const key of this.foreign) if (!kept.has(key)) operations.push({ type: 'delete', table: HOME_TABLE, key });
    await this.poison.wait(() => this.database.batch(encode(operations), true));
    this.foreign = [];
  }
}

const EMPTY = encode([]);

/** Takes a lock that nobody has, and gives the function that lets go of it. */
export async function takeLock(name: string): Promise<() => void> {
  const locks = (globalThis as { navigator?: { locks?: LockManager } }).navigator?.locks;
  if (locks === undefined) return () => undefined;
  return new Promise((resolve, reject) => {
    const held = locks.request(name, { ifAvailable: true }, (lock) => {
      if (lock === null) {
        reject(new StorageError('blocked', 'another instance has the _home of this database'));
        return undefined;
      }
      return new Promise<void>((release) => resolve(release));
    });
    held.catch(reject);
  });
}
