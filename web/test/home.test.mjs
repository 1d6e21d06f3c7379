// `_home` in the page: what a run leaves there is there in the next instance.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu } from '../dist/index.js';
import { Home } from '../dist/home.js';

/** A database in memory that outlives the instances over it: their records are kept here. */
class Store {
  records = new Map();
  failing = false;

  attach(cu, options = {}) {
    const database = {
      query: async () => encodeRows(this.records),
      batch: async (operations) => {
        if (this.failing) throw Object.assign(new Error('the disk is full'), { code: 'quota' });
        for (const { type, key, value } of decode(operations)) {
          if (type === 'set') this.records.set(Number(key), value);
          else this.records.delete(Number(key));
        }
        return new Uint8Array();
      },
    };
    return { cu, database, options };
  }
}

const { decode, encode } = await import('../dist/codec.js');
const encodeRows = (records) => encode({ rows: [...records].map(([key, value]) => ({ key, value })) });

/** An instance over the store: the real Lua state, with the store in place of the database. */
async function open(store, options = {}) {
  const cu = await Cu.open({ storage: 'memory', heapLimit: 8 << 20, home: true });
  // What it had of its own gives way to what the store holds.
  await cu.eval('Memory = nil');
  const { database } = store.attach(cu);
  const { vm, poison } = cu.parts;
  vm.home = await Home.open(vm, database, poison, options, null);
  cu.parts.home = vm.home;
  return cu;
}

test('state outlives the instance', async () => {
  const store = new Store();
  const count = '_home.next = _home.next or (function() local n = 0 return function() n = n + 1 return n end end)() return _home.next()';
  for (const expected of [1, 2, 3]) {
    const cu = await open(store);
    assert.equal(await cu.eval(count), expected);
    await cu.close();
  }
  let cu = await open(store);
  await cu.eval('_home.co = coroutine.wrap(function() for i = 1, 9 do coroutine.yield(i * i) end end) return _home.co()');
  await cu.eval('for i = 1, 300 do _home[i] = setmetatable({i}, {__index = {n = i}}) end');
  await cu.close();
  cu = await open(store);
  assert.deepEqual((await cu.run('return Memory.co(), _home[300][1], _home[7].n, #_home')).values, [4, 300, 7, 300]);
  await cu.close();
});

test('a commit writes what has changed, and garbage goes', async () => {
  const store = new Store();
  const cu = await open(store);
  await cu.eval('for i = 1, 1000 do _home[i] = {i} end');
  const before = new Map(store.records);
  await cu.eval('_home[500][1] = "changed"');
  const changed = [...store.records].filter(([key, value]) => before.get(key) !== value);
  assert.equal(changed.length, 2);
  for (let round = 0; round < 20; round++) await cu.eval('_home.queue = {} for i = 1, 300 do _home.queue[i] = {i} end');
  await cu.eval('collectgarbage()');
  for (let round = 0; round < 10; round++) await cu.eval('_home.queue = {} for i = 1, 300 do _home.queue[i] = {i} end');
  assert.ok(store.records.size < 4000, `${store.records.size} records`);
  await cu.close();
  const again = await open(store);
  assert.equal(await again.eval('return _home[500][1] .. #_home.queue'), 'changed300');
  await again.close();
});

test('what a failed run did is kept, or undone when asked', async () => {
  for (const [atomic, expected] of [[false, 2], [true, 1]]) {
    const store = new Store();
    const cu = await open(store, { atomic });
    await cu.eval('_home.x = 1 _home.t = {1}');
    await assert.rejects(cu.eval('_home.x = 2 _home.t[1] = 2 error("no")'), /no/);
    assert.equal(await cu.eval('return _home.x'), expected);
    assert.equal(await cu.eval('return _home.t[1]'), expected);
    // What cannot be saved fails the run that put it there.
    const saved = cu.eval('_home.x = 3 _home.list = {1, {co = coroutine.running()}}');
    await assert.rejects(saved, { code: 'SAVE_STATE_FAILED', message: "_home.list[2].co: cannot save a coroutine" });
    await cu.eval('_home.list = nil');
    assert.equal(await cu.eval('return _home.x'), atomic ? 1 : 3);
    // A write that fails leaves what is stored; the next one stores it all.
    store.failing = true;
    await assert.rejects(cu.eval('_home.x = 4'), { code: 'quota' });
    store.failing = false;
    await cu.eval('_home.y = 5');
    await cu.close();
    const again = await open(store);
    assert.equal(await again.eval('return tostring(_home.x) .. tostring(_home.y)'), atomic ? '15' : '45');
    await again.close();
  }
});

test('commits on request', async () => {
  const store = new Store();
  const cu = await open(store, { commit: 'manual' });
  await cu.eval('_home.x = 1');
  assert.equal(store.records.size, 0);
  await cu.commitHome();
  await cu.eval('_home.x = 2');
  await cu.rollBackHome();
  assert.equal(await cu.eval('return _home.x'), 1);
  await cu.close();
});

test('over the real database', async () => {
  const cu = await Cu.open({ storage: 'memory', home: true });
  await cu.eval('_home.x = {1, 2, 3}');
  assert.deepEqual(await cu.listTables(), []);
  assert.equal((await cu.queryEntries('_home')).length, 3);
  assert.equal(await cu.eval('return #_home.x'), 3);
  await cu.close();
  await assert.rejects(Cu.open({ storage: 'none', home: true }), { code: 'unavailable' });
  const without = await Cu.open({ storage: 'memory' });
  assert.equal(await without.eval('return _home'), null);
  await assert.rejects(without.commitHome(), { code: 'INVALID_INPUT' });
  await without.close();
});

test('without autoRestore it begins empty; what is stored stays until a commit, or comes back', async () => {
  const store = new Store();
  let cu = await open(store);
  await cu.eval('_home.old = {1, 2, 3}');
  await cu.close();
  const stored = new Map(store.records);
  cu = await open(store, { commit: 'manual', autoRestore: false });
  assert.equal(await cu.eval('_home.new = 1 return _home.old'), null);
  assert.deepEqual(store.records, stored);
  await cu.loadState();
  assert.deepEqual((await cu.run('return #_home.old, _home.new, Memory == _home')).values, [3, null, true]);
  await cu.close();
  cu = await open(store, { commit: 'manual', autoRestore: false });
  await cu.eval('_home.new = {1}');
  await cu.saveState();
  await cu.eval('_home.new[1] = 2');
  await cu.loadState();
  assert.equal(await cu.eval('return _home.new[1]'), 1);
  await cu.close();
  cu = await open(store);
  assert.equal(await cu.eval('return _home.old'), null);
  assert.equal(await cu.eval('return _home.new[1]'), 1);
  await cu.close();
});
