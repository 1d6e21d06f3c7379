/** The Rust exports of the module `compile`, as wasm-bindgen declares them, are what `ts/engine.ts` says. Checked by the compiler, never run. */

/// <reference path="../../../target/web/compile-bindings.d.ts" />

import type { CompileBindings } from '../../ts/engine.js';

export const surface: CompileBindings = compileBindings;
