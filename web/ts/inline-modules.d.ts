/** Wasm modules as base64, which `cargo xtask build` makes of the files. */

/** `cu-home.wasm` */
export const HOME: string;
/** `cu-storage.wasm` */
export const STORAGE: string;
