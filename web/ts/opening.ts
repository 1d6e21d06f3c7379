/** Opens what an instance consists of: the VM, the database, and what joins them. */

import { throwIfAborted } from './abort.js';
import { encode } from './codec.js';
import type { Database, HomeInstance, StorageBindings } from './engine.js';
import { engineError, StorageError } from './errors.js';
import { SavedFunctions } from './functions.js';
import { Handles } from './handles.js';
import { Home } from './home.js';
import { loadHomeVm, loadStorage, loadVm, type Modules } from './loader.js';
import { Neighbours } from './neighbours.js';
import { NO_STORAGE } from './no-storage.js';
import { openOpfs } from './opfs-store.js';
import { compilation, instanceOptions, type CuOptions, type StorageKind } from './options.js';
import { askToPersist } from './space.js';
import type { Store } from './store.js';
import { TransactingDatabase } from './transactions.js';
import { Upkeep } from './upkeep.js';
import { Poison } from './poison.js';
import { Vm } from './vm.js';

/** A VM and a database. */
export interface Core {
  vm: Vm;
  database: TransactingDatabase;
  poison: Poison;
  storage: StorageKind;
  /** Those who have the same database open, where there can be any. */
  neighbours: Neighbours | null;
}

/** What an open instance consists of. */
export interface Parts extends Core {
  functions: SavedFunctions;
  handles: Handles;
  home: Home | null;
}

/**
 * Opens the VM and the database. Whoever uses them closes the database when something else fails.
 *
 * @param image what the Lua state is made from, if not new
 * @param hasHome whether the VM is to be the one that can have `_home`
 * @param modules the wasm that the entry of the package brings along
 * @param hasTables whether a new Lua state has `ext`
 */
export async function openCore(
  options: CuOptions,
  image: Uint8Array | null,
  hasHome: boolean,
  modules: Modules,
  hasTables = false,
): Promise<Core> {
  const { signal } = options;
  throwIfAborted(signal);
  const poison = new Poison();
  const wasm = options.wasm ?? options.wasmPath;
  const neighbours = canBeShared(options) ? Neighbours.meet(options.name ?? 'cu') : null;
  const opened = (async () => {
    const [vmBindings, storageBindings] = await Promise.all([
      hasHome ? loadHomeVm(modules, wasm, poison) : loadVm(modules, wasm, compilation(options, modules) !== 'never', hasTables, poison),
      options.storage === 'none' ? null : loadStorage(modules, options.storageWasm, poison),
    ]);
    throwIfAborted(signal);
    return { vmBindings, ...(await openDatabase(storageBindings, poison, options, neighbours)) };
  })();
  const { vmBindings, database: shared, storage } = await opened.catch((error: unknown) => {
    neighbours?.leave();
    throw error;
  });
  const upkeep = storage === 'memory' || storage === 'none' ? null : new Upkeep(shared, poison);
  const database = new TransactingDatabase(shared, upkeep);
  return closingOnFailure({ database, poison, neighbours }, signal, () => {
    const instance = poison.call(() => {
      const encoded = encode({ ...instanceOptions(options, modules), tables: hasTables ? 'ext' : 'none' });
      return image === null ? new vmBindings.Instance(encoded) : vmBindings.Instance.restore(encoded, image);
    });
    return { vm: new Vm(instance, poison, options, options.permissions), database, poison, storage, neighbours };
  });
}

/** Opens all that an instance consists of. Runs are not followed by commits of `_home` before it is given to the VM. */
export async function openParts(options: CuOptions, image: Uint8Array | null, modules: Modules): Promise<Parts> {
  const homeOptions = image === null ? (options.home ?? false) : false;
  const core = await openCore(options, image, homeOptions !== false, modules, options.storage !== 'none');
  return closingOnFailure(core, options.signal, async () => {
    const { vm, database, poison, storage, neighbours } = core;
    vm.connect(database, () => neighbours?.tell());
    const { name = 'cu' } = options;
    if (options.persistent === true && storage === 'indexeddb') void askToPersist();
    const functions = new SavedFunctions(vm, database, poison, options);
    let home: Home | null = null;
    if (homeOptions !== false) {
      const lock = storage === 'indexeddb' ? `cu-home:${name}` : null;
      // The module that was loaded for it.
      const homeVm = vm as Vm<HomeInstance>;
      const outside = { query: database.query.bind(database), batch: database.batchOutside.bind(database) };
      const { autoRestore = true } = options;
      home = await Home.open(homeVm, outside, poison, { autoRestore, ...(homeOptions === true ? {} : homeOptions) }, lock);
    }
    return { ...core, functions, handles: new Handles(vm), home };
  });
}

/** Does something with what is open; when that fails, closes the database. */
export async function closingOnFailure<T>(
  { database, poison, neighbours }: Pick<Core, 'database' | 'poison' | 'neighbours'>,
  signal: AbortSignal | undefined,
  work: () => Promise<T> | T,
): Promise<T> {
  try {
    throwIfAborted(signal);
    return await work();
  } catch (error) {
    await poison.wait(() => database.close()).catch(() => undefined);
    neighbours?.leave();
    throw signal?.aborted === true ? error : engineError(error, 'INIT_FAILED');
  }
}

/** Whether other tabs may have the same database open. */
function canBeShared({ storage, store }: CuOptions): boolean {
  return store === undefined && typeof indexedDB !== 'undefined' && (storage === undefined || storage === 'indexeddb');
}

async function openDatabase(
  bindings: StorageBindings | null,
  poison: Poison,
  options: CuOptions,
  neighbours: Neighbours | null,
): Promise<{ database: Database; storage: StorageKind }> {
  if (bindings === null) return { database: NO_STORAGE, storage: 'none' };
  const { name = 'cu', durability = 'strict', store, cacheBytes } = options;
  const openStore = (over: Store): Promise<Database> =>
    poison.wait(() => bindings.Database.openStore(over, encode({ cacheBytes }))).catch((error: unknown) => {
      throw engineError(error, 'INIT_FAILED');
    });
  if (store !== undefined) return { database: await openStore(store), storage: 'store' };
  if (options.storage === 'opfs') {
    const own = await openOpfs(name);
    try {
      return { database: await openStore(own), storage: 'opfs' };
    } catch (error) {
      await own.close();
      throw error;
    }
  }
  const open = async (storage: 'indexeddb' | 'memory'): Promise<{ database: Database; storage: StorageKind }> => {
    const isShared = storage === 'indexeddb';
    try {
      if (isShared) await neighbours?.arrived;
      const isAlone = (): boolean => neighbours?.isAlone() ?? false;
      const database = await poison.wait(() => bindings.Database.open(name, encode({ storage, durability, cacheBytes }), isAlone));
      if (isShared) neighbours?.attend(database, poison);
      else neighbours?.leave();
      return { database, storage };
    } catch (error) {
      throw engineError(error, 'INIT_FAILED');
    }
  };
  if (options.storage === 'indexeddb' || options.storage === 'memory') return open(options.storage);
  if (typeof indexedDB === 'undefined') return open('memory');
  try {
    return await open('indexeddb');
  } catch (error) {
    if (error instanceof StorageError && error.code === 'unavailable') return open('memory');
    throw error;
  }
}
