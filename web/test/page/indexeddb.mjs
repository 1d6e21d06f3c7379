// The database over IndexedDB, from one instance to the next and between instances that are open at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu, entry } from '../entry.mjs';

/** A database that no other test has, deleted first. */
async function fresh(name) {
  const full = `${entry}-${name}`;
  await new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(`cu:${full}`);
    request.onsuccess = resolve;
    request.onerror = () => reject(request.error);
  });
  return { name: full, storage: 'indexeddb' };
}

test('what is stored is there for the next instance', async () => {
  const options = await fresh('next');
  const first = await Cu.open(options);
  assert.equal(first.storage, 'indexeddb');
  const people = Array.from({ length: 300 }, (_, n) => ({ type: 'set', table: 'people', key: n, value: { n, age: n % 80, big: 2n ** 60n + BigInt(n) } }));
  await first.batchTableOperations(people);
  await first.createIndex('people', 'age');
  await first.persistFunction('Memory', 'counter', 'local n = 0; return function() n = n + 1; return n end');
  assert.equal(await first.callFunction('Memory', 'counter'), 1);
  await first.close();
  const second = await Cu.open(options);
  assert.equal(await second.callFunction('Memory', 'counter'), 2);
  const query = { field: 'age', operator: '=', value: 7, sort: 'n' };
  assert.deepEqual((await second.queryTable('people', query)).map(({ n }) => n), [7, 87, 167, 247]);
  assert.equal((await second.getQueryPlan('people', query)).index, 'age');
  assert.equal((await second.getValue('people', 5)).big, 2n ** 60n + 5n);
  await second.close();
});

test('space is told, and the browser is asked to keep the data when the page says so', async () => {
  const options = await fresh('space');
  const manager = navigator.storage;
  let asked = 0;
  // Where there is no such thing, opening works all the same, and nothing is told.
  if (manager !== undefined) Object.defineProperty(manager, 'persist', { configurable: true, value: async () => (asked++, false) });
  try {
    const silent = await Cu.open(options);
    await silent.setValue('t', 1, 'x'.repeat(100_000));
    assert.equal(asked, 0);
    const { storage, tables, memory } = await silent.stats();
    assert.equal(storage.kind, 'indexeddb');
    assert.deepEqual(tables, [{ name: 't', count: 1 }]);
    assert.equal(memory.total, 512 * 1024);
    if (manager?.estimate !== undefined) assert.ok(storage.quota > 100_000 && storage.usage >= 0 && storage.usage <= storage.quota, JSON.stringify(storage));
    if (manager?.persisted !== undefined) assert.equal(storage.persistent, await manager.persisted());
    await silent.close();
    const asking = await Cu.open({ ...options, persistent: true });
    assert.equal(asked, manager === undefined ? 0 : 1);
    await asking.close();
    const temporary = await Cu.open({ storage: 'memory', persistent: true });
    assert.equal(asked, manager === undefined ? 0 : 1);
    assert.deepEqual((await temporary.stats()).storage, { kind: 'memory', usage: null, quota: null, persistent: null });
    await temporary.close();
  } finally {
    if (manager !== undefined) delete manager.persist;
  }
});

test('_home goes on, and has one owner', async () => {
  const options = { ...(await fresh('home')), home: true };
  const program = `_home.steps = _home.steps or coroutine.wrap(function() for i = 1, 10 do coroutine.yield(i) end end)
    return _home.steps()`;
  for (const expected of [1, 2, 3]) {
    const cu = await Cu.open(options);
    assert.equal(await cu.eval(program), expected);
    if (expected === 3) await assert.rejects(Cu.open(options), { code: 'blocked' });
    await cu.close();
  }
});

test('two instances see what the other commits', async () => {
  const options = await fresh('two');
  const [writer, watcher] = [await Cu.open(options), await Cu.open(options)];
  const seen = [];
  let wake = () => undefined;
  const { ended } = await watcher.subscribe('t', { field: 'n', operator: '>', value: 1 }, ({ added }) => {
    seen.push(...added.map(({ key }) => key));
    wake();
  });
  for (const n of [1, 2, 3]) await writer.setValue('t', `k${n}`, { n });
  while (seen.length < 2) await new Promise((resolve) => (wake = resolve));
  assert.deepEqual(seen.sort(), ['k2', 'k3']);
  assert.deepEqual(await watcher.getValue('t', 'k1'), { n: 1 });
  const both = [writer, watcher].map((cu) => cu.batchTableOperations([{ type: 'increment', table: 't', key: 'k1', field: 'n', by: 1 }]));
  await Promise.all(both);
  assert.deepEqual(await writer.getValue('t', 'k1'), { n: 3 });
  await Promise.all([writer.close(), watcher.close()]);
  await ended;
});
