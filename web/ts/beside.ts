/** The wasm files that lie beside this file: the usual ones, or those for the oldest browsers, whose VM interprets everything. */

import { hasFeatures } from './features.js';
import type { Modules } from './loader.js';

// Written out in this way, bundlers find the files and copy them.
const USUAL: Modules = {
  vm: () => new URL('./cu.wasm', import.meta.url),
  compile: () => new URL('./cu-compile.wasm', import.meta.url),
  home: () => new URL('./cu-home.wasm', import.meta.url),
  storage: () => new URL('./cu-storage.wasm', import.meta.url),
};
const OLDEST: Modules = {
  home: () => new URL('./cu-home-oldest.wasm', import.meta.url),
  storage: () => new URL('./cu-storage-oldest.wasm', import.meta.url),
};

/** Asked when an instance is opened, not at import. */
export function beside(): Modules {
  return hasFeatures() ? USUAL : OLDEST;
}
