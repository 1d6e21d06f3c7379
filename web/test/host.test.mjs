// Functions of the page that Lua code calls, and promises that it waits for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu, here, LuaError, UsageError, Values } from './entry.mjs';

const later = (value, milliseconds = 1) => new Promise((resolve) => setTimeout(() => resolve(value), milliseconds));

async function open(functions, options = {}) {
  return Cu.open({ storage: 'none', heapLimit: 4 << 20, functions, ...options });
}

test('arguments and results are copies', async () => {
  const seen = [];
  const cu = await open({
    keep: (...args) => void seen.push(args),
    pair: (a, b) => new Values(b, a, null),
    give: (name) => ({ text: 'ö', bytes: new Uint8Array([255]), big: 2n ** 60n, list: [1, 2.5, null], deep: { on: true } })[name],
  });
  await cu.run('keep(1, 2.5, "x", nil, true, {1, 2}, {a = {b = "c"}}, 1 << 60, "\\xff", nil)');
  assert.deepEqual(seen, [[1, 2.5, 'x', null, true, [1, 2], { a: { b: 'c' } }, 2n ** 60n, new Uint8Array([255]), null]]);
  const { values } = await cu.run(`
    local d = give('deep')
    return select('#', pair(1, 2)), pair(1, 2), give('text') == 'ö', #give('bytes'), give('big') == 1 << 60, give('list')[2], d.on,
      select('#', keep()), give('nothing')`);
  assert.deepEqual(values, [3, 2, true, 1, true, 2.5, true, 0]);
  await cu.close();
});

// The answer was wasm-bindgen's own: "recursive use of an object detected".
test('what needs the VM at once is refused inside a function that Lua code calls', here, async () => {
  const seen = [];
  const attempts = [
    () => cu.snapshot(),
    async () => cu.getMemoryStats(),
    () => cu.compressData('x'),
    async () => cu.callSync('print'),
    async () => cu.running,
  ];
  const cu = await open({ inside: () => {
    seen.push(...attempts.map((attempt) => attempt().catch((error) => error)));
    return 1;
  } });
  assert.equal(await cu.eval('return inside()'), 1);
  for (const error of await Promise.all(seen)) assert.deepEqual([error.name, error.code], ['UsageError', 'busy'], String(error));
  assert.equal(seen.length, attempts.length);
  assert.equal(cu.running, false);
  for (const attempt of attempts) await attempt();
  await cu.close();
});

test('groups of functions, and functions given later', async () => {
  const cu = await open({ math2: { sqrt: Math.sqrt, deep: { twice: (x) => 2 * x } }, single: () => 'one' });
  assert.deepEqual((await cu.run('return math2.sqrt(9), math2.deep.twice(4), single()')).values, [3, 8, 'one']);
  await cu.set('api', { name: 'x', add: (a, b) => a + b, list: [1, 2] });
  assert.deepEqual((await cu.run('return api.name, api.add(1, 2), #api.list')).values, ['x', 3, 2]);
  await cu.set('single', () => 'two');
  assert.equal(await cu.eval('return single()'), 'two');
  await assert.rejects(cu.set('x', [() => 1]), { code: 'INVALID_INPUT' });
  await cu.close();
});

test('large arguments and results', async () => {
  const cu = await open({ echo: (value) => value, count: (list) => list.length });
  assert.equal(await cu.eval('return #echo(("x"):rep(100000))'), 100000);
  assert.equal(await cu.eval('local t = {} for i = 1, 10000 do t[i] = i end return count(echo(t))'), 10000);
  await cu.close();
});

test('what a function throws is an error in Lua', async () => {
  const thrown = new TypeError('no such user');
  const cu = await open({
    fail: (value) => {
      throw value ?? thrown;
    },
    wrong: () => Symbol('x'),
  });
  assert.deepEqual((await cu.run('return pcall(fail)')).values, [false, 'no such user']);
  assert.deepEqual((await cu.run('return pcall(fail, {code = 7})')).values, [false, { code: 7 }]);
  const { values } = await cu.run('return pcall(wrong)');
  assert.equal(values[0], false);
  assert.match(values[1], /symbol/i);
  await assert.rejects(cu.run('local function f() fail() end f()'), (error) => {
    assert.ok(error instanceof LuaError);
    assert.equal(error.message, 'no such user');
    assert.equal(error.originalError, thrown);
    assert.match(error.traceback, /function <script:1>|upvalue 'f'|local 'f'/);
    return true;
  });
  // An error that was caught is not the cause of a later one.
  await assert.rejects(cu.run('pcall(fail) error("other")'), (error) => error.originalError === null);
  assert.deepEqual((await cu.run('return pcall(fail, ("x"):rep(10000))')).values[0], false);
  await cu.close();
});

test('coroutines and other values without a copy are refused by their place', async () => {
  const cu = await open({ take: () => true });
  const { values } = await cu.run('return pcall(take, 1, {a = coroutine.create(print)})');
  assert.equal(values[0], false);
  assert.match(values[1], /argument 2/);
  await cu.close();
});

const PLACES = [
  ['return later(1) + later(2)', [3]],
  ['return pcall(later, 5)', [true, 5]],
  ['local o = setmetatable({}, {__index = function(_, k) return later(k .. "!") end}) return o.x, o.y', ['x!', 'y!']],
  ['local t = {3, 1, 2} table.sort(t, function(a, b) return later(a < b) end) return t', [[1, 2, 3]]],
  ['return (("abc"):gsub(".", function(c) return later(c:upper()) end))', ['ABC']],
  ['local s = 0 for x in function() s = s + 1 return later(s < 4 and s or nil) end do end return s', [4]],
  ['local c = coroutine.wrap(function(a) local b = coroutine.yield(later(a)) return later(b) end) return c(1), c(2)', [1, 2]],
  ['local r do local x <close> = setmetatable({}, {__close = function() r = later(9) end}) end return r', [9]],
  ['local r setmetatable({}, {__gc = function() r = later(8) end}) collectgarbage() return r', [8]],
  ['return xpcall(error, function(e) return later(e) .. "?" end, "x")', [false, 'x?']],
  ['local n = 0 for i = 1, 20 do n = n + later(i) end return n', [210]],
];

for (const compile of ['never', 'eager']) {
  test(`promises are waited for anywhere, compiled: ${compile}`, async () => {
    const cu = await open({ later: (value) => later(value) }, { compile });
    for (const [program, expected] of PLACES) {
      assert.deepEqual((await cu.run(program)).values, expected, program);
    }
    await cu.run('function twice(x) return 2 * later(x) end');
    assert.equal(await cu.call('twice', 21), 42);
    await cu.close();
  });
}

test('a rejected promise is an error in Lua', async () => {
  const cu = await open({ refuse: (value) => Promise.reject(value ?? new Error('offline')) });
  assert.deepEqual((await cu.run('return pcall(refuse)')).values, [false, 'offline']);
  assert.deepEqual((await cu.run('return pcall(refuse, {7})')).values, [false, [7]]);
  await assert.rejects(cu.run('refuse()'), { name: 'LuaError', message: 'offline' });
  await cu.close();
});

test('output comes while the run waits, and others have their turn after it', async () => {
  const order = [];
  let [release, arrived, told] = [];
  const both = Promise.all([new Promise((resolve) => (arrived = resolve)), new Promise((resolve) => (told = resolve))]);
  const cu = await open({ gate: () => new Promise((resolve) => ((release = resolve), arrived())) });
  const first = cu.run('print("before") gate() print("after")', { onOutput: (text) => told(order.push(text)) });
  const second = cu.run('return 2').then(() => order.push('second'));
  await both;
  assert.deepEqual(order, ['before\n']);
  release();
  await Promise.all([first, second]);
  assert.deepEqual(order, ['before\n', 'after\n', 'second']);
  await cu.close();
});

test('a signal, limits and closing end a run that waits', async () => {
  const cu = await open({ never: () => new Promise(() => undefined), soon: () => later(1) });
  const controller = new AbortController();
  const run = cu.run('never()', { signal: controller.signal });
  setTimeout(() => controller.abort(new Error('enough')), 10);
  await assert.rejects(run, { message: 'enough' });
  assert.equal(await cu.eval('return soon()'), 1);
  await assert.rejects(cu.run('while true do soon() end', { fuel: 2000 }), { code: 'fuel' });
  await assert.rejects(cu.run('never()', { timeLimit: 10 }), { code: 'time' });
  await assert.rejects(cu.run('pcall(never) while true do soon() end', { timeLimit: 10 }), { code: 'time' });
  assert.equal(await cu.eval('return soon()', { timeLimit: 2 ** 40 }), 1);
  const pending = cu.run('never()');
  setTimeout(() => void cu.close(), 10);
  await assert.rejects(pending, { code: 'closed' });
});

test('callSync does not wait', here, async () => {
  const cu = await open({ soon: () => later(1), now: () => 5 });
  await cu.run('function f() return soon() end function g() return now() end');
  assert.equal(cu.callSync('g'), 5);
  assert.throws(() => cu.callSync('f'), (error) => error instanceof UsageError && error.code === 'promise' && /'soon'/.test(error.message));
  assert.equal(cu.callSync('g'), 5);
  assert.equal(await cu.call('f'), 1);
  await cu.close();
});

test('the page cannot come back into the instance while its function runs', here, async () => {
  const answers = [];
  let cu;
  cu = await open({
    back: () => {
      for (const call of [() => cu.callSync('g'), () => cu.getMemoryStats(), () => cu.running]) {
        try {
          call();
          answers.push('went in');
        } catch (error) {
          answers.push(error.code ?? 'refused');
        }
      }
      return 1;
    },
    afterwards: () => void cu.call('g').then((value) => answers.push(value)),
  });
  await cu.run('function g() return 2 end function f() back() return 3 end');
  assert.equal(cu.callSync('f'), 3);
  assert.equal(await cu.eval('return f()'), 3);
  assert.ok(!answers.includes('went in') && answers.length === 6, answers.join());
  await cu.run('afterwards()');
  await cu.run('return 1');
  assert.equal(answers.at(-1), 2);
  await cu.close();
});

test('host functions are saved by name, and a call that waited is made again', async () => {
  const calls = [];
  let called = () => undefined;
  const first = new Promise((resolve) => (called = resolve));
  const functions = { later: (value) => (calls.push(value), called(), later(value)) };
  const cu = await open(functions);
  const run = cu.run('local a = later("first") local b = later("second") return a .. b, later');
  await first;
  assert.equal(calls.length, 1);
  const image = await cu.snapshot();
  await run;
  await cu.close();
  calls.length = 0;
  const restored = await Cu.restore(image, { storage: 'none', functions });
  assert.equal(restored.running, true);
  assert.equal((await restored.resume()).values[0], 'firstsecond');
  assert.deepEqual(calls, ['first', 'second']);
  assert.equal(await restored.eval('return later(3)'), 3);
  await restored.close();
  const without = await Cu.restore(image, { storage: 'none' });
  await assert.rejects(without.resume(), { name: 'LuaError', message: /the host has no function 'later'/ });
  await without.close();
});

test('saved functions call host functions', async () => {
  const cu = await Cu.open({ storage: 'memory', functions: { later: (value) => later(value) } });
  await cu.persistFunction('Memory', 'f', 'local n = 0; return function(x) n = n + later(x); return n end');
  assert.equal(await cu.callFunction('Memory', 'f', 2), 2);
  assert.equal(await cu.callFunction('Memory', 'f', 3), 5);
  await cu.close();
});

test('an answer that the heap has no room for at once comes after a collection', async () => {
  let count = 0;
  const cu = await open({ text: () => (count++, 'x'.repeat(20000)) }, { heapLimit: 150_000 });
  const { values } = await cu.run('local n = 0 for i = 1, 200 do n = n + #text() end return n');
  assert.deepEqual([values[0], count], [200 * 20000, 200]);
  await assert.rejects(cu.run('local t = {} for i = 1, 200 do t[i] = text() .. i end'), { code: 'heap' });
  await cu.close();
});
