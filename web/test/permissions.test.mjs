// What Lua code may use: functions of the page and `_home`, by the options of the instance and of the run.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu, UsageError, entry } from './entry.mjs';

const functions = { add: (a, b) => a + b, store: { get: () => 'got', set: () => 'set' }, later: async () => 'later' };
const denied = (message) => (error) => {
  assert.ok(error.message.includes(message), `${error.message} does not say: ${message}`);
  return true;
};

test('functions of the page', async () => {
  const cu = await Cu.open({ storage: 'none', functions, permissions: { functions: ['add', 'store.*', 'later'] } });
  const only = (names) => ({ permissions: { functions: names } });
  assert.equal(await cu.eval('return add(1, 2) .. store.get()'), '3got');
  assert.equal(await cu.eval('return store.set() .. later()', only(['store.set', 'later'])), 'setlater');
  for (const [code, names, refused] of [
    ['return store.get()', ['store.set'], "permission denied: function 'store.get' may not be called"],
    ['return add(1, 2)', [], "permission denied: function 'add' may not be called"],
    ['return add(1, 2)', ['ad', 'add.*', 'store.*'], "permission denied: function 'add' may not be called"],
    ['return coroutine.wrap(function() return add(1, 2) end)()', ['later'], "permission denied: function 'add' may not be called"],
  ]) {
    await assert.rejects(cu.run(code, only(names)), (error) => {
      denied(refused)(error);
      // `coroutine.wrap` puts a position before the message, which is then another error.
      if (!code.includes('wrap')) assert.equal(error.originalError.code, 'denied');
      return true;
    });
    // It is an error that code can catch, and the next run has what it had.
    denied(refused)({ message: await cu.eval(`return select(2, pcall(function() ${code} end))`, only(names)) });
    assert.ok(await cu.eval(code));
  }
  // A run can be given no more than the instance.
  await cu.set('other', () => 1);
  await assert.rejects(cu.run('return other()', only(['*'])), denied("function 'other'"));
  await assert.rejects(cu.call('other'), denied("function 'other'"));
  if (entry !== 'worker') assert.throws(() => cu.callSync('other'), denied("function 'other'"));
  await cu.close();
});

const openHome = (options = {}) => Cu.open({ storage: 'memory', home: true, ...options });
const tables = (access) => ({ permissions: { tables: { _home: access } } });

test('_home, to be read and not changed', async () => {
  const cu = await openHome();
  await cu.run('_home.n = 1 _home.inner = { list = { 1, 2 } } function _home.count() _home.n = _home.n + 1 return _home.n end kept = _home.inner');
  assert.equal(await cu.eval('return _home.n + #_home.inner.list', tables('read')), 3);
  for (const code of ['_home.n = 2', '_home.inner.list[3] = 3', 'kept.x = 1', 'rawset(kept, 1, 1)', '_home = {}', '_home.count()', 'table.insert(_home.inner.list, 3)']) {
    await assert.rejects(cu.run(code, tables('read')), (error) => error instanceof UsageError && error.code === 'denied' && denied("table '_home' may not be changed")(error), code);
    assert.deepEqual((await cu.run('return _home.n, #_home.inner.list, kept.x, kept[1]')).values, [1, 2, null, null], code);
  }
  // Changed and failed.
  await assert.rejects(cu.run('_home.n = 5 error("no")', tables('read')), /no/);
  assert.equal(await cu.eval('return _home.n'), 1);
  await cu.close();
});

test('_home, not to be used at all', async () => {
  const cu = await openHome();
  await cu.run('_home.secret = { deep = { 42 } } kept = _home.secret function peek() return kept.deep[1] end');
  for (const code of [
    'return _home.secret', 'return kept.deep', 'return peek()', 'for k, v in pairs(_home) do end', 'return next(kept)', 'return rawget(kept, "deep")',
    'kept.x = 1', 'rawset(_home, 1, 2)', 'local t = setmetatable({}, { __index = kept }) return t.deep',
    'return table.unpack(kept, 1, 3)', 'return coroutine.wrap(function() return kept.deep end)()', 'return kept == 1 or kept.deep[1]', 'return Memory.secret',
  ]) {
    await assert.rejects(cu.run(code, tables('none')), denied("permission denied: table '_home'"), code);
  }
  for (const code of ['return tostring(getmetatable(kept))', 'return tostring(kept):sub(1, 5)', 'return select("#", pcall(next, kept))', 'return #kept', 'return table.concat(kept)']) {
    assert.doesNotMatch(String(await cu.eval(code, tables('none'))), /42/);
  }
  assert.equal(await cu.eval('return kept.deep[1] + _home.secret.deep[1]'), 84);
  await cu.close();
});

test('an instance whose code may not change _home', async () => {
  const cu = await openHome(tables('read'));
  await assert.rejects(cu.run('_home.x = 1', tables('write')), denied("table '_home' may not be changed"));
  await cu.run('function change() _home.y = 1 end function read() return _home.y end');
  await assert.rejects(cu.call('change'), denied("table '_home' may not be changed"));
  assert.equal(await cu.call('read'), null);
  if (entry !== 'worker') assert.throws(() => cu.callSync('read'), { code: 'denied' });
  await cu.close();
});

test('a sandbox has _home when the run is given it', async () => {
  const cu = await openHome({ heapLimit: 4 << 20 });
  await cu.run('_home.n = 7');
  assert.equal(await cu.eval('return _home', { sandbox: 'a' }), null);
  assert.equal(await cu.eval('mine = _home return mine.n', { sandbox: 'a', ...tables('read') }), 7);
  await assert.rejects(cu.run('return mine.n', { sandbox: 'a' }), denied("permission denied: table '_home'"));
  await cu.run('_home.n = 8', { sandbox: 'a', ...tables('write') });
  assert.equal(await cu.eval('return _home.n'), 8);
  await cu.close();
});

test('changes that are not stored come before a run that may not change', async () => {
  const cu = await openHome({ home: { commit: 'manual' } });
  await cu.run('_home.n = 1');
  await assert.rejects(cu.run('return _home.n', tables('read')), denied('commit or roll back'));
  await cu.commitHome();
  assert.equal(await cu.eval('return _home.n', tables('read')), 1);
  await assert.rejects(cu.run('_home.n = 2', tables('read')), denied("table '_home' may not be changed"));
  assert.equal(await cu.eval('return _home.n'), 1);
  await cu.close();
});

test('permissions are checked when they are given', async () => {
  await assert.rejects(Cu.open({ storage: 'none', permissions: { functions: 'add' } }), /permissions: functions/);
  const cu = await Cu.open({ storage: 'none' });
  for (const permissions of [1, 'all', { functions: [1] }, { tables: 1 }, { tables: { _home: 'all' } }]) {
    await assert.rejects(cu.run('return 1', { permissions }), (error) => error.code === 'INVALID_INPUT' && /permissions/.test(error.message));
  }
  await cu.close();
});
