// Live queries in Node: the reports of a subscription add up to what the query gives.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu } from './entry.mjs';

/** Keeps rows by reports alone, and lets a test wait for the next one. */
class Watcher {
  rows = new Map();
  order = null;
  reports = 0;
  #wake = () => undefined;

  report = ({ added, changed, removed, order }) => {
    for (const { key, value } of added) {
      assert.ok(!this.rows.has(key));
      this.rows.set(key, value);
    }
    for (const { key, value } of changed) {
      assert.ok(this.rows.has(key));
      this.rows.set(key, value);
    }
    for (const key of removed) assert.ok(this.rows.delete(key));
    this.order = order;
    this.reports += 1;
    this.#wake();
  };

  async until(holds) {
    while (!holds()) await new Promise((resolve) => (this.#wake = resolve));
  }
}

const adults = { field: 'age', operator: '>=', value: 18 };

test('a subscription reports rows and what commits change', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  await cu.setValue('people', 'alice', { age: 30 });
  await cu.setValue('people', 'bob', { age: 3 });
  const watcher = new Watcher();
  const aborter = new AbortController();
  const { ended } = await cu.subscribe('people', adults, watcher.report, { signal: aborter.signal });
  assert.deepEqual([...watcher.rows], [['alice', { age: 30 }]]);
  assert.equal(watcher.order, null);
  await cu.batchTableOperations([
    { type: 'set', table: 'people', key: 'bob', value: { age: 18 } },
    { type: 'increment', table: 'people', key: 'alice', field: 'age', by: 1 },
    { type: 'set', table: 'people', key: 'carol', value: { age: 1 } },
  ]);
  await watcher.until(() => watcher.reports === 2);
  assert.deepEqual([...watcher.rows], [['alice', { age: 31 }], ['bob', { age: 18 }]]);
  await cu.deleteValue('people', 'alice');
  await watcher.until(() => watcher.reports === 3);
  assert.deepEqual([...watcher.rows.keys()], ['bob']);
  aborter.abort();
  await ended;
  await cu.deleteValue('people', 'bob');
  assert.equal(watcher.reports, 3);
  await assert.rejects(cu.subscribe('people', adults, watcher.report, { signal: aborter.signal }), { name: 'AbortError' });
  await cu.close();
});

test('a sorted and limited query reports its order', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  for (const [key, age] of [['a', 1], ['b', 2], ['c', 3]]) await cu.setValue('people', key, { age });
  const watcher = new Watcher();
  const query = { sort: { field: 'age', order: 'desc' }, limit: 2 };
  const subscription = await cu.subscribe('people', query, watcher.report);
  assert.deepEqual(watcher.order, ['c', 'b']);
  await cu.setValue('people', 'a', { age: 9 });
  await watcher.until(() => watcher.reports === 2);
  assert.deepEqual(watcher.order, ['a', 'c']);
  assert.deepEqual([...watcher.rows.keys()].sort(), ['a', 'c']);
  subscription.end();
  await subscription.ended;
  await cu.close();
});

// The first report had no order when there were no rows.
test('a sorted query reports its order when it has no rows yet', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  const watcher = new Watcher();
  const subscription = await cu.subscribe('people', { sort: 'age' }, watcher.report);
  assert.deepEqual(watcher.order, []);
  subscription.end();
  await subscription.ended;
  await cu.close();
});

test('what fails is told, and closing ends it', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  await assert.rejects(cu.subscribe('people', { field: 'a', operator: 'like', value: 1 }, () => 0), { code: 'UNSUPPORTED_OPERATOR' });
  const throwing = await cu.subscribe('people', {}, ({ added }) => {
    if (added.length > 0) throw new Error('from the callback');
  });
  const open = await cu.subscribe('people', {}, () => 0);
  await cu.setValue('people', 1, 1);
  await assert.rejects(throwing.ended, /from the callback/);
  await cu.close();
  await open.ended;
});
