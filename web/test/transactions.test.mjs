// Transactions that stay open between calls, against a model: random operations, batches that fail, commits and rollbacks.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu, here } from './entry.mjs';

/** Numbers from a seeded generator (mulberry32). */
function generator(seed) {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** What a batch gives and does to a model, null when one of its operations fails. */
function apply(model, operations) {
  const results = [];
  for (const { type, key, value, by } of operations) {
    const stored = model.get(key);
    if (type === 'set') results.push((model.set(key, value), true));
    else if (type === 'get') results.push(stored ?? null);
    else if (type === 'delete') results.push(model.delete(key));
    else if (typeof (stored ?? 0) !== 'number') return null;
    else results.push((model.set(key, (stored ?? 0) + by), model.get(key)));
  }
  return results;
}

for (const seed of [1, 2, 3]) {
  test(`random transactions agree with a model (seed ${seed})`, async () => {
    const below = generator(seed);
    const cu = await Cu.open({ storage: 'memory' });
    let committed = new Map();
    let current = committed;
    let [isOpen, failures, rollbacks] = [false, 0, 0];
    const operation = () => {
      const key = `k${below(30)}`;
      return [
        { type: 'set', table: 't', key, value: below(4) === 0 ? `text ${below(100)}` : below(100) },
        { type: 'get', table: 't', key },
        { type: 'delete', table: 't', key },
        { type: 'increment', table: 't', key, by: 1 + below(5) },
      ][below(4)];
    };
    for (let step = 0; step < 300; step++) {
      const choice = below(10);
      if (choice === 0 && !isOpen) {
        await cu.beginTransaction();
        [isOpen, committed, current] = [true, current, new Map(current)];
      } else if (choice === 1 && isOpen) {
        await cu.commitTransaction();
        isOpen = false;
      } else if (choice === 2 && isOpen) {
        await cu.rollbackTransaction();
        [isOpen, current] = [false, committed];
        rollbacks++;
      } else {
        const operations = Array.from({ length: 1 + below(6) }, operation);
        const after = new Map(current);
        const expected = apply(after, operations);
        if (expected === null) {
          await assert.rejects(cu.batchTableOperations(operations), (error) => typeof error.details.position === 'number');
          failures++;
        } else {
          assert.deepEqual(await cu.batchTableOperations(operations), expected);
          current = after;
        }
      }
      const rows = await cu.queryEntries('t');
      assert.deepEqual(new Map(rows.map(({ key, value }) => [key, value])), new Map([...current].sort()), `step ${step}`);
    }
    assert.ok(failures > 5 && rollbacks > 3, `${failures} failures, ${rollbacks} rollbacks`);
    await cu.close();
  });
}

const MANY = Array.from({ length: 5500 }, (_, n) => ({ type: 'set', table: 't', key: n, value: { n } }));

test('a batch of any number is atomic inside a transaction, and is undone when it fails', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  const failing = [...MANY, { type: 'increment', table: 't', key: 7 }];
  await assert.rejects(cu.transaction(() => cu.processBatch(failing)), { details: { position: 5500 } });
  assert.deepEqual(await cu.listTables(), []);
  assert.equal((await cu.transaction(() => cu.processBatch(MANY))).length, 5500);
  assert.deepEqual(await cu.listTables(), [{ name: 't', count: 5500 }]);
  await cu.close();
});

// To a worker the abort is a message, which may come when the batch is over.
test('a batch of any number inside a transaction tells its progress, and is undone when it is given up', here, async () => {
  const cu = await Cu.open({ storage: 'memory' });
  const given = new AbortController();
  const reports = [];
  const onProgress = ({ done }) => {
    reports.push(done);
    if (done >= 3000) given.abort();
  };
  await assert.rejects(cu.transaction(() => cu.processBatch(MANY, { onProgress, signal: given.signal })), { name: 'AbortError' });
  assert.deepEqual(reports, [1000, 2000, 3000]);
  assert.deepEqual(await cu.listTables(), []);
  await cu.close();
});
