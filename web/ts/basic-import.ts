/**
 * What pages saved with the older system: the IndexedDB database `LuaPersistentDB`, as tables for `_home`. It is read only.
 *
 * A record is a table: `{id, data: {key: {_type: 'binary', data: [bytes]}}}`. A value's first byte tells what it is:
 *
 * | tag | value | payload |
 * |--|--|--|
 * | 0 | nil | |
 * | 1 | boolean | u8 |
 * | 2 | integer | i64 |
 * | 3 | float | f64 |
 * | 4 | string | u32 length, bytes |
 * | 5 | function: bytecode of PUC Lua | u32 length, bytes |
 * | 6 | function of the older system | u16 |
 * | 7 | table | u32 id |
 *
 * The first record written was a string where bytes are now. Keys were text: those that are whole numbers become integers again, as
 * `t[1]` finds them.
 */

import type { LuaKey, LuaValue } from './codec.js';
import { StorageError } from './errors.js';
import { fits, getInteger } from './wide.js';

const DATABASE = 'LuaPersistentDB';
const STORE = 'externalTables';
const METADATA = '__metadata__';

/** A value that could not be taken over. */
export interface SkippedValue {
  /** Where it was: `_home.users.1.greet`. */
  path: string;
  reason: string;
}

/** What was taken over from the older system. */
export interface ImportReport {
  tables: number;
  values: number;
  skipped: SkippedValue[];
}

/** Tables as the Lua side adopts them. */
export interface OldState {
  records: OldTable[];
  /** The id of `_home`. */
  root: number;
  report: ImportReport;
}

/** A table, or a part of one. */
export interface OldTable {
  id: number;
  entries: OldEntry[];
}

type OldEntry = { key: LuaKey; value: LuaValue; float?: true } | { key: LuaKey; reference: number };
type Decoded = { value: LuaValue; float?: true } | { reference: number } | { skipped: string };

/** The records of the older system, null when a page has none. Nothing is created or changed. */
export async function readOldRecords(): Promise<unknown[] | null> {
  if (typeof indexedDB === 'undefined') return null;
  const database = await openOld();
  if (database === null) return null;
  try {
    if (!database.objectStoreNames.contains(STORE)) return null;
    const records: unknown[] = await answered(database.transaction(STORE, 'readonly').objectStore(STORE).getAll());
    return records.length === 0 ? null : records;
  } finally {
    database.close();
  }
}

/** Makes of records what the Lua side adopts: the tables that `_home` reaches. */
export function convertOldRecords(records: readonly unknown[]): OldState {
  const tables = new Map<number, Record<string, unknown>>();
  let metadata: Record<string, unknown> = {};
  for (const record of records) {
    const { id, data } = Object(record) as { id?: unknown; data?: unknown };
    if (id === METADATA) metadata = asRecord(data);
    else if (Number.isInteger(Number(id))) tables.set(Number(id), asRecord(data));
  }
  const root = Number(metadata['homeTableId'] ?? metadata['memoryTableId'] ?? Math.min(...tables.keys()));
  const state: OldState = { records: [], root, report: { tables: 0, values: 0, skipped: [] } };
  const waiting = [{ id: root, path: '_home' }];
  const seen = new Set([root]);
  for (let next; (next = waiting.shift()) !== undefined; ) {
    const data = tables.get(next.id);
    // An empty home has no record.
    if (data === undefined) continue;
    const refer = (id: number, path: string): boolean => {
      if (!tables.has(id)) return false;
      if (!seen.has(id)) waiting.push({ id, path });
      seen.add(id);
      return true;
    };
    state.records.push({ id: next.id, entries: convertTable(data, next.path, state.report, refer) });
    state.report.tables++;
  }
  return state;
}

/** Divides tables into pieces, each small enough to cross in one call. */
export function* pieces(tables: readonly OldTable[]): Generator<OldTable[]> {
  let [piece, size]: [OldTable[], number] = [[], 0];
  for (const { id, entries } of tables) {
    let part: OldTable = { id, entries: [] };
    piece.push(part);
    for (const entry of entries) {
      part.entries.push(entry);
      size += entrySize(entry);
      if (size < PIECE_BYTES) continue;
      yield piece;
      part = { id, entries: [] };
      [piece, size] = [[part], 0];
    }
  }
  yield piece;
}

const PIECE_BYTES = 1024 * 1024;

/** About how many bytes it takes. */
function entrySize(entry: OldEntry): number {
  const value = 'value' in entry ? entry.value : null;
  const isLong = typeof value === 'string' || value instanceof Uint8Array;
  return 50 + String(entry.key).length + (isLong ? value.length : 0);
}

/** @param refer is told of tables that are referred to; whether there is such a table */
function convertTable(
  data: Record<string, unknown>,
  path: string,
  report: ImportReport,
  refer: (id: number, path: string) => boolean,
): OldEntry[] {
  const entries: OldEntry[] = [];
  for (const [name, stored] of Object.entries(data)) {
    const place = `${path}.${name}`;
    const decoded = decodeStored(stored);
    if ('skipped' in decoded) {
      report.skipped.push({ path: place, reason: decoded.skipped });
      continue;
    }
    if ('value' in decoded && decoded.value === null) continue;
    if ('reference' in decoded && !refer(decoded.reference, place)) {
      report.skipped.push({ path: place, reason: `the table ${decoded.reference} is missing` });
      continue;
    }
    entries.push({ key: keyOf(name), ...decoded });
    report.values++;
  }
  return entries;
}

function decodeStored(stored: unknown): Decoded {
  if (typeof stored === 'string') return decodeValue(new TextEncoder().encode(stored));
  const { _type: type, data } = Object(stored) as { _type?: unknown; data?: unknown };
  if (stored instanceof Uint8Array) return decodeValue(stored);
  if (type === 'binary' && Array.isArray(data)) return decodeValue(Uint8Array.from(data as number[]));
  return DAMAGED;
}

const DAMAGED = { skipped: 'the value is damaged' };

function decodeValue(bytes: Uint8Array): Decoded {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const payload = bytes.length - 1;
  switch (bytes[0]) {
    case 0:
      return { value: null };
    case 1:
      return payload >= 1 ? { value: bytes[1] !== 0 } : DAMAGED;
    case 2:
      return payload >= 8 ? { value: getInteger(view, 1) } : DAMAGED;
    case 3:
      return payload >= 8 ? { value: view.getFloat64(1, true), float: true } : DAMAGED;
    case 4: {
      const length = payload >= 4 ? view.getUint32(1, true) : Infinity;
      return payload >= 4 + length ? { value: text(bytes.subarray(5, 5 + length)) } : DAMAGED;
    }
    case 5:
      return { skipped: 'a function is kept as bytecode of PUC Lua, which cannot be loaded: define it again' };
    case 6:
      return { skipped: 'a function of the older system cannot be kept' };
    case 7:
      return payload >= 4 ? { reference: view.getUint32(1, true) } : DAMAGED;
    default:
      return DAMAGED;
  }
}

/** Text when it is UTF-8, else the bytes. */
function text(bytes: Uint8Array): string | Uint8Array {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return bytes.slice();
  }
}

function keyOf(name: string): LuaKey {
  if (!/^(0|-?[1-9]\d{0,18})$/.test(name)) return name;
  if (Number.isSafeInteger(Number(name))) return Number(name);
  return typeof BigInt !== 'undefined' && fits(BigInt(name)) ? BigInt(name) : name;
}

function asRecord(data: unknown): Record<string, unknown> {
  return typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : {};
}

/** Opens the database if there is one. */
function openOld(): Promise<IDBDatabase | null> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE);
    let isNew = false;
    // Asked for because it is not there: opening would make it.
    request.onupgradeneeded = () => {
      isNew = true;
      request.transaction?.abort();
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => (isNew ? resolve(null) : reject(failure(request)));
  });
}

function answered<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(failure(request));
  });
}

function failure(request: IDBRequest): StorageError {
  const message = `the database ${DATABASE} of the older system cannot be read: ${request.error?.message ?? 'unknown'}`;
  return new StorageError('unavailable', message, { originalError: request.error });
}
