/**
 * From wasm modules, the VM and the storage engine, to their classes, with the watch for traps. Where the modules are is a matter of the
 * package's entries (`index.ts`, `slim.ts`, `inline.ts`): an address in here would make bundlers copy wasm files for all of them.
 *
 * A module is compiled once per address and instantiated once per `Cu`, so that a trap costs one instance.
 * Nothing happens at import time, which keeps the package safe to import in Node and under server-side rendering.
 */

import type { HomeBindings, StorageBindings, VmBindings } from './engine.js';
import { EnhancedLuaError } from './errors.js';
import { createBindings as createCompilingBindings } from './compile-bindings.js';
import { createBindings as createHomeBindings } from './home-bindings.js';
import { createBindings as createStorageBindings } from './storage-bindings.js';
import { createBindings as createVmBindings } from './vm-bindings.js';
import type { Poison } from './poison.js';

/** Where the wasm comes from: an address (in Node also a file path), its bytes, a response, a compiled module. */
export type WasmSource = string | URL | ArrayBuffer | Uint8Array | Response | WebAssembly.Module;

type Given = WasmSource | PromiseLike<WasmSource>;

/** The wasm modules that an entry of the package brings along. Where a caller gives none of his own, one of these is loaded. */
export interface Modules {
  readonly vm?: () => Given;
  /** The VM that compiles functions. */
  readonly compile?: () => Given;
  /** The VM that has `_home` and tables; it also stands in for a missing `vm`. */
  readonly home?: () => Given;
  readonly storage?: () => Given;
}

type Source = Given | undefined;
/** What wasm-bindgen's glue is: classes that may be used once it has been called. */
type Glue<Bindings> = Bindings & ((options: { module_or_path: WebAssembly.Module }) => Promise<unknown>);

/**
 * Instantiates the VM, the one that compiles functions or a smaller one that only interprets.
 *
 * @param source by default the entry's own
 * @param hasTables whether Lua code is to have tables, which the smallest has not
 * @throws EnhancedLuaError `WASM_LOAD_FAILED`
 */
export function loadVm(modules: Modules, source: Source, compiles: boolean, hasTables: boolean, poison: Poison): Promise<VmBindings> {
  if (compiles) return load(source ?? modules.compile?.(), createCompilingBindings(watch(poison)));
  const hasOther = modules.home !== undefined && (hasTables || modules.vm === undefined);
  if (source === undefined && hasOther) return loadHomeVm(modules, source, poison);
  return load(source ?? modules.vm?.(), createVmBindings(watch(poison)));
}

/**
 * Instantiates the VM that has `_home`.
 *
 * @param source by default the entry's own
 * @throws EnhancedLuaError `WASM_LOAD_FAILED`
 */
export function loadHomeVm(modules: Modules, source: Source, poison: Poison): Promise<HomeBindings> {
  return load(source ?? modules.home?.(), createHomeBindings(watch(poison)));
}

/**
 * Instantiates the storage engine.
 *
 * @param source by default the entry's own
 * @throws EnhancedLuaError `WASM_LOAD_FAILED`
 */
export function loadStorage(modules: Modules, source: Source, poison: Poison): Promise<StorageBindings> {
  return load(source ?? modules.storage?.(), createStorageBindings(watch(poison)));
}

async function load<Bindings>(source: Source, bindings: Glue<Bindings>): Promise<Bindings> {
  const given = await source;
  if (given === undefined) {
    throw new EnhancedLuaError('WASM_LOAD_FAILED', 'this entry of the package brings no such wasm module along', {
      suggestion: 'Give the options `wasm` and `storageWasm`, or import cu-wasm.',
    });
  }
  try {
    await bindings({ module_or_path: await compile(given) });
    return bindings;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // Each engine says it in its own words.
    const isPolicy = /Content Security Policy|\bCSP\b|unsafe-eval|embedder/i.test(message);
    throw new EnhancedLuaError('WASM_LOAD_FAILED', `cannot load the wasm module: ${message}`, {
      originalError: error,
      ...(isPolicy ? { suggestion: "Let the page's Content-Security-Policy have 'wasm-unsafe-eval' in script-src." } : {}),
    });
  }
}

const compiled = new Map<string, Promise<WebAssembly.Module>>();

async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  // Not for an address: Node would load its `fetch` to tell.
  const isAddress = typeof source === 'string' || source instanceof URL;
  if (!isAddress && typeof Response !== 'undefined' && source instanceof Response) return compileResponse(source);
  if (source instanceof ArrayBuffer || source instanceof Uint8Array) return WebAssembly.compile(source as BufferSource);
  const address = String(source);
  let module = compiled.get(address);
  if (module === undefined) {
    module = compileAddress(address);
    compiled.set(address, module);
    // A failed download may work the next time.
    module.catch(() => compiled.delete(address));
  }
  return module;
}

async function compileAddress(address: string): Promise<WebAssembly.Module> {
  if (isNode() && !/^(https?|data|blob):/.test(address)) return WebAssembly.compile(await readFile(address));
  return compileResponse(await fetch(address));
}

async function compileResponse(response: Response): Promise<WebAssembly.Module> {
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}`);
  const streaming = response.headers.get('Content-Type')?.startsWith('application/wasm') ?? false;
  if (streaming && typeof WebAssembly.compileStreaming === 'function') return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

function isNode(): boolean {
  return typeof process === 'object' && typeof process.versions?.node === 'string';
}

async function readFile(address: string): Promise<Uint8Array<ArrayBuffer>> {
  // Behind a variable, so that bundlers for browsers leave it alone.
  const specifier = 'node:fs/promises';
  const fs = (await import(/* @vite-ignore */ /* webpackIgnore: true */ specifier)) as typeof import('node:fs/promises');
  const file = await fs.readFile(address.startsWith('file:') ? new URL(address) : address);
  return new Uint8Array(file.buffer as ArrayBuffer, file.byteOffset, file.byteLength);
}

/** A stand-in for the global `WebAssembly`: what it instantiates reports traps of its exports. */
function watch(poison: Poison): typeof WebAssembly {
  const instantiate = async (module: WebAssembly.Module, imports: WebAssembly.Imports): Promise<unknown> => {
    const instance = await WebAssembly.instantiate(module, imports);
    return { instance: { exports: watchExports(instance.exports, poison) }, module };
  };
  return Object.create(WebAssembly, { instantiate: { value: instantiate } }) as typeof WebAssembly;
}

function watchExports(exports: WebAssembly.Exports, poison: Poison): WebAssembly.Exports {
  const watched: WebAssembly.Exports = {};
  for (const [name, value] of Object.entries(exports)) {
    watched[name] = typeof value === 'function' ? watchFunction(value, poison) : value;
  }
  return watched;
}

function watchFunction(call: Function, poison: Poison): Function {
  return (...args: unknown[]): unknown => {
    try {
      return call(...args) as unknown;
    } catch (error) {
      poison.thrown = error;
      poison.look();
      throw error;
    }
  };
}
