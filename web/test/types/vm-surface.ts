/** The Rust exports of the module `vm`, as wasm-bindgen declares them, are what `ts/engine.ts` says. Checked by the compiler, never run. */

/// <reference path="../../../target/web/vm-bindings.d.ts" />

import type { VmBindings } from '../../ts/engine.js';

export const surface: VmBindings = vmBindings;
