// What the browser tells about space is passed on, whatever of it there is; a browser that refuses to tell does no harm.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu } from '../dist/index.js';
import { askToPersist, storageStats } from '../dist/space.js';

/** Runs `body` with this as `navigator.storage`. */
async function withStorage(storage, body) {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { storage } });
  try {
    await body();
  } finally {
    if (before === undefined) delete globalThis.navigator;
    else Object.defineProperty(globalThis, 'navigator', before);
  }
}

const refused = async () => {
  throw new TypeError('refused');
};
const told = (usage, quota, persistent) => ({ kind: 'indexeddb', usage, quota, persistent });

for (const [what, storage, expected] of [
  ['everything', { estimate: async () => ({ usage: 10, quota: 100 }), persisted: async () => true, persist: async () => true }, told(10, 100, true)],
  ['nothing', undefined, told(null, null, null)],
  ['what a worker has', { estimate: async () => ({ usage: 1, quota: 2 }), persisted: async () => false }, told(1, 2, false)],
  ['an estimate without figures', { estimate: async () => ({}) }, told(null, null, null)],
  ['refusals', { estimate: refused, persisted: refused, persist: refused }, told(null, null, null)],
]) {
  test(`of a browser that has ${what}`, () =>
    withStorage(storage, async () => {
      await askToPersist();
      assert.deepEqual(await storageStats('indexeddb'), expected);
      assert.deepEqual(await storageStats('memory'), { ...told(null, null, null), kind: 'memory' });
    }));
}

test('stats of an instance add up', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  await cu.batchTableOperations([{ type: 'set', table: 'b', key: 1, value: 1 }, { type: 'set', table: 'a', key: 1, value: 1 }, { type: 'set', table: 'a', key: 2, value: 1 }]);
  const { memory, tables } = await cu.stats();
  assert.deepEqual(tables, [{ name: 'a', count: 2 }, { name: 'b', count: 1 }]);
  assert.deepEqual(memory, cu.getMemoryStats());
  await cu.close();
  await assert.rejects(cu.stats(), { code: 'closed' });
  const none = await Cu.open({ storage: 'none' });
  assert.deepEqual((await none.stats()).tables, []);
  await none.close();
});
