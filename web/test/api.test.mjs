// The API in Node, with the database in memory: what each call promises, and that every failure is a typed error that
// leaves the instance usable and the stored data as it was.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Poison } from '../dist/poison.js';
import { Cu, EnhancedCuWASM, EnhancedLuaError, FunctionBlob, here, LimitError, LuaError, StorageError, UsageError } from './entry.mjs';

const opened = (name, body, options = {}, conditions = {}) =>
  test(name, conditions, async () => {
    const cu = await Cu.open({ storage: 'memory', ...options });
    try {
      await body(cu);
    } finally {
      await cu.close();
    }
  });

/** A failure of the given code; the instance must still work after it. */
async function fails(cu, promise, code, type = EnhancedLuaError) {
  let error = null;
  await promise.catch((thrown) => (error = thrown));
  assert.ok(error instanceof type, `expected ${type.name} ${code}, got ${error}`);
  assert.equal(error.code, code, error.message);
  assert.deepEqual(Object.keys(error.toJSON()), ['name', 'code', 'message', 'timestamp', 'details', 'suggestion', 'originalError']);
  assert.equal(await cu.eval('return 1 + 1'), 2);
  return error;
}

const COUNTER = 'local n = 0; return function() n = n + 1; return n end';

opened('calls of global functions, awaited and at once', async (cu) => {
  await cu.run(`
    function add(a, b) return a + b, 'a second value' end
    function sum(t) local n = 0 for i = 1, #t do n = n + t[i] end return n end
    function nothing() print('dropped') end
    function fail(what) error({ what = what }) end
    function long(count) local n = 0 for i = 1, count do n = n + i % 7 end return n end`);
  assert.equal(await cu.call('add', 1, 2), 3);
  assert.equal(cu.callSync('add', 1, 0.5), 1.5);
  assert.equal(cu.callSync('sum', [1, 2, 3]), 6);
  assert.equal(await cu.call('nothing'), null);
  assert.equal(cu.callSync('nothing'), null);
  assert.equal((await cu.run('print("alone")')).output, 'alone\n');

  // Over one slice of fuel, and so in several crossings.
  const long = await cu.eval('return long(3000000)');
  assert.equal(cu.callSync('long', 3000000), long);
  assert.deepEqual(await Promise.all([cu.call('long', 3000000), cu.call('add', 1, 1), cu.call('long', 10)]), [long, 2, 27]);

  const { value } = await fails(cu, cu.call('fail', 'this'), 'LUA_EXECUTION_ERROR', LuaError);
  assert.deepEqual(value, { what: 'this' });
  assert.throws(() => cu.callSync('fail', 'that'), { code: 'LUA_EXECUTION_ERROR', value: { what: 'that' } });
  assert.throws(() => cu.callSync('absent'), { code: 'LUA_EXECUTION_ERROR', message: /attempt to call a nil value/ });
  assert.throws(() => cu.callSync('add', () => 1), { code: 'INVALID_INPUT' });
  assert.equal(cu.callSync('add', 20, 22), 42);

  // Around the size of the buffer that small calls go through, and a call from within the encoding of another's arguments.
  await cu.run('function same(...) return ... end  function grow(n) kept = ("x"):rep(n) return #kept end');
  for (const length of [1, 100, 2000, 2030, 2048, 2100, 70000]) {
    const text = '\u00e9' + 'x'.repeat(length);
    assert.equal(cu.callSync('same', text), text);
    assert.equal(await cu.call('same', text), text);
  }
  const nested = { get first() { return cu.callSync('add', 1, 1); }, second: 'two' };
  assert.deepEqual(cu.callSync('same', nested), { first: 2, second: 'two' });
  const growing = { get first() { return cu.callSync('grow', 200_000); }, second: 'two' };
  assert.deepEqual(cu.callSync('same', growing), { first: 200_000, second: 'two' });

  const running = cu.run('return long(10)');
  assert.throws(() => cu.callSync('add', 1, 1), { code: 'busy' });
  assert.equal(await cu.call('add', 1, 1), 2);
  assert.deepEqual((await running).values, [27]);
  assert.equal(cu.callSync('add', 1, 1), 2);
}, {}, here);

opened('calls of global functions take turns', async (cu) => {
  await cu.run(`
    function same(...) return ... end
    function fail(what) error({ what = what }) end
    function long(count) local n = 0 for i = 1, count do n = n + i % 7 end return n end`);
  const values = [1, -0.5, 'é', true, null, [1, [2]], { a: { b: 1 } }, 2n ** 62n, new Uint8Array([255, 0]), new Map([[1.5, 'x'], [true, 'y']])];
  for (const value of values) assert.deepEqual(await cu.call('same', value), value);
  const hostile = JSON.parse('{"__proto__": {"polluted": true}, "constructor": 1}');
  const back = await cu.call('same', hostile);
  assert.deepEqual(Object.keys(back).sort(), ['__proto__', 'constructor']);
  assert.equal({}.polluted, undefined);
  assert.deepEqual(await Promise.all([cu.call('long', 3000000), cu.call('same', 1), cu.call('long', 10)]), [8999997, 1, 27]);
  const { value } = await fails(cu, cu.call('fail', 'this'), 'LUA_EXECUTION_ERROR', LuaError);
  assert.deepEqual(value, { what: 'this' });
  await fails(cu, cu.call('absent'), 'LUA_EXECUTION_ERROR', LuaError);
  const cyclic = { list: [] };
  cyclic.list.push(cyclic);
  for (const bad of [() => 1, Symbol('s'), new Date(0), new (class Thing {})(), 2n ** 64n, cyclic]) {
    await fails(cu, cu.call('same', bad), 'INVALID_INPUT', UsageError);
  }
  await fails(cu, cu.call('same', { a: [new (class Thing {})()] }), 'INVALID_INPUT', UsageError);
});

opened('calls at once keep to the limit of fuel', async (cu) => {
  await cu.run('function forever() while true do end end function one() return 1 end');
  assert.throws(() => cu.callSync('forever'), { code: 'fuel' });
  assert.equal(cu.callSync('one'), 1);
}, { fuel: 500_000 }, here);

opened('calls keep to the limit of fuel', async (cu) => {
  await cu.run('function forever() while true do end end function one() return 1 end');
  await fails(cu, cu.call('forever'), 'fuel', LimitError);
  assert.equal(await cu.call('one'), 1);
}, { fuel: 500_000 });

opened('calls at once keep to the limit of time', async (cu) => {
  await cu.run('function forever() while true do end end function one() return 1 end', { timeLimit: Infinity });
  assert.throws(() => cu.callSync('forever'), { name: 'LimitError', code: 'time' });
  assert.equal(cu.callSync('one'), 1);
}, { timeLimit: 30 }, here);

opened('runs and calls keep to the limit of time', async (cu) => {
  await cu.run('function forever() pcall(forever) while true do end end function one() return 1 end', { timeLimit: Infinity });
  await assert.rejects(cu.call('forever'), { name: 'LimitError', code: 'time', message: 'the run has taken longer than its timeLimit of 30 ms' });
  await assert.rejects(cu.run('while true do end'), { code: 'time' });
  await assert.rejects(cu.run('while true do end', { fuel: 100_000, timeLimit: Infinity }), { code: 'fuel' });
  await assert.rejects(cu.run('return 1', { timeLimit: 0 }), { code: 'time' });
  await assert.rejects(cu.persistFunction('t', 'f', 'while true do end', { timeLimit: 1 }), { code: 'time' });
  assert.equal(await cu.eval('return one()', { timeLimit: Infinity }), 1);
}, { timeLimit: 30 });

test('the time of a run begins with its turn', here, async () => {
  let now = 0;
  const clock = performance.now;
  performance.now = () => now;
  const wait = async () => void (now += 10_000);
  const cu = await Cu.open({ storage: 'memory', functions: { wait } });
  try {
    const runs = [cu.run('wait()'), cu.run('return "in time"', { timeLimit: 1000 })];
    assert.deepEqual((await Promise.all(runs)).map(({ values }) => values), [[], ['in time']]);
    await assert.rejects(cu.run('wait() return 1', { timeLimit: 1000 }), { code: 'time' });
    assert.equal(await cu.eval('wait() return 1', { timeLimit: 10_001 }), 1);
  } finally {
    performance.now = clock;
    await cu.close();
  }
});

test('both names are one class, and both ways of opening work', async () => {
  assert.equal(Cu, EnhancedCuWASM);
  const cu = await new EnhancedCuWASM().init({ storage: 'memory' });
  assert.equal(cu.storage, 'memory');
  await cu.close();
  await cu.close();
  await assert.rejects(cu.eval('return 1'), { code: 'closed' });
  await assert.rejects(new Cu().eval('return 1'), { code: 'NOT_INITIALIZED' });
});

test('the wasm may be given as bytes, path, address or module', async () => {
  const url = new URL('../dist/cu.wasm', import.meta.url);
  const bytes = await readFile(url);
  const sources = [bytes, new Uint8Array(bytes), url, url.pathname, url.href, await WebAssembly.compile(bytes)];
  for (const wasm of [...sources, Promise.resolve(bytes)]) {
    const cu = await Cu.open({ storage: 'memory', wasm });
    assert.equal(await cu.eval('return 2'), 2);
    await cu.close();
  }
  await assert.rejects(Cu.open({ wasmPath: '/nowhere/cu.wasm' }), { code: 'WASM_LOAD_FAILED' });
});

test('memory after start', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  const { total, used, free, wasm } = await cu.getMemoryStats();
  assert.equal(total, 512 * 1024);
  assert.equal(free, total - used);
  assert.ok(used > 0 && wasm <= 1.5 * 1024 * 1024, `${wasm} bytes of wasm memory`);
  await cu.close();
});

opened('run gives all values, the output and the fuel', async (cu) => {
  const { values, output, fuelUsed } = await cu.run('print("a", ...) io = nil return ..., 2, "é", {1, {x = 2}}', { args: [1.5] });
  assert.deepEqual(values, [1.5, 2, 'é', [1, { x: 2 }]]);
  assert.equal(output, 'a\t1.5\n');
  assert.ok(fuelUsed > 0);
  assert.equal(await cu.eval('return'), null);
  assert.equal(await cu.eval('return 9007199254740993'), 9007199254740993n);
});

opened('output is taken as it is printed', async (cu) => {
  let text = '';
  const { output } = await cu.run('for i = 1, 3 do print(i) end', { onOutput: (part) => (text += part) });
  assert.deepEqual([text, output], ['1\n2\n3\n', '']);
  const failure = new Error('mine');
  const promise = cu.run('print(1)', { onOutput: () => { throw failure; } });
  await assert.rejects(promise, (error) => error === failure);
  assert.equal(await cu.eval('return 3'), 3);
});

opened('globals are set and got', async (cu) => {
  await cu.set('config', { list: [1, 2], deep: { flag: true } });
  assert.equal(await cu.eval('return config.list[2] + #config.list'), 4);
  await cu.eval('config.list[3] = 3');
  assert.deepEqual((await cu.get('config')).list, [1, 2, 3]);
  assert.equal(await cu.get('nothing'), null);
  await fails(cu, cu.set('f', Symbol('f')), 'INVALID_INPUT', UsageError);
});

opened('errors of programs carry position, value and traceback', async (cu) => {
  const syntax = await fails(cu, cu.eval('x = = 1', { chunkName: 'bad.lua' }), 'EVAL_FAILED', LuaError);
  assert.deepEqual([syntax.chunk, syntax.line], ['bad.lua', 1]);
  const runtime = await fails(cu, cu.run('local t\nprint(t.x)', { chunkName: 'run.lua' }), 'LUA_EXECUTION_ERROR', LuaError);
  assert.equal(runtime.message, "run.lua:2: attempt to index a nil value (local 't')");
  assert.deepEqual([runtime.chunk, runtime.line], ['run.lua', 2]);
  assert.match(runtime.traceback, /stack traceback:\n\trun\.lua:2:/);
  const value = await fails(cu, cu.eval('error({code = 7})'), 'LUA_EXECUTION_ERROR', LuaError);
  assert.deepEqual(value.value, { code: 7 });
});

opened('limits trip and the instance goes on', async (cu) => {
  await fails(cu, cu.run('while true do end', { fuel: 1e6 }), 'fuel', LimitError);
  await fails(cu, cu.run('local t = {} while true do t[#t + 1] = {} end'), 'heap', LimitError);
});

for (const [around, step] of [['{ t }', 0], ['{ x = t }', 'x']]) {
  opened(`values nest deeply, as ${around}`, async (cu) => {
    const nested = (leaf, levels) => `local t = ${leaf} for i = 1, ${levels} do t = ${around} end return t`;
    const levels = (value, depth = 0) => (value?.[step] === undefined ? { depth, leaf: value } : levels(value[step], depth + 1));
    const deepest = await cu.eval(nested('1', 199));
    assert.deepEqual(levels(deepest), { depth: 199, leaf: 1 });
    await cu.set('back', deepest);
    assert.deepEqual(await cu.get('back'), deepest);
    await fails(cu, cu.eval(nested('1', 201)), 'INVALID_INPUT', UsageError);
    // A function is saved, and what saves it needs memory of its own.
    const text = 'what is long enough to be compressed, and comes again; '.repeat(40);
    const { depth, leaf } = levels(await cu.eval(nested(`function() return "${text}" end`, 198)));
    assert.ok(depth === 198 && leaf instanceof FunctionBlob, `${depth} ${leaf}`);
  });
}

opened('a run that fails tells its fuel, as one that ends does', async (cu) => {
  const body = 'local n = 0 for i = 1, 1000 do n = n + i end';
  const { fuelUsed } = await cu.run(body);
  const failed = async (source, code, type, options) => (await fails(cu, cu.run(source, options), code, type)).details.fuelUsed;
  const raised = await failed(`${body} error("late")`, 'LUA_EXECUTION_ERROR', LuaError);
  assert.ok(fuelUsed > 1000 && raised > fuelUsed && raised < fuelUsed + 1000, `${raised} and ${fuelUsed}`);
  assert.ok((await failed('local t = {} while true do t[#t + 1] = {} end', 'heap', LimitError)) > 1000);
  assert.ok((await failed('while true do end', 'fuel', LimitError, { fuel: 12_345 })) >= 12_345);
  assert.ok((await failed('while true do end', 'time', LimitError, { timeLimit: 20 })) > 1000);
});

opened('runs are aborted, and take turns', async (cu) => {
  const controller = new AbortController();
  const endless = cu.run('while true do end', { signal: controller.signal });
  const next = cu.eval('return "next"');
  setTimeout(() => controller.abort(), 0);
  await assert.rejects(endless, { name: 'AbortError' });
  assert.equal(await next, 'next');
  await assert.rejects(cu.run('return 1', { signal: AbortSignal.abort() }), { name: 'AbortError' });
});

test('closing ends what runs', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  const endless = assert.rejects(cu.run('while true do end'), { code: 'closed' });
  const queued = assert.rejects(cu.eval('return 1'), { code: 'closed' });
  await cu.close();
  await Promise.all([endless, queued]);
});

opened('a saved function keeps its upvalues', async (cu) => {
  assert.equal(await cu.persistFunction('Memory', 'calculate', 'function(x, y) return x * y + 100 end'), true);
  assert.equal(await cu.callFunction('Memory', 'calculate', 6, 7), 142);
  await cu.persistFunction('Memory', 'counter', COUNTER);
  assert.equal(await cu.callFunction('Memory', 'counter'), 1);
  const stored = await cu.getValue('Memory', 'counter');
  assert.ok(stored instanceof FunctionBlob);
  assert.equal(await cu.callFunction('Memory', 'counter'), 2);
  assert.notDeepEqual(await cu.getValue('Memory', 'counter'), stored);
  // What is stored decides: an older state, put back, is what the next call goes on from.
  await cu.setValue('Memory', 'counter', stored);
  assert.equal(await cu.callFunction('Memory', 'counter'), 2);
  await cu.deleteValue('Memory', 'counter');
  await fails(cu, cu.callFunction('Memory', 'counter'), 'UNKNOWN_FUNCTION', UsageError);
});

opened('a failing call leaves a saved function as it was', async (cu) => {
  await cu.persistFunction('f', 'step', 'local n = 0; return function(bad) n = n + 1; if bad then error("bad") end return n end');
  assert.equal(await cu.callFunction('f', 'step'), 1);
  const error = await fails(cu, cu.callFunction('f', 'step', true), 'LUA_EXECUTION_ERROR', LuaError);
  assert.match(error.message, /:1: bad$/);
  assert.equal(await cu.callFunction('f', 'step'), 2);
});

opened('functions that cannot be saved', async (cu) => {
  const syntax = await fails(cu, cu.persistFunction('f', 'a', 'function(x) return x +'), 'INVALID_FUNCTION_SYNTAX', LuaError);
  assert.equal(syntax.line, 1);
  await fails(cu, cu.persistFunction('f', 'a', '42'), 'INVALID_FUNCTION_CODE');
  await fails(cu, cu.persistFunction('f', 'a', ' '), 'INVALID_FUNCTION_CODE');
  await fails(cu, cu.persistFunction('f', 'a', 'error("no")'), 'FUNCTION_COMPILATION_FAILED', LuaError);
  await fails(cu, cu.persistFunction('', 'a', 'function() end'), 'INVALID_TABLE_NAME');
  await fails(cu, cu.callFunction('f', 'a'), 'UNKNOWN_FUNCTION', UsageError);
  assert.deepEqual(await cu.validateFunction('function(x) return x end'), { isValid: true, error: null });
  assert.equal((await cu.validateFunction('function(x')).isValid, false);
  assert.equal((await cu.validateFunction('')).isValid, false);
});

opened('a function over the limit is refused, the saved one stays', async (cu) => {
  await cu.persistFunction('f', 'a', 'function() return 1 end');
  await fails(cu, cu.persistFunction('f', 'a', `function() return "${'abcdefgh'.repeat(60)}" .. math.random() end`), 'FUNCTION_TOO_LARGE', LimitError);
  assert.equal(await cu.callFunction('f', 'a'), 1);
}, { maxFunctionBytes: 400 });

opened('a corrupt blob is a typed error', async (cu) => {
  await cu.persistFunction('f', 'a', COUNTER);
  const { bytes } = await cu.getValue('f', 'a');
  for (let at = 0; at < bytes.length; at++) {
    const damaged = bytes.slice();
    damaged[at] ^= 0x55;
    await cu.setValue('f', 'a', new FunctionBlob(damaged));
    await assert.rejects(cu.callFunction('f', 'a'), (error) => error instanceof EnhancedLuaError, `byte ${at}`);
  }
  await cu.setValue('f', 'a', new FunctionBlob(bytes.slice(0, 10)));
  await fails(cu, cu.callFunction('f', 'a'), 'corrupt');
  await cu.setValue('f', 'a', new FunctionBlob(bytes));
  assert.equal(await cu.callFunction('f', 'a'), 1);
});

opened('a batch is atomic and answers in order', async (cu) => {
  const results = await cu.batchTableOperations([
    { type: 'set', table: 't', key: 'a', value: { n: 1, tags: ['x'] } },
    { type: 'get', table: 't', key: 'a' },
    { type: 'update', table: 't', key: 'a', value: { m: 2 } },
    { type: 'increment', table: 't', key: 'a', field: 'n', by: 4 },
    { type: 'get', table: 't', key: 'a' },
    { type: 'get', table: 't', key: 'none' },
    { type: 'set', table: 't', key: 'b', value: 1 },
    { type: 'delete', table: 't', key: 'b' },
    { type: 'delete', table: 't', key: 'b' },
  ]);
  const last = { n: 5, tags: ['x'], m: 2 };
  assert.deepEqual(results, [true, { n: 1, tags: ['x'] }, true, 5, last, null, true, true, false]);

  const failing = [{ type: 'set', table: 't', key: 'a', value: 0 }, { type: 'increment', table: 't', key: 'a', field: 'deep.no' }];
  let error = null;
  await cu.batchTableOperations(failing).catch((thrown) => (error = thrown));
  assert.ok(error instanceof EnhancedLuaError);
  assert.equal(error.details.position, 1);
  assert.deepEqual(await cu.getValue('t', 'a'), last);
});

opened('a wrong batch names the operation', async (cu) => {
  const set = { type: 'set', table: 't', key: 1, value: 1 };
  const check = async (operation, code) => {
    const error = await fails(cu, cu.batchTableOperations([set, operation]), code);
    assert.equal(error.details.position, 1);
  };
  await check({ type: 'put', table: 't', key: 1 }, 'UNKNOWN_OPERATION');
  await check({ table: 't', key: 1 }, 'INVALID_OPERATION_TYPE');
  await check({ ...set, table: '' }, 'INVALID_TABLE_NAME');
  await check({ ...set, key: NaN }, 'INVALID_KEY');
  await fails(cu, cu.batchTableOperations(Array(1001).fill(set)), 'BATCH_SIZE_EXCEEDED', LimitError);
  assert.deepEqual(await cu.listTables(), []);
});

opened('queries filter, sort, skip and limit, in this order', async (cu) => {
  const people = [['ann', 31], ['bob', 25], ['cid', 47], ['dan', 25], ['eve', 19]];
  await cu.batchTableOperations(people.map(([name, age]) => ({ type: 'set', table: 'users', key: name, value: { name, age, home: { city: name.toUpperCase() } } })));
  const names = async (query) => (await cu.queryTable('users', query)).map(({ name }) => name).join(' ');
  const check = async () => {
    assert.equal(await names({ field: 'age', operator: '>=', value: 25, sort: 'name' }), 'ann bob cid dan');
    assert.equal(await names({ sort: [{ field: 'age', order: 'desc' }, 'name'], offset: 1, limit: 3 }), 'ann bob dan');
    assert.equal(await names({ field: 'home.city', operator: 'startsWith', value: 'E' }), 'eve');
    assert.equal(await names({ field: 'age', operator: 'between', value: [20, 31], sort: 'name' }), 'ann bob dan');
    assert.equal(await names({ field: 'name', operator: 'not in', value: ['bob', 'cid', 'dan'], where: [{ field: 'age', operator: '!=', value: 19 }] }), 'ann');
    assert.equal(await names({ limit: 0 }), '');
    assert.equal(await names({}), 'ann bob cid dan eve');
  };
  await check();
  assert.equal(await cu.createIndex('users', 'age', 'btree'), true);
  await check();
  const plan = await cu.getQueryPlan('users', { field: 'age', operator: '=', value: 25, using: 'index' });
  assert.deepEqual([plan.access, plan.index, plan.fullScan, plan.rowsExamined], ['index', 'age', false, 0]);
  assert.equal(await cu.dropIndex('users', 'age'), true);
  assert.deepEqual((await cu.queryEntries('users', { limit: 1 })).map(({ key }) => key), ['ann']);
  assert.deepEqual(await cu.listTables(), [{ name: 'users', count: 5 }]);

  await fails(cu, cu.queryTable('users', { field: 'age', operator: '~', value: 1 }), 'UNSUPPORTED_OPERATOR');
  await fails(cu, cu.queryTable('users', { field: 'age', value: 1 }), 'INVALID_QUERY_OPERATOR');
  await fails(cu, cu.queryTable('users', { operator: '=', value: 1 }), 'INVALID_QUERY_FIELD');
  await fails(cu, cu.queryTable('users', { limit: -1 }), 'INVALID_QUERY_LIMIT');
});

opened('queries use indexes and give the same rows with and without them', async (cu) => {
  const people = Array.from({ length: 500 }, (_, n) => ({ type: 'set', table: 'users', key: n, value: { n, age: n * 37 % 100, city: ['Bern', 'Basel'][n % 2], tags: [`t${n % 10}`, n % 3] } }));
  await cu.batchTableOperations(people);
  const queries = [
    { field: 'age', operator: '=', value: 25 },
    { field: 'age', operator: 'between', value: [10, 12], sort: [{ field: 'age', order: 'desc' }], limit: 7 },
    { field: 'city', operator: '=', value: 'Bern', where: { field: 'age', operator: '<', value: 5 } },
    { where: { or: [{ field: 'age', operator: '=', value: 3 }, { not: { field: 'n', operator: '<', value: 495 } }] } },
    { field: 'tags', operator: 'contains', value: 't7', fields: ['n'] },
    { field: 'age', operator: '<', value: 50, groupBy: 'city', aggregates: { count: 'count', oldest: { function: 'max', field: 'age' } } },
  ];
  const answers = () => Promise.all(queries.map((query) => cu.queryEntries('users', query)));
  const before = await answers();
  await cu.createIndex('users', 'age');
  await cu.createIndex('users', ['city', 'age'], { name: 'both' });
  await cu.createIndex('users', 'tags', { multi: true });
  await cu.createIndex('users', 'n', { kind: 'hash', unique: true });
  assert.deepEqual(await answers(), before);
  const plans = await Promise.all(queries.map((query) => cu.getQueryPlan('users', query)));
  assert.deepEqual(plans.map(({ index }) => index), ['age', 'age', 'both', null, 'tags', plans[5].index]);
  assert.deepEqual(before[5].map(({ key, value }) => [key, value.count]), [['Basel', 125], ['Bern', 125]]);
  assert.deepEqual((await cu.rangeQuery('users', 'age', 3, 4, { sort: 'n', limit: 2 })).map(({ age }) => age), [3, 4]);
  const first = await cu.queryPage('users', { sort: 'age', limit: 3 });
  const second = await cu.queryPage('users', { sort: 'age', limit: 3, after: first.cursor });
  assert.deepEqual([...first.rows, ...second.rows], await cu.queryEntries('users', { sort: 'age', limit: 6 }));
  await fails(cu, cu.setValue('users', 1000, { n: 7 }), 'duplicate', StorageError);
});

opened('a schema is checked on every write', async (cu) => {
  await cu.setSchema('users', { name: { type: 'string', required: true, min: 1 }, age: { type: 'integer', min: 0, max: 150 }, zip: { pattern: '^[0-9]{4}$' } });
  await cu.setValue('users', 1, { name: 'Ann', age: 30, zip: '3000' });
  for (const bad of [{}, { name: '' }, { name: 'x', age: -1 }, { name: 'x', age: 1.5 }, { name: 'x', zip: '30' }, 7]) {
    await fails(cu, cu.setValue('users', 2, bad), 'schema', StorageError);
  }
  const results = await cu.batchTableOperations([{ type: 'set', table: 'users', key: 2, value: {} }, { type: 'set', table: 'users', key: 3, value: { name: 'Bob' } }], { atomic: false });
  assert.equal(results[0].error.code, 'schema');
  assert.equal(results[1], true);
  await cu.setSchema('users', null);
  await cu.setValue('users', 2, 7);
  await fails(cu, cu.setSchema('users', { type: 'object' }), 'schema', StorageError);
});

opened('an operation that fails for itself has the code that the whole batch would fail with', async (cu) => {
  await cu.setValue('t', 'text', 'x');
  await cu.setSchema('checked', { n: { type: 'integer' } });
  await cu.setValue('unique', 1, { n: 1 });
  await cu.createIndex('unique', 'n', { unique: true });
  const failing = [
    ['INVALID_INPUT', { type: 'increment', table: 't', key: 'text' }],
    ['INVALID_KEY', { type: 'update', table: 't', key: 'text', value: {} }],
    ['INVALID_INPUT', { type: 'query', table: 't', using: { index: 'absent' } }],
    ['INVALID_TABLE_NAME', { type: 'set', table: 'é'.repeat(600), key: 1, value: 1 }],
    ['schema', { type: 'set', table: 'checked', key: 1, value: { n: 'x' } }],
    ['duplicate', { type: 'set', table: 'unique', key: 2, value: { n: 1 } }],
  ];
  const check = async () => {
    const results = await cu.batchTableOperations(failing.map(([, operation]) => operation), { atomic: false });
    for (const [position, [code, operation]] of failing.entries()) {
      await fails(cu, cu.batchTableOperations([operation]), code);
      assert.equal(results[position].error?.code, code, JSON.stringify(results[position]));
    }
  };
  await check();
  await cu.transaction(check);
});

const FILES = {
  'words.txt': 'one\ntwo\n',
  'data/bytes': new Uint8Array([0, 255, 10, 13]),
};

opened('files in memory go in, are used by Lua code and come out', async (cu) => {
  const { values } = await cu.run(`
    local words = {}
    for word in io.lines('words.txt') do words[#words + 1] = word end
    local bytes = io.open('data/bytes', 'rb'):read('a')
    assert(io.open('data/new', 'w')):write('x', 1):close()
    os.remove('words.txt')
    return words, #bytes, bytes:byte(2), io.popen ~= nil, (os.execute()), io.read()`);
  assert.deepEqual(values, [['one', 'two'], 4, 255, true, false, null]);
  assert.deepEqual(await cu.listFiles(), ['data/bytes', 'data/new']);
  assert.deepEqual(await cu.readFile('data/bytes'), FILES['data/bytes']);
  assert.equal(new TextDecoder().decode(await cu.readFile('/data/new')), 'x1');
  assert.equal(await cu.readFile('words.txt'), null);
  await cu.writeFile('deep/er/file', 'é');
  assert.equal(await cu.eval(`return io.open('deep/er/file'):read('a')`), 'é');
  await fails(cu, cu.writeFile('deep/er', 'a directory'), 'INVALID_INPUT', UsageError);
  const printed = await cu.run('io.write("a") print("b") io.stdout:write("c")');
  assert.equal(printed.output, 'ab\nc');
}, { files: FILES });

opened('an environment has variables and paths of modules', async (cu) => {
  const { values } = await cu.run(`return os.getenv('NAME'), os.getenv('OTHER'), require('module')`);
  assert.deepEqual(values, ['é', null, 7, 'lib/module.lua']);
}, { environment: { NAME: 'é', LUA_PATH: 'lib/?.lua' }, files: { 'lib/module.lua': 'return 7' } });

opened('files have a limit', async (cu) => {
  const program = `local file = io.open('big', 'w') file:setvbuf('no') return file:write(('x'):rep(2000))`;
  const [, reason] = (await cu.run(program)).values;
  assert.equal(reason, 'No space left on device');
  await fails(cu, cu.writeFile('big', new Uint8Array(2000)), 'INVALID_INPUT', UsageError);
}, { files: new Map([['small', 'x']]), filesLimit: 1000 });

opened('without files there is no io', async (cu) => {
  assert.deepEqual((await cu.run('return io, os.remove, os.exit, os.time ~= nil')).values, [null, null, null, true]);
  await fails(cu, cu.listFiles(), 'INVALID_INPUT', UsageError);
});

opened('the end of the program ends the run', async (cu) => {
  await fails(cu, cu.run('pcall(os.exit, 3)'), 'LUA_EXECUTION_ERROR', LuaError);
}, { files: {} });

test('files that are none are refused', async () => {
  for (const options of [{ files: { a: 1 } }, { files: ['a'] }, { files: { 'a': 'x', 'a/b': 'x' } }, { files: {}, filesLimit: -1 }]) {
    await assert.rejects(Cu.open({ storage: 'memory', ...options }), { code: 'INVALID_INPUT' });
  }
});

opened('the clock and the seed come from the options', async (cu) => {
  assert.equal(await cu.eval('return os.time()'), 86400);
  const first = await cu.eval('return math.random(0)');
  const other = await Cu.open({ storage: 'memory', now: 0, seed: 1 });
  assert.deepEqual(await other.eval('return math.random(0)'), first);
  await other.close();
}, { now: new Date(86_400_000), seed: 1 });

test('a trap rejects what is pending and all that follows', async () => {
  const poison = new Poison();
  const pending = poison.wait(() => new Promise(() => undefined));
  poison.trap(new WebAssembly.RuntimeError('unreachable'));
  await assert.rejects(pending, { code: 'poisoned' });
  assert.throws(() => poison.call(() => 1), { code: 'poisoned' });
});

test('without storage nothing is loaded for it', async () => {
  const cu = await Cu.open({ storage: 'none', storageWasm: '/nowhere/cu-storage.wasm' });
  assert.equal(cu.storage, 'none');
  assert.equal(await cu.eval('return 1 + 1'), 2);
  await fails(cu, cu.setValue('t', 'k', 1), 'unavailable', StorageError);
  await fails(cu, cu.persistFunction('t', 'f', 'function() end'), 'unavailable', StorageError);
  await cu.close();
});

test('the storage engine may come from elsewhere', async () => {
  await assert.rejects(Cu.open({ storage: 'memory', storageWasm: '/nowhere/cu-storage.wasm' }), { code: 'WASM_LOAD_FAILED' });
  const storageWasm = readFile(new URL('../dist/cu-storage.wasm', import.meta.url));
  const cu = await Cu.open({ storage: 'memory', storageWasm });
  await cu.setValue('t', 'k', 1);
  assert.equal(await cu.getValue('t', 'k'), 1);
  await cu.close();
});
