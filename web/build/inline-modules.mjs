// The wasm modules that `cu-wasm/inline` carries: `npm run build` makes dist/inline-modules.js of this, with them as base64.
export { default as HOME } from '../dist/cu-home.wasm';
export { default as STORAGE } from '../dist/cu-storage.wasm';
