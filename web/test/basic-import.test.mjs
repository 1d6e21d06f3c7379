// Records of the older system, made by hand, as `_home`. That they are found in a page's IndexedDB is tested in test/browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { convertOldRecords, pieces } from '../dist/basic-import.js';
import { BasicInstance } from '../dist/basic-instance.js';
import { encode } from '../dist/codec.js';
import { integer, metadata, oldRecords, record, reference, string } from './old-records.mjs';

async function adopted(records, code) {
  const instance = await BasicInstance.open({ storage: 'memory' });
  const report = instance.adopt(records);
  const length = await instance.compute(code);
  assert.ok(length > 0, instance.buffer.read(0, Math.abs(length)));
  const { result } = instance.buffer.readResult(0, length);
  await instance.close();
  return { report, result };
}

test('values of every kind, tables by identity, and what cannot be taken over', async () => {
  const { report, result } = await adopted(oldRecords(), `
    local h = _home
    return {
      h.no, h.yes, h.count, tostring(h.least), math.type(h.whole), h.half, h.name, h.empty, #h.bytes, h.bytes:byte(1, 2),
      h.list[1], h.list[2], #h.list, h.list[3].up == h, h.same == h.list, h[7], h[-1], tostring(h['1.5']), tostring(h['007']), h.old, tostring(h.lost),
    }`);
  assert.deepEqual(result, [
    ...[false, true, 42, String(-(2n ** 63n)), 'float', 0.5, 'hé', '', 2, 255, 'first', 2, 3, true, true, 'seven', 'minus one', 'text', 'agent', 'plain', 'nil'],
  ]);
  assert.deepEqual(report, {
    tables: 3,
    values: 20,
    skipped: [
      { path: '_home.greet', reason: 'a function is kept as bytecode of PUC Lua, which cannot be loaded: define it again' },
      { path: '_home.print', reason: 'a function of the older system cannot be kept' },
      { path: '_home.cut', reason: 'the value is damaged' },
      { path: '_home.strange', reason: 'the value is damaged' },
      { path: '_home.object', reason: 'the value is damaged' },
      { path: '_home.lost', reason: 'the table 99 is missing' },
      { path: '_home.list.3.deep', reason: 'a function is kept as bytecode of PUC Lua, which cannot be loaded: define it again' },
    ],
  });
});

test('the home is the one that the metadata name', () => {
  const records = [record(1, { a: integer(1) }), record(5, { b: integer(2) })];
  const keys = (...others) => convertOldRecords([...records, ...others]).records.flatMap(({ entries }) => entries.map(({ key }) => key));
  assert.deepEqual(keys(metadata({ homeTableId: 5, memoryTableId: 1 })), ['b']);
  assert.deepEqual(keys(metadata({ memoryTableId: 5 })), ['b']);
  assert.deepEqual(keys(metadata({ homeTableId: null, memoryTableId: 1 })), ['a']);
  assert.deepEqual(keys(), ['a']);
  assert.deepEqual(keys(metadata({ homeTableId: 3 })), []);
});

test('records that are none are passed over', () => {
  const { report } = convertOldRecords([null, 5, {}, { id: 'x', data: {} }, { id: 1 }, { id: 2, data: [] }, metadata({ homeTableId: 1 })]);
  assert.deepEqual(report, { tables: 1, values: 0, skipped: [] });
});

test('what _home has already stays', async () => {
  const instance = await BasicInstance.open({ storage: 'memory' });
  await instance.compute('_home.name = "new"');
  instance.adopt([record(1, { name: string('old'), other: reference(1) }), metadata({ homeTableId: 1 })]);
  assert.equal(instance.buffer.readResult(0, await instance.compute('return _home.name .. tostring(_home.other == _home)')).result, 'newtrue');
  await instance.close();
});

test('more than crosses in one call comes in pieces', async () => {
  const long = 'x'.repeat(100_000);
  const entries = Object.fromEntries(Array.from({ length: 120 }, (_, index) => [index + 1, string(long)]));
  const many = Object.fromEntries(Array.from({ length: 30_000 }, (_, index) => [`k${index}`, integer(index)]));
  const records = [record(1, { list: reference(2), many: reference(3), after: integer(7) }), record(2, entries), record(3, many), metadata({ homeTableId: 1 })];
  const sizes = [...pieces(convertOldRecords(records).records)].map((piece) => encode(piece).length);
  assert.ok(sizes.length > 10 && Math.max(...sizes) < 3e6, sizes.join());
  const { report, result } = await adopted(records, `
    local count = 0
    for _ in pairs(_home.many) do count = count + 1 end
    return { #_home.list, #_home.list[120], count, _home.many.k29999, _home.after }`);
  assert.deepEqual(result, [120, 100_000, 30_000, 29_999, 7]);
  assert.deepEqual([report.tables, report.values, report.skipped], [3, 30_123, []]);
});
