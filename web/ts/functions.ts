/**
 * Saved functions: Lua closures that live in the database as blobs, one per table and name, and in the VM while they
 * are used.
 *
 * The database is the one truth. A call looks its blob up first, so a function that another tab has advanced, or that
 * was deleted, is seen as it is stored; the live closure is reused while its bytes are the stored ones. A call that
 * changed upvalues resolves once the new state is durable; one that fails leaves the stored state, and the live
 * closure is dropped so that the next call starts from it.
 */

import { checkWritable } from './batch.js';
import { decode, encode, FunctionBlob, type LuaValue } from './codec.js';
import { LimitError, engineError, UsageError, type CallCode, type EnhancedLuaError } from './errors.js';
import type { Poison } from './poison.js';
import type { TransactingDatabase } from './transactions.js';
import { runError, utf8, type RunCodes, type RunOptions, type Vm } from './vm.js';

const DEFINE_CODES: RunCodes = { syntax: 'INVALID_FUNCTION_SYNTAX', runtime: 'FUNCTION_COMPILATION_FAILED' };
const CALL_CODES: RunCodes = { syntax: 'LUA_EXECUTION_ERROR', runtime: 'LUA_EXECUTION_ERROR' };

/** How functions are kept. */
export interface FunctionLimits {
  /** Bytes that one saved function may take. Default 1 MiB. */
  maxFunctionBytes?: number;
  /** Bytes over which a saved function is compressed. Default 1024. */
  compressionThreshold?: number;
  /** Milliseconds after which a saved function that was not called is dropped from memory; the next call loads it again. Default: it stays. */
  cacheTimeout?: number;
}

const BYTES_MAX = 1024 * 1024;
const COMPRESSION_THRESHOLD = 1024;
/** No blob is as large. */
const NEVER = 2 ** 32 - 1;

/** A closure in the VM. */
interface Live {
  table: string;
  name: string;
  /** The stored bytes behind it. */
  bytes: Uint8Array;
  /** Bytes over which it is compressed. */
  threshold: number;
  /** When it was used last, in milliseconds. */
  used: number;
}

export class SavedFunctions {
  private readonly vm: Vm;
  private readonly database: TransactingDatabase;
  private readonly poison: Poison;
  private readonly limits: Required<FunctionLimits>;
  private readonly live = new Map<string, Live>();

  constructor(vm: Vm, database: TransactingDatabase, poison: Poison, limits: FunctionLimits) {
    const { maxFunctionBytes = BYTES_MAX, compressionThreshold = COMPRESSION_THRESHOLD, cacheTimeout = Infinity } = limits;
    for (const [name, value] of Object.entries({ maxFunctionBytes, compressionThreshold, cacheTimeout })) {
      if (typeof value !== 'number' || !(value >= 0)) throw new UsageError('INVALID_INPUT', `${name}: a number from 0 on was expected`);
    }
    this.vm = vm;
    this.database = database;
    this.poison = poison;
    this.limits = { maxFunctionBytes, compressionThreshold, cacheTimeout };
  }

  /** @param compress whether it is compressed; undefined: over the threshold */
  persist(table: string, name: string, source: string, options: RunOptions, compress?: boolean): Promise<void> {
    return this.exclusive(table, name, async () => {
      checkSource(source);
      const threshold = compress === undefined ? this.limits.compressionThreshold : compress ? 0 : NEVER;
      try {
        await this.vm.run((instance) => instance.startDefine(table, name, utf8(source)), DEFINE_CODES, options);
        await this.save(table, name, threshold);
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
      checkWritable(table);
      if (typeof name !== 'string' || name === '') throw new UsageError('INVALID_KEY', 'a function has a name');
      this.dropUnused();
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
    if (live !== undefined && equal(live.bytes, stored.bytes)) {
      live.used = Date.now();
      return;
    }
    this.forget(table, name);
    try {
      this.vm.call((instance) => instance.loadFunction(table, name, stored.bytes));
    } catch (error) {
      throw engineError(error, 'LUA_EXECUTION_ERROR');
    }
    this.keep(table, name, stored.bytes, thresholdOf(stored.bytes, this.limits.compressionThreshold));
  }

  /** Stores the live function, unless that is what is stored. */
  private async save(table: string, name: string, given?: number): Promise<void> {
    const stored = this.live.get(id(table, name));
    const threshold = given ?? stored?.threshold ?? this.limits.compressionThreshold;
    let bytes: Uint8Array;
    try {
      bytes = this.vm.call((instance) => instance.saveFunction(table, name, Math.min(threshold, NEVER)));
    } catch (error) {
      throw engineError(error, 'PERSIST_FUNCTION_FAILED');
    }
    if (stored !== undefined && equal(stored.bytes, bytes)) return;
    const { maxFunctionBytes } = this.limits;
    if (bytes.length > maxFunctionBytes) {
      const message = `${table}.${name} takes ${bytes.length} bytes, over the limit of ${maxFunctionBytes}`;
      throw new LimitError('FUNCTION_TOO_LARGE', message, { details: { table, name } });
    }
    await this.batch([{ type: 'set', table, key: name, value: new FunctionBlob(bytes) }], 'PERSIST_FUNCTION_FAILED');
    this.keep(table, name, bytes, threshold);
  }

  private keep(table: string, name: string, bytes: Uint8Array, threshold: number): void {
    this.live.set(id(table, name), { table, name, bytes, threshold, used: Date.now() });
  }

  private dropUnused(): void {
    const { cacheTimeout } = this.limits;
    if (cacheTimeout === Infinity) return;
    const now = Date.now();
    for (const { table, name, used } of [...this.live.values()]) {
      if (now - used > cacheTimeout) this.forget(table, name);
    }
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

/**
 * The threshold that a blob was saved with, as far as it makes a difference: so a call that changes nothing gives the stored bytes again.
 * A blob has a flag for compressed bytes at 5, and the length before that at 6.
 */
function thresholdOf(bytes: Uint8Array, standard: number): number {
  if (bytes.length < 10) return standard;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(6, true);
  const isCompressed = ((bytes[5] ?? 0) & 1) === 1;
  if (isCompressed) return length > standard ? standard : 0;
  return length > standard ? NEVER : standard;
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
