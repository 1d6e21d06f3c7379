/** The Rust exports of the module `home`, as wasm-bindgen declares them, are what `ts/engine.ts` says. Checked by the compiler, never run. */

/// <reference path="../../../target/web/home-bindings.d.ts" />

import type { HomeBindings } from '../../ts/engine.js';

export const surface: HomeBindings = homeBindings;
