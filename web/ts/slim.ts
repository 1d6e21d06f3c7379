/**
 * The package `cu-wasm/slim`: {@link Cu} without wasm files. Whoever opens an instance gives them, with the options `wasm` and
 * `storageWasm`: addresses, bytes, responses or compiled modules. `wasm` is `cu.wasm`; `cu-compile.wasm` when the option `compile` is
 * given, `cu-home.wasm` with `home`.
 */

export { Cu, Cu as EnhancedCuWASM } from './cu.js';
export * from './parts.js';
