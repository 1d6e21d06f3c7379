// The basic API in Chromium: a page of the older system with its data, and what is saved across reloads and tabs.
import assert from 'node:assert/strict';
import { oldRecords } from '../old-records.mjs';
import { inPage } from './in-page.mjs';

/** What a page of the older system looked like. Only its import path is another one now. */
const OLD_PAGE = `<!doctype html>
<title>Notes</title>
<ul id="notes"></ul>
<script type="module">
  import cu from 'cu-wasm/basic';

  async function run(code) {
    const length = await cu.compute(code);
    if (length < 0) throw new Error(cu.readBuffer(cu.getBufferPtr(), -length));
    return cu.readResult(cu.getBufferPtr(), length);
  }

  await cu.load({ wasmPath: './lua.wasm' });
  cu.init();
  await run(\`
    _home.notes = _home.notes or ext.table()
    _home.visits = (_home.visits or 0) + 1
    function _home.add()
      local notes = _home.notes
      notes[#notes + 1] = _io.input.text
      _io.output = { count = #notes }
    end
  \`);
  window.add = async (text) => {
    cu.setInput({ text });
    await run('_home.add()');
    await cu.saveState();
    return cu.getOutput().count;
  };
  const { output } = await run('for i = 1, #_home.notes do print(_home.notes[i]) end');
  for (const note of output.split('\\n').filter(Boolean)) {
    document.querySelector('#notes').append(Object.assign(document.createElement('li'), { textContent: note }));
  }
  window.shown = { visits: (await run('return _home.visits')).result, home: cu.getTableInfo().tables[0].keys };
</script>`.replace("'cu-wasm/basic'", "'/cu-wasm/basic.js'");

/** Makes the older system's database in the page. */
function makeOldDatabase(page, records) {
  return page.evaluate((records) => new Promise((resolve, reject) => {
    const request = indexedDB.open('LuaPersistentDB', 1);
    request.onupgradeneeded = () => request.result.createObjectStore('externalTables', { keyPath: 'id' });
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const transaction = request.result.transaction('externalTables', 'readwrite');
      for (const record of records) transaction.objectStore('externalTables').put(record);
      transaction.oncomplete = () => resolve(request.result.close());
    };
  }), records);
}

function readOldDatabase(page) {
  return page.evaluate(() => new Promise((resolve) => {
    const request = indexedDB.open('LuaPersistentDB', 1);
    request.onsuccess = () => {
      const all = request.result.transaction('externalTables').objectStore('externalTables').getAll();
      all.onsuccess = () => resolve(all.result);
    };
  }));
}

/**
 * Runs code in the page as a module would, with the module as `cu`, loaded with `options`, and `result(program)`. Each call has a module of
 * its own, as a page that was just opened.
 */
function inBasic(page, code, options = {}) {
  return page.evaluate(async ([code, options]) => {
    window.modules = (window.modules ?? 0) + 1;
    const cu = await import(`/cu-wasm/basic.js?${window.modules}`);
    await cu.load(options);
    const result = async (program) => {
      const length = await cu.compute(program);
      if (length < 0) throw new Error(cu.readBuffer(0, -length));
      return cu.readResult(0, length).result;
    };
    const AsyncFunction = (async () => undefined).constructor;
    return await new AsyncFunction('cu', 'result', code)(cu, result);
  }, [code, options]);
}

inPage('a page of the older system, with data it saved, runs after only its import path is changed', async (page) => {
  const text = (value) => ({ _type: 'binary', data: [4, value.length, 0, 0, 0, ...Buffer.from(value)] });
  const records = [
    { id: 1, data: { notes: { _type: 'binary', data: [7, 3, 0, 0, 0] }, visits: { _type: 'binary', data: [2, 4, 0, 0, 0, 0, 0, 0, 0] } } },
    { id: 3, data: { 1: text('buy milk'), 2: text('call Ann') } },
    { id: '__metadata__', data: { homeTableId: 1, memoryTableId: 1, nextTableId: 4, savedAt: '2025-01-01T00:00:00.000Z', tableCount: 2, tableIds: [1, 3] } },
  ];
  await makeOldDatabase(page, records);
  await page.route('**/notes.html', (route) => route.fulfill({ contentType: 'text/html', body: OLD_PAGE }));
  const shown = async () => {
    await page.goto(new URL('/notes.html', process.env.CU_ADDRESS).href);
    const shown = await (await page.waitForFunction(() => window.shown)).jsonValue();
    return { ...shown, notes: await page.locator('#notes li').allTextContents() };
  };
  assert.deepEqual(await shown(), { visits: 5, home: ['notes', 'visits', 'add'], notes: ['buy milk', 'call Ann'] });
  assert.equal(await page.evaluate(() => window.add('sleep')), 3);
  assert.deepEqual(await shown(), { visits: 6, home: ['notes', 'visits', 'add'], notes: ['buy milk', 'call Ann', 'sleep'] });
  assert.deepEqual(await readOldDatabase(page), records);
});

inPage('old data is taken over once, what could not be is reported, and it stays where it is', async (page) => {
  const records = oldRecords();
  await makeOldDatabase(page, records);
  const first = await inBasic(page, `
    const report = cu.getImportReport();
    await result('_home.count, _home.name = nil return 1');
    await cu.saveState();
    return { report, count: await result('return #_home.list') };`);
  assert.equal(first.count, 3);
  assert.deepEqual([first.report.tables, first.report.values, first.report.skipped.length], [3, 20, 7]);
  assert.ok(first.report.skipped.some(({ path, reason }) => path === '_home.greet' && /bytecode/.test(reason)));
  await page.reload();
  // What the page has removed since does not come back; the report does.
  const second = await inBasic(page, `return { report: cu.getImportReport(), name: await result('return _home.name'), half: await result('return _home.half') }`);
  assert.deepEqual(second, { report: first.report, name: null, half: 0.5 });
  // Nor does anything after all was cleared.
  await inBasic(page, 'await cu.clearPersistedState()');
  assert.equal(await inBasic(page, `return result('return next(_home)')`), null);
  assert.deepEqual(await readOldDatabase(page), JSON.parse(JSON.stringify(records)));
});

inPage('old data is left alone by autoRestore: false, until something is saved', async (page) => {
  await makeOldDatabase(page, oldRecords());
  assert.equal(await inBasic(page, `return result('return _home.name')`, { autoRestore: false }), null);
  assert.equal(await inBasic(page, `await cu.loadState(); return result('return _home.name')`, { autoRestore: false }), 'hé');
});

inPage('without data of the older system, no database of its name is made', async (page) => {
  assert.equal(await inBasic(page, 'return cu.getImportReport()'), null);
  const names = await page.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name));
  assert.ok(!names.includes('LuaPersistentDB'), names.join());
});

inPage('what was saved is there after a reload: functions, coroutines, bigints, cycles', async (page) => {
  await inBasic(page, `
    await result(\`
      _home.counter = (function() local n = 0 return function() n = n + 1 return n end end)()
      _home.counter()
      _home.squares = coroutine.wrap(function() for i = 1, 9 do coroutine.yield(i * i) end end)
      _home.squares()
      _home.big = require 'bigint'.new(2) ^ 100
      _home.self = _home
      return 1\`);
    if (!(await cu.saveState())) throw new Error('not saved');
    await result('_home.lost = 1 return 1');`);
  await page.reload();
  const found = await inBasic(page, `
    return result(\`return { _home.counter(), _home.squares(), tostring(_home.big + require 'bigint'.new(1)), _home.self == Memory, tostring(_home.lost) }\`)`);
  assert.deepEqual(found, [2, 4, String(2n ** 100n + 1n), true, 'nil']);
});

inPage('autoRestore: false begins empty and leaves what is saved, until saveState', async (page) => {
  await inBasic(page, `await result('_home.a, _home.b = 1, {2} return 1'); await cu.saveState()`);
  const kept = `return result('return {tostring(_home.a), tostring(_home.b and _home.b[1]), tostring(_home.c)}')`;
  assert.deepEqual(await inBasic(page, `await result('_home.c = 3 return 1'); ${kept}`, { autoRestore: false }), ['nil', 'nil', '3']);
  assert.deepEqual(await inBasic(page, kept), ['1', '2', 'nil']);
  // loadState brings it back even then.
  assert.deepEqual(await inBasic(page, `await result('_home.c = 3 return 1'); await cu.loadState(); ${kept}`, { autoRestore: false }), ['1', '2', 'nil']);
  await inBasic(page, `await result('_home.c = 3 return 1'); await cu.saveState()`, { autoRestore: false });
  assert.deepEqual(await inBasic(page, kept), ['nil', 'nil', '3']);
});

inPage('clearPersistedState: nothing is there after a reload', async (page) => {
  await inBasic(page, `await result('_home.a = 1 return 1'); await cu.saveState(); await cu.clearPersistedState()`);
  assert.equal(await inBasic(page, `return result('return _home.a')`), null);
});

inPage('with several tabs the last save wins, as a whole', async (page, browser) => {
  const other = await browser.open();
  const open = (tab) => inBasic(tab, 'window.cu = cu; window.result = result;');
  const result = (tab, program) => tab.evaluate((program) => window.result(program), program);
  const save = (tab) => tab.evaluate(() => window.cu.saveState());
  const state = `local parts = {} for key, value in pairs(_home) do if type(value) == 'table' then parts[#parts + 1] = key .. value[1] end end
    table.sort(parts) return table.concat(parts, ' ')`;
  await open(page);
  await result(page, 'for i = 1, 50 do _home["t" .. i] = {0} end return 1');
  assert.equal(await save(page), true);
  await open(other);
  // Each changes other tables of the state they share; then one that is gone in the other.
  for (let round = 1; round <= 3; round++) {
    for (const [tab, key] of [[page, `t${round}`], [other, `t${round + 10}`]]) {
      await result(tab, `_home.${key}[1] = ${round} _home.new${round} = {'${key}'} _home.t${round + 20} = nil return 1`);
      assert.equal(await save(tab), true);
      const expected = await result(tab, state);
      const third = await browser.open();
      await open(third);
      assert.equal(await result(third, state), expected);
      await third.close();
    }
  }
  // At the same time: one of the two is what is stored.
  await result(page, '_home.t30[1] = "page" return 1');
  await result(other, '_home.t31[1] = "other" return 1');
  assert.deepEqual(await Promise.all([save(page), save(other)]), [true, true]);
  const states = [await result(page, state), await result(other, state)];
  await page.evaluate(() => window.cu.loadState());
  assert.ok(states.includes(await result(page, state)));
  // What a program had of the former _home stays readable, also what it had not looked into.
  await inBasic(page, 'window.cu = cu; window.result = result;');
  await result(page, 'former = _home.t40 return 1');
  await result(other, '_home.t40 = nil return 1');
  await save(other);
  await page.evaluate(() => window.cu.loadState());
  assert.deepEqual(await result(page, 'return {former[1], tostring(_home.t40)}'), [0, 'nil']);
  assert.deepEqual(other.unseen, []);
});

inPage('an instance with the option home has the same _home; while it is open, saveState is false', async (page) => {
  const [during, after, seen] = await inBasic(page, `
    await result('_home.a = 1 return 1');
    await cu.saveState();
    const { Cu } = await import('cu-wasm');
    const other = await Cu.open({ name: 'cu-basic', home: true });
    await other.eval('_home.a = _home.a + 1');
    await result('_home.a = 10 return 1');
    const { error } = console;
    console.error = () => undefined;
    const during = await cu.saveState();
    console.error = error;
    await other.close();
    return [during, await cu.saveState(), await result('return _home.a')];`);
  assert.deepEqual([during, after, seen], [false, true, 10]);
  assert.equal(await inBasic(page, `return result('return _home.a')`), 10);
});
