/**
 * Saved functions: Lua closures that live in the database as blobs, one per table and name, and in the VM while they
 * are used.
 *
 * The database is the one truth. A call looks its blob up first, so a function that another tab has advanced, or that
 * was deleted, is seen as it is stored; the live closure is reused while its bytes are the stored ones. A call that
 * changed upvalues resolves once the new state is durable; one that fails leaves the stored state, and the live
 * closure is dropped so that the next call starts from it.
 */

import { checkTable } from './batch.js';
import { decode, encode, FunctionBlob, type LuaValue } from './codec.js';
import type { Database } from './engine.js';
import { LimitError, engineError, UsageError, type CallCode, type EnhancedLuaError } from './errors.js';
import { runError, utf8, type Poison, type RunCodes, type RunOptions, type Vm } from './vm.js';

const DEFINE_CODES: RunCodes = { syntax: 'INVALID_FUNCTION_SYNTAX', runtime: 'FUNCTION_COMPILATION_FAILED' };
const CALL_CODES: RunCodes = { syntax: 'LUA_EXECUTION_ERROR', runtime: 'LUA_EXECUTION_ERROR' };

export class SavedFunctions {
  private readonly vm: Vm;
  private readonly database: Database;
  private readonly poison: Poison;
  private readonly bytesMax: number;
  /** The stored bytes behind each live closure. */
  private readonly live = new Map<string, Uint8Array>();

  constructor(vm: Vm, database: Database, poison: Poison, bytesMax: number) {
    this.vm = vm;
    this.database = database;
    this.poison = poison;
    this.bytesMax = bytesMax;
  }

  persist(table: string, name: string, source: string, options: RunOptions): Promise<void> {
    return this.exclusive(table, name, async () => {
      checkSource(source);
      try {
        await this.vm.run((instance) => instance.startDefine(table, name, utf8(source)), DEFINE_CODES, options);
        await this.save(table, name);
      } catch (error) {
        this.forget(table, name);
        throw error;
      }
    });
  }

  restore(table: string, name: string): Promise<void> {
    return this.exclusive(table, name, () => this.load(table, name));
  }

  call(table: string, name: string, args: readonly unknown[], options: RunOptions): Promise<LuaValue[]> {
    return this.exclusive(table, name, async () => {
      const encoded = encode(args);
      await this.load(table, name);
      try {
        const start = this.vm.run((instance) => instance.startCall(table, name, encoded), CALL_CODES, options);
        const { values } = await start;
        await this.save(table, name);
        return values;
      } catch (error) {
        this.forget(table, name);
        throw error;
      }
    });
  }

  validate(source: string): Promise<EnhancedLuaError | null> {
    return this.vm.exclusive(() => {
      checkSource(source);
      const error = this.vm.call((instance) => decode(instance.checkFunction(utf8(source))));
      return error === null ? null : runError(error, DEFINE_CODES);
    });
  }

  private exclusive<T>(table: string, name: string, task: () => Promise<T>): Promise<T> {
    return this.vm.exclusive(() => {
      checkTable(table);
      if (typeof name !== 'string' || name === '') throw new UsageError('INVALID_KEY', 'a function has a name');
      return task();
    });
  }

  /** Makes the stored function the live one. */
  private async load(table: string, name: string): Promise<void> {
    const [stored] = await this.batch([{ type: 'get', table, key: name }], 'LUA_EXECUTION_ERROR');
    if (!(stored instanceof FunctionBlob)) {
      this.forget(table, name);
      const found = stored === null || stored === undefined ? 'nothing' : 'a value that is no function';
      const message = `${table}.${name}: ${found} is stored under this name`;
      throw new UsageError('UNKNOWN_FUNCTION', message, { details: { table, name } });
    }
    const live = this.live.get(id(table, name));
    if (live !== undefined && equal(live, stored.bytes)) return;
    this.forget(table, name);
    try {
      this.vm.call((instance) => instance.loadFunction(table, name, stored.bytes));
    } catch (error) {
      throw engineError(error, 'LUA_EXECUTION_ERROR');
    }
    this.live.set(id(table, name), stored.bytes);
  }

  /** Stores the live function, unless that is what is stored. */
  private async save(table: string, name: string): Promise<void> {
    let bytes: Uint8Array;
    try {
      bytes = this.vm.call((instance) => instance.saveFunction(table, name));
    } catch (error) {
      throw engineError(error, 'PERSIST_FUNCTION_FAILED');
    }
    const stored = this.live.get(id(table, name));
    if (stored !== undefined && equal(stored, bytes)) return;
    if (bytes.length > this.bytesMax) {
      const message = `${table}.${name} takes ${bytes.length} bytes, over the limit of ${this.bytesMax}`;
      throw new LimitError('FUNCTION_TOO_LARGE', message, { details: { table, name } });
    }
    await this.batch([{ type: 'set', table, key: name, value: new FunctionBlob(bytes) }], 'PERSIST_FUNCTION_FAILED');
    this.live.set(id(table, name), bytes);
  }

  private forget(table: string, name: string): void {
    this.live.delete(id(table, name));
    try {
      this.vm.call((instance) => instance.forgetFunction(table, name));
    } catch {
      // Poisoned or closed meanwhile: the failure that led here is the one to report.
    }
  }

  private async batch(operations: object[], call: CallCode): Promise<LuaValue[]> {
    try {
      return decode(await this.poison.wait(() => this.database.batch(encode(operations), true))) as LuaValue[];
    } catch (error) {
      throw engineError(error, call);
    }
  }
}

function checkSource(source: unknown): asserts source is string {
  if (typeof source !== 'string' || source.trim() === '') {
    throw new UsageError('INVALID_FUNCTION_CODE', 'a function is given as its Lua source');
  }
}

function id(table: string, name: string): string {
  return JSON.stringify([table, name]);
}

function equal(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}
