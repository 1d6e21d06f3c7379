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

/** In a page: opens the database, counts the transactions of IndexedDB from there on, and reads whenever a message says what to find. */
async function follow() {
  const { Cu } = await import('cu-wasm');
  const begin = IDBDatabase.prototype.transaction;
  window.transactions = 0;
  IDBDatabase.prototype.transaction = function (...request) {
    window.transactions += 1;
    return begin.apply(this, request);
  };
  window.cu = await Cu.open({ name: 'seen', storage: 'indexeddb' });
  window.read = async () => {
    const before = window.transactions;
    const value = await window.cu.getValue('t', 'number');
    return { value, transactions: window.transactions - before };
  };
  window.missed = [];
  window.heard = 0;
  const channel = new BroadcastChannel('test');
  channel.onmessage = async ({ data }) => {
    const { value } = await window.read();
    if (value < data) window.missed.push([value, data]);
    window.heard += 1;
    channel.postMessage('read');
  };
}

/** In a page: opens the database, commits and tells so often, and closes it. */
async function lead([first, rounds]) {
  const { Cu } = await import('cu-wasm');
  const cu = await Cu.open({ name: 'seen', storage: 'indexeddb' });
  const channel = new BroadcastChannel('test');
  for (let number = first; number < first + rounds; number += 1) {
    await cu.setValue('t', 'number', number);
    const read = new Promise((resolve) => (channel.onmessage = resolve));
    channel.postMessage(number);
    await read;
  }
  channel.close();
  await cu.close();
}

test('a read looks into the store while others have it open, and sees what it was told of', TIMEOUT, withProfile(async (start) => {
  const browser = await start();
  const [following, leading] = [await browser.open(), await browser.open()];
  await following.evaluate(follow);
  const isAlone = async () => {
    for (let turn = 0; turn < 20; turn += 1) if ((await window.read()).transactions > 0) return false;
    return true;
  };
  const VISITS = 8;
  for (let visit = 0; visit < VISITS; visit += 1) {
    await following.waitForFunction(isAlone);
    await leading.evaluate(lead, [1 + visit * 10, 10]);
  }
  assert.deepEqual(await following.evaluate(() => window.missed), []);
  assert.equal(await following.evaluate(() => window.heard), VISITS * 10);
  await following.waitForFunction(isAlone);
  assert.equal((await following.evaluate(() => window.read())).value, VISITS * 10);
  // Opened elsewhere, it is not alone, until that tab ends without a word.
  await leading.evaluate(async () => {
    const { Cu } = await import('cu-wasm');
    window.cu = await Cu.open({ name: 'seen', storage: 'indexeddb' });
  });
  assert.equal(await following.evaluate(isAlone), false);
  await leading.close();
  await following.waitForFunction(isAlone);
}));

test('a database that was deleted is not read from memory', TIMEOUT, withProfile(async (start) => {
  const browser = await start();
  const page = await browser.open();
  const found = await page.evaluate(async () => {
    const { Cu } = await import('cu-wasm');
    const cu = await Cu.open({ name: 'gone', storage: 'indexeddb' });
    await cu.setValue('t', 'key', 1);
    const before = await cu.getValue('t', 'key');
    await new Promise((resolve, reject) => {
      const request = indexedDB.deleteDatabase('cu:gone');
      request.onsuccess = resolve;
      request.onerror = request.onblocked = reject;
    });
    const after = await cu.getValue('t', 'key');
    await cu.close();
    return [before, after];
  });
  assert.deepEqual(found, [1, null]);
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
