// Whatever is given to a public method, it answers, or fails with an error of this package that says which argument it was: no TypeError from inside,
// no trap, no hang.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Cu, EnhancedLuaError, expose, Values } from '../dist/index.js';

const SEED = 20240731;

/** A small generator (mulberry32). */
function generator(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function cyclic() {
  const value = { list: [] };
  value.list.push(value);
  return value;
}

function deep(levels, make) {
  let value = 1;
  for (let level = 0; level < levels; level++) value = make(value);
  return value;
}

/** Values of every kind that a caller could come by, plain and odd. */
const JUNK = [
  () => undefined, () => null, () => true, () => false, () => 0, () => -0, () => 1, () => -1, () => 1.5, () => NaN, () => Infinity, () => -Infinity,
  () => 2 ** 31, () => 2 ** 53, () => 1e308, () => 10n, () => 2n ** 63n, () => -(2n ** 63n), () => 2n ** 200n,
  () => '', () => 'x', () => 'users', () => '_home', () => '_audit', () => '$changes', () => '__proto__', () => 'constructor', () => '\0', () => '\ud800', () => 'ü'.repeat(300),
  () => 'x'.repeat(100_000), () => 'return 1', () => 'function() end', () => 'while true do end', () => 'age', () => '=', () => 'a.b.c', () => '.', () => 'a..b',
  () => Symbol('s'), () => Symbol.iterator, () => () => 1, () => async () => 1, () => class {}, () => function* () {},
  () => [], () => [1, 2, 3], () => [undefined, null], () => new Array(5), () => [[[[]]]], () => Array(2000).fill(0),
  () => ({}), () => ({ length: 5 }), () => ({ x: undefined }), () => Object.create(null), () => ({ __proto__: null, type: 'set' }), () => JSON.parse('{"__proto__": 1}'),
  () => ({ type: 'set', table: 'users', key: 1, value: 1 }), () => ({ type: 'get', table: 5, key: {} }), () => ({ field: 'age', operator: '>', value: 1 }),
  () => ({ where: 1 }), () => ({ where: [{}] }), () => ({ limit: -1 }), () => ({ sort: 5 }), () => ({ fuel: 1 }), () => ({ args: 1 }), () => ({ args: [Symbol('a')] }), () => ({ chunkName: {} }),
  () => ({ signal: 1 }), () => ({ onOutput: 1 }), () => ({ permissions: 1 }), () => ({ sandbox: 5 }), () => ({ fuel: 'x' }), () => ({ fuel: NaN }), () => ({ fuel: -1 }), () => ({ toString: null }),
  () => new Map([[1, 2]]), () => new Map([[{}, 2]]), () => new Set([1]), () => new Date(0), () => new Date(NaN), () => /x/, () => new Error('e'), () => new Proxy({}, {}),
  () => new Uint8Array(3), () => new Uint8Array([0x1b, 0x4c, 0x75, 0x61]), () => new ArrayBuffer(8), () => new Float64Array(2), () => new DataView(new ArrayBuffer(1)),
  () => Promise.resolve(1), () => ({ then: (resolve) => resolve(1) }), () => new WeakMap(), () => globalThis, () => new (class Own { x = 1; })(),
  cyclic, () => deep(50, (value) => [value]), () => deep(500, (value) => ({ value })), () => deep(20_000, (value) => [value]), () => expose({ x: 1 }, { properties: ['x'] }), () => new Values(1, 2),
  () => Object.freeze([1]), () => new Proxy([], {}), () => new Number(5), () => new String('x'), () => Object(1n), () => ({ valueOf: () => 1 }),
];

/** Methods that end the instance or open another one. */
const NOT_CALLED = ['constructor', 'init', 'close'];

function methods() {
  const described = { ...Object.getOwnPropertyDescriptors(Object.getPrototypeOf(Cu.prototype)), ...Object.getOwnPropertyDescriptors(Cu.prototype) };
  // What TypeScript keeps private is no entrance.
  const source = ['cu', 'tables'].map((file) => readFileSync(new URL(`../dist/${file}.d.ts`, import.meta.url), 'utf8')).join('\n');
  return Object.keys(described).filter((name) => typeof described[name].value === 'function' && !NOT_CALLED.includes(name) && new RegExp(`^    (?:async )?${name}(<|\\()`, 'm').test(source));
}

const LIMITS = { heapLimit: 4 << 20, fuel: 2_000_000, files: {}, filesLimit: 1 << 20 };

/** What is wrong with how a call has ended, if anything. */
async function outcome(call) {
  let clock;
  const late = new Promise((resolve) => (clock = setTimeout(() => resolve('late'), 30_000)));
  try {
    const result = await Promise.race([Promise.resolve(call()), late]);
    return result === 'late' ? 'it hangs' : null;
  } catch (error) {
    // What the caller's own function throws goes through.
    if (error instanceof TypeError && /^Class constructor/.test(error.message)) return null;
    if (!(error instanceof EnhancedLuaError)) return `${error?.name}: ${error?.stack ?? String(error)}`;
    if (error.code === 'poisoned') return `a trap: ${error.message}`;
    if (/\[object|undefined is not|Cannot read|is not a function|is not iterable|Cannot convert/.test(error.message)) return `a message from inside: ${error.message}`;
    return error.message === '' ? 'no message' : null;
  } finally {
    clearTimeout(clock);
  }
}

function shown(args) {
  return args.map((arg) => {
    try {
      return typeof arg === 'string' ? JSON.stringify(arg.slice(0, 40)) : typeof arg === 'object' && arg !== null ? `${arg.constructor?.name} ${JSON.stringify(arg)?.slice(0, 60)}` : String(arg);
    } catch {
      return typeof arg;
    }
  }).join(', ');
}

test('the methods are found', () => {
  for (const name of ['run', 'call', 'callSync', 'set', 'batchTableOperations', 'queryTable', 'subscribe', 'persistFunction', 'audit', 'enableAuditLog', 'writeFile']) {
    assert.ok(methods().includes(name), name);
  }
});

for (const name of methods()) {
  test(`${name} takes anything`, async () => {
    const random = generator(SEED);
    const problems = [];
    let cu = await Cu.open({ storage: 'memory', ...LIMITS });
    const calls = [];
    // Each kind of junk in each place, the others plausible or junk too.
    for (let place = 0; place < 4; place++) for (const make of JUNK) calls.push({ place, make });
    for (const { place, make } of calls) {
      const args = Array.from({ length: place + 1 + random(2) }, (_, at) => (at === place ? make() : JUNK[random(JUNK.length)]()));
      const problem = await outcome(() => cu[name](...args));
      if (problem !== null) problems.push(`${name}(${shown(args)}): ${problem}`);
      if (problem?.startsWith('a trap') || random(50) === 0) {
        await cu.close().catch(() => undefined);
        cu = await Cu.open({ storage: 'memory', ...LIMITS });
      }
    }
    assert.equal(await cu.eval('return 1'), 1, 'it works afterwards');
    await cu.close();
    assert.deepEqual(problems.slice(0, 10), [], `${problems.length} problems, seed ${SEED}`);
  });
}

test('Cu.open and Cu.restore take anything', async () => {
  const problems = [];
  const source = readFileSync(new URL('../dist/options.d.ts', import.meta.url), 'utf8');
  const from = source.slice(source.indexOf('interface CuOptions'));
  const names = [...from.slice(0, from.indexOf('\n}')).matchAll(/^    (\w+)\?:/gm)].map(([, name]) => name).filter((name) => !/wasm/i.test(name));
  assert.ok(names.length > 15, names.join());
  const open = async (make) => {
    const cu = await make();
    await cu.close();
  };
  for (const option of names) {
    for (const make of JUNK) {
      const value = make();
      const problem = await outcome(() => open(() => Cu.open({ storage: 'memory', [option]: value })));
      if (problem !== null) problems.push(`open({${option}: ${shown([value])}}): ${problem}`);
    }
  }
  for (const make of JUNK) {
    for (const call of [() => Cu.open(make()), () => Cu.restore(make()), () => Cu.restore(new Uint8Array(4), make()), () => new Cu().init(make())]) {
      const problem = await outcome(() => open(call));
      if (problem !== null) problems.push(`${call} ${shown([make()])}: ${problem}`);
    }
  }
  assert.deepEqual(problems.slice(0, 10), [], `${problems.length} problems`);
});

test('refusals name the argument', async () => {
  const cu = await Cu.open({ storage: 'memory', files: {} });
  const long = 'x'.repeat(1001);
  for (const [call, argument, message] of [
    [() => cu.run(5), 'source', 'source: source text or bytes are needed'],
    [() => cu.run('x'.repeat(16 * 1024 * 1024 + 1)), 'source', 'source: longer than 16777216 characters or bytes'],
    [() => cu.run('', { fuel: -1 }), 'options.fuel', 'options.fuel: a number that is not negative is needed'],
    [() => cu.run('', { timeLimit: NaN }), 'options.timeLimit', 'options.timeLimit: a number that is not negative is needed'],
    [() => cu.run('', { args: {} }), 'options.args', 'options.args: an array is needed'],
    [() => cu.run('', null), 'options', 'options: an object is needed'],
    [() => cu.run('', { sandbox: long }), 'options.sandbox', 'options.sandbox: longer than 1000 characters'],
    [() => Cu.restore(-1), 'image', 'image: the bytes of an image are needed'],
    [() => cu.eval('', { chunkName: 1 }), 'options.chunkName', 'options.chunkName: a name is needed'],
    [() => cu.set(1, 1), 'name', 'name: a name is needed'],
    [() => cu.writeFile('x', 1), 'contents', 'contents: text or bytes are needed'],
    [() => cu.writeFile('x'.repeat(4097), ''), 'path', 'path: longer than 4096 characters'],
    [() => cu.persistFunction('t', 'f', 'function() end', { compress: 'yes' }), 'options.compress', 'options.compress: true or false is needed'],
    [() => cu.batchTableOperations([], { onProgress: 1 }), 'options.onProgress', 'options.onProgress: a function is needed'],
    [() => Cu.open({ cacheTimeout: -1 }), 'cacheTimeout', 'cacheTimeout: a number that is not negative is needed'],
    [() => cu.subscribe('t', {}, 1), 'callback', 'callback: a function is needed'],
    [() => cu.createIndex('t', ['a', 1]), 'field[1]', 'field[1]: a name is needed'],
    [() => cu.queryTable(long), 'table', 'table: longer than 1000 characters'],
    [() => cu.setSchema('t', { age: 1 }), "schema['age']", "schema['age']: an object is needed"],
    [() => cu.persistFunction('t', 'f', 'x'.repeat(16 * 1024 * 1024 + 1)), 'source', 'source: longer than 16777216 characters'],
    [async () => cu.enableAuditLog(['run', 'x']), 'operations[1]', /^operations\[1\]: one of run, computeBatch/],
    [() => Cu.open({ heapLimit: 1.5 }), 'heapLimit', 'heapLimit: a whole number of bytes is needed'],
    [() => Cu.open({ storage: 'disk' }), 'storage', 'storage: one of indexeddb, opfs, memory, none is needed'],
    [() => Cu.open({ files: { a: 1 } }), "files['a']", "files['a']: text or bytes are needed"],
    [() => Cu.open({ home: { commit: 'x' } }), 'home.commit', 'home.commit: one of run, manual is needed'],
    [() => Cu.open({ seed: 2n ** 64n }), 'seed', 'seed: more than 64 bits'],
    [() => Cu.open({ now: 'today' }), 'now', 'now: milliseconds since 1970 or a date are needed'],
  ]) {
    await assert.rejects(call(), (error) => {
      assert.equal(error.name, 'UsageError');
      assert.equal(error.details.argument, argument);
      if (typeof message === 'string') assert.equal(error.message, message);
      else assert.match(error.message, message);
      return true;
    });
  }
  await cu.close();
});

test('the limits are those of the documentation', () => {
  const table = readFileSync(new URL('../../docs/LIMITS.md', import.meta.url), 'utf8');
  for (const limit of [1000, 4096, 100_000]) assert.ok(table.includes(limit.toLocaleString('en')), `${limit}`);
  for (const name of methods().filter((name) => !/^(snapshot|commitHome|rollBackHome|listFiles|listTables|audit|getMemoryStats|stats|saveState|loadState|getHomeTableId|getMemoryTableId|beginTransaction|commitTransaction|rollbackTransaction)$/.test(name))) {
    assert.ok(table.includes(`\`${name}\``), name);
  }
});
