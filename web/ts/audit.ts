/**
 * The audit log: who has done what to a database, when, and how it ended. Records are only ever appended; each holds a hash over itself and the
 * hash of the one before (`persist/src/audit.rs` tells the form, and reads and writes the same).
 *
 * A record is written when its operation has ended, well or not, and the operation resolves when the record is durable. If it cannot be
 * written, the operation is done all the same, and rejects. While a transaction is open, which an append would conflict with, records are held back until it
 * is over.
 */

import { AUDIT_TABLE } from './batch.js';
import { decode, encode, type LuaValue } from './codec.js';
import { EnhancedLuaError, engineError, StorageError, UsageError } from './errors.js';
import { encodeQuery } from './query.js';
import type { TransactingDatabase } from './transactions.js';
import type { Poison } from './poison.js';

/** The operations that can be audited; calls of Lua functions by `callSync` are refused where `call` is. */
export const AUDITED = [
  'run', 'computeBatch', 'resume', 'call', 'useHandle', 'set', 'persistFunction', 'callFunction', 'batchTableOperations', 'processBatch',
  'beginTransaction', 'commitTransaction', 'rollbackTransaction', 'createExternalTable', 'setValue', 'getValue', 'deleteValue',
  'queryTable', 'queryEntries', 'queryPage', 'rangeQuery', 'createIndex', 'dropIndex', 'setSchema', 'commitHome', 'rollBackHome', 'saveState', 'loadState', 'writeFile',
] as const;

export type AuditedOperation = (typeof AUDITED)[number];

export interface AuditRecord {
  /** Counted from 1. */
  number: number;
  who: string;
  operation: string;
  /** To what: names of tables and functions, keys; never values. */
  target: LuaValue;
  /** Milliseconds since 1970. */
  when: number;
  /** `ok`, or the code of the error. */
  result: string;
  hash: string;
}

/** The end of a log, to be noted somewhere else and given to `verifyAuditLog` later. */
export interface AuditHead {
  count: number;
  hash: string;
}

export interface AuditOptions {
  /** On whose behalf this instance works. Default: empty. */
  who?: string;
}

/** What of the database the log needs. */
type Store = Pick<TransactingDatabase, 'query' | 'batch' | 'isOpen' | 'abandon' | 'ended'>;

type Fields = Omit<AuditRecord, 'number' | 'hash'>;

export class AuditLog {
  private readonly database: Store;
  private readonly poison: Poison;
  private readonly now: () => number;
  private readonly lock: string | null;
  private turn: Promise<unknown> = Promise.resolve();
  /** Records that wait for the end of a transaction. */
  private held: Fields[] = [];
  /** What this instance has appended. */
  readonly appended: AuditRecord[] = [];

  /** @param lock names what only one instance at a time may append to; null when nobody else has the database */
  constructor(database: Store, poison: Poison, now: () => number, lock: string | null) {
    if (globalThis.crypto?.subtle === undefined) {
      throw new StorageError('unavailable', 'the audit log needs crypto.subtle, which only secure contexts have');
    }
    this.database = database;
    // Who appends next is told what is wrong.
    database.ended = () => void this.flush().catch(() => undefined);
    this.poison = poison;
    this.now = now;
    this.lock = lock;
  }

  /** Appends a record after those that are under way. */
  append(who: string, operation: string, target: LuaValue, result: string): Promise<void> {
    this.held.push({ who, operation, target, when: Math.floor(this.now()), result });
    return this.flush();
  }

  /** Writes what is held back, unless a transaction is open. */
  flush(): Promise<void> {
    const turn = this.turn.then(() => exclusive(this.lock, async () => {
      while (this.held[0] !== undefined && !this.database.isOpen) await this.write(this.held.shift()!);
    }));
    this.turn = turn.catch(() => undefined);
    return turn;
  }

  /** Before the database is closed: a transaction that is still open is rolled back, so that what is held back can be written. */
  async end(): Promise<void> {
    await this.database.abandon();
    await this.flush().catch(() => undefined);
  }

  private async write(fields: Fields): Promise<void> {
    const head = readHead((await this.batch([{ type: 'get', table: AUDIT_TABLE, key: 0 }]))[0]);
    if (head === null) throw new StorageError('corrupt', 'the audit log has no head to go on from');
    const number = head.count + 1;
    const hash = await hashAfter(head.hash, number, fields);
    if (this.database.isOpen) {
      // Lua code has begun a transaction meanwhile, with which the record could be undone.
      this.held.unshift(fields);
      return;
    }
    await this.batch([
      { type: 'set', table: AUDIT_TABLE, key: number, value: { ...fields, hash } },
      { type: 'set', table: AUDIT_TABLE, key: 0, value: [number, hash] },
    ]);
    this.appended.push({ number, ...fields, hash });
  }

  /** All records that can be read, in order. */
  async list(): Promise<AuditRecord[]> {
    return (await this.rows()).flatMap(({ key, value }) => readRecord(key, value) ?? []);
  }

  /**
   * Checks the whole log, and that it has passed a head that was noted earlier. Its head.
   *
   * @throws StorageError `corrupt`, with the number of the first record that is not as it was written
   */
  async verify(noted?: AuditHead): Promise<AuditHead> {
    const rows = await this.rows();
    let [at, head]: [AuditHead, AuditHead | null] = [{ count: 0, hash: '' }, null];
    if (rows.length > 0) {
      if (rows[0]?.key !== 0) throw fault(0, 'is missing');
      head = readHead(rows.shift()?.value);
      if (head === null || head.count === 0) throw fault(0, 'is malformed');
    }
    let passed = noted === undefined || noted.count === 0;
    for (const { key, value } of rows) {
      const number = at.count + 1;
      if (key !== number) throw fault(number, 'is missing');
      const record = readRecord(key, value);
      if (record === null) throw fault(number, 'is malformed');
      if ((await hashAfter(at.hash, number, record)) !== record.hash) throw fault(number, 'does not follow from the one before');
      at = { count: number, hash: record.hash };
      passed ||= noted?.count === number && noted.hash === record.hash;
    }
    const { count, hash } = head ?? at;
    if (hash === at.hash && count !== at.count) throw fault(0, 'does not count the records');
    if (at.count < count) throw fault(at.count + 1, 'is missing');
    if (at.count > count) throw fault(count + 1, 'is not counted by the head');
    if (at.hash !== hash) throw fault(0, 'does not follow from the last one');
    if (!passed) throw fault(noted?.count ?? 0, 'is not the one that was noted');
    return at;
  }

  private async rows(): Promise<{ key: LuaValue; value: LuaValue }[]> {
    const answer = await this.ask(() => this.database.query(encodeQuery(AUDIT_TABLE, {}, false)));
    return (decode(answer) as unknown as { rows: { key: LuaValue; value: LuaValue }[] }).rows;
  }

  private async batch(operations: object[]): Promise<LuaValue[]> {
    return decode(await this.ask(() => this.database.batch(encode(operations), true))) as LuaValue[];
  }

  private async ask(work: () => Uint8Array | Promise<Uint8Array>): Promise<Uint8Array> {
    try {
      return await this.poison.wait(work);
    } catch (error) {
      throw engineError(error, 'SAVE_STATE_FAILED');
    }
  }
}

/**
 * Has methods of an object append records. What they call of each other is part of the one operation that was asked for.
 *
 * @param methods of the object's class
 */
export function audit(target: object, methods: object, log: AuditLog, who: string, operations: readonly AuditedOperation[]): void {
  const calls = methods as Record<string, (...args: unknown[]) => Promise<unknown>>;
  const inner = new Proxy(target, {
    get: (object, key) => (typeof key === 'string' && (AUDITED as readonly string[]).includes(key) ? calls[key] : (Reflect.get(object, key) as unknown)),
  });
  const audited = (operation: AuditedOperation) => async (...args: unknown[]): Promise<unknown> => {
    let result: unknown;
    try {
      result = await calls[operation]!.apply(inner, args);
    } catch (error) {
      const code = error instanceof EnhancedLuaError ? error.code : String((Object(error) as Error).name);
      await log.append(who, operation, subject(operation, args), code);
      throw error;
    }
    await log.append(who, operation, subject(operation, args), 'ok');
    return result;
  };
  const define = (name: string, value: unknown): void => void Object.defineProperty(target, name, { value, configurable: true, writable: true });
  const silent = (operation: AuditedOperation) => async (...args: unknown[]): Promise<unknown> => {
    const result = await calls[operation]!.apply(inner, args);
    if (operation === 'commitTransaction' || operation === 'rollbackTransaction') await log.flush();
    return result;
  };
  for (const operation of AUDITED) define(operation, operations.includes(operation) ? audited(operation) : silent(operation));
  define('close', async () => {
    await log.end();
    return calls['close']!.apply(target, []);
  });
  if (operations.includes('call')) {
    define('callSync', () => {
      throw new UsageError('denied', 'callSync cannot wait for the audit log: use call()');
    });
  }
}

/** What an operation is done to, as far as names and keys say. */
function subject(operation: AuditedOperation, args: readonly unknown[]): LuaValue {
  switch (operation) {
    case 'run':
      return scalar((args[1] as { chunkName?: unknown } | undefined)?.chunkName ?? 'script');
    case 'useHandle': {
      const [what, , which] = args[0] as readonly unknown[];
      return [what, which].map(scalar);
    }
    case 'batchTableOperations':
      return Array.isArray(args[0]) ? args[0].map((one: unknown) => {
        const { type, table, key } = Object(one) as Record<string, unknown>;
        return [type, table, key].map(scalar);
      }) : null;
    case 'persistFunction':
    case 'callFunction':
    case 'setValue':
    case 'getValue':
    case 'deleteValue':
    case 'dropIndex':
      return args.slice(0, 2).map(scalar);
    case 'createIndex':
      return [scalar(args[0]), ...[args[1]].flat().map(scalar)];
    default:
      return scalar(args[0] ?? null);
  }
}

function scalar(value: unknown): LuaValue {
  const is = ['string', 'number', 'bigint', 'boolean'].includes(typeof value) || value instanceof Uint8Array;
  return is ? (value as LuaValue) : null;
}

async function hashAfter(before: string, number: number, fields: Fields): Promise<string> {
  const { who, operation, target, when, result } = fields;
  const bytes = encode([before, number, who, operation, target, when, result]);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes.slice()));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function readHead(value: LuaValue | undefined): AuditHead | null {
  if (value === null || value === undefined) return { count: 0, hash: '' };
  const [count, hash, ...rest] = Array.isArray(value) ? (value as LuaValue[]) : [];
  return typeof count === 'number' && typeof hash === 'string' && rest.length === 0 ? { count, hash } : null;
}

const FIELDS = 'who operation target when result hash';

function readRecord(key: LuaValue, value: LuaValue): AuditRecord | null {
  if (typeof key !== 'number' || typeof value !== 'object' || value === null || Object.keys(value).join(' ') !== FIELDS) return null;
  const record = { number: key, ...value } as unknown as AuditRecord;
  const texts = [record.who, record.operation, record.result, record.hash];
  return texts.every((text) => typeof text === 'string') && typeof record.when === 'number' ? record : null;
}

function fault(number: number, problem: string): StorageError {
  return new StorageError('corrupt', `audit log: record ${number} ${problem}`, { details: { record: number } });
}

/** Runs work while no other tab does. */
async function exclusive<T>(lock: string | null, work: () => Promise<T>): Promise<T> {
  const locks = (globalThis as { navigator?: { locks?: LockManager } }).navigator?.locks;
  return lock === null || locks === undefined ? work() : locks.request(lock, work) as Promise<T>;
}
