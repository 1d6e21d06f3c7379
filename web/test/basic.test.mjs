// The basic API in Node, with the database in memory: every function, and that what was broken in the older system works.
import assert from 'node:assert/strict';
import { test } from 'node:test';

let count = 0;

/** The module as a page has it: its own state, nothing loaded. */
const freshModule = () => import(new URL(`../dist/basic.js?${++count}`, import.meta.url).href);

/** The module, loaded. */
async function loaded(options = {}) {
  const cu = await freshModule();
  assert.equal(await cu.load({ storage: 'memory', ...options }), true);
  return cu;
}

/** What a program prints and returns; it must not fail. */
async function run(cu, code) {
  const length = await cu.compute(code);
  assert.ok(length > 0, length < 0 ? cu.readBuffer(cu.getBufferPtr(), -length) : 'nothing was written');
  return cu.readResult(cu.getBufferPtr(), length);
}

const result = async (cu, code) => (await run(cu, code)).result;

/** The text of the error that a program fails with. */
async function failure(cu, code) {
  const length = await cu.compute(code);
  assert.ok(length < 0, 'it did not fail');
  return cu.readBuffer(cu.getBufferPtr(), -length);
}

/** Runs while the console's errors are kept from the output; what they were. */
async function quietly(work) {
  const { error } = console;
  const errors = [];
  console.error = (...parts) => void errors.push(parts.join(' '));
  try {
    await work();
  } finally {
    console.error = error;
  }
  return errors;
}

const FUNCTIONS = [
  ...['load', 'init', 'compute', 'readResult', 'readBuffer', 'writeBuffer', 'getBufferPtr', 'getBufferSize', 'getMemoryStats', 'runGc'],
  ...['saveState', 'loadState', 'clearPersistedState', 'getTableInfo', 'getMemoryTableId', 'getIoTableId', 'setInput', 'getOutput'],
  ...['setMetadata', 'clearIo', 'setMemoryAliasEnabled'],
];
const DOCUMENTED_ONLY = ['getHomeTableId', 'setInputField', 'getOutputField', 'loadLuaWasm'];

test('all 21 functions, and those that were only documented, are there by name and on the default export', async () => {
  const cu = await freshModule();
  assert.equal(FUNCTIONS.length, 21);
  for (const name of [...FUNCTIONS, ...DOCUMENTED_ONLY]) {
    assert.equal(typeof cu[name], 'function', name);
    assert.equal(cu.default[name], cu[name], name);
  }
});

test('before load: WASM not loaded', async () => {
  const cu = await freshModule();
  const error = { code: 'NOT_INITIALIZED', message: 'WASM not loaded' };
  const calls = ['init', 'getBufferPtr', 'getBufferSize', 'getMemoryStats', 'runGc', 'getIoTableId', 'getOutput'];
  for (const name of calls) assert.throws(() => cu[name](), error, name);
  for (const name of ['readBuffer', 'readResult']) assert.throws(() => cu[name](0, 1), error, name);
  assert.throws(() => cu.writeBuffer(0, 'x'), error);
  for (const name of ['setInput', 'setMetadata']) assert.throws(() => cu[name](1), error, name);
  await assert.rejects(cu.compute('return 1'), error);
  assert.deepEqual([cu.getMemoryTableId(), cu.getHomeTableId(), cu.getTableInfo().tableCount, cu.clearIo()], [null, null, 0, undefined]);
  const errors = await quietly(async () => {
    for (const name of ['saveState', 'loadState', 'clearPersistedState']) assert.equal(await cu[name](), false, name);
  });
  assert.equal(errors.length, 3);
});

test('load resolves to true, also again; loadLuaWasm is its older name', async () => {
  const cu = await freshModule();
  const both = [cu.load({ storage: 'memory' }), cu.loadLuaWasm({ storage: 'memory' })];
  assert.deepEqual(await Promise.all(both), [true, true]);
  assert.equal(await result(cu, 'kept = 1 return kept'), 1);
  assert.equal(await cu.load(), true);
  assert.equal(await result(cu, 'return kept'), 1);
});

test('load rejects when it fails, naming the option, and can be tried again', async () => {
  const cu = await freshModule();
  await assert.rejects(cu.load({ storage: 'nowhere' }), { message: /storage/ });
  await assert.rejects(cu.load({ storage: 'memory', autoRestore: 1 }), { message: /autoRestore/ });
  await assert.rejects(cu.load({ storage: 'memory', modules: { a: 1 } }), { message: /'a'/ });
  await assert.rejects(cu.load({ storage: 'memory', heapLimit: 'much' }), { message: /heapLimit/ });
  for (const name of ['', 5]) await assert.rejects(cu.load({ storage: 'memory', name }), { message: /^name:/ });
  assert.equal(await cu.load({ storage: 'memory' }), true);
});

test('load takes wasmPath, and the package\'s own module where that is another system\'s', async () => {
  const own = new URL('../dist/cu-home.wasm', import.meta.url);
  assert.equal(await result(await loaded({ wasmPath: own.pathname }), 'return 1'), 1);
  const { warn } = console;
  for (const wasmPath of ['./no-such.wasm', new URL('../dist/cu.wasm', import.meta.url), new URL('../dist/cu-storage.wasm', import.meta.url)]) {
    const warnings = [];
    console.warn = (text) => void warnings.push(text);
    try {
      assert.equal(await result(await loaded({ wasmPath }), '_home.x = 1 return _home.x'), 1);
    } finally {
      console.warn = warn;
    }
    assert.equal(warnings.length, 1);
    assert.ok(warnings[0].includes(String(wasmPath)), warnings[0]);
  }
});

test('init gives 0, as often as it is called', async () => {
  const cu = await loaded();
  assert.deepEqual([cu.init(), cu.init()], [0, 0]);
});

test('compute resolves to the length of the answer that readResult reads', async () => {
  const cu = await loaded();
  const length = await cu.compute('print("a", 1) io.write = nil return 1, "last"'.replace('io.write = nil ', ''));
  const ptr = cu.getBufferPtr();
  assert.deepEqual(cu.readResult(ptr, length), { output: 'a\t1\n', result: 'last', value: 'last' });
  for (const wrong of ['', 5, null, undefined]) {
    await assert.rejects(cu.compute(wrong), { code: 'INVALID_INPUT', message: 'Code must be a non-empty string' });
  }
});

test('a Lua error resolves to a negative length, its text in the buffer, and the instance goes on', async () => {
  const cu = await loaded({ heapLimit: 4 << 20, fuel: 5e7 });
  const cases = [
    ['error("no")', 'Error: compute:1: no'],
    ['x = = 1', "Error: compute:1: unexpected symbol near '='"],
    ['local t\nreturn t.x', "Error: compute:2: attempt to index a nil value (local 't')"],
    ['error({})', 'Error: (error object is a table value)'],
    ['error()', 'Error: (error object is a nil value)'],
    ['return {{{coroutine.create(print)}}}', /^Error: value 1.*cannot/],
    ['local t = {} for i = 1, 1e9 do t[i] = {} end', /^Error: .*not enough memory/],
    ['while true do end', /^Error: .*fuel/],
    ['return ("x"):rep(70000)', 'Error: Buffer overflow'],
    ['error(("x"):rep(70000), 0)', /^Error: x{1000,}$/],
  ];
  for (const [code, expected] of cases) {
    const text = await failure(cu, code);
    if (typeof expected === 'string') assert.equal(text, expected);
    else assert.match(text, expected);
    assert.equal(await result(cu, 'return 6 * 7'), 42, code);
  }
  const length = await cu.compute('error("seen")');
  assert.deepEqual(cu.readResult(0, length), { output: 'Error: compute:1: seen', result: null, value: null });
});

test('results of every kind', async () => {
  const cu = await loaded();
  const cases = [
    ['', null],
    ['nil', null],
    ['true', true],
    ['false', false],
    ['-7', -7],
    ['9007199254740993', 9007199254740993n],
    ['math.mininteger', -(2n ** 63n)],
    ['1.5', 1.5],
    ['-0.0', -0],
    ['1/0', Infinity],
    ['0/0', NaN],
    ['"h\\u{e9}"', 'hé'],
    ['""', ''],
    ['"\\xff"', Uint8Array.of(255)],
    ['{}', {}],
    ['{1, {x = 2}}', [1, { x: 2 }]],
  ];
  for (const [source, expected] of cases) assert.deepEqual(await result(cu, `return ${source}`), expected, source);
});

test('output is cut at 64,512 bytes and marked', async () => {
  const cu = await loaded();
  const { output } = await run(cu, 'for i = 1, 2000 do print(("x"):rep(49)) end return 1');
  assert.equal(output.length, 64_512 + 3);
  assert.ok(output.endsWith('...'));
});

test('getBufferPtr, getBufferSize, writeBuffer and readBuffer', async () => {
  const cu = await loaded();
  const ptr = cu.getBufferPtr();
  assert.equal(cu.getBufferSize(), 65_536);
  assert.equal(cu.writeBuffer(ptr, 'hé'), 3);
  assert.equal(cu.readBuffer(ptr, 3), 'hé');
  assert.throws(() => cu.writeBuffer(ptr, 'x'.repeat(65_537)), { code: 'BUFFER_OVERFLOW', message: 'Buffer overflow' });
  assert.throws(() => cu.writeBuffer(ptr, 1), { message: /^data:/ });
});

test('getMemoryStats is true', async () => {
  const cu = await loaded({ heapLimit: 8 << 20 });
  cu.runGc();
  const before = cu.getMemoryStats();
  assert.equal(before.total, 8 << 20);
  assert.equal(before.free, before.total - before.used);
  await run(cu, 'kept = ("x"):rep(1000000) return 1');
  const { used } = cu.getMemoryStats();
  assert.ok(used - before.used >= 1_000_000 && used - before.used < 1_500_000, `${used - before.used}`);
});

test('runGc collects', async () => {
  const cu = await loaded();
  await run(cu, `collectgarbage('stop') weak = setmetatable({ {} }, { __mode = 'v' }) local big = ("x"):rep(1000000) big = nil return 1`);
  const { used } = cu.getMemoryStats();
  assert.equal(cu.runGc(), true);
  assert.ok(cu.getMemoryStats().used <= used - 1_000_000);
  assert.equal(await result(cu, 'return weak[1]'), null);
});

test('saveState, loadState and clearPersistedState resolve to true', async () => {
  const cu = await loaded();
  assert.equal(await cu.loadState(), true);
  await run(cu, '_home.n = 1 _home.t = {1, {}} _home.t[2].up = _home.t _home.f = function() _home.n = _home.n + 1 return _home.n end return 1');
  assert.equal(await cu.saveState(), true);
  assert.equal(await result(cu, '_home.t = nil return _home.f()'), 2);
  // loadState undoes what was not saved, functions, cycles and all.
  assert.equal(await cu.loadState(), true);
  assert.deepEqual(await result(cu, 'return {_home.n, _home.t[2].up == _home.t, _home.f(), Memory == _home}'), [1, true, 2, true]);
  assert.equal(await cu.saveState(), true);
  await run(cu, '_home.n = 100 return 1');
  assert.equal(await cu.loadState(), true);
  assert.equal(await result(cu, 'return _home.n'), 2);
});

test('clearPersistedState leaves memory alone, and what is there can be saved again', async () => {
  const cu = await loaded();
  await run(cu, '_home.list = {1, 2, {x = 3}} return 1');
  await cu.saveState();
  await run(cu, '_home.more = 4 return 1');
  assert.equal(await cu.clearPersistedState(), true);
  assert.equal(await result(cu, 'return _home.list[3].x + _home.more'), 7);
  // Nothing is stored, so nothing is loaded.
  assert.equal(await cu.loadState(), true);
  assert.equal(await result(cu, 'return _home.list[3].x + _home.more'), 7);
  assert.equal(await cu.saveState(), true);
  await run(cu, '_home.list, _home.more = nil return 1');
  assert.equal(await cu.loadState(), true);
  assert.equal(await result(cu, 'return _home.list[3].x + _home.more'), 7);
});

test('what cannot be saved makes saveState false, and the instance goes on', async () => {
  const cu = await loaded();
  await run(cu, '_home.ok = 1 _home.co = coroutine.running() return 1');
  const errors = await quietly(async () => assert.equal(await cu.saveState(), false));
  assert.match(errors[0], /saveState failed.*_home\.co/);
  await run(cu, '_home.co = nil return 1');
  assert.equal(await cu.saveState(), true);
});

const withoutStorage = typeof indexedDB === 'undefined' ? {} : { skip: 'there is IndexedDB here' };

test('where nothing outlives the page, saveState is false', withoutStorage, async () => {
  const cu = await loaded({ storage: undefined });
  assert.equal(await result(cu, '_home.n = 1 return _home.n'), 1);
  assert.equal(await cu.saveState(), false);
});

test('getTableInfo, getMemoryTableId, getHomeTableId and getIoTableId', async () => {
  const cu = await loaded();
  assert.deepEqual([cu.getHomeTableId(), cu.getMemoryTableId(), cu.getIoTableId()], [1, 1, 2]);
  await run(cu, `_home.name = 1 _home.other = 2 a, b = ext.table(), ext.table() a.x = 1 a[1] = 2 return 1`);
  const home = { id: 1, size: 2, keys: ['name', 'other'] };
  const io = { id: 2, size: 0, keys: [] };
  const ids = { homeTableId: 1, memoryTableId: 1 };
  const made = [{ id: 3, size: 2, keys: ['1', 'x'] }, { id: 4, size: 0, keys: [] }];
  assert.deepEqual(cu.getTableInfo(), { tableCount: 4, ...ids, nextTableId: 5, tables: [home, io, ...made] });
  await run(cu, 'b = nil return 1');
  cu.runGc();
  assert.deepEqual(cu.getTableInfo(), { tableCount: 3, ...ids, nextTableId: 5, tables: [home, io, made[0]] });
});

test('setInput and getOutput keep every value as it is', async () => {
  const cu = await loaded();
  assert.equal(cu.getOutput(), null);
  const values = [1.5, -1.5, NaN, Infinity, -0, 0, 2n ** 60n, '', 'é', true, false, null, {}, { e: {}, f: [1.25, { g: '' }] }, [1, 'a'], Uint8Array.of(255, 0)];
  for (const value of values) {
    cu.setInput(value);
    await run(cu, '_io.output = _io.input return 1');
    assert.deepEqual(cu.getOutput(), value);
  }
  cu.setInput([0.5]);
  assert.equal(await result(cu, 'return math.type(_io.input[1])'), 'float');
  assert.throws(() => cu.setInput({ a: [() => 1] }), { code: 'INVALID_INPUT', message: /^input\.a\[0\]: a function cannot/ });
  await run(cu, '_io.output = {co = coroutine.create(print)} return 1');
  assert.throws(() => cu.getOutput(), { code: 'INVALID_INPUT', message: /^_io\.output\.co: / });
});

test('setInputField and getOutputField', async () => {
  const cu = await loaded();
  cu.setInputField('name', 'Ann');
  cu.setInputField(1, 0.25);
  assert.deepEqual(await result(cu, 'return {_io.input.name, _io.input[1]}'), ['Ann', 0.25]);
  assert.equal(cu.getOutputField('sum'), null);
  await run(cu, '_io.output = {sum = 0.5, list = {1}} return 1');
  assert.deepEqual([cu.getOutputField('sum'), cu.getOutputField('list'), cu.getOutputField('other')], [0.5, [1], null]);
  cu.setInput(5);
  assert.throws(() => cu.setInputField('x', 1), { message: "_io.input is a number, which has no field 'x'" });
  assert.throws(() => cu.setInputField({}, 1), { message: /^field:/ });
  assert.throws(() => cu.setInputField('x', Symbol('s')), { message: /^input\.x: a symbol cannot/ });
  await run(cu, '_io.output = "text" return 1');
  assert.throws(() => cu.getOutputField('sum'), { message: "_io.output is a string, which has no field 'sum'" });
});

test('setMetadata and clearIo', async () => {
  const cu = await loaded();
  cu.setMetadata({ user: 'Ann', at: 1.5 });
  cu.setInput(1);
  assert.deepEqual(await result(cu, '_io.output = 2 _io.own = 3 return {_io.meta.user, _io.meta.at, _io.input}'), ['Ann', 1.5, 1]);
  cu.clearIo();
  assert.equal(cu.getOutput(), null);
  assert.deepEqual(await result(cu, 'return {tostring(_io.meta), tostring(_io.input), tostring(_io.output), _io.own}'), ['nil', 'nil', 'nil', 3]);
});

test('setMemoryAliasEnabled decides whether Memory is _home', async () => {
  const cu = await loaded();
  assert.equal(await result(cu, 'return Memory == _home'), true);
  cu.setMemoryAliasEnabled(false);
  assert.equal(await result(cu, 'return Memory'), null);
  await cu.saveState();
  await cu.loadState();
  assert.equal(await result(cu, 'return Memory'), null);
  cu.setMemoryAliasEnabled(true);
  assert.equal(await result(cu, 'Memory.x = 1 return _home.x'), 1);
  assert.throws(() => cu.setMemoryAliasEnabled('yes'), { message: /^enabled:/ });
});

test('while compute runs, setters take effect after it and getters are refused', async () => {
  const cu = await loaded();
  cu.setInput(1);
  const running = cu.compute('_io.output = _io.input return _io.input');
  cu.setInput(2);
  assert.throws(() => cu.getOutput(), { code: 'busy', message: /^getOutput:/ });
  assert.throws(() => cu.getTableInfo(), { code: 'busy', message: /^getTableInfo:/ });
  assert.equal(cu.readResult(0, await running).result, 1);
  assert.equal(cu.getOutput(), 1);
  assert.equal(await result(cu, 'return _io.input'), 2);
  // What fails then is told on the console, as the call has returned.
  const errors = await quietly(async () => {
    const next = cu.compute('return 1');
    cu.setInputField('x', 1);
    await next;
    await cu.compute('return 1');
  });
  assert.match(errors.join(), /setInputField failed.*_io\.input is a number/);
});

test('ext.table gives a table that is like any other, and is kept by being in _home', async () => {
  const cu = await loaded();
  await run(cu, `
    local t = ext.table()
    t[1], t['1'], t[1.5], t[true] = 'integer', 'string', 'float', 'boolean'
    t.nested = { deep = {} }
    t.nested.deep.x = 1
    t.gone = 1
    t.gone = nil
    _home.t = t
    return 1`);
  await cu.saveState();
  await run(cu, '_home.t = nil return 1');
  await cu.loadState();
  const kept = await result(cu, `
    local t, count = _home.t, 0
    for _ in pairs(t) do count = count + 1 end
    return {t[1], t['1'], t[1.5], t[true], t.nested.deep.x, tostring(t.gone), count, t.nested == _home.t.nested}`);
  assert.deepEqual(kept, ['integer', 'string', 'float', 'boolean', 1, 'nil', 5, true]);
  assert.match(await failure(cu, 'ext.table("users")'), /compute:1: bad argument #1 to 'table'/);
});

test('no field makes a table another one', async () => {
  const cu = await loaded();
  const kept = await result(cu, `
    local a, b = ext.table(), ext.table()
    b.secret = 1
    a.__ext_table_id = 4
    return {tostring(a.secret), tostring(rawget(a, '__ext_table_id')), tostring(getmetatable(a))}`);
  assert.deepEqual(kept, ['nil', '4', 'nil']);
});

test('bigint and the standard libraries are there', async () => {
  const cu = await loaded({ modules: { mine: 'return { x = 1 }' } });
  assert.equal(await result(cu, `return tostring(require 'bigint'.new('ff', 16) ^ 20 + 1)`), String(255n ** 20n + 1n));
  assert.equal(await result(cu, `return require 'mine'.x`), 1);
  for (const name of ['string', 'table', 'math', 'coroutine', 'utf8', 'os', 'debug', 'package']) {
    assert.equal(await result(cu, `return require '${name}' == ${name}`), true, name);
  }
});

test('a program that damages the globals it is given hurts only itself', async () => {
  const cu = await loaded();
  await run(cu, '_io, ext, Memory, pairs, rawset, tostring = nil setmetatable(_G, {__index = error, __newindex = error}) return 1');
  cu.setInput({ a: 1 });
  assert.equal(await result(cu, '_io.output = _io.input.a return 1'), 1);
  assert.equal(cu.getOutput(), 1);
  assert.equal(cu.getTableInfo().tables.length, 2);
});
