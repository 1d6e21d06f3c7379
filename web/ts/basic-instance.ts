/** What the functions of the basic API work on: one Lua state, its buffer, and `_home` as it is saved. */

import { beside } from './beside.js';
import { BASIC } from './basic-lua.js';
import { BUFFER_SIZE, IoBuffer } from './basic-buffer.js';
import { convertOldRecords, pieces, readOldRecords, type ImportReport } from './basic-import.js';
import { SavedState } from './basic-state.js';
import { bigint } from './bigint.js';
import { decode, encode, type LuaKey, type LuaValue } from './codec.js';
import { EnhancedLuaError, LimitError, LuaError, UsageError } from './errors.js';
import { checkModules, PRELOAD, type LuaModules } from './lua-modules.js';
import { closingOnFailure, openCore, type Core } from './opening.js';
import type { CuOptions } from './options.js';
import { utf8, type RunCodes } from './vm.js';

/** The options of the older system, and those of `Cu.open` that make sense here. */
export interface LoadOptions extends Pick<CuOptions, 'storage' | 'storageWasm' | 'heapLimit' | 'fuel' | 'timeLimit' | 'seed' | 'now' | 'environment'> {
  /** Whether `_home` is what was saved. Otherwise it is empty, and what was saved stays until `saveState` replaces it. Default true. */
  autoRestore?: boolean;
  /**
   * The address of `cu-home.wasm`. Where there is none, as at the address of the older system's file, the package's own is taken, with a
   * warning on the console. Default: beside the package's code.
   */
  wasmPath?: string | URL;
  /** The database's name. Default `cu-basic`. */
  name?: string;
  /** Modules for `require`, beside `bigint`. */
  modules?: LuaModules;
}

export interface BasicTable {
  id: number;
  /** How many entries it has. */
  size: number;
  /** The keys as text. */
  keys: string[];
}

export interface BasicTableInfo {
  tableCount: number;
  homeTableId: number | null;
  memoryTableId: number | null;
  nextTableId: number;
  /** `_home`, `_io`, and the tables of `ext.table` that are still there. */
  tables: BasicTable[];
}

export const HOME_TABLE_ID = 1;
export const IO_TABLE_ID = 2;

const NAME = 'cu-basic';
/** Tables of the older system lay outside its heap. */
const HEAP_LIMIT = 64 * 1024 * 1024;
const CODES: RunCodes = { syntax: 'EVAL_FAILED', runtime: 'LUA_EXECUTION_ERROR' };
/** Under which name the Lua side is live. */
const LIVE = ['basic', 'operation'] as const;

export class BasicInstance {
  private readonly core: Core;
  private readonly state: SavedState;
  /** Whether IndexedDB was asked for, if only by asking for nothing, and is not there. */
  private readonly isFallback: boolean;
  private hasAlias = true;
  readonly buffer = new IoBuffer();
  importReport: ImportReport | null = null;

  private constructor(core: Core, options: LoadOptions) {
    this.core = core;
    this.state = new SavedState(core, options.name ?? NAME);
    this.isFallback = core.storage === 'memory' && options.storage !== 'memory';
  }

  static async open(options: LoadOptions): Promise<BasicInstance> {
    try {
      return await BasicInstance.openWith(options);
    } catch (error) {
      const { wasmPath, ...others } = options;
      if (wasmPath === undefined || !(error instanceof EnhancedLuaError) || !WASM_TO_BLAME.includes(error.code)) throw error;
      console.warn(`cu-wasm/basic: ${String(wasmPath)} is not the module cu-home.wasm; taking the package's own (${error.message})`);
      return BasicInstance.openWith(others);
    }
  }

  /** Runs a chunk; the length of the answer in the buffer, or the negative length of an error's text. */
  async compute(code: unknown): Promise<number> {
    if (typeof code !== 'string' || code === '') throw new UsageError('INVALID_INPUT', 'Code must be a non-empty string');
    const { vm } = this.core;
    const source = utf8(code);
    const args = encode([]);
    try {
      return await vm.exclusive(async () => {
        const { values, output } = await vm.run((instance) => instance.start(source, '=compute', args), CODES, {});
        return this.buffer.writeResult(output, values.at(-1) ?? null);
      });
    } catch (error) {
      if (!isProgramsFault(error)) throw error;
      return -this.writeError(error);
    }
  }

  collect(): void {
    this.core.vm.call((instance) => instance.collect());
  }

  memoryStats(): { total: number; used: number; free: number } {
    const stats = this.core.vm.call((instance) => decode(instance.memoryStats()));
    const { used, limit } = stats as { used: number; limit: number };
    return { total: limit, used, free: Math.max(limit - used, 0) };
  }

  /** Whether `_home` is saved so that it outlives the page. */
  async save(): Promise<boolean> {
    await this.core.vm.exclusive(() => this.state.save());
    return !this.isFallback;
  }

  /** Makes `_home` what is stored; when nothing is, leaves it as it is. */
  async restore(): Promise<void> {
    await this.core.vm.exclusive(async () => {
      await this.restoreHome();
      await this.takeOver();
    });
  }

  async clear(): Promise<void> {
    await this.core.vm.exclusive(() => this.state.clear());
  }

  tableInfo(): BasicTableInfo {
    const { next, tables } = this.ask('getTableInfo', 'info') as { next: number; tables: { id: number; size: number; keys: unknown }[] };
    // An empty list comes as an object.
    const listed = tables.map(({ id, size, keys }) => ({ id, size, keys: Array.isArray(keys) ? keys.map(String) : [] }));
    const home = { homeTableId: HOME_TABLE_ID, memoryTableId: HOME_TABLE_ID };
    return { tableCount: listed.length, ...home, nextTableId: next, tables: listed };
  }

  /** Sets a field of `_io`. While something runs, it is set after that. */
  set(name: 'input' | 'meta', value: unknown): void {
    this.tell(name === 'input' ? 'setInput' : 'setMetadata', 'set', name, checked(name === 'input' ? 'input' : 'metadata', value));
  }

  setInputField(field: unknown, value: unknown): void {
    this.tell('setInputField', 'set_field', checkField(field), checked(`input.${String(field)}`, value));
  }

  get(name: 'output'): LuaValue {
    return named('_io.output', () => this.ask('getOutput', 'get', name));
  }

  getOutputField(field: unknown): LuaValue {
    const key = checkField(field);
    return named(`_io.output.${String(key)}`, () => this.ask('getOutputField', 'get_field', key));
  }

  clearIo(): void {
    this.tell('clearIo', 'clear');
  }

  setMemoryAliasEnabled(isEnabled: unknown): void {
    if (typeof isEnabled !== 'boolean') throw new UsageError('INVALID_INPUT', 'enabled: true or false was expected');
    this.hasAlias = isEnabled;
    this.tell('setMemoryAliasEnabled', 'alias', isEnabled);
  }

  async close(): Promise<void> {
    const { vm, database, poison } = this.core;
    await vm.close();
    await poison.wait(() => database.close());
  }

  /** Puts records of the older system into `_home`. */
  adopt(records: readonly unknown[]): ImportReport {
    const { records: tables, root, report } = convertOldRecords(records);
    for (const piece of pieces(tables)) this.operate('adopt', root, piece);
    this.operate('adopt', root);
    return report;
  }

  private static async openWith(options: LoadOptions): Promise<BasicInstance> {
    const { autoRestore = true, name = NAME, heapLimit = HEAP_LIMIT, modules = {} } = options;
    if (typeof autoRestore !== 'boolean') throw new UsageError('INVALID_INPUT', 'autoRestore: true or false was expected');
    if (![undefined, 'indexeddb', 'memory'].includes(options.storage)) {
      throw new UsageError('INVALID_INPUT', 'storage: indexeddb or memory was expected');
    }
    if (typeof name !== 'string' || name === '') throw new UsageError('INVALID_INPUT', 'name: text that is not empty was expected');
    const core = await openCore({ ...options, name, heapLimit }, null, true, beside());
    return closingOnFailure(core, undefined, async () => {
      const instance = new BasicInstance(core, options);
      await instance.start(autoRestore, { bigint, ...checkModules(modules) });
      return instance;
    });
  }

  private async start(isRestored: boolean, modules: LuaModules): Promise<void> {
    const { vm } = this.core;
    this.state.attachEmpty();
    await vm.exclusive(async () => {
      await vm.run((instance) => instance.startDefine(...LIVE, utf8(BASIC)), CODES, {});
      await vm.run((instance) => instance.start(utf8(PRELOAD), '=modules', encode([modules])), CODES, {});
      this.operate('attach', this.hasAlias);
      if (!isRestored) return;
      await this.restoreHome();
      await this.takeOver();
    });
  }

  private async restoreHome(): Promise<void> {
    const how = await this.state.restore(() => this.operate('read_all'));
    if (how !== 'absent') this.operate('attach', this.hasAlias);
  }

  /** What the older system saved in this page's origin, once. */
  private async takeOver(): Promise<void> {
    if (this.core.storage !== 'indexeddb') return;
    const old = await this.state.takeOver(async () => {
      const records = await readOldRecords();
      return records === null ? null : this.adopt(records);
    });
    this.importReport = old?.report ?? null;
    const { skipped = [] } = old?.report ?? {};
    if (skipped.length > 0) {
      console.warn(`cu-wasm/basic: ${skipped.length} values of the older system could not be taken over; see getImportReport()`);
    }
  }

  /** Has the Lua side do something that gives a value. */
  private ask(caller: string, operation: string, ...args: readonly unknown[]): LuaValue {
    if (this.core.vm.isBusy) throw new UsageError('busy', `${caller}: something is under way, wait for it first`);
    return this.operate(operation, ...args);
  }

  /** Has it do something, after what is under way. */
  private tell(caller: string, operation: string, ...args: readonly unknown[]): void {
    const { vm } = this.core;
    if (!vm.isBusy) {
      this.operate(operation, ...args);
      return;
    }
    vm.exclusive(() => this.operate(operation, ...args)).catch((error: unknown) => {
      // The call has returned already.
      console.error(`cu-wasm/basic: ${caller} failed:`, error);
    });
  }

  private operate(operation: string, ...args: readonly unknown[]): LuaValue {
    const [value] = this.core.vm.callLiveSync(...LIVE, encode([operation, ...args]), CODES);
    return value ?? null;
  }

  /** Writes as much of an error's text as fits: its length. */
  private writeError(error: Error): number {
    let text = `Error: ${error.message}`;
    while (utf8(text).length > BUFFER_SIZE) text = text.slice(0, text.length / 2);
    return this.buffer.write(0, text);
  }
}

const WASM_TO_BLAME: readonly string[] = ['WASM_LOAD_FAILED', 'INIT_FAILED'];

/** Whether the error is the matter of the program that ran, so that its text is the answer. */
function isProgramsFault(error: unknown): error is EnhancedLuaError {
  if (error instanceof LuaError || error instanceof LimitError) return true;
  return error instanceof UsageError && (error.code === 'INVALID_INPUT' || error.code === 'BUFFER_OVERFLOW');
}

/** A value that can be passed to Lua. */
function checked(name: string, value: unknown): unknown {
  return named(name, () => {
    encode(value);
    return value;
  });
}

/** Has errors about a value call it by this name. */
function named<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof UsageError) || error.code !== 'INVALID_INPUT') throw error;
    throw new UsageError('INVALID_INPUT', error.message.replace(/^value( 1)?/, name), { details: error.details });
  }
}

function checkField(field: unknown): LuaKey {
  if (typeof field === 'string' || (typeof field === 'number' && !Number.isNaN(field))) return field;
  throw new UsageError('INVALID_INPUT', 'field: a name or a number was expected');
}
