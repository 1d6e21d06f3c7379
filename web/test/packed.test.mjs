// The package as npm packs it: which files, and whether bundlers, Node and TypeScript find the modules and their types.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { publint } from 'publint';

const run = promisify(execFile);
const cwd = fileURLToPath(new URL('..', import.meta.url));
const { exports } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

test('npm packs what is built, and nothing else', async () => {
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd });
  const [{ files }] = JSON.parse(stdout);
  const paths = files.map(({ path }) => path);
  const strange = paths.filter((path) => !['package.json', 'README.md', 'LICENSE'].includes(path) && !/^dist\/[\w-]+(\.d\.ts|\.js|\.wasm)$/.test(path));
  assert.deepEqual(strange, []);
  assert.ok(paths.includes('README.md') && paths.includes('LICENSE'));
  for (const entry of Object.values(exports).flatMap((entry) => (typeof entry === 'string' ? entry : Object.values(entry)))) {
    assert.ok(paths.includes(entry.replace('./', '')), entry);
  }
});

test('the licence is the project\'s', () => {
  const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');
  assert.equal(read('../LICENSE'), read('../../LICENSE'));
});

test('publint has nothing to say', async () => {
  const { messages } = await publint({ pkgDir: cwd, strict: true, pack: 'npm' });
  assert.deepEqual(messages, []);
});

test('TypeScript finds the types of every module', async () => {
  // The wasm files are data: they have no types. CommonJS is not offered.
  const data = Object.keys(exports).filter((name) => name.endsWith('.wasm'));
  const options = ['--pack', '.', '--profile', 'esm-only', '--format', 'json', '--exclude-entrypoints', ...data];
  const { stdout } = await run('npx', ['--no-install', 'attw', ...options], { cwd, maxBuffer: 1 << 26 });
  const { analysis } = JSON.parse(stdout);
  assert.equal(analysis.types.kind, 'included');
  assert.ok('.' in analysis.entrypoints);
});
