// What a user downloads: its size, and that importing it does nothing.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

const dist = new URL('../dist/', import.meta.url);
const WASM_GZIPPED_MAX = 350 * 1024;

test('the wasm is small', () => {
  const sizes = ['cu.wasm', 'cu-storage.wasm'].map((file) => gzipSync(readFileSync(new URL(file, dist)), { level: 9 }).length);
  for (const size of sizes) assert.ok(size <= WASM_GZIPPED_MAX, `${sizes} bytes gzipped`);
});

test('the package has its parts and no dependency', () => {
  const files = readdirSync(dist);
  for (const file of ['index.js', 'index.d.ts', 'cu.wasm', 'cu-storage.wasm']) assert.ok(files.includes(file), file);
  const { dependencies, exports } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  assert.equal(dependencies, undefined);
  assert.equal(exports['.'].types, './dist/index.d.ts');
});

test('importing touches no browser API', async () => {
  const touched = [];
  for (const name of ['window', 'document', 'indexedDB', 'location']) {
    Object.defineProperty(globalThis, name, { configurable: true, get: () => void touched.push(name) });
  }
  await import(new URL('index.js?untouched', dist));
  assert.deepEqual(touched, []);
});
