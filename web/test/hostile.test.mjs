// The hostile corpus in wasm, and what crosses the bridge between JavaScript and Lua: every case ends as stated or in a typed error,
// within its limits, and the instance works afterwards.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Cu, EnhancedLuaError } from '../dist/index.js';

const folder = new URL('../../fixtures/hostile/', import.meta.url);
const HEAP_LIMIT = 1 << 20;
const FUEL = 2 << 20;
/** One operation may take more than what is left: so much, and a pattern match as much as it has taken already. */
const OVERRUN = 1 << 20;

/** Memory comes in pages of 64 KiB. */
const PAGES = 2 * 65536;

/** The cases of a file; `tests/src/hostile.rs` tells its form. */
function cases(text) {
  return text.split('--@ ').slice(1).flatMap((block) => {
    const head = block.slice(0, block.indexOf('\n'));
    const source = block.slice(head.length + 1);
    const [name, ...words] = head.split('; ');
    const keys = new Map(words.map((word) => [word.slice(0, word.indexOf(': ')), word.slice(word.indexOf(': ') + 2)]));
    const base = { name, source, end: keys.get('end'), heap: number(keys.get('heap')) ?? HEAP_LIMIT, fuel: number(keys.get('fuel')) ?? FUEL };
    const each = [...keys].find(([key]) => key.startsWith('each '));
    if (each === undefined) return [base];
    const variable = `$${each[0].slice('each '.length)}`;
    return each[1].split(' | ').map((value) => ({ ...base, name: `${name} (${value})`, source: source.replaceAll(variable, () => value) }));
  });
}

function number(text) {
  if (text === undefined) return undefined;
  const unit = { K: 1024, M: 1024 * 1024 }[text.at(-1)];
  return unit === undefined ? Number(text) : Number(text.slice(0, -1)) * unit;
}

const wasm = await WebAssembly.compile(readFileSync(new URL('../dist/cu.wasm', import.meta.url)));
const prototypes = [Object.prototype, Array.prototype, Function.prototype, Map.prototype, String.prototype, Promise.prototype];
const untouched = prototypes.map((prototype) => Reflect.ownKeys(prototype).length);

let count = 0;
const slowest = { ms: 0, name: '' };
for (const file of readdirSync(folder).filter((name) => name.endsWith('.lua'))) {
  const listed = cases(readFileSync(new URL(file, folder), 'utf8'));
  count += listed.length;
  test(file, async () => {
    const problems = [];
    for (const hostile of listed) {
      const start = performance.now();
      const problem = await check(hostile).catch((error) => `${error.stack}`);
      if (problem !== null) problems.push(`${hostile.name}: ${problem}`);
      const ms = performance.now() - start;
      if (ms > slowest.ms) Object.assign(slowest, { ms, name: `${file.replace('.lua', '')}/${hostile.name}` });
    }
    assert.deepEqual(problems, []);
  });
}
test('the corpus is there', () => {
  assert.ok(count >= 900, `only ${count} cases`);
  // `cargo xtask bench hostile` reads this line.
  console.log(`hostile: ${count} cases, the slowest ${Math.round(slowest.ms)} ms: ${slowest.name}`);
});

async function check({ source, end, heap, fuel }) {
  const cu = await Cu.open({ storage: 'none', heapLimit: heap, files: {}, seed: 0, wasm });
  try {
    const before = cu.getMemoryStats().wasm;
    let used = 0;
    let outcome;
    let printed = 0;
    try {
      // What a slice prints waits in wasm memory until its end.
      const onOutput = (_, bytes) => (printed = Math.max(printed, bytes.length));
      used = (await cu.run(source, { fuel, onOutput })).fuelUsed;
      outcome = 'finishes';
    } catch (error) {
      if (!(error instanceof EnhancedLuaError)) return `not a typed error: ${error}`;
      const limits = { fuel: 'out of fuel', heap: 'not enough memory' };
      outcome = limits[error.code] ?? `error: ${error.message}`;
    }
    const wanted = end.startsWith('error: ') ? outcome.endsWith(end.slice('error: '.length)) : outcome === end;
    if (!wanted) return `${outcome.slice(0, 300)} instead of ${end}`;
    if (used > 2 * fuel + OVERRUN) return `${used} fuel used`;
    const grown = cu.getMemoryStats().wasm - before;
    if (grown > heap * 1.25 + PAGES + 4 * printed) return `${grown} bytes of memory for a heap of ${heap}`;
    const sum = await cu.eval('local t = {} for i = 1, 100 do t[i] = {i} end return #t', { fuel: 1 << 20 });
    return sum === 100 ? null : `afterwards: ${sum}`;
  } finally {
    await cu.close();
  }
}

/** Runs hostile work: it may be refused with a typed error; then everything has to be as before. */
function survives(name, work, options = {}) {
  test(name, async () => {
    const cu = await Cu.open({ storage: 'memory', wasm, heapLimit: 8 << 20, fuel: 50_000_000, ...options });
    try {
      try {
        await work(cu);
      } catch (error) {
        // What the page's own code throws comes back to it as it is.
        const isOwn = /throws|revoked/.test(name);
        assert.ok(isOwn || error instanceof EnhancedLuaError, `not a typed error: ${error?.stack ?? error}`);
      }
      assert.equal(await cu.eval('return 1 + 1'), 2);
      assert.deepEqual(prototypes.map((prototype) => Reflect.ownKeys(prototype).length), untouched);
      assert.equal({}.polluted, undefined);
    } finally {
      await cu.close();
    }
  });
}

function nested(depth, wrap) {
  let value = 1;
  for (let level = 0; level < depth; level += 1) value = wrap(value);
  return value;
}

const cyclic = {};
cyclic.self = cyclic;
const cyclicList = [];
cyclicList.push(cyclicList);
const cyclicMap = new Map();
cyclicMap.set('self', cyclicMap);

/** Values that a page might be made to pass on. */
const values = {
  'a key __proto__': JSON.parse('{"__proto__": {"polluted": 1}}'),
  'a key constructor': { constructor: { prototype: { polluted: 1 } } },
  'an object without prototype': Object.assign(Object.create(null), { a: 1 }),
  'an object with another prototype': Object.create({ inherited: 1 }, { own: { value: 2, enumerable: true } }),
  'a getter that throws': { get a() { throw new Error('got'); } },
  'a getter that changes its object': { get a() { this.b = 1; delete this.c; return 1; }, c: 2 },
  'a proxy that throws': new Proxy({}, { ownKeys() { throw new Error('no keys'); } }),
  'a proxy that lies': new Proxy({ a: 1 }, { ownKeys: () => ['a', 'b'], getOwnPropertyDescriptor: () => ({ value: 1, enumerable: true, configurable: true }) }),
  'a proxy without end': new Proxy({}, { get: (_, key) => (key === 'then' ? undefined : {}), ownKeys: () => ['x'], getOwnPropertyDescriptor: () => ({ value: {}, enumerable: true, configurable: true }) }),
  'a revoked proxy': (() => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy; })(),
  'a cycle': cyclic,
  'a list in itself': cyclicList,
  'a map in itself': cyclicMap,
  'deep objects': nested(100_000, (value) => ({ value })),
  'deep lists': nested(100_000, (value) => [value]),
  'deep maps': nested(10_000, (value) => new Map([['x', value]])),
  'one object many times': nested(40, (value) => [value, value]),
  'a sparse list': (() => { const list = []; list[4_000_000_000] = 1; return list; })(),
  'a list with a false length': { length: 1 << 30, 0: 1 },
  'a large list': new Array(2_000_000).fill(0),
  'a large text': 'x'.repeat(30_000_000),
  'large bytes': new Uint8Array(30_000_000),
  'half of a pair': '\ud800',
  'a key with half of a pair': { '\udc00': 1 },
  'zero bytes in keys': { 'a\0b': 1, 'a': 2 },
  'an empty key': { '': 1 },
  'a symbol': Symbol('x'),
  'symbol keys': { [Symbol.iterator]: 1, [Symbol.toPrimitive]: () => { throw new Error('primitive'); } },
  'a function': () => 1,
  'a class': class {},
  'a thenable': { then: () => { throw new Error('then'); } },
  'a promise': Promise.resolve(1),
  'toJSON': { toJSON: () => { throw new Error('json'); } },
  'valueOf': { valueOf: () => { throw new Error('value'); }, toString: () => { throw new Error('string'); } },
  'a large integer': 2n ** 70n,
  'the smallest integer': -(2n ** 63n),
  'not a number': NaN,
  'minus zero': -0,
  'a date': new Date(NaN),
  'an expression': /(a+)+$/,
  'an error': new Error('x'),
  'a weak map': new WeakMap(),
  'a map with odd keys': new Map([[NaN, 1], [{}, 2], [null, 3], [undefined, 4], [1.5, 5], [true, 6]]),
  'a set': new Set([1, 2]),
  'boxed values': { a: Object(1), b: Object('x'), c: Object(2n) },
  'a detached buffer': (() => { const bytes = new Uint8Array(8); structuredClone(bytes, { transfer: [bytes.buffer] }); return bytes; })(),
  'shared memory': new Uint8Array(new SharedArrayBuffer(8)),
  'floats': new Float64Array([NaN, Infinity]),
  'this module': globalThis,
};

/** Lua code whose results a page takes. */
const results = {
  '__proto__': 'return {["__proto__"] = {polluted = 1}}',
  'constructor': 'return {constructor = {prototype = {polluted = 1}}}',
  'names of methods': 'return {toString = 1, valueOf = 2, hasOwnProperty = 3, toJSON = 4}',
  'a thenable': 'return {["then"] = 1, catch = 2}',
  'a function named then': 'return {["then"] = print}',
  'a deep table': 'local t = {} for i = 1, 100000 do t = {t} end return t',
  'a deep table of fields': 'local t = {} for i = 1, 50000 do t = {x = t} end return t',
  'a cycle': 'local t = {} t.t = t return t',
  'one table many times': 'local t = {} for i = 1, 40 do t = {t, t} end return t',
  'a large table': 'local t = {} for i = 1, 100000 do t[i] = i end return t',
  'a large text': 'return ("x"):rep(3000000)',
  'a text that is none': 'return "\\xff\\xfe\\xed\\xa0\\x80"',
  'keys of all kinds': 'return {[1.5] = 1, [true] = 2, [{}] = 3, [print] = 4, [1 << 60] = 5, x = 6}',
  'holes': 'return {1, nil, nil, 4, [1 << 40] = 1}',
  'a key of many bytes': 'return {[("k"):rep(1000000)] = 1}',
  'keys that are alike': 'return {["1"] = "text", [1] = "number", ["1.0"] = "float"}',
  'keys with half of a pair': 'return {["\\xed\\xa0\\x80"] = 1, ["\\xff"] = 2}',
  'functions': 'return print, function() end, coroutine.create(print)',
  'metamethods': 'return setmetatable({}, {__index = error, __len = error, __pairs = error, __tostring = error, __gc = error})',
  'many results': 'return table.unpack({}, 1, 100000)',
  'numbers at the edge': 'return math.mininteger, math.maxinteger, 0/0, 1/0, -0.0',
  'an error that is a table': 'error(setmetatable({["__proto__"] = {polluted = 1}}, {__tostring = function() error("x") end}))',
  'an error that is a cycle': 'local t = {} t.t = t error(t)',
  'an error that is deep': 'local t = {} for i = 1, 100000 do t = {t} end error(t)',
  'an error with a long text': 'error(("x"):rep(3000000))',
  'an error that is nil': 'error(nil)',
  'an error that is a function': 'error(print)',
  'an error without end': 'error(setmetatable({}, {__tostring = function() while true do end end}))',
};

describe('values from JavaScript', () => {
  for (const [name, value] of Object.entries(values)) {
    survives(`${name}, as an argument`, async (cu) => {
      await cu.run('local function walk(v, d) if type(v) == "table" and d < 5 then for k, w in pairs(v) do walk(w, d + 1) end end end walk(..., 0)', { args: [value] });
    });
    survives(`${name}, as a global`, async (cu) => {
      await cu.set('value', value);
      await cu.get('value');
    });
    survives(`${name}, stored`, async (cu) => {
      await cu.setValue('t', 'k', value);
      await cu.getValue('t', 'k');
    });
  }
});

describe('values from Lua', () => {
  for (const [name, source] of Object.entries(results)) survives(name, (cu) => cu.run(source));
  survives('what has a key __proto__ has it for itself', async (cu) => {
    const value = await cu.eval(results.__proto__);
    assert.equal(Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null || value instanceof Map, true);
    assert.equal(value.polluted, undefined);
  });
});

const names = ['', '__proto__', 'constructor', 'a\0b', '\0', '\uffff', '..', '../x', '/', 'x'.repeat(100_000), '\ud800', 'é', 'a.b', '%00', '"; drop', ' ', 'null', 'toString', 1e21, -0, NaN, {}, [], null, undefined, Symbol('x')];

describe('names and keys', () => {
  for (const name of names) {
    const shown = typeof name === 'string' ? JSON.stringify(name.slice(0, 20)) : String(typeof name === 'symbol' ? 'symbol' : JSON.stringify(name) ?? name);
    survives(`${shown} as a table`, async (cu) => {
      await cu.setValue('other', 'k', 1);
      await cu.setValue(name, 'k', 2).catch((error) => assert.ok(error instanceof EnhancedLuaError, `${error}`));
      assert.equal(await cu.getValue('other', 'k'), 1);
      await cu.queryTable(name);
    });
    survives(`${shown} as a key`, async (cu) => {
      for (const key of ['a', 'b', 'a\0', 'k']) await cu.setValue('t', key, key);
      const isStored = await cu.setValue('t', name, 'hostile').catch((error) => {
        assert.ok(error instanceof EnhancedLuaError, `${error}`);
        return false;
      });
      for (const key of ['a', 'b', 'a\0', 'k']) assert.equal(await cu.getValue('t', key), key);
      if (isStored) assert.equal(await cu.getValue('t', name), 'hostile');
    });
    survives(`${shown} as a field`, async (cu) => {
      await cu.setValue('t', 'a', { x: 1, y: { z: 2 } });
      await cu.queryTable('t', { field: name, operator: '==', value: 1 });
      await cu.createIndex('t', name);
      await cu.queryTable('t', { sort: name });
    });
    survives(`${shown} as a global`, async (cu) => {
      await cu.set(name, 1);
      await cu.get(name);
    });
    survives(`${shown} as a function`, async (cu) => {
      await cu.persistFunction('F', name, 'function() return 1 end');
      await cu.callFunction('F', name);
    });
    survives(`${shown} as a file`, async (cu) => {
      await cu.writeFile(name, 'x');
      await cu.readFile(name);
    }, { files: {} });
  }
  survives('texts whose joined forms are alike', async (cu) => {
    const pairs = [['a', 'b\0c'], ['a\0b', 'c'], ['a', 'b'], ['ab', ''], ['', 'ab'], ['a/b', 'c'], ['a', 'b/c']];
    const stored = [];
    for (const [index, [table, key]] of pairs.entries()) {
      const done = await cu.setValue(table, key, index).catch((error) => error);
      if (done === true) stored.push([table, key, index]);
    }
    for (const [table, key, index] of stored) assert.equal(await cu.getValue(table, key), index);
    assert.ok(stored.length >= 4);
  });
});

describe('images', () => {
  test('changed at one place each', async () => {
    const cu = await Cu.open({ storage: 'none', wasm, seed: 1 });
    await cu.eval('t = {1, 2, x = "text", f = function() return t end} c = coroutine.wrap(function() coroutine.yield(1) end) c()');
    const image = await cu.snapshot();
    await cu.close();
    let refused = 0;
    for (let place = 0; place < image.length; place += Math.max(1, image.length >> 7)) {
      const changed = image.slice();
      changed[place] ^= 1 << (place % 8);
      try {
        const other = await Cu.restore(changed, { storage: 'none', wasm, fuel: 1_000_000 });
        await other.eval('return 1').catch((error) => assert.ok(error instanceof EnhancedLuaError, `${error}`));
        await other.close();
      } catch (error) {
        assert.ok(error instanceof EnhancedLuaError, `${error}`);
        refused += 1;
      }
    }
    assert.ok(refused >= 60, `only ${refused} refused`);
  });
  for (const [name, bytes] of Object.entries({ 'no bytes': new Uint8Array(), noise: Uint8Array.from({ length: 5000 }, (_, at) => (at * 7919) % 256), zeros: new Uint8Array(1_000_000) })) {
    test(name, async () => {
      await assert.rejects(Cu.restore(bytes, { storage: 'none', wasm }), EnhancedLuaError);
    });
  }
});
