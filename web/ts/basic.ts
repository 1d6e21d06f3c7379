/**
 * The package `cu-wasm/basic`: the functions of the system that this one stays compatible with. One Lua state for the page.
 *
 * `compute` leaves its answer in a buffer of 64 KiB, from where `readResult` reads it. `_home`, also called `Memory`, is kept by `saveState`
 * and is there again when the page is loaded the next time. What the older system saved is taken over at the first load, and left where it is.
 *
 * Functions throw `WASM not loaded` before `load` has resolved. While `compute` is running, `setInput` and others that give no value take
 * effect after it, and those that give one throw with code `busy`.
 */

import { BUFFER_SIZE, type ComputeResult } from './basic-buffer.js';
import type { ImportReport } from './basic-import.js';
import {
  BasicInstance,
  HOME_TABLE_ID,
  IO_TABLE_ID,
  type BasicTableInfo,
  type LoadOptions,
} from './basic-instance.js';
import type { LuaValue } from './codec.js';
import { UsageError } from './errors.js';

export type { ComputeResult } from './basic-buffer.js';
export type { ImportReport, SkippedValue } from './basic-import.js';
export type { BasicTable, BasicTableInfo, LoadOptions } from './basic-instance.js';
export type { LuaKey, LuaValue } from './codec.js';
export type { LuaModules } from './lua-modules.js';
export { EnhancedLuaError, LimitError, LuaError, StorageError, UsageError } from './errors.js';

let loaded: BasicInstance | null = null;
let loading: Promise<BasicInstance> | null = null;

/** Loads everything and restores what was saved. Called again, it waits for the first call. Rejects when it fails, and can be tried again. */
export async function load(options: LoadOptions = {}): Promise<true> {
  loading ??= BasicInstance.open(options);
  try {
    loaded = await loading;
  } catch (error) {
    loading = null;
    throw error;
  }
  return true;
}

/** The older name of {@link load}. */
export const loadLuaWasm = load;

/** Gives 0: after {@link load} everything is ready. */
export function init(): 0 {
  instance();
  return 0;
}

/**
 * Runs a chunk. Resolves to the length of the answer in the buffer, for {@link readResult}. When the program fails, or its result does not
 * fit into the buffer, to the negative length of a text, `Error: message`, for {@link readBuffer}.
 */
export async function compute(code: string): Promise<number> {
  return instance().compute(code);
}

/**
 * What the program printed, and the last value it returned. Integers beyond 2^53 are BigInt, tables plain objects and arrays. Given the
 * negative length of an error, its text is the output and there is no result.
 */
export function readResult(ptr: number, length: number): ComputeResult {
  const { buffer } = instance();
  if (length < 0) return { output: buffer.read(ptr, -length), result: null, value: null };
  return buffer.readResult(ptr, length);
}

export function readBuffer(ptr: number, length: number): string {
  return instance().buffer.read(ptr, length);
}

/** Writes text and gives its length in bytes. Throws `Buffer overflow` when it does not fit. */
export function writeBuffer(ptr: number, text: string): number {
  const { buffer } = instance();
  if (typeof text !== 'string') throw new UsageError('INVALID_INPUT', 'data: a string was expected');
  return buffer.write(ptr, text);
}

/** Where the buffer begins. */
export function getBufferPtr(): number {
  instance();
  return 0;
}

export function getBufferSize(): number {
  instance();
  return BUFFER_SIZE;
}

/** Bytes that Lua values may take, take, and may take more. */
export function getMemoryStats(): { total: number; used: number; free: number } {
  return instance().memoryStats();
}

/** A full collection. */
export function runGc(): true {
  instance().collect();
  return true;
}

/**
 * Saves `_home`: what is stored is then what it is now, whoever saved last. False when that fails, or where nothing outlives the page
 * because the browser offers no IndexedDB.
 */
export async function saveState(): Promise<boolean> {
  return succeeds('saveState', () => instance().save());
}

/** Makes `_home` what was saved. When nothing was, it stays as it is. False when that fails. */
export async function loadState(): Promise<boolean> {
  return succeeds('loadState', async () => {
    await instance().restore();
    return true;
  });
}

/** Removes what was saved. `_home` in memory stays. False when that fails. */
export async function clearPersistedState(): Promise<boolean> {
  return succeeds('clearPersistedState', async () => {
    await instance().clear();
    return true;
  });
}

/** The tables that have a number, with their keys as text. */
export function getTableInfo(): BasicTableInfo {
  if (loaded === null) return { tableCount: 0, homeTableId: null, memoryTableId: null, nextTableId: 1, tables: [] };
  return loaded.tableInfo();
}

/** The number of `_home`, null before {@link load}. */
export function getHomeTableId(): number | null {
  return loaded === null ? null : HOME_TABLE_ID;
}

/** Another name of {@link getHomeTableId}: `Memory` is `_home`. */
export function getMemoryTableId(): number | null {
  return getHomeTableId();
}

/** The number of `_io`. */
export function getIoTableId(): number {
  instance();
  return IO_TABLE_ID;
}

/** Sets `_io.input` to a copy. */
export function setInput(input: unknown): void {
  instance().set('input', input);
}

/** Sets a field of `_io.input`, which becomes a table when there is none. */
export function setInputField(field: string | number, value: unknown): void {
  instance().setInputField(field, value);
}

/** A copy of `_io.output`, null when there is none. An empty table comes as an empty object. */
export function getOutput(): LuaValue {
  return instance().get('output');
}

/** A copy of a field of `_io.output`, null when there is none. */
export function getOutputField(field: string | number): LuaValue {
  return instance().getOutputField(field);
}

/** Sets `_io.meta` to a copy. */
export function setMetadata(metadata: unknown): void {
  instance().set('meta', metadata);
}

/** Removes `_io.input`, `_io.output` and `_io.meta`. */
export function clearIo(): void {
  loaded?.clearIo();
}

/** Whether the global variable `Memory` names `_home`. It does from the start. */
export function setMemoryAliasEnabled(enabled: boolean): void {
  instance().setMemoryAliasEnabled(enabled);
}

/** What was taken over of the older system's data, and what could not be; null when there was none. */
export function getImportReport(): ImportReport | null {
  return instance().importReport;
}

function instance(): BasicInstance {
  if (loaded === null) throw new UsageError('NOT_INITIALIZED', 'WASM not loaded', { suggestion: 'Call load() and wait for it first.' });
  return loaded;
}

/** These never reject; what went wrong is on the console. */
async function succeeds(name: string, work: () => Promise<boolean>): Promise<boolean> {
  try {
    return await work();
  } catch (error) {
    console.error(`cu-wasm/basic: ${name} failed:`, error);
    return false;
  }
}

export default {
  load,
  loadLuaWasm,
  init,
  compute,
  readResult,
  readBuffer,
  writeBuffer,
  getBufferPtr,
  getBufferSize,
  getMemoryStats,
  runGc,
  saveState,
  loadState,
  clearPersistedState,
  getTableInfo,
  getHomeTableId,
  getMemoryTableId,
  getIoTableId,
  setInput,
  setInputField,
  getOutput,
  getOutputField,
  setMetadata,
  clearIo,
  setMemoryAliasEnabled,
  getImportReport,
};
