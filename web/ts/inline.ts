/**
 * The package `cu-wasm/inline`: {@link Cu} with its wasm in the JavaScript, so that nothing is fetched. The VM is the one that has `_home`;
 * the one that compiles functions is not in it.
 */

import { Cu as Bare } from './cu.js';
import { HOME, STORAGE } from './inline-modules.js';
import type { Modules } from './loader.js';

/** One Lua state with one database. */
export class Cu extends Bare {
  protected static override readonly modules = (): Modules => ({ home: () => compiled(HOME), storage: () => compiled(STORAGE) });
}

const modules = new Map<string, Promise<WebAssembly.Module>>();

/** Each is compiled once, when it is first needed. */
function compiled(base64: string): Promise<WebAssembly.Module> {
  let module = modules.get(base64);
  if (module === undefined) {
    const text = atob(base64);
    module = WebAssembly.compile(Uint8Array.from(text, (character) => character.charCodeAt(0)));
    modules.set(base64, module);
  }
  return module;
}

export { Cu as EnhancedCuWASM };
export * from './parts.js';
