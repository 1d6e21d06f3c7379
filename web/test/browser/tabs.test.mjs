// Several tabs on one database: what they write at once is all counted, and a tab that ends in the middle of it, or deletes the database,
// holds up nobody.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withProfile } from './chromium.mjs';

const TIMEOUT = { timeout: 300_000 };
const ROUNDS = 40;

/** In a page: adds to the shared counter and to one of its own, in one batch, so often. What the shared one was each time. */
async function increment([tab, rounds]) {
  const { Cu } = await import('cu-wasm');
  const cu = await Cu.open({ name: 'tabs', storage: 'indexeddb' });
  const seen = [];
  for (let round = 0; round < rounds; round += 1) {
    const [shared] = await cu.batchTableOperations([
      { type: 'increment', table: 'counters', key: 'shared' },
      { type: 'increment', table: 'counters', key: `of ${tab}` },
    ]);
    seen.push(shared);
    if (round === 0) window.begun?.();
  }
  await cu.close();
  return seen;
}

/** In a page: all counters. */
async function counters() {
  const { Cu } = await import('cu-wasm');
  const cu = await Cu.open({ name: 'tabs', storage: 'indexeddb' });
  const entries = await cu.queryEntries('counters');
  await cu.close();
  return Object.fromEntries(entries.map(({ key, value }) => [key, value]));
}

for (const count of [2, 4]) {
  test(`${count} tabs that write at once lose no increment and double none`, TIMEOUT, withProfile(async (start) => {
    const browser = await start();
    const pages = [];
    for (let tab = 0; tab < count; tab += 1) pages.push(await browser.open());
    const seen = await Promise.all(pages.map((page, tab) => page.evaluate(increment, [tab, ROUNDS])));
    // Each commit saw a number that no other saw.
    const numbers = seen.flat().sort((a, b) => a - b);
    assert.deepEqual(numbers, Array.from({ length: count * ROUNDS }, (_, index) => index + 1));
    const own = Object.fromEntries(pages.map((_, tab) => [`of ${tab}`, ROUNDS]));
    assert.deepEqual(await pages[0].evaluate(counters), { ...own, shared: count * ROUNDS });
  }));
}

test('a tab that ends while it writes leaves whole batches and an open way', TIMEOUT, withProfile(async (start) => {
  const browser = await start();
  const [ending, staying] = [await browser.open(), await browser.open()];
  const begun = new Promise((resolve) => void ending.exposeFunction('begun', resolve));
  await ending.waitForFunction(() => window.begun !== undefined);
  // Ends with its tab, by an error.
  const writing = ending.evaluate(increment, ['ending', 1_000_000]).catch(() => undefined);
  await begun;
  const counted = staying.evaluate(increment, ['staying', ROUNDS]);
  await ending.close();
  await writing;
  await counted;
  const found = await staying.evaluate(counters);
  assert.equal(found['of staying'], ROUNDS);
  assert.equal(found.shared, found['of staying'] + found['of ending'], JSON.stringify(found));
}));

test('an open database does not block a tab that deletes it', TIMEOUT, withProfile(async (start) => {
  const browser = await start();
  const [open, deleting] = [await browser.open(), await browser.open()];
  await open.evaluate(async () => {
    const { Cu } = await import('cu-wasm');
    window.cu = await Cu.open({ name: 'tabs', storage: 'indexeddb' });
    await window.cu.setValue('t', 'key', 1);
  });
  const outcome = await deleting.evaluate(() => new Promise((resolve) => {
    const request = indexedDB.deleteDatabase('cu:tabs');
    request.onsuccess = () => resolve('deleted');
    request.onblocked = () => resolve('blocked');
    request.onerror = () => resolve('failed');
  }));
  assert.equal(outcome, 'deleted');
}));

test('a second instance with _home is refused, until the tab of the first has ended', TIMEOUT, withProfile(async (start) => {
  const browser = await start();
  const [first, second] = [await browser.open(), await browser.open()];
  const openHome = async () => {
    const { Cu } = await import('cu-wasm');
    try {
      window.cu = await Cu.open({ name: 'home', storage: 'indexeddb', home: true });
      return 'open';
    } catch (error) {
      return error.code;
    }
  };
  assert.equal(await first.evaluate(openHome), 'open');
  assert.equal(await second.evaluate(openHome), 'blocked');
  await first.evaluate(() => window.cu.close());
  assert.equal(await second.evaluate(openHome), 'open');
  assert.equal(await first.evaluate(openHome), 'blocked');
  // Nothing is closed here but the tab.
  await second.close();
  await first.waitForFunction(async () => (await navigator.locks.query()).held.length === 0);
  assert.equal(await first.evaluate(openHome), 'open');
}));
