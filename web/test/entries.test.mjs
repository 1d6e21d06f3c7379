// The package's other entries: `slim`, which brings no wasm along, and `inline`, which fetches none.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import * as whole from '../dist/index.js';
import * as inline from '../dist/inline.js';
import * as slim from '../dist/slim.js';

const wasm = (name) => readFile(new URL(`../dist/${name}`, import.meta.url));

/** The text of an entry and all it imports, as a script that sets the global `exported`. */
async function script(entry) {
  const path = fileURLToPath(new URL(`../dist/${entry}`, import.meta.url));
  const result = await build({ entryPoints: [path], bundle: true, write: false, format: 'iife', globalName: 'exported', platform: 'neutral' });
  return result.outputFiles[0].text;
}

test('all entries export the same', () => {
  for (const entry of [inline, slim]) {
    assert.deepEqual(Object.keys(entry), Object.keys(whole));
    assert.equal(entry.EnhancedCuWASM, entry.Cu);
    assert.equal(entry.LuaError, whole.LuaError);
  }
});

test('slim takes bytes, an address, a response, a module and promises of them', async () => {
  const [vm, storage] = await Promise.all(['cu.wasm', 'cu-storage.wasm'].map(wasm));
  const response = (bytes) => new Response(bytes, { headers: { 'Content-Type': 'application/wasm' } });
  const given = [
    { wasm: vm, storageWasm: storage },
    { wasm: new URL('../dist/cu.wasm', import.meta.url), storageWasm: Promise.resolve(storage) },
    { wasm: response(vm), storageWasm: response(storage) },
    { wasm: await WebAssembly.compile(vm), storageWasm: await WebAssembly.compile(storage) },
    { wasm: await wasm('cu-home.wasm'), storageWasm: storage, home: true },
    { wasm: await wasm('cu-compile.wasm'), storageWasm: storage, compile: 'eager' },
  ];
  for (const options of given) {
    const cu = await slim.Cu.open({ storage: 'memory', ...options });
    await cu.setValue('t', 'k', 41);
    assert.equal(await cu.eval('return ... + 1', { args: [await cu.getValue('t', 'k')] }), 42);
    await cu.close();
  }
});

test('slim says what it is missing', async () => {
  const missing = { code: 'WASM_LOAD_FAILED', suggestion: /wasm.*storageWasm/ };
  await assert.rejects(slim.Cu.open({ storage: 'memory' }), missing);
  await assert.rejects(slim.Cu.open({ storage: 'memory', wasm: await wasm('cu.wasm') }), missing);
  await assert.rejects(slim.Cu.open({ storage: 'memory', home: true }), missing);
});

test('slim names no wasm file', async () => {
  const names = (text) => [...text.matchAll(/[\w-]+\.wasm"/g)].length;
  assert.equal(names(await script('slim.js')), 0);
  assert.equal(names(await script('index.js')), 6);
});

test('inline runs as one script where nothing can be fetched', async () => {
  const program = `
    for (const name of ['fetch', 'process', 'URL', 'XMLHttpRequest', 'require']) {
      Object.defineProperty(globalThis, name, { value: undefined, configurable: true });
    }
    ${await script('inline.js')};
    (async () => {
      const cu = await exported.Cu.open({ home: true });
      await cu.batchTableOperations([{ type: 'set', table: 't', key: 1, value: { n: 5 } }]);
      const found = await cu.queryTable('t', { field: 'n', operator: '>', value: 4 });
      console.log([cu.storage, found[0].n, await cu.eval('_home.x = 3 return _home.x')].join());
      await cu.close();
    })();`;
  const folder = await mkdtemp(join(tmpdir(), 'cu-inline-'));
  try {
    await writeFile(join(folder, 'program.mjs'), program);
    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, 'program.mjs')]);
    assert.equal(stdout, 'memory,5,3\n');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('inline has no module that compiles functions, so it interprets', async () => {
  const cu = await inline.Cu.open({ storage: 'none', compile: 'eager' });
  assert.equal(await cu.eval('return 1'), 1);
  await cu.close();
});
