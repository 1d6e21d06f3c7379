/** The space that the browser gives the page for what it stores, and whether it may take it back. */

import type { MemoryStats } from './cu.js';
import type { StorageKind } from './options.js';
import type { TableInfo } from './tables.js';

export interface StorageStats {
  /** Where the database is. */
  kind: StorageKind;
  /** Bytes that the whole origin takes, as the browser estimates; null where it does not tell, or the database is not in it. */
  usage: number | null;
  /** Bytes that it may take. */
  quota: number | null;
  /** Whether the browser keeps the data until the user deletes it, also when space runs out; null where it does not tell. */
  persistent: boolean | null;
}

/** What an instance takes. */
export interface Stats {
  memory: MemoryStats;
  storage: StorageStats;
  /** The tables, ordered by name. */
  tables: TableInfo[];
}

/** What of `navigator.storage` there is: all of it in pages over https, less in workers and older browsers, nothing in Node. */
function manager(): Partial<StorageManager> {
  return (globalThis as { navigator?: { storage?: Partial<StorageManager> } }).navigator?.storage ?? {};
}

/** Asks the browser to keep what is stored. It may ask the user, which takes as long as it takes. */
export async function askToPersist(): Promise<void> {
  await manager().persist?.().catch(() => undefined);
}

/** What the browser tells. */
export async function storageStats(kind: StorageKind): Promise<StorageStats> {
  const none = { kind, usage: null, quota: null, persistent: null };
  if (kind !== 'indexeddb') return none;
  const storage = manager();
  // Either may be refused, as in private windows.
  const [estimate, persistent] = await Promise.all([
    storage.estimate?.().catch(() => undefined),
    storage.persisted?.().catch(() => undefined),
  ]);
  return { kind, usage: estimate?.usage ?? null, quota: estimate?.quota ?? null, persistent: persistent ?? null };
}
