// Importing the package where nothing of a browser or of Node is there, as some servers that render pages have it. Only the Encoding
// API, which all of them have, is used at import time.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { createContext, runInContext } from 'node:vm';
import { build } from 'esbuild';

/** A module as a script that sets the global `exported`. */
async function script(contents) {
  const result = await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL('../dist/', import.meta.url)) },
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'exported',
    platform: 'neutral',
    target: 'es2022',
    logOverride: { 'empty-import-meta': 'silent' },
  });
  return result.outputFiles[0].text;
}

/** The names that the module exports, in a realm with the language's own globals and the Encoding API. */
async function importBare(contents) {
  const context = createContext({ TextEncoder, TextDecoder });
  for (const name of ['process', 'URL', 'crypto', 'indexedDB', 'Worker', 'performance', 'setTimeout']) {
    assert.equal(runInContext(`typeof ${name}`, context), 'undefined', name);
  }
  runInContext(await script(contents), context);
  return runInContext('Object.keys(exported).join()', context).split(',');
}

for (const entry of ['index.js', 'slim.js', 'inline.js', 'worker.js', 'basic.js', 'basic-buffer.js', 'bigint.js']) {
  test(`${entry} is imported without the globals of a browser or of Node`, async () => {
    const names = await importBare(`export * from './${entry}';`);
    // `export *` leaves the default export out.
    const expected = Object.keys(await import(`../dist/${entry}`)).filter((name) => name !== 'default');
    assert.deepEqual(names.sort(), expected.sort());
  });
}

test('a module that uses a global at import time is found out', async () => {
  await assert.rejects(importBare(`export * from './index.js'; export const address = new URL('cu:');`), { name: 'ReferenceError' });
});

test('opening in Node does not make it load its fetch', async () => {
  const program = `
    const { Cu } = await import(${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)});
    const isLoaded = () => process.moduleLoadList.some((name) => name.includes('undici'));
    const cu = await Cu.open({ storage: 'memory' });
    await cu.eval('return 1');
    const before = isLoaded();
    void Response;
    console.log(before, isLoaded());`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program]);
  assert.equal(stdout.trim(), 'false true');
});
