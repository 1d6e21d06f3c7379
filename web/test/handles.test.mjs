// Live handles to Lua values, and coroutines as iterators. What is done by a handle is compared with what Lua code sees of the same value.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu, here, LuaError, LuaHandle, UsageError } from './entry.mjs';

const opened = (name, body, options = {}) =>
  test(name, async () => {
    const cu = await Cu.open({ storage: 'memory', heapLimit: 4 << 20, ...options });
    try {
      await body(cu);
    } finally {
      await cu.close();
    }
  });

const collect = async (iterator) => {
  const items = [];
  for await (const item of iterator) items.push(item);
  return items;
};

/** Says in `closed` that it was closed. */
const CLOSER = `closed = false
  local guard <close> = setmetatable({}, { __close = function(_, problem) closed = problem or true end })`;

for (const [kind, options] of [['the whole library', {}], ['a sandbox', { sandbox: true }], ['_home', { home: true }]]) {
  opened(`a handle is to the value itself, with ${kind}`, async (cu) => {
    const table = await cu.handle('t = { n = 1, list = { 10, 20 }, [2.5] = "float", [true] = "yes" } return t, "a second value"');
    assert.ok(table instanceof LuaHandle);
    assert.equal(table.type, 'table');
    await cu.run('t.n = 2');
    assert.deepEqual([await table.get('n'), await table.get(2.5), await table.get(true), await table.get('absent')], [2, 'float', 'yes', null]);
    await table.set('n', 3);
    await table.set('copied', { x: [1] });
    await table.set('gone', undefined);
    assert.deepEqual((await cu.run('return t.n, t.copied, t.gone')).values, [3, { x: [1] }, null]);
    const list = await table.at('list');
    await list.set(3, 30);
    assert.deepEqual(await list.toJS(), [10, 20, 30]);
    assert.deepEqual(await cu.eval('return t.list'), [10, 20, 30]);
    // Fields go through metamethods, as in Lua.
    const proxy = await cu.handle('return setmetatable({}, { __index = function(_, key) return key .. "!" end, __newindex = function(_, key, value) written = { key, value } end, __call = function(_, ...) return select("#", ...) end })');
    assert.equal(await proxy.get('x'), 'x!');
    await proxy.set('y', 7);
    assert.deepEqual(await cu.get('written'), ['y', 7]);
    assert.equal(await proxy.call(1, null, undefined), 3);
  }, options);
}

opened('handles stand for their values among arguments', async (cu) => {
  const table = await cu.handle('t = {} return t');
  const same = await cu.handle('return function(...) local list = table.pack(...) return list.n == 4 and list[1] == 1 and list[2] == t and list[3] == nil and list[4] == t end');
  assert.equal(same.type, 'function');
  assert.equal(await same.call(1, table, null, table), true);
  assert.equal(await same.call(1, {}, null, table), false);
  await cu.set('u', table);
  assert.equal(await cu.eval('return u == t'), true);
  await table.set('self', table);
  assert.equal(await cu.eval('return t.self == t'), true);
  const again = await cu.handle('return ({...})[1]', { args: [table] });
  assert.deepEqual([await again.is(table), await table.is(again), await again.is(same), await again.is(5)], [true, true, false, false]);
  // Only there: inside other values, and elsewhere, they are none.
  await assert.rejects(same.call([table]), { code: 'INVALID_INPUT' });
  await assert.rejects(cu.setValue('t', 1, table), { code: 'INVALID_INPUT' });
  await assert.rejects(cu.run('', { args: [table] }), { code: 'INVALID_INPUT' });
  const other = await Cu.open({ storage: 'memory' });
  const foreign = await other.handle('return {}');
  await assert.rejects(same.call(foreign), { code: 'INVALID_INPUT', message: /of another instance/ });
  assert.equal(await table.is(foreign), false);
  await other.close();
});

opened('what has no handle, or goes wrong, is told', async (cu) => {
  for (const [source, kind] of [['return 1', 'number'], ['return "x"', 'string'], ['return true', 'boolean'], ['', 'nil']]) {
    await assert.rejects(cu.handle(source), { name: 'UsageError', code: 'INVALID_INPUT', message: new RegExp(`a ${kind} value`) });
  }
  await assert.rejects(cu.handle('return {}', { sandbox: 'guest' }), { code: 'INVALID_INPUT', message: /sandbox/ });
  await assert.rejects(cu.handle(5), { code: 'INVALID_INPUT', details: { argument: 'source' } });
  await assert.rejects(cu.handle('', { fuel: -1 }), { details: { argument: 'options.fuel' } });
  assert.throws(() => cu.iterate(5), { code: 'INVALID_INPUT', details: { argument: 'source' } });
  // The error of a program that does not compile is the one that `run` gives.
  const fromRun = await cu.run('\nx = = 1', { chunkName: 'n.lua' }).catch((error) => error);
  for (const failing of [cu.handle('\nx = = 1', { chunkName: 'n.lua' }), cu.iterate('\nx = = 1', { chunkName: 'n.lua' }).next()]) {
    const error = await failing.catch((thrown) => thrown);
    assert.ok(error instanceof LuaError);
    const parts = ({ code, message, chunk, line, traceback }) => [code, message, chunk, line, traceback];
    assert.deepEqual(parts(error), parts(fromRun));
  }
  const binary = await cu.eval('return string.dump(function() end)');
  await assert.rejects(cu.handle(binary), { code: /^(INVALID_INPUT|EVAL_FAILED)$/ });
  assert.equal(await (await cu.handle('#!/usr/bin/lua\nreturn { 1 }')).get(1), 1);
  const failing = await cu.handle('return function(x) error({ code = x }) end');
  await assert.rejects(failing.call(7), (error) => error instanceof LuaError && error.value.code === 7);
  await assert.rejects(failing.get('x'), { code: 'LUA_EXECUTION_ERROR', message: /attempt to index a function value/ });
  await assert.rejects((await cu.handle('return {}')).call(), { message: /attempt to call a table value/ });
  await assert.rejects((await cu.handle('return { x = 1 }')).at('x'), { code: 'INVALID_INPUT', message: /the field has a number value/ });
  await assert.rejects((await cu.handle('local t = {} t.t = t return t')).toJS(), { code: 'INVALID_INPUT', message: /contains itself/ });
});

opened('a handle that was released is of no use, and its value is let go of', async (cu) => {
  const count = async () => {
    await cu.run('collectgarbage()');
    return cu.eval('local n = 0 for _ in pairs(alive) do n = n + 1 end return n');
  };
  await cu.run('alive = setmetatable({}, { __mode = "k" }) function make() local t = {} alive[t] = true return t end');
  const handles = [];
  for (let n = 0; n < 20; n++) handles.push(await cu.handle('return make()'));
  assert.equal(await count(), 20);
  const busy = handles[0].get('x');
  for (const handle of handles.slice(0, 15)) handle.release();
  handles[0].release();
  assert.equal(handles[0].released, true);
  assert.equal(await busy, null);
  assert.equal(await count(), 5);
  const [gone, here] = [handles[0], handles[19]];
  const released = { name: 'UsageError', code: 'released' };
  for (const use of [() => gone.get(1), () => gone.set(1, 1), () => gone.call(), () => gone.at(1), () => gone.toJS(), () => gone.is(here), () => here.is(gone), () => here.set(1, gone), () => cu.set('x', gone)]) {
    await assert.rejects(use(), released);
  }
  await assert.rejects(cu.iterate(gone).next(), released);
  assert.equal(await here.get('x'), null);
});

test('after the instance is closed, or restored elsewhere, handles are of no use', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  const table = await cu.handle('t = { n = 1 } return t');
  const steps = cu.iterate('coroutine.yield(1) coroutine.yield(2)');
  assert.equal((await steps.next()).value, 1);
  const image = await cu.snapshot();
  await cu.close();
  await assert.rejects(table.get('n'), { code: 'closed' });
  await assert.rejects(steps.next(), { code: 'closed' });
  table.release();
  const restored = await Cu.restore(image, { storage: 'memory' });
  const fresh = await restored.handle('return t');
  assert.equal(await fresh.get('n'), 1);
  await assert.rejects(fresh.set('x', table), { code: 'INVALID_INPUT' });
  assert.deepEqual(await collect(restored.iterate('coroutine.yield(3)')), [3]);
  await restored.close();
});

test('after a trap handles are of no use', here, async () => {
  const cu = await Cu.open({ storage: 'memory' });
  const table = await cu.handle('return {}');
  const steps = cu.iterate('coroutine.yield(1) coroutine.yield(2)');
  await steps.next();
  cu.parts.poison.trap(new Error('unreachable'));
  await assert.rejects(table.get('n'), { code: 'poisoned' });
  await assert.rejects(steps.next(), { code: 'poisoned' });
  assert.deepEqual(await steps.next(), { done: true, value: undefined });
  table.release();
  await cu.close();
});

opened('a handle that nobody has any more is released', async (cu) => {
  const collectGarbage = await garbageCollector();
  if (collectGarbage === null) return;
  await cu.run('alive = setmetatable({}, { __mode = "k" }) function make() local t = {} alive[t] = true return t end');
  const make = async () => {
    for (let n = 0; n < 50; n++) await cu.handle('return make()');
  };
  await make();
  // Engines finalize when they like, some objects never; what counts is that it goes down.
  for (let round = 0; round < 1000; round++) {
    await collectGarbage();
    await cu.run('collectgarbage()');
    if ((await cu.eval('local n = 0 for _ in pairs(alive) do n = n + 1 end return n')) < 25) return;
  }
  assert.fail('values of lost handles stay');
});

/** What collects garbage in Node; elsewhere there is nothing that does when it is asked to. */
async function garbageCollector() {
  if (typeof process === 'undefined') return null;
  const [v8, vm] = await Promise.all(['node:v8', 'node:vm'].map((name) => import(/* @vite-ignore */ name)));
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc');
  return async () => {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  };
}

opened('a program is iterated over: what it yields, what it is sent, what it returns', async (cu) => {
  assert.deepEqual(await collect(cu.iterate('for i = 1, ... do coroutine.yield(i * i) end', { args: [5] })), [1, 4, 9, 16, 25]);
  assert.deepEqual(await collect(cu.iterate('coroutine.yield() coroutine.yield({ 1 }) coroutine.yield("a", "b")')), [null, [1], 'a']);
  assert.deepEqual(await collect(cu.iterate('return "nothing is yielded"')), []);
  const sums = cu.iterate('local sum = 0 while true do local more = coroutine.yield(sum) if not more then return "end", 2 end sum = sum + more end');
  assert.deepEqual(await sums.next('dropped'), { done: false, value: 0 });
  assert.deepEqual(await sums.next(4), { done: false, value: 4 });
  assert.deepEqual(await sums.next(5), { done: false, value: 9 });
  assert.deepEqual(await sums.next(), { done: true, value: 'end' });
  assert.deepEqual(await sums.next(1), { done: true, value: undefined });
  // Steps that are asked for at once are done one after the other, and other calls have their turn between them.
  const fast = cu.iterate('for i = 1, 3 do coroutine.yield(i) end');
  assert.deepEqual((await Promise.all([fast.next(), fast.next(), cu.eval('return "between"'), fast.next(), fast.next()])).map((step) => step.value ?? step), [1, 2, 'between', 3, { done: true, value: null }]);
});

opened('functions, callable tables and coroutines are iterated over by their handles', async (cu) => {
  await cu.run('function count(from, to) for i = from, to do coroutine.yield(i) end end  callable = setmetatable({}, { __call = function(_, x) coroutine.yield(x) end })');
  assert.deepEqual(await collect(cu.iterate(await cu.handle('return count'), { args: [3, 5] })), [3, 4, 5]);
  assert.deepEqual(await collect(cu.iterate(await cu.handle('return callable'), { args: ['x'] })), ['x']);
  const table = await cu.handle('t = {} return t');
  assert.deepEqual(await collect(cu.iterate('coroutine.yield(... == t)', { args: [table] })), [true]);
  const thread = await cu.handle('co = coroutine.create(count) coroutine.resume(co, 1, 3) return co');
  assert.equal(thread.type, 'thread');
  const steps = cu.iterate(thread);
  assert.equal((await steps.next()).value, 2);
  // Lua code goes on with the same coroutine.
  assert.equal(await cu.eval('local _, i = coroutine.resume(co) return i'), 3);
  assert.deepEqual(await steps.next(), { done: true, value: null });
  await assert.rejects(cu.iterate(await cu.handle('return co')).next(), { code: 'LUA_EXECUTION_ERROR', message: /cannot resume dead coroutine/ });
});

opened('leaving early closes the coroutine, and its to-be-closed variables', async (cu) => {
  for await (const item of cu.iterate(`${CLOSER} for i = 1, 9 do coroutine.yield(i) end`)) {
    if (item === 2) break;
    assert.equal(await cu.get('closed'), false);
  }
  assert.equal(await cu.get('closed'), true);
  const steps = cu.iterate(`${CLOSER} coroutine.yield(1)`);
  await steps.next();
  assert.deepEqual(await steps.return('mine'), { done: true, value: 'mine' });
  assert.equal(await cu.get('closed'), true);
  const thrown = cu.iterate(`${CLOSER} coroutine.yield(1)`);
  await thrown.next();
  await assert.rejects(thrown.throw(new RangeError('mine')), RangeError);
  assert.equal(await cu.get('closed'), true);
  // One that has not begun has nothing to close.
  await cu.run('closed = nil');
  assert.deepEqual(await cu.iterate(CLOSER).return(1), { done: true, value: 1 });
  assert.equal(await cu.get('closed'), null);
  const failing = cu.iterate('local guard <close> = setmetatable({}, { __close = function() error("while closing") end }) coroutine.yield(1)');
  await failing.next();
  await assert.rejects(failing.return(), { code: 'LUA_EXECUTION_ERROR', message: /while closing/ });
});

opened('errors come with the stack of the coroutine, and close it', async (cu) => {
  const steps = cu.iterate(`${CLOSER} local function inner() error({ status = 404 }) end coroutine.yield(1) inner()`, { chunkName: 'job.lua' });
  await steps.next();
  const error = await steps.next().catch((thrown) => thrown);
  assert.ok(error instanceof LuaError);
  assert.deepEqual([error.code, error.value], ['LUA_EXECUTION_ERROR', { status: 404 }]);
  assert.match(error.traceback, /job\.lua:\d+: in .*'inner'/);
  assert.deepEqual(await cu.get('closed'), { status: 404 });
  assert.deepEqual(await steps.next(), { done: true, value: undefined });
  const positioned = await cu.iterate('local x\nlocal y = x.z', { chunkName: 'job.lua' }).next().catch((thrown) => thrown);
  assert.deepEqual([positioned.chunk, positioned.line], ['job.lua', 2]);
});

opened('fuel counts for each step, and a signal ends them', async (cu) => {
  const FUEL = 200_000;
  const long = cu.iterate('for i = 1, 20 do local n = 0 for j = 1, 20000 do n = n + j end coroutine.yield(i) end', { fuel: FUEL });
  assert.equal((await collect(long)).length, 20);
  await assert.rejects(collect(cu.iterate('coroutine.yield(1) while true do end', { fuel: FUEL })), { name: 'LimitError', code: 'fuel' });
  const reason = new Error('enough');
  const during = new AbortController();
  const endless = cu.iterate('coroutine.yield(1) while true do end', { signal: during.signal });
  await endless.next();
  const step = endless.next();
  during.abort(reason);
  await assert.rejects(step, (error) => error === reason);
  const between = new AbortController();
  const steps = cu.iterate(`${CLOSER} while true do coroutine.yield(1) end`, { signal: between.signal });
  await steps.next();
  between.abort(reason);
  await assert.rejects(steps.next(), (error) => error === reason);
  assert.equal(await cu.get('closed'), true);
  assert.equal(await cu.eval('return 1'), 1);
});

opened('a coroutine waits for promises of the page, and prints', async (cu) => {
  let printed = '';
  const source = 'for i = 1, 3 do print(i) coroutine.yield(double(i)) end';
  assert.deepEqual(await collect(cu.iterate(source, { onOutput: (text) => (printed += text) })), [2, 4, 6]);
  assert.equal(printed, '1\n2\n3\n');
  const failure = new UsageError('busy', 'not now');
  await cu.set('refuse', async () => {
    throw failure;
  });
  const error = await collect(cu.iterate('coroutine.yield(refuse())')).catch((thrown) => thrown);
  assert.deepEqual([error.code, error.originalError], ['LUA_EXECUTION_ERROR', failure]);
  const table = await cu.handle('return { f = function(n) return double(n) + 1 end }');
  assert.equal(await (await table.at('f')).call(4), 9);
}, { functions: { double: async (n) => 2 * n } });

opened('what is done with handles can be audited', async (cu) => {
  await cu.enableAuditLog(['useHandle'], { who: 'ann' });
  const table = await cu.handle('return {}', { chunkName: 'job' });
  await table.set('x', 1);
  await collect(cu.iterate('coroutine.yield(1)', { chunkName: 'steps' }));
  const records = (await cu.audit()).map(({ operation, target }) => [operation, target[0]]);
  assert.deepEqual(records, ['run', 'set', 'begin', 'step', 'step'].map((what) => ['useHandle', what]));
});

opened('changes by handles are kept in _home', async (cu) => {
  const home = await cu.handle('_home.list = {} return _home');
  const list = await home.at('list');
  await list.set(1, 'kept');
  await cu.rollBackHome();
  assert.equal(await cu.eval('return _home.list[1]'), 'kept');
}, { home: true });
