// Answers that lie in wasm memory as cells, against the same answers as documents, which a transaction gives: the same values, of the same types.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu, here } from './entry.mjs';

/** A record under each kind of difficulty, in turn with plain ones. */
function records() {
  const odd = [
    null,
    true,
    false,
    0,
    -0,
    1.5,
    NaN,
    -Infinity,
    2 ** 53 - 1,
    -(2 ** 53) + 1,
    2n ** 53n,
    -(2n ** 63n),
    '',
    'a text',
    'ünïcode 𐍈 \u{feff}',
    'x'.repeat(40_000),
    new Uint8Array([0xff, 0xfe]),
    new Uint8Array([0x61]),
    [],
    [1, 'two', [3, { four: 5 }]],
    {},
    { '': 1 },
    { nested: { deeper: { deepest: 'ü' } }, list: [1, 2], nothing: null },
    JSON.parse('{"__proto__": 1, "a": 2}'),
    JSON.parse('{"2": "b", "1": "a", "constructor": true}'),
    new Map([[1, 'one'], [true, 'yes'], ['text', null]]),
    { ['a name of many letters '.repeat(300)]: 1 },
  ];
  const plain = (number) => ({ id: number, name: `näme ${number}`, text: 'lorem ipsum '.repeat(number % 90), done: number % 3 === 0, rate: number / 7 });
  return Array.from({ length: 400 }, (_, number) => (number % 4 === 0 ? odd[(number / 4) % odd.length] : plain(number)));
}

/** Keys of several kinds, and the record under each. */
function operations() {
  const keys = [(n) => n, (n) => n + 0.5, (n) => `key ${n}`, (n) => `ключ ${n}`, (n) => 2n ** 60n + BigInt(n), (n) => n % 2 === 0, (n) => new Uint8Array([0xff, n % 256, n >> 8])];
  return records().map((value, number) => ({ type: 'set', table: 't', key: keys[number % keys.length](number), value }));
}

const QUERIES = [
  {},
  { field: 'id', operator: '>=', value: 100, sort: 'id', limit: 20 },
  { field: 'id', operator: '=', value: 'nothing' },
  { sort: 'name', offset: 30, limit: 50 },
  { fields: ['name', 'rate'] },
  { fields: ['id'], field: 'done', operator: '=', value: true },
  { aggregates: { count: 'count', high: { function: 'max', field: 'id' } } },
  { groupBy: 'done', aggregates: { average: { function: 'avg', field: 'rate' } } },
];

async function filled() {
  const cu = await Cu.open({ storage: 'memory' });
  const all = operations();
  await cu.processBatch(all);
  await cu.createIndex('t', 'id');
  return { cu, keys: all.map(({ key }) => key) };
}

/** What the calls give outside a transaction and inside. */
async function bothWays(cu, ask) {
  const outside = await ask();
  await cu.beginTransaction();
  const inside = await ask();
  await cu.rollbackTransaction();
  return [outside, inside];
}

test('queries give the same as cells and as documents', async () => {
  const { cu } = await filled();
  for (const query of QUERIES) {
    const label = JSON.stringify(query);
    const [outside, inside] = await bothWays(cu, () => cu.queryTable('t', query));
    assert.deepEqual(outside, inside, label);
    assert.deepEqual(...(await bothWays(cu, () => cu.queryEntries('t', query))), label);
    assert.deepEqual(...(await bothWays(cu, () => cu.queryPage('t', query))), label);
  }
  assert.equal((await cu.queryTable('t')).length, new Set(operations().map(({ key }) => String(key))).size);
  await cu.close();
});

test('single values are the same as cells and as documents', async () => {
  const { cu, keys } = await filled();
  for (const key of [...keys, 'no such key']) {
    const [outside, inside] = await bothWays(cu, () => cu.getValue('t', key));
    assert.deepEqual(outside, inside, String(key));
  }
  await cu.close();
});

test('properties of an answer are its own, whatever their names', async () => {
  const { cu } = await filled();
  const odd = (await cu.queryTable('t')).filter((value) => value !== null && typeof value === 'object' && Object.hasOwn(value, '__proto__'));
  assert.ok(odd.length > 0);
  for (const value of odd) assert.equal(Object.getPrototypeOf(value), Object.prototype);
  await cu.close();
});

test('shapes are learnt anew when there have been too many', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  const record = (number) => ({ [`field ${number}`]: number, same: 'text' });
  await cu.processBatch(Array.from({ length: 1000 }, (_, key) => ({ type: 'set', table: 't', key, value: record(key) })));
  for (let round = 0; round < 3; round += 1) {
    for (let start = 0; start < 1000; start += 100) {
      const rows = await cu.queryTable('t', { where: [{ field: '$key', operator: '>=', value: start }], limit: 100 });
      assert.deepEqual(rows, Array.from({ length: 100 }, (_, index) => record(start + index)));
    }
    assert.deepEqual(await cu.queryTable('t'), Array.from({ length: 1000 }, (_, key) => record(key)));
  }
  await cu.close();
});

test('large answers follow the memory as it grows', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  let expected = [];
  for (let round = 0; round < 5; round += 1) {
    const more = Array.from({ length: 500 }, (_, index) => ({ id: round * 500 + index, text: `${'é'.repeat(200)}${index}`, list: [index] }));
    await cu.processBatch(more.map((value) => ({ type: 'set', table: 't', key: value.id, value })));
    expected = [...expected, ...more];
    assert.deepEqual(await cu.queryTable('t'), expected);
    assert.deepEqual(await cu.queryEntries('t'), expected.map((value) => ({ key: value.id, value })));
  }
  await cu.close();
});

/** A store in memory that answers later, as a page's does. */
function lateStore() {
  let [root, checkpoint, sequence, log, reads] = [undefined, 0, 0, [], 0];
  const pages = new Map();
  const turn = () => new Promise((resolve) => setTimeout(resolve));
  return {
    reads: () => reads,
    async load(after) {
      await turn();
      return [root, checkpoint, sequence, ...log.filter(({ number }) => number > after).map(({ record }) => record)];
    },
    async readPages(expected, numbers) {
      await turn();
      reads += 1;
      return expected === checkpoint ? [...numbers].map((number) => pages.get(number)) : null;
    },
    async append(expected, record) {
      if (expected !== sequence) return false;
      sequence += 1;
      log.push({ number: sequence, record: record.slice() });
      return true;
    },
    async checkpoint(expectedCheckpoint, expectedSequence, newRoot, numbers, bytes) {
      if (expectedCheckpoint !== checkpoint || expectedSequence !== sequence) return false;
      [root, checkpoint, log] = [newRoot.slice(), checkpoint + 1, []];
      numbers.forEach((number, index) => pages.set(number, bytes[index].slice()));
      return true;
    },
    async close() {},
  };
}

test('what has to be read first comes later, and is the same', here, async () => {
  const { cu: expected } = await filled();
  const store = lateStore();
  const writer = await Cu.open({ store });
  const all = operations();
  await writer.processBatch(all);
  await writer.createIndex('t', 'id');
  await writer.close();
  const ask = [
    (cu, query) => cu.queryTable('t', query),
    (cu, query) => cu.queryEntries('t', query),
    (cu, query) => cu.queryPage('t', query),
    (cu) => cu.getValue('t', all[1].key),
    (cu) => cu.getValue('t', 'no such key'),
  ];
  for (const [number, query] of QUERIES.entries()) {
    // Each way for the first time, when nothing is in memory, and again, when it is.
    const cu = await Cu.open({ store });
    const before = store.reads();
    const way = ask[number % ask.length];
    assert.deepEqual(await way(cu, query), await way(expected, query));
    assert.ok(store.reads() > before, 'pages were read for it');
    for (const again of ask) assert.deepEqual(await again(cu, query), await again(expected, query));
    await cu.close();
  }
  await expected.close();
});
