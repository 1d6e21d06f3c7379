// A database in the origin's private file system, by the VM's worker: what was stored is there for the next one, two at once are refused, a
// killed browser loses nothing that was resolved, and a page is told that it has no access handles.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withProfile } from './chromium.mjs';

const TIMEOUT = { timeout: 300_000 };

/** In a page: what the body gives with an instance in a worker. */
async function write([from, count]) {
  const { Cu } = await import('./cu-wasm/worker.js');
  window.cu ??= await Cu.open({ name: 'files', storage: 'opfs' });
  await window.cu.createIndex('t', 'half');
  for (let n = from; n < from + count; n += 100) {
    const batch = Array.from({ length: 100 }, (_, place) => ({ type: 'set', table: 't', key: n + place, value: { half: (n + place) >> 1, text: 'x'.repeat(300) } }));
    await window.cu.batchTableOperations(batch);
  }
  return window.cu.storage;
}

async function read([half]) {
  const { Cu } = await import('./cu-wasm/worker.js');
  window.cu ??= await Cu.open({ name: 'files', storage: 'opfs' });
  const found = await window.cu.queryEntries('t', { field: 'half', operator: '=', value: half });
  const { index } = await window.cu.getQueryPlan('t', { field: 'half', operator: '=', value: half });
  const [{ count }] = await window.cu.listTables();
  return { keys: found.map(({ key }) => key), index, count };
}

async function refused() {
  const code = async (open) => open.then(() => 'opened', (error) => error.code);
  const [{ Cu: Own }, { Cu: Worker }] = [await import('./cu-wasm/index.js'), await import('./cu-wasm/worker.js')];
  return [await code(Worker.open({ name: 'files', storage: 'opfs' })), await code(Own.open({ name: 'files', storage: 'opfs' }))];
}

test('a database of a worker in the private file system survives its browser', TIMEOUT, withProfile(async (start) => {
  const first = await start();
  const page = await first.open();
  assert.equal(await page.evaluate(write, [0, 3000]), 'opfs');
  assert.deepEqual(await page.evaluate(read, [700]), { keys: [1400, 1401], index: 'half', count: 3000 });
  const other = await first.open();
  assert.deepEqual(await other.evaluate(refused), ['blocked', 'unavailable']);
  await page.evaluate(write, [3000, 500]);
  await first.kill();
  const second = await start();
  const again = await second.open();
  assert.deepEqual(await again.evaluate(read, [1740]), { keys: [3480, 3481], index: 'half', count: 3500 });
  await again.evaluate(() => window.cu.close());
  const last = await second.open();
  assert.deepEqual(await last.evaluate(read, [0]), { keys: [0, 1], index: 'half', count: 3500 });
}));
