/**
 * `_home` of the basic API: it stays in memory until it is saved, and then what is stored becomes what it is, as a whole.
 *
 * Its records lie in the database as those of the option `home` do, and beside them, in a table of their own, a mark that is new with every
 * save. While the mark and the root record are those of this instance, a save writes only what has changed. Otherwise somebody else has
 * saved meanwhile, another tab for example, or nothing is stored: then all records are written and the others removed, in the same
 * transaction. So the last save wins, and no state is a mixture of two.
 */

import { decode, encode, HomeRecord, type LuaValue } from './codec.js';
import type { HomeInstance } from './engine.js';
import type { ImportReport } from './basic-import.js';
import { engineError } from './errors.js';
import { HOME_TABLE, takeLock } from './home.js';
import type { Core } from './opening.js';
import type { Vm } from './vm.js';

/** The table that holds what is to be known beside `_home`. */
const NOTES = '_basic';
/** The number of the record that every commit writes. */
const ROOT = 0;

/** What has become of the data of the older system: it is looked at only while there is no such note. */
export interface OldDataNote {
  state: 'imported' | 'superseded' | 'cleared';
  at: string;
  report: ImportReport | null;
}

/** What is stored. */
interface Stored {
  mark: string | null;
  old: OldDataNote | null;
  records: Map<number, HomeRecord>;
}

type Operation = Record<string, LuaValue>;

export class SavedState {
  private readonly core: Core;
  private readonly vm: Vm<HomeInstance>;
  /** Names what only one save at a time may have; null when nobody else can come by the database. */
  private readonly lock: string | null;
  /** The records that `_home` was made of, or that were saved last. */
  private records = new Map<number, HomeRecord>();
  /** The mark of the save that they are from. */
  private mark: string | null = null;

  /** @param name the database's */
  constructor(core: Core, name: string) {
    this.core = core;
    this.vm = core.vm as Vm<HomeInstance>;
    this.lock = core.storage === 'indexeddb' ? name : null;
  }

  /** Gives the state an empty `_home`; what is stored stays. */
  attachEmpty(): void {
    this.attach(new Map(), null);
  }

  /**
   * Makes `_home` what is stored.
   *
   * @param leave is called before `_home` becomes another table
   * @returns `absent` when nothing is, and `_home` is as it was; `attached` when `_home` is a new table, `rolledBack` when it is the same
   */
  async restore(leave: () => void): Promise<'absent' | 'attached' | 'rolledBack'> {
    const { mark, records } = await this.read();
    if (records.size === 0) return 'absent';
    if (this.isMine(mark, records.get(ROOT))) {
      this.vm.call((instance) => instance.rollBackHome());
      return 'rolledBack';
    }
    leave();
    this.attach(records, mark);
    return 'attached';
  }

  /** Saves `_home`. Nothing may run meanwhile. */
  async save(): Promise<void> {
    await this.exclusively(() => this.write(null));
  }

  /** Removes what is stored. `_home` stays. */
  async clear(): Promise<void> {
    await this.exclusively(async () => {
      const { records } = await this.read();
      const operations = [...records.keys()].map(remove);
      operations.push({ type: 'delete', table: NOTES, key: 'mark' }, note('cleared', null));
      await this.batch(operations);
      this.mark = null;
    });
  }

  /**
   * Takes over data of the older system, unless that was done or something has been saved since: `adopt` puts it into `_home`, which is
   * then saved. What became of that data.
   */
  async takeOver(adopt: () => Promise<ImportReport | null>): Promise<OldDataNote | null> {
    return this.exclusively(async () => {
      const { old, records } = await this.read();
      if (old !== null || records.size > 0) return old;
      const report = await adopt();
      if (report === null) return null;
      await this.write(report);
      return { state: 'imported', at: new Date().toISOString(), report };
    });
  }

  private attach(records: Map<number, HomeRecord>, mark: string | null): void {
    const encoded = encode([...records].flat());
    this.vm.call((instance) => instance.attachHome(encoded));
    this.records = records;
    this.mark = mark;
  }

  private async write(imported: ImportReport | null): Promise<void> {
    let changes = this.changes((instance) => instance.homeChanges());
    do {
      await this.store(changes, imported);
      changes = this.changes((instance) => instance.confirmHome());
    } while (changes.length > 0);
  }

  private async store(changes: readonly Change[], imported: ImportReport | null): Promise<void> {
    const records = new Map(this.records);
    for (const [number, record] of changes) {
      if (record === null) records.delete(number);
      else records.set(number, record);
    }
    const stored = await this.readMark();
    const operations = this.isMine(stored.mark, stored.root) && this.hasLocks() ? changes.map(operation) : await this.replacing(records);
    const mark = newMark();
    operations.push({ type: 'set', table: NOTES, key: 'mark', value: mark });
    if (stored.old === null) operations.push(note(imported === null ? 'superseded' : 'imported', imported));
    await this.batch(operations);
    this.records = records;
    this.mark = mark;
  }

  /** What makes these records the stored ones. */
  private async replacing(records: ReadonlyMap<number, HomeRecord>): Promise<Operation[]> {
    const { records: stored } = await this.read();
    const others = [...stored.keys()].filter((number) => !records.has(number));
    return [...others.map(remove), ...[...records].map(operation)];
  }

  private isMine(mark: string | null, root: LuaValue | undefined): boolean {
    const own = this.records.get(ROOT);
    if (mark === null || mark !== this.mark || own === undefined || !(root instanceof HomeRecord)) return false;
    return own.bytes.length === root.bytes.length && own.bytes.every((byte, index) => byte === root.bytes[index]);
  }

  private changes(of: (instance: HomeInstance) => Uint8Array): Change[] {
    const bytes = this.vm.call(of);
    const parts = bytes.length === 0 ? [] : (decode(bytes) as LuaValue[]);
    const changes: Change[] = [];
    for (let at = 0; at + 1 < parts.length; at += 2) changes.push([Number(parts[at]), (parts[at + 1] ?? null) as HomeRecord | null]);
    return changes;
  }

  private async readMark(): Promise<{ mark: string | null; old: OldDataNote | null; root: LuaValue }> {
    const [mark, old, root = null] = await this.batch([...NOTE_READS, { type: 'get', table: HOME_TABLE, key: ROOT }]);
    return { mark: mark as string | null, old: old as OldDataNote | null, root };
  }

  private async read(): Promise<Stored> {
    const [mark, old, rows] = await this.batch([...NOTE_READS, { type: 'query', table: HOME_TABLE }]);
    const entries = (rows as unknown as { key: number; value: HomeRecord }[]).map(({ key, value }) => [Number(key), value] as const);
    return { mark: mark as string | null, old: old as unknown as OldDataNote | null, records: new Map(entries) };
  }

  private async batch(operations: readonly Operation[]): Promise<LuaValue[]> {
    const { database, poison } = this.core;
    try {
      return decode(await poison.wait(() => database.batch(encode(operations), true))) as LuaValue[];
    } catch (error) {
      throw engineError(error, 'SAVE_STATE_FAILED');
    }
  }

  /** One tab at a time; never while an instance with the option `home` has this `_home`. */
  private async exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.lock === null || !this.hasLocks()) return work();
    const name = this.lock;
    return navigator.locks.request(`cu-basic:${name}`, async () => {
      const release = await takeLock(`cu-home:${name}`);
      try {
        return await work();
      } finally {
        release();
      }
    }) as Promise<T>;
  }

  /** Without them two tabs may save at the same time: then each writes everything. */
  private hasLocks(): boolean {
    return this.lock === null || (typeof navigator !== 'undefined' && navigator.locks !== undefined);
  }
}

type Change = [number: number, record: HomeRecord | null];

const NOTE_READS: readonly Operation[] = [
  { type: 'get', table: NOTES, key: 'mark' },
  { type: 'get', table: NOTES, key: 'old' },
];

function remove(number: number): Operation {
  return { type: 'delete', table: HOME_TABLE, key: number };
}

function operation([number, record]: Change): Operation {
  return record === null ? remove(number) : { type: 'set', table: HOME_TABLE, key: number, value: record };
}

function note(state: OldDataNote['state'], report: ImportReport | null): Operation {
  return { type: 'set', table: NOTES, key: 'old', value: { state, at: new Date().toISOString(), report } as unknown as LuaValue };
}

function newMark(): string {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join('-');
}
