// Transactions that stay open, seen from other tabs: they see nothing of it before the commit, are not held up, and win when they are first.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withProfile } from './chromium.mjs';

const TIMEOUT = { timeout: 120_000 };

/** In a page: opens the instance `window.cu`. */
async function open() {
  const { Cu } = await import('cu-wasm');
  window.cu = await Cu.open({ name: 'transactions', storage: 'indexeddb' });
}

/** Runs code in the page with its instance; the code of the error when it fails. */
const inCu = (page, code) =>
  page.evaluate(async (code) => {
    const AsyncFunction = (async () => undefined).constructor;
    try {
      return await new AsyncFunction('cu', code)(window.cu);
    } catch (error) {
      return `failed: ${error.code}`;
    }
  }, code);

test('other tabs go on, see nothing before the commit, and everything after it', TIMEOUT, withProfile(async (start) => {
  const browser = await start();
  const [one, other] = [await browser.open(), await browser.open()];
  for (const page of [one, other]) await page.evaluate(open);
  await inCu(one, `await cu.setValue('t', 'a', 1)`);
  await inCu(other, `
    window.seen = [];
    await cu.subscribe('t', { field: 'n', operator: '>', value: 0 }, ({ added }) => seen.push(...added.map(({ key }) => key)))`);
  await inCu(one, `await cu.beginTransaction(); await cu.setValue('t', 'a', 2); await cu.setValue('t', 'b', { n: 1 })`);
  assert.equal(await inCu(other, `return cu.getValue('t', 'a')`), 1);
  assert.equal(await inCu(one, `return cu.commitTransaction()`), true);
  assert.deepEqual(await inCu(other, `return [await cu.getValue('t', 'a'), await cu.getValue('t', 'b')]`), [2, { n: 1 }]);
  await other.waitForFunction(() => window.seen.length === 1 && window.seen[0] === 'b');
}));

test('a commit after another tab has committed is a conflict that stores nothing, and can be begun again', TIMEOUT, withProfile(async (start) => {
  const browser = await start();
  const [one, other] = [await browser.open(), await browser.open()];
  for (const page of [one, other]) await page.evaluate(open);
  await inCu(one, `
    await cu.persistFunction('f', 'next', 'local n = 0; return function() n = n + 1; return n end');
    await cu.beginTransaction();
    await cu.batchTableOperations([{ type: 'increment', table: 't', key: 'n' }]);
    await cu.callFunction('f', 'next')`);
  assert.equal(await inCu(other, `return cu.setValue('t', 'other', 1)`), true);
  assert.equal(await inCu(one, `return cu.commitTransaction()`), 'failed: conflict');
  assert.deepEqual(await inCu(one, `return [await cu.getValue('t', 'n'), await cu.getValue('t', 'other'), await cu.callFunction('f', 'next')]`), [null, 1, 1]);
  assert.equal(await inCu(one, `return cu.transaction(async () => (await cu.batchTableOperations([{ type: 'increment', table: 't', key: 'n' }]))[0])`), 1);
  assert.deepEqual(await inCu(other, `return [await cu.getValue('t', 'n'), await cu.callFunction('f', 'next')]`), [1, 2]);
}));

test('a tab that ends with an open transaction leaves nothing of it and holds up nobody', TIMEOUT, withProfile(async (start) => {
  const browser = await start();
  const [ending, staying] = [await browser.open(), await browser.open()];
  for (const page of [ending, staying]) await page.evaluate(open);
  await inCu(ending, `await cu.beginTransaction(); await cu.setValue('t', 'a', 1)`);
  await ending.close();
  assert.equal(await inCu(staying, `await cu.setValue('t', 'b', 2); return cu.getValue('t', 'a')`), null);
}));
