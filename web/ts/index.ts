/** The package `cu-wasm`: {@link Cu} with the wasm files that lie beside this file. */

import { beside } from './beside.js';
import { Cu as Bare } from './cu.js';

/** One Lua state with one database. */
export class Cu extends Bare {
  protected static override readonly modules = beside;
}

export { Cu as EnhancedCuWASM };
export * from './parts.js';
