// The built package in Chromium: what is saved is there after a reload and after a crash, and what
// goes wrong is a typed error that leaves the instance usable and the stored data intact.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withProfile } from './chromium.mjs';
import { inPage, TIMEOUT } from './in-page.mjs';

/**
 * Runs code in the page as a module would, with an open instance of the database `test` named `cu` and helpers.
 * `failure(promise)` gives the facts of the error that a promise rejects with.
 */
function inCu(page, code, options = {}) {
  return page.evaluate(async ([code, options]) => {
    const { Cu, EnhancedLuaError, FunctionBlob } = await import('cu-wasm');
    const failure = async (promise) => {
      try {
        await promise;
      } catch (error) {
        const typed = error instanceof EnhancedLuaError;
        const { name, code, message, line, chunk, traceback } = error;
        return { typed, name, code, message, line, chunk, traceback };
      }
      return 'nothing was thrown';
    };
    const cu = await Cu.open({ name: 'test', storage: 'indexeddb', ...options });
    try {
      const AsyncFunction = (async () => undefined).constructor;
      return await new AsyncFunction('cu', 'Cu', 'FunctionBlob', 'failure', code)(cu, Cu, FunctionBlob, failure);
    } finally {
      await cu.close();
    }
  }, [code, options]);
}

// The example of the API that users of the older system have, to the letter.
const EXAMPLE = `
import { EnhancedCuWASM } from 'cu-wasm';
const lua = await EnhancedCuWASM.init();
await lua.persistFunction('Memory', 'calculate', \`function(x, y) return x * y + 100 end\`);
const results = await lua.batchTableOperations([
  { type: 'set', table: 'users', key: 'user1', value: { name: 'Alice', age: 30 } },
  { type: 'set', table: 'users', key: 'user2', value: { name: 'Bob', age: 25 } },
]);
await lua.createIndex('users', 'age', 'btree');
const users = await lua.queryTable('users', { field: 'age', operator: '>=', value: 25, limit: 10 });
`;

inPage('the example runs verbatim, and its function and records are there after a reload', async (page) => {
  const people = (users) => users.map(({ name, age }) => `${name} ${age}`).sort();
  await page.addScriptTag({ type: 'module', content: `${EXAMPLE}; window.shown = { results, users };` });
  const shown = await (await page.waitForFunction(() => window.shown)).jsonValue();
  assert.deepEqual(shown.results, [true, true]);
  assert.deepEqual(people(shown.users), ['Alice 30', 'Bob 25']);

  await page.reload();
  const after = await page.evaluate(async () => {
    const { EnhancedCuWASM } = await import('cu-wasm');
    const lua = await EnhancedCuWASM.init();
    const calculated = await lua.callFunction('Memory', 'calculate', 6, 7);
    const users = await lua.queryTable('users', { field: 'age', operator: '>=', value: 25, limit: 10 });
    return { calculated, users, tables: await lua.listTables() };
  });
  assert.equal(after.calculated, 142);
  assert.deepEqual(people(after.users), ['Alice 30', 'Bob 25']);
  assert.deepEqual(after.tables, [{ name: 'Memory', count: 1 }, { name: 'users', count: 2 }]);
});

inPage('a counter closure goes on after a reload', async (page) => {
  const source = 'local n = 0; return function() n = n + 1; return n end';
  const first = await inCu(page, `
    await cu.persistFunction('Memory', 'counter', ${JSON.stringify(source)});
    return [await cu.callFunction('Memory', 'counter'), await cu.callFunction('Memory', 'counter')];`);
  assert.deepEqual(first, [1, 2]);
  await page.reload();
  assert.equal(await inCu(page, `return cu.callFunction('Memory', 'counter')`), 3);
});

inPage('Lua code waits for promises of the page', async (page) => {
  const seen = await inCu(page, `
    await cu.set('api', {
      text: async (address) => (await fetch(address)).text(),
      wait: (milliseconds) => new Promise((resolve) => setTimeout(() => resolve(milliseconds), milliseconds)),
    });
    const { values } = await cu.run(\`
      local list = { 3, 1, 2 }
      table.sort(list, function(a, b) return api.wait(a) < api.wait(b) end)
      return table.concat(list, ' '), api.text('/'):match('<title>') ~= nil, (pcall(api.text, 'no-scheme://x'))\`);
    return values;`);
  assert.deepEqual(seen, ['1 2 3', true, false]);
});

test('a resolved batch survives a killed browser', TIMEOUT, withProfile(async (start) => {
  const operations = Array.from({ length: 100 }, (_, index) => ({ type: 'set', table: 'kept', key: index, value: { index } }));
  const browser = await start();
  const page = await browser.open();
  // Neither closed nor given time: the batch has resolved, and that is all it may need.
  await page.evaluate(async (operations) => {
    const { Cu } = await import('cu-wasm');
    const cu = await Cu.open({ name: 'test', storage: 'indexeddb' });
    await cu.batchTableOperations(operations);
    await cu.persistFunction('kept', 'add', 'function(a, b) return a + b end');
  }, operations);
  await browser.kill();

  const again = await (await start()).open();
  const found = await inCu(again, `
    const values = await cu.queryTable('kept', { where: [{ field: 'index', operator: '>=', value: 0 }], sort: 'index' });
    return { values, sum: await cu.callFunction('kept', 'add', 20, 22) };`);
  assert.deepEqual(found, { values: operations.map(({ value }) => value), sum: 42 });
}));

inPage('a corrupt function is a typed error', async (page) => {
  const result = await inCu(page, `
    await cu.persistFunction('f', 'a', 'local n = 0; return function() n = n + 1; return n end');
    await cu.callFunction('f', 'a');
    const { bytes } = await cu.getValue('f', 'a');
    const damaged = bytes.slice();
    damaged[damaged.length >> 1] ^= 0xff;
    await cu.setValue('f', 'a', new FunctionBlob(damaged));
    const error = await failure(cu.callFunction('f', 'a'));
    const usable = await cu.eval('return "yes"');
    await cu.setValue('f', 'a', new FunctionBlob(bytes));
    return { error, usable, next: await cu.callFunction('f', 'a') };`);
  assert.deepEqual([result.error.typed, result.error.code], [true, 'corrupt'], result.error.message);
  assert.deepEqual([result.usable, result.next], ['yes', 2]);
});

for (const [way, patch] of [
  ['the request throws', `throw new DOMException('simulated', 'QuotaExceededError')`],
  ['the transaction is aborted', `const request = original.apply(this, args);
    Object.defineProperty(this.transaction, 'error', { value: new DOMException('simulated', 'QuotaExceededError') });
    this.transaction.abort();
    return request`],
]) {
  inPage(`a full disk is a typed error (${way})`, async (page) => {
    const result = await inCu(page, `
      await cu.setValue('t', 'kept', 1);
      await cu.persistFunction('t', 'counter', 'local n = 0; return function() n = n + 1; return n end');
      const restore = ['put', 'add'].map((name) => {
        const original = IDBObjectStore.prototype[name];
        IDBObjectStore.prototype[name] = function (...args) { ${patch} };
        return () => (IDBObjectStore.prototype[name] = original);
      });
      const errors = [
        await failure(cu.batchTableOperations([{ type: 'set', table: 't', key: 'kept', value: 2 }])),
        await failure(cu.callFunction('t', 'counter')),
      ];
      const during = [await cu.eval('return "usable"'), await cu.getValue('t', 'kept')];
      for (const original of restore) original();
      const after = [await cu.getValue('t', 'kept'), await cu.callFunction('t', 'counter'), await cu.setValue('t', 'new', 3)];
      return { errors, during, after };`);
    for (const error of result.errors) {
      assert.deepEqual([error.typed, error.name, error.code], [true, 'StorageError', 'quota'], error.message);
    }
    assert.deepEqual(result.during, ['usable', 1]);
    assert.deepEqual(result.after, [1, 1, true]);
    await page.reload();
    assert.deepEqual(await inCu(page, `return [await cu.getValue('t', 'kept'), await cu.getValue('t', 'new')]`), [1, 3]);
  });
}

inPage('space that runs out at any request leaves what was resolved', async (page) => {
  const failures = await page.evaluate(async () => {
    const { Cu } = await import('cu-wasm');
    const { put } = IDBObjectStore.prototype;
    let refused = 0;
    // The request of each number in turn, until there are no more requests.
    for (let failing = 1; ; failing += 1) {
      const options = { name: `full ${failing}`, storage: 'indexeddb' };
      let requests = 0;
      IDBObjectStore.prototype.put = function (...entry) {
        requests += 1;
        if (requests === failing) throw new DOMException('simulated', 'QuotaExceededError');
        return put.apply(this, entry);
      };
      const held = new Map();
      try {
        const cu = await Cu.open(options);
        for (let batch = 0; batch < 4; batch += 1) {
          const entries = [0, 1, 2].map((place) => [batch * 2 + place, { batch, text: 'x'.repeat(3000) }]);
          const operations = entries.map(([key, value]) => ({ type: 'set', table: 't', key, value }));
          try {
            await cu.batchTableOperations(operations);
            for (const [key, value] of entries) held.set(key, value.batch);
          } catch (error) {
            if (error.code !== 'quota') throw error;
            refused += 1;
          }
        }
        // Writes the pages, if it can.
        await cu.close();
      } catch (error) {
        if (error.code !== 'quota') throw error;
        refused += 1;
      } finally {
        IDBObjectStore.prototype.put = put;
      }
      const again = await Cu.open(options);
      const found = (await again.queryEntries('t')).map(({ key, value }) => [key, value.batch]);
      await again.close();
      if (JSON.stringify(found) !== JSON.stringify([...held])) return `request ${failing}: ${JSON.stringify(found)} instead of ${JSON.stringify([...held])}`;
      if (requests < failing) return { failing, refused };
    }
  });
  assert.equal(typeof failures, 'object', failures);
  // Each commit has requests, and the checkpoint has many that fail without a word.
  assert.ok(failures.refused >= 4 && failures.failing > failures.refused + 4, JSON.stringify(failures));
});

inPage('a closed database is a typed error, and opens again', async (page) => {
  const result = await inCu(page, `
    const other = await Cu.open({ name: 'other' });
    await other.setValue('t', 'a', 1);
    await other.close();
    const errors = [await failure(other.getValue('t', 'a')), await failure(other.eval('return 1'))];
    const again = await Cu.open({ name: 'other' });
    const value = await again.getValue('t', 'a');
    await again.close();
    return { errors, value };`);
  for (const error of result.errors) assert.deepEqual([error.typed, error.code], [true, 'closed']);
  assert.equal(result.value, 1);
});

inPage('errors of programs and of saved functions carry their position', async (page) => {
  const [syntax, runtime, saved, usable] = await inCu(page, `
    await cu.persistFunction('f', 'bad', 'function(t)\\n  return t.a.b\\nend');
    return [
      await failure(cu.run('print(1)\\nx = = 2', { chunkName: 'syntax.lua' })),
      await failure(cu.run('local function f()\\n  error("oops")\\nend\\nf()', { chunkName: 'run.lua' })),
      await failure(cu.callFunction('f', 'bad', {})),
      await cu.eval('return 1'),
    ];`);
  for (const error of [syntax, runtime, saved]) assert.deepEqual([error.typed, error.name], [true, 'LuaError']);
  assert.deepEqual([syntax.chunk, syntax.line], ['syntax.lua', 2]);
  assert.equal(runtime.message, 'run.lua:2: oops');
  assert.match(runtime.traceback, /run\.lua:2:.*\n.*run\.lua:4:/);
  assert.equal(saved.line, 2);
  assert.match(saved.message, /attempt to index a nil value \(field 'a'\)/);
  assert.equal(usable, 1);
});

inPage('a long run leaves the page responsive and can be aborted', async (page) => {
  const { ticks, name, usable } = await inCu(page, `
    const controller = new AbortController();
    let ticks = 0;
    const timer = setInterval(() => { if (++ticks === 20) controller.abort(); }, 5);
    const { name } = await cu.run('while true do end', { signal: controller.signal }).catch((error) => error);
    clearInterval(timer);
    return { ticks, name, usable: await cu.eval('return 1') };`);
  assert.ok(ticks >= 20);
  assert.deepEqual([name, usable], ['AbortError', 1]);
});

inPage('wasm memory after start', async (page) => {
  const { wasm } = await inCu(page, 'return cu.getMemoryStats()');
  assert.ok(wasm <= 1.5 * 1024 * 1024, `${wasm} bytes`);
});
