/** The Rust exports of the module `storage`, as wasm-bindgen declares them, are what `ts/engine.ts` says. Checked by the compiler, never run. */

/// <reference path="../../../target/web/storage-bindings.d.ts" />

import type { StorageBindings } from '../../ts/engine.js';

export const surface: StorageBindings = storageBindings;
