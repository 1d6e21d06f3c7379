// Several tabs on one database: what they write at once is all counted, and a tab that ends in the middle of it, or deletes the database,
// holds up nobody.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withProfile } from './chromium.mjs';
import { atOnce, begin, count, counters, killed } from './tabs.mjs';

const TIMEOUT = { timeout: 300_000 };
/** Less than `cargo xtask tabs` does. */
const ROUNDS = 40;
const KILLS = 2;

for (const tabs of [2, 4]) {
  test(`${tabs} tabs that write at once lose no increment and double none`, TIMEOUT, async () => {
    const counts = await atOnce(tabs, { rounds: ROUNDS });
    assert.deepEqual(counts, { commits: tabs * ROUNDS, shared: tabs * ROUNDS, lost: 0, doubled: 0, each: Array.from({ length: tabs }, () => ROUNDS) });
  });

  test(`${tabs} tabs go on when one is killed in the middle of a commit`, TIMEOUT, async () => {
    const { kills, lost, doubled, torn, kept } = await killed(tabs, KILLS);
    assert.deepEqual({ kills, lost, doubled, torn, kept }, { kills: KILLS, lost: 0, doubled: 0, torn: 0, kept: 0 });
  });
}

test('a tab that ends while it writes leaves whole batches and an open way', TIMEOUT, withProfile(async (start) => {
  const browser = await start();
  const [ending, staying] = [await browser.open(), await browser.open()];
  await ending.evaluate(begin, 'ending');
  await staying.evaluate(begin, 'staying');
  // Ends with its tab, by an error.
  const writing = ending.evaluate(count, [Infinity, Infinity]).catch(() => undefined);
  await ending.waitForFunction(() => window.counting.seen.length > 0);
  const counted = staying.evaluate(count, [ROUNDS, Infinity]);
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
