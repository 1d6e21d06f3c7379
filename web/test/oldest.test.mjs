// The oldest supported browsers: Chrome 80, Firefox 79, Safari 13.1. Every file that they load is in the language that all three parse; the
// wasm made for them passes a validator that knows only what Safari 13.1 has; and the package does its work in a process that has no
// more than they have.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { parse } from 'acorn';
import { PROBE } from '../dist/features.js';

const run = promisify(execFile);
const dist = new URL('../dist/', import.meta.url);
const path = (name) => fileURLToPath(new URL(name, dist));
/** Workers that are modules, which the older two lack, and frameworks with demands of their own. */
const NEWER = ['worker.js', 'worker-thread.js', 'worker-serve.js', 'port.js'];

/** What of ES2020 one of them does not parse: why, or null. */
function tooNew(node) {
  if (node.type === 'Literal' && node.bigint !== undefined) return 'a BigInt literal (Safari 14)';
  if (node.type === 'ExportAllDeclaration' && node.exported !== null) return 'export * as (Firefox 80, Safari 14.1)';
  if (node.type === 'Literal' && node.regex !== undefined && /\(\?<[=!]/.test(node.regex.pattern)) return 'lookbehind (Safari 16.4)';
  return null;
}

function* nodes(value) {
  if (Array.isArray(value)) for (const item of value) yield* nodes(item);
  else if (typeof value === 'object' && value !== null) {
    if (typeof value.type === 'string') yield value;
    for (const inner of Object.values(value)) yield* nodes(inner);
  }
}

/** What keeps a script from being parsed there. */
function problems(text) {
  const found = [];
  try {
    // 2020 has `?.`, `??`, `import()` and `import.meta`; class fields, private names, `??=` and top-level await came later.
    const tree = parse(text, { ecmaVersion: 2020, sourceType: 'module', locations: true });
    for (const node of nodes(tree)) {
      const problem = tooNew(node);
      if (problem !== null) found.push(`line ${node.loc.start.line}: ${problem}`);
    }
  } catch (error) {
    found.push(error.message);
  }
  return found;
}

test('every file is in the language of the oldest browsers', async () => {
  const files = (await readdir(dist)).filter((name) => name.endsWith('.js') && !NEWER.includes(name));
  assert.ok(files.length > 30);
  for (const name of files) assert.deepEqual(problems(await readFile(path(name), 'utf8')), [], name);
});

test('what is newer is found', () => {
  for (const text of ['1n', 'class A { x = 1 }', 'class A { #x() {} }', 'class A { static {} }', 'a ??= 1', 'await 1', 'export * as a from "b"', '/(?<=a)b/', 'a.b?.c ?? 1; 1n;']) {
    assert.notDeepEqual(problems(text), [], text);
  }
  assert.deepEqual(problems('export const a = (b) => b?.c ?? import.meta.url; /(?<year>a)/su; import("a");'), []);
});

const wasmOpt = fileURLToPath(new URL('../node_modules/.bin/wasm-opt', import.meta.url));

/** The validator goes by the features it is told, once a module has no list of its own: such a list is a custom section. */
async function validate(file, ...features) {
  const folder = await mkdtemp(join(tmpdir(), 'cu-validate-'));
  try {
    const bare = join(folder, 'bare.wasm');
    await writeFile(bare, withoutCustomSections(await readFile(file)));
    await run(wasmOpt, [bare, ...features, '-o', '/dev/null']);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function withoutCustomSections(bytes) {
  const kept = [bytes.subarray(0, 8)];
  for (let at = 8; at < bytes.length; ) {
    let [length, shift, content] = [0, 0, at + 1];
    for (let byte = 0x80; byte >= 0x80; shift += 7) {
      byte = bytes[content++];
      length |= (byte & 0x7f) << shift;
    }
    if (bytes[at] !== 0) kept.push(bytes.subarray(at, content + length));
    at = content + length;
  }
  return Buffer.concat(kept);
}

const WITHOUT = (name) => ['--all-features', `--disable-${name}`];
const SAFARI = ['--mvp-features', '--enable-mutable-globals'];

test('the wasm for them uses nothing newer', async () => {
  for (const name of ['cu-home-oldest.wasm', 'cu-storage-oldest.wasm']) {
    await validate(path(name), ...SAFARI);
    assert.ok(WebAssembly.validate(await readFile(path(name))));
  }
  // The validator sees what is newer.
  for (const name of ['cu-home.wasm', 'cu-storage.wasm']) await assert.rejects(validate(path(name), ...SAFARI), /requires? .*--enable/s);
});

test('the probe stands for what the usual modules use', async () => {
  assert.equal(WebAssembly.validate(Uint8Array.from(PROBE)), true);
  const folder = await mkdtemp(join(tmpdir(), 'cu-probe-'));
  try {
    const file = join(folder, 'probe.wasm');
    await writeFile(file, Uint8Array.from(PROBE));
    await validate(file, '--all-features');
    for (const feature of ['sign-ext', 'nontrapping-float-to-int', 'bulk-memory', 'reference-types', 'multivalue']) {
      // Bulk memory is a feature of two parts to this validator.
      const names = feature === 'bulk-memory' ? [...WITHOUT(feature), '--disable-bulk-memory-opt'] : WITHOUT(feature);
      await assert.rejects(validate(file, ...names), `without ${feature}`);
    }
    // With these and what is as old as they are, the usual modules are valid: they use nothing that the probe does not try.
    const tried = ['sign-ext', 'nontrapping-float-to-int', 'bulk-memory', 'bulk-memory-opt', 'reference-types', 'call-indirect-overlong', 'multivalue'];
    for (const name of ['cu.wasm', 'cu-compile.wasm', 'cu-home.wasm', 'cu-storage.wasm']) {
      await validate(path(name), ...SAFARI, ...tried.map((feature) => `--enable-${feature}`));
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

/** Takes away what the oldest browsers lack, and what a page has not. Wasm of newer features is refused by its probe. */
const AGED = `
  // What Node itself needs of them, it has then.
  await import('node:http');
  void new Response('');
  const { validate } = WebAssembly;
  WebAssembly.validate = (bytes) => { asked.push(bytes.length); return false; };
  const asked = [];
  const addresses = [];
  const { compile } = WebAssembly;
  delete WebAssembly.compileStreaming;
  delete WebAssembly.instantiateStreaming;
  for (const name of ['BigInt', 'BigInt64Array', 'BigUint64Array', 'BroadcastChannel', 'WeakRef', 'FinalizationRegistry', 'AggregateError', 'structuredClone',
    'CompressionStream', 'DecompressionStream', 'reportError', 'scheduler', 'setImmediate']) delete globalThis[name];
  for (const name of ['getBigInt64', 'getBigUint64', 'setBigInt64', 'setBigUint64']) delete DataView.prototype[name];
  for (const type of [Array, String, Uint8Array]) for (const name of ['at', 'replaceAll', 'findLast', 'toSorted', 'with']) delete type.prototype[name];
  for (const name of ['hasOwn', 'groupBy']) delete Object[name];
  for (const name of ['any', 'withResolvers', 'try']) delete Promise[name];
  delete AbortSignal.prototype.throwIfAborted;
  delete AbortSignal.timeout;
  delete AbortSignal.any;
  Object.defineProperty(AbortSignal.prototype, 'reason', { value: undefined });
`;

const WORK = `
  const { Cu } = await import(${JSON.stringify(new URL('index.js', dist).href)});
  const cu = await Cu.open({ storage: 'memory', home: true, compile: 'hot', functions: { later: async (n) => n + 1 } });
  await cu.setValue('t', 'k', { big: 2 ** 52 + 1, low: -(2 ** 52) - 1, float: 0.1, text: 'é', list: [1, [2]] });
  const people = Array.from({ length: 200 }, (_, n) => ({ type: 'set', table: 'people', key: n, value: { n, age: n % 50 } }));
  await cu.batchTableOperations(people);
  await cu.createIndex('people', 'age');
  const found = await cu.queryTable('people', { field: 'age', operator: '=', value: 7, sort: 'n' });
  await cu.persistFunction('f', 'count', 'local n = 0; return function() n = n + 1; return n end');
  await cu.callFunction('f', 'count');
  const reports = [];
  const subscription = await cu.subscribe('people', { field: 'age', operator: '<', value: 1 }, ({ added }) => reports.push(added.length));
  const { values } = await cu.run('_home.x = ("ab"):rep(3) local s = 0 for i = 1, 200000 do s = s + i % 7 end return s, later(1), 2^53, math.floor(-7.5), string.format("%d", -5)');
  const aborter = new AbortController();
  const endless = cu.run('while true do end', { signal: aborter.signal }).catch(({ name }) => name);
  setTimeout(() => aborter.abort(), 20);
  const wide = await cu.eval('return math.maxinteger').catch(({ code, message }) => code + ' ' + message);
  const result = {
    probed: asked.length > 0, value: await cu.getValue('t', 'k'), found: found.map(({ n }) => n), count: await cu.callFunction('f', 'count'), reports, values,
    aborted: await endless, wide, seeded: typeof (await cu.eval('return math.random(100)')), error: await cu.run('error("no")').catch(({ message }) => message),
  };
  subscription.end();
  await cu.close();
  // The port by which a page's tasks take turns, there being no setImmediate, would keep the process.
  process.stdout.write(JSON.stringify(result), () => process.exit());
`;

test('the package does its work with what they have', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'cu-oldest-'));
  try {
    await writeFile(join(folder, 'main.mjs'), AGED + WORK);
    const { stdout } = await run(process.execPath, [join(folder, 'main.mjs')]);
    assert.deepEqual(JSON.parse(stdout), {
      probed: true,
      value: { big: 2 ** 52 + 1, low: -(2 ** 52) - 1, float: 0.1, text: 'é', list: [1, [2]] },
      found: [7, 57, 107, 157],
      count: 2,
      reports: [4],
      values: [599997, 2, 2 ** 53, -8, '-5'],
      aborted: 'AbortError',
      wide: 'INVALID_INPUT an integer beyond 2^53 needs a browser with BigInt',
      seeded: 'number',
      error: 'script:1: no',
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});
