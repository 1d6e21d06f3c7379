/** What an instance may be opened with, and what the VM is told of it. */

import type { FunctionLimits } from './functions.js';
import type { HostFunctions } from './host.js';
import type { HomeOptions } from './home.js';
import type { Modules, WasmSource } from './loader.js';
import type { LuaModules } from './lua-modules.js';
import type { Permissions } from './permissions.js';
import type { Store } from './store.js';

export interface CuOptions extends FunctionLimits {
  /** The database's name; instances of the same name share what is stored. Default `cu`. */
  name?: string;
  /**
   * Where the database is. Default: IndexedDB, or memory where there is none (see {@link Cu.storage}). `opfs`: in the origin's private
   * file system, which writes faster, but is for workers only, and one at a time: others are refused with code `blocked`. `none`: there is
   * none, the storage engine is not even loaded, and calls that need it reject with `unavailable`.
   */
  storage?: Exclude<StorageKind, 'store'>;
  /** A place of your own for the database's bytes, which nobody else writes to; `storage` is not looked at then. */
  store?: Store;
  /**
   * `strict` (the default): a resolved write survives a power cut. `relaxed`: it survives a killed process.
   */
  durability?: 'strict' | 'relaxed';
  /**
   * Bytes of the database that the storage engine keeps in memory: half of them what was read, half what waits to be written to its
   * place. Default 16 MiB. With 256 KiB, and batches of a few hundred documents, the engine needs about a megabyte altogether.
   */
  cacheBytes?: number;
  /**
   * Asks the browser to keep the data until the user deletes it, also when space runs out (`navigator.storage.persist`). Opening does not wait for the answer,
   * which {@link Cu.stats} tells. Default: it is not asked.
   */
  persistent?: boolean;
  /** Bytes that Lua values may take. Default 512 KiB. */
  heapLimit?: number;
  /**
   * Which functions become WebAssembly of their own: those that run often, none, or all that run at all (for tests). Results and
   * fuel are the same. Where a page may not compile code at once, all are interpreted. `never` loads a smaller module in place of
   * `cu-compile.wasm`: `cu-home.wasm`, or, with `storage: 'none'`, `cu.wasm`, which has no tables for Lua code. Default: `hot`; `never` with a `wasm` of your own.
   */
  compile?: 'hot' | 'never' | 'eager' | undefined;
  /** Fuel of each run that states none. Default: no limit. */
  fuel?: number;
  /** Milliseconds that each run may last that states none. Default: no limit. */
  timeLimit?: number;
  /** Seeds `math.random`. Default: a random seed. */
  seed?: number | bigint;
  /** Stops the clock that Lua sees, at milliseconds since 1970 or a date. Default: it goes. */
  now?: number | Date;
  /**
   * Gives Lua code a file system in memory: `io`, the functions of `os` that concern files, `dofile`, `loadfile`, `require`. It
   * starts with these files, paths with contents (text or bytes); directories are made as paths name them. It lives as long as
   * the instance. There are no processes; standard input is empty, and standard errors go to the console. Default: no files,
   * and those functions are absent.
   */
  files?: Contents;
  /** Bytes that names and contents of all files may take. Default 64 MiB. */
  filesLimit?: number;
  /** What `os.getenv` knows, and where `require` finds its paths (`LUA_PATH`). Default: nothing. */
  environment?: Readonly<Record<string, string>>;
  /**
   * The VM's wasm: an address, bytes, a `Response` or a compiled module. Default: what the entry of the package brings along; with `cu-wasm`
   * itself those beside the package's code, as `compile` says.
   */
  wasm?: WasmSource | PromiseLike<WasmSource>;
  /** The storage engine's wasm, likewise; `cu-storage.wasm`. */
  storageWasm?: WasmSource | PromiseLike<WasmSource>;
  /** The VM's address; another name of `wasm`. */
  wasmPath?: string | URL;
  /** Operations that one batch may have. Default 1000. */
  maxBatchSize?: number;
  /** Encoded bytes that one batch may have. Default: no limit. */
  maxBatchBytes?: number;
  /** Milliseconds that a query may wait for the database; over them it fails with `QUERY_FAILED`. Default 10,000. */
  queryTimeout?: number;
  /**
   * Whether `_home` is what was stored. Otherwise it begins empty, and what is stored stays until the first commit replaces it, or `loadState`
   * brings it back. Tables of the database are there in any case. Default true.
   */
  autoRestore?: boolean;
  /**
   * Keeps the Lua table `_home` (also `Memory`, if there is no such variable), and all it reaches, in the database: it is there again
   * when the database is opened the next time. Only one instance at a time can have it; others are refused with code `blocked`.
   * A state that was restored from an image has no such table. The VM is `cu-home.wasm` then, a larger module.
   */
  home?: boolean | HomeOptions;
  /**
   * Lua code has the sandbox profile instead of the whole library, and cannot change the libraries (docs/SANDBOX.md). Sandboxes beside
   * each other are made by the option `sandbox` of {@link Cu.run}. In a state restored from an image the library is as it was saved.
   */
  sandbox?: boolean;
  /** What Lua code may use of the `functions` and of `_home`; the options of a run narrow it. Default: all. */
  permissions?: Permissions;
  /**
   * Functions that Lua code may call, as global variables and, in groups, fields of global tables. They may return promises, which Lua code
   * then waits for. In a state restored from an image they are known by these names, and its variables stay as they are.
   */
  functions?: HostFunctions;
  /**
   * Modules that `require` finds without files, as Lua source by name: `{ bigint }` with `import { bigint } from 'cu-wasm/bigint'`. In a
   * state restored from an image the modules are those it was saved with.
   */
  modules?: LuaModules;
  /** Gives up opening. */
  signal?: AbortSignal;
}

export type StorageKind = 'indexeddb' | 'opfs' | 'memory' | 'store' | 'none';

/** Paths, with `/` between their parts, and what the files hold. */
export type Contents = Readonly<Record<string, string | Uint8Array>> | ReadonlyMap<string, string | Uint8Array>;

const HEAP_LIMIT = 512 * 1024;

/**
 * Which functions are compiled. None with a VM that the caller gives, which is taken for the small one unless he says otherwise, and none
 * where the entry of the package, or the browser, has no module that compiles.
 */
export function compilation({ compile, wasm, wasmPath }: CuOptions, modules: Modules): 'hot' | 'never' | 'eager' {
  if ((wasm ?? wasmPath) !== undefined) return compile ?? 'never';
  return modules.compile === undefined ? 'never' : (compile ?? 'hot');
}

/** The options as the VM takes them. */
export function instanceOptions(options: CuOptions, modules: Modules): Record<string, unknown> {
  const { heapLimit = HEAP_LIMIT, now, seed = randomSeed(), files, filesLimit, environment } = options;
  const compile = compilation(options, modules);
  const profile = options.sandbox === true ? 'sandbox' : 'whole';
  return { heapLimit, seed, now: now === undefined ? null : Number(now), files, filesLimit, environment, compile, profile };
}

function randomSeed(): number {
  const [low = 0, high = 0] = crypto.getRandomValues(new Uint32Array(2));
  // As many bits as a number holds exactly.
  return (high >>> 11) * 2 ** 32 + low;
}
