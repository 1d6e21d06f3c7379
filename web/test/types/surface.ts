/** The Rust exports, as wasm-bindgen declares them, are what `ts/engine.ts` says. Checked by the compiler, never run. */

/// <reference path="../../../target/web/bindings.d.ts" />

import type { Bindings } from '../../ts/engine.js';

export const surface: Bindings = bindings;
