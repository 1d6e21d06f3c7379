// Two tabs on one database: live queries of one report what the other commits, by its API and from its Lua code; transactions of Lua code that
// meet, and pages that know different versions of the data.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withProfile } from './chromium.mjs';

const TIMEOUT = { timeout: 300_000 };

/** In a page: opens the database. */
async function openDatabase() {
  const { Cu } = await import('cu-wasm');
  window.cu = await Cu.open({ name: 'two', storage: 'indexeddb', heapLimit: 8 * 1024 * 1024 });
}

async function twoTabs(start) {
  const browser = await start();
  const tabs = [await browser.open(), await browser.open()];
  for (const tab of tabs) await tab.evaluate(openDatabase);
  return tabs;
}

const QUERIES = {
  adults: { field: 'age', operator: '>=', value: 18 },
  all: {},
  oldest: { sort: { field: 'age', order: 'desc' }, limit: 5 },
  groups: { groupBy: 'team', aggregates: { count: 'count', age: { function: 'sum', field: 'age' } } },
};

/** In a page: keeps up the rows of each query by what is reported, and tells when all have been told of the row with an age that is waited for. */
async function watch(queries) {
  window.rows = {};
  window.awaited = null;
  const look = () => {
    const has = (rows) => [...rows.values()].some(({ age }) => age === window.awaited?.age);
    if (Object.values(window.rows).every(has)) window.awaited?.resolve();
  };
  window.told = (age) => new Promise((resolve) => {
    window.awaited = { age, resolve };
    look();
  });
  for (const [name, query] of Object.entries(queries)) {
    const rows = new Map();
    window.rows[name] = rows;
    await window.cu.subscribe('people', query, ({ added, changed, removed, order }) => {
      const id = (key) => JSON.stringify(key);
      for (const key of removed) if (!rows.delete(id(key))) throw new Error(`${name}: ${id(key)} was not there`);
      for (const { key, value } of added) {
        if (rows.has(id(key))) throw new Error(`${name}: ${id(key)} is not new`);
        rows.set(id(key), value);
      }
      for (const { key, value } of changed) {
        if (!rows.has(id(key))) throw new Error(`${name}: ${id(key)} is unknown`);
        rows.set(id(key), value);
      }
      if (order !== null && order.length !== rows.size) throw new Error(`${name}: an order of ${order.length} for ${rows.size}`);
      look();
    });
  }
}

/** In a page: whether all rows kept up are what the queries give. */
async function agrees(queries) {
  for (const [name, query] of Object.entries(queries)) {
    const entries = await window.cu.queryEntries('people', query);
    const expected = entries.map(({ key, value }) => [JSON.stringify(key), value]).sort();
    const kept = [...window.rows[name]].sort();
    if (JSON.stringify(kept) !== JSON.stringify(expected)) return false;
  }
  return true;
}

/** In a page: a row that every query has, and no other row is like. */
const mark = (age) => window.cu.setValue('people', 'mark', { age, team: `mark ${age}` });

/** In a page: changes people at random, from a seed, in every way there is. */
async function change([seed, rounds]) {
  const below = (n) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >>> 8) % n;
  };
  const person = () => ({ age: below(60), team: `t${below(4)}` });
  const lua = (value) => `{ age = ${value.age}, team = "${value.team}" }`;
  const { cu } = window;
  for (let round = 0; round < rounds; round++) {
    const key = `p${below(25)}`;
    const way = below(6);
    if (way === 0) await cu.setValue('people', key, person());
    else if (way === 1) await cu.deleteValue('people', key);
    else if (way === 2) {
      await cu.batchTableOperations(Array.from({ length: 1 + below(5) }, () => ({ type: 'set', table: 'people', key: `p${below(25)}`, value: person() })));
    } else if (way === 3) await cu.run(`ext.table('people').${key} = ${below(3) === 0 ? 'nil' : lua(person())}`);
    else if (way === 4) {
      await cu.run(`pcall(ext.transaction, function()
        local people = ext.table('people')
        people.${key} = ${lua(person())} people.p${below(25)} = nil
        pcall(ext.transaction, function() people.p${below(25)} = ${lua(person())} error() end)
        people.p${below(25)} = ${lua(person())}
        if ${below(3) === 0} then error('undone') end
      end)`);
    } else {
      await cu.beginTransaction();
      await cu.setValue('people', key, person());
      await (below(2) === 0 ? cu.rollbackTransaction() : cu.commitTransaction().catch((error) => {
        if (error.code !== 'conflict') throw error;
      }));
    }
  }
}

test('live queries of one tab follow what the other commits', TIMEOUT, withProfile(async (start) => {
  const [watching, changing] = await twoTabs(start);
  await watching.evaluate(watch, QUERIES);
  for (const seed of [1, 2, 3]) {
    await changing.evaluate(change, [seed, 30]);
    await changing.evaluate(mark, 100 + seed);
    // Nothing but reports is waited for: nobody asks the database here before they are there.
    await watching.evaluate((age) => window.told(age), 100 + seed);
    assert.equal(await watching.evaluate(agrees, QUERIES), true, `seed ${seed}`);
  }
  assert.ok(await watching.evaluate(() => window.rows.all.size) > 0);
  assert.deepEqual([...watching.unseen, ...changing.unseen], []);
}));

test('live queries of two tabs that both write end with the same rows', TIMEOUT, withProfile(async (start) => {
  const tabs = await twoTabs(start);
  for (const tab of tabs) await tab.evaluate(watch, QUERIES);
  await Promise.all(tabs.map((tab, seed) => tab.evaluate(change, [seed + 10, 40])));
  await tabs[1].evaluate(mark, 100);
  for (const tab of tabs) {
    await tab.evaluate((age) => window.told(age), 100);
    assert.equal(await tab.evaluate(agrees, QUERIES), true);
  }
  const rows = await Promise.all(tabs.map((tab) => tab.evaluate(() => [...window.rows.all].sort())));
  assert.deepEqual(rows[0], rows[1]);
  assert.deepEqual(tabs.flatMap(({ unseen }) => unseen), []);
}));

test('a tab that ends in the middle of ext.transaction leaves nothing of it, and an open way', TIMEOUT, withProfile(async (start) => {
  const [ending, staying] = await twoTabs(start);
  await staying.evaluate(watch, { all: {} });
  await ending.evaluate(async () => {
    await window.cu.run(`ext.table('people').kept = { age = 1 }`);
    await new Promise((reached) => {
      void window.cu.set('wait', () => new Promise(() => reached())).then(() => {
        window.cu.run(`ext.transaction(function() ext.table('people').half = { age = 2 } wait() end)`).catch(() => undefined);
      });
    });
  });
  await ending.close();
  await staying.evaluate(() => window.cu.run(`ext.transaction(function() ext.table('people').other = { age = 3 } end)`));
  await staying.waitForFunction(agrees, { all: {} });
  assert.deepEqual(await staying.evaluate(() => [...window.rows.all.keys()].sort()), ['"kept"', '"other"']);
}));

test('when another tab has committed meanwhile, ext.transaction fails and can be done again', TIMEOUT, withProfile(async (start) => {
  const tabs = await twoTabs(start);
  await tabs[0].evaluate(() => window.cu.setValue('counters', 'n', 0));
  const ROUNDS = 30;
  const count = async (rounds) => {
    const { values } = await window.cu.run(`local counters, again = ext.table('counters'), 0
      for _ = 1, ... do
        repeat
          local ok, message = pcall(ext.transaction, function() counters.n = counters.n + 1 end)
          if not ok then
            assert(message:find('another connection committed first', 1, true), message)
            again = again + 1
          end
        until ok
      end
      return again`, { args: [rounds] });
    return values[0];
  };
  const again = await Promise.all(tabs.map((tab) => tab.evaluate(count, ROUNDS)));
  assert.equal(await tabs[1].evaluate(() => window.cu.getValue('counters', 'n')), 2 * ROUNDS, `${again}`);
}));

test('a migration in one tab keeps an older page from writing, and runs again when that was faster', TIMEOUT, withProfile(async (start) => {
  const [older, newer] = await twoTabs(start);
  await older.evaluate(async () => {
    await window.cu.migrate(1, { 1: (cu) => cu.setValue('people', 'a', { age: 1 }) });
  });
  // In the middle of the newer one's step, the older one commits.
  await newer.exposeFunction('olderCommits', () => older.evaluate(() => window.cu.setValue('people', 'b', { age: 2 })));
  const [from, times] = await newer.evaluate(async () => {
    let times = 0;
    const step = async (cu) => {
      times++;
      for (const { key, value } of await cu.queryEntries('people')) await cu.setValue('people', key, { ...value, active: true });
      if (times === 1) await window.olderCommits();
      await cu.setSchema('people', { active: { type: 'boolean', required: true } });
    };
    return [await window.cu.migrate(2, { 2: step }), times];
  });
  assert.deepEqual([from, times], [1, 2]);
  const outcome = await older.evaluate(async () => {
    const codes = [];
    const write = () => window.cu.setValue('people', 'c', { active: true });
    codes.push(await write().then(() => 'written', ({ code }) => code));
    codes.push(await window.cu.run(`ext.table('people').c = { active = true }`).then(() => 'written', ({ message }) => message));
    codes.push(await window.cu.migrate(1, {}).then(() => 'fine', ({ code }) => code));
    return [codes, (await window.cu.queryTable('people')).map(({ age, active }) => [age, active])];
  });
  const message = "script:1: people: the data has version 2, newer than the program's version 1";
  assert.deepEqual(outcome, [['newerVersion', message, 'newerVersion'], [[1, true], [2, true]]]);
  // Whoever knows no versions is not kept from anything.
  assert.equal(await newer.evaluate(() => window.cu.setValue('people', 'c', { active: false })), true);
}));
