/** The glue that wasm-bindgen generates, as `cargo xtask build` wraps it: a factory, since it holds one instance. */

import type { CompileBindings } from './engine.js';

/**
 * @param webAssembly stands in for the global of that name
 * @returns instantiates when it is called; then its classes may be used
 */
export function createBindings(
  webAssembly: typeof WebAssembly,
): CompileBindings & ((options: { module_or_path: WebAssembly.Module }) => Promise<unknown>);
