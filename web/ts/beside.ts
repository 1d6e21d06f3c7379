/** The wasm files that lie beside this file. */

import type { Modules } from './loader.js';

// Written out in this way, bundlers find the files and copy them.
export const BESIDE: Modules = {
  vm: () => new URL('./cu.wasm', import.meta.url),
  compile: () => new URL('./cu-compile.wasm', import.meta.url),
  home: () => new URL('./cu-home.wasm', import.meta.url),
  storage: () => new URL('./cu-storage.wasm', import.meta.url),
};
