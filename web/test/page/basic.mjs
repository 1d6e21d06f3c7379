// The basic API over IndexedDB, from one load of it to the next and between loads that are there at once, as tabs are. Every load has a module
// of its own, as in a page that was just opened.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { oldRecords } from '../old-records.mjs';

const OLD = 'LuaPersistentDB';
let count = 0;

/** The answer to a request, or why there is none. */
const answered = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** A database that no other test has; neither it nor one of the older system is there. */
async function fresh(name) {
  for (const database of [`cu:basic-${name}`, OLD]) await answered(indexedDB.deleteDatabase(database));
  return { name: `basic-${name}`, storage: 'indexeddb' };
}

/** The basic API, loaded, with `result(program)`. */
async function load(options) {
  const address = new URL(`../dist/basic.js?page-${++count}`, import.meta.url).href;
  const cu = await import(address);
  await cu.load(options);
  const result = async (program) => {
    const length = await cu.compute(program);
    if (length < 0) throw new Error(cu.readBuffer(cu.getBufferPtr(), -length));
    return cu.readResult(cu.getBufferPtr(), length).result;
  };
  return { ...cu, result };
}

async function withOldDatabase(work) {
  const request = indexedDB.open(OLD, 1);
  request.onupgradeneeded = () => request.result.createObjectStore('externalTables', { keyPath: 'id' });
  const database = await answered(request);
  try {
    return await work(database.transaction('externalTables', 'readwrite').objectStore('externalTables'));
  } finally {
    database.close();
  }
}

const makeOldDatabase = (records) => withOldDatabase((store) => Promise.all(records.map((record) => answered(store.put(record)))));

test('old data is taken over once, reported, and left as it is', async () => {
  const options = await fresh('old');
  const records = oldRecords();
  await makeOldDatabase(records);
  const first = await load(options);
  const report = first.getImportReport();
  assert.deepEqual([report.tables, report.values, report.skipped.length], [3, 20, 7]);
  assert.equal(await first.result('_home.name = nil return #_home.list'), 3);
  assert.equal(await first.saveState(), true);
  const second = await load(options);
  assert.deepEqual(second.getImportReport(), report);
  assert.deepEqual(await second.result('return {tostring(_home.name), _home.half}'), ['nil', 0.5]);
  await second.clearPersistedState();
  assert.equal(await (await load(options)).result('return next(_home)'), null);
  assert.deepEqual(await withOldDatabase((store) => answered(store.getAll())), records);
});

test('without old data none is made', async () => {
  const cu = await load(await fresh('none'));
  assert.equal(cu.getImportReport(), null);
  // Opening it as new tells that it is not there.
  const request = indexedDB.open(OLD);
  const versions = [];
  request.onupgradeneeded = ({ oldVersion }) => versions.push(oldVersion);
  (await answered(request)).close();
  assert.deepEqual(versions, [0]);
  await answered(indexedDB.deleteDatabase(OLD));
});

test('what was saved is there for the next load', async () => {
  const options = await fresh('next');
  const first = await load(options);
  await first.result(`
    _home.counter = (function() local n = 0 return function() n = n + 1 return n end end)()
    _home.counter()
    _home.squares = coroutine.wrap(function() for i = 1, 9 do coroutine.yield(i * i) end end)
    _home.squares()
    _home.big = require 'bigint'.new(2) ^ 100
    _home.self = _home
    return 1`);
  assert.equal(await first.saveState(), true);
  await first.result('_home.lost = 1 return 1');
  const second = await load(options);
  const found = `return { _home.counter(), _home.squares(), tostring(_home.big + require 'bigint'.new(1)), _home.self == Memory, tostring(_home.lost) }`;
  assert.deepEqual(await second.result(found), [2, 4, String(2n ** 100n + 1n), true, 'nil']);
});

test('autoRestore: false leaves what is saved until saveState', async () => {
  const options = await fresh('empty');
  const first = await load(options);
  await first.result('_home.a = 1 return 1');
  await first.saveState();
  const empty = await load({ ...options, autoRestore: false });
  assert.equal(await empty.result('_home.b = 2 return _home.a'), null);
  assert.equal(await (await load(options)).result('return _home.a'), 1);
  await empty.saveState();
  assert.deepEqual(await (await load(options)).result('return {tostring(_home.a), _home.b}'), ['nil', 2]);
});

test('of saves by several the last one wins, as a whole', async () => {
  const options = await fresh('several');
  const first = await load(options);
  await first.result('for i = 1, 50 do _home["t" .. i] = {0} end return 1');
  await first.saveState();
  const other = await load(options);
  const state = `local parts = {} for key, value in pairs(_home) do parts[#parts + 1] = key .. value[1] end
    table.sort(parts) return table.concat(parts, ' ')`;
  for (let round = 1; round <= 3; round++) {
    for (const [cu, at] of [[first, round], [other, round + 10]]) {
      await cu.result(`_home.t${at}[1] = ${round} _home.new${at} = {${at}} _home.t${at + 20} = nil return 1`);
      assert.equal(await cu.saveState(), true);
      assert.equal(await (await load(options)).result(state), await cu.result(state));
    }
  }
  await first.result('_home.t40[1] = "first" return 1');
  await other.result('_home.t41[1] = "other" return 1');
  assert.deepEqual(await Promise.all([first.saveState(), other.saveState()]), [true, true]);
  const stored = await (await load(options)).result(state);
  assert.ok([await first.result(state), await other.result(state)].includes(stored));
});
