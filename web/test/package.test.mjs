// What a user downloads: its size, and that importing it does nothing.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

const dist = new URL('../dist/', import.meta.url);
/**
 * Bytes gzipped that the modules take, so that they do not grow unseen. The package as a whole is over the 350 KB that it is to have
 * (see docs/ARCHITECTURE.md).
 */
const WASM_GZIPPED_MAX = {
  'cu.wasm': 360 * 1024,
  'cu-compile.wasm': 434 * 1024,
  'cu-home.wasm': 410 * 1024,
  'cu-storage.wasm': 275 * 1024,
};

test('the wasm is small', () => {
  for (const [file, limit] of Object.entries(WASM_GZIPPED_MAX)) {
    const size = gzipSync(readFileSync(new URL(file, dist)), { level: 9 }).length;
    assert.ok(size <= limit, `${file}: ${size} bytes gzipped`);
  }
});

test('the package has its parts and no dependency', () => {
  const files = readdirSync(dist);
  const modules = Object.keys(WASM_GZIPPED_MAX);
  for (const file of ['index.js', 'index.d.ts', ...modules]) assert.ok(files.includes(file), file);
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
