// Migrations: all steps or none, in order, each once; hands off newer data; indexes, schemas and Lua programs among the steps. And what takes long:
// progress, and giving it up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu, here, StorageError, UsageError } from './entry.mjs';

const memory = (options = {}) => Cu.open({ storage: 'memory', ...options });
const isStorage = (code) => (error) => error instanceof StorageError && error.code === code;
const isUsage = (code, text = '') => (error) => error instanceof UsageError && error.code === code && error.message.includes(text);

/** Each step multiplies by ten and adds its number, so that order and repetition show. */
const step = (number) => async (cu) => cu.setValue('data', 1, ((await cu.getValue('data', 1)) ?? 0) * 10 + number);
const inLua = (number) => `local data = ext.table('data') data[1] = (data[1] or 0) * 10 + ${number}`;

test('steps run once, in order, in JavaScript and in Lua', async () => {
  const cu = await memory();
  const seen = [];
  const steps = { 1: step(1), 2: inLua(2), 3: step(3), 4: inLua(4), 5: step(5) };
  assert.equal(await cu.migrate(3, steps, { onProgress: (progress) => seen.push(progress) }), 0);
  assert.deepEqual(seen, [1, 2, 3].map((done) => ({ done, total: 3 })));
  assert.equal(await cu.getValue('data', 1), 123);
  assert.equal(await cu.migrate(3, steps), 3);
  assert.equal(await cu.migrate(5, steps), 3);
  assert.equal(await cu.getValue('data', 1), 12345);
  // The version is no table of the user's.
  assert.deepEqual(await cu.listTables(), [{ name: 'data', count: 1 }]);
  await cu.close();
});

test('a step that fails leaves the old version with the old data, wherever it fails', async () => {
  const failing = {
    function: { 2: step(2), 3: async (cu) => { await step(3)(cu); throw new RangeError('in the middle'); } },
    Lua: { 2: step(2), 3: `${inLua(3)} error('in the middle')` },
    schema: { 2: async (cu) => { await cu.setSchema('people', { name: { type: 'string' } }); await cu.createIndex('people', 'name'); }, 3: (cu) => cu.setSchema('people', { age: { type: 'integer' } }) },
    'unique index': { 2: (cu) => cu.createIndex('people', 'name'), 3: (cu) => cu.createIndex('people', 'same', { unique: true }) },
    'no step': { 2: step(2) },
  };
  for (const [what, steps] of Object.entries(failing)) {
    const cu = await memory();
    const people = ['Alice', 'Bob'].map((name) => ({ type: 'set', table: 'people', key: name, value: { name, age: 'old', same: 1 } }));
    await cu.batchTableOperations(people);
    await cu.migrate(1, { 1: step(1) });
    await assert.rejects(cu.migrate(3, steps), /in the middle|age must be of type integer|age must be|allows each value once|no step to version 3/, what);
    assert.equal(await cu.getValue('data', 1), 1, what);
    assert.equal(await cu.migrate(1, {}), 1, what);
    // Neither the schema nor the index of step 2 is there.
    await cu.setValue('people', 'Carol', { name: 3 });
    await assert.rejects(cu.queryTable('people', { field: 'name', operator: '=', value: 3, using: { index: 'name' } }), (error) => error.code === 'INVALID_INPUT' || error.code === 'notFound' || /index/.test(error.message), what);
    assert.equal(await cu.migrate(2, { 2: step(2) }), 1, what);
    assert.equal(await cu.getValue('data', 1), 12, what);
    await cu.close();
  }
});

test('a schema says where a document is wrong, in a migration and after it', async () => {
  const cu = await memory();
  const schema = {
    type: 'object',
    properties: { name: { type: 'string' }, address: { type: 'object', properties: { city: { type: 'string', minLength: 1 } } }, tags: { type: 'array', items: { type: 'string' } } },
    required: ['name'],
  };
  await cu.migrate(1, { 1: async (inside) => {
    await inside.setSchema('users', schema);
    await inside.setValue('users', 'a', { name: 'Alice', address: { city: 'Rome' }, tags: ['x'] });
  } });
  for (const [value, path] of [
    [{ name: 1 }, 'name'],
    [{ name: 'x', address: { city: '' } }, 'address.city'],
    [{ name: 'x', address: { city: 7 } }, 'address.city'],
    [{ name: 'x', tags: ['a', 2] }, 'tags[1]'],
    [{}, 'name'],
  ]) {
    const refused = (error) => isStorage('schema')(error) && error.message.includes(path) && error.details.path === path;
    await assert.rejects(cu.setValue('users', 'b', value), refused, path);
    await assert.rejects(cu.migrate(2, { 2: (inside) => inside.setValue('users', 'b', value) }), refused, path);
  }
  await cu.setValue('users', 'a', { name: 'Alice B.' });
  await assert.rejects(cu.setSchema('users', { age: { required: true } }), (error) => isStorage('schema')(error) && error.details.path === 'age');
  await cu.setSchema('users', null);
  await cu.setValue('users', 'b', 'anything');
  await cu.close();
});

test('indexes and schemas are part of a transaction', async () => {
  const cu = await memory();
  await cu.setValue('t', 'a', { n: 1 });
  await cu.beginTransaction();
  await cu.createIndex('t', 'n');
  assert.equal((await cu.queryTable('t', { field: 'n', operator: '=', value: 1, using: { index: 'n' } })).length, 1);
  await cu.setSchema('t', { n: { type: 'integer' } });
  await assert.rejects(cu.setValue('t', 'b', { n: 'x' }), isStorage('schema'));
  await cu.rollbackTransaction();
  assert.equal(await cu.dropIndex('t', 'n'), false);
  await cu.setValue('t', 'b', { n: 'x' });
  await cu.transaction(async () => {
    await cu.createIndex('t', 'n');
    assert.equal(await cu.dropIndex('t', 'n'), true);
    assert.equal(await cu.dropIndex('t', 'n'), false);
    await cu.createIndex('t', ['n', 'm']);
  });
  assert.equal(await cu.dropIndex('t', 'n,m'), true);
  await cu.close();
});

test('a signal ends a migration between steps', async () => {
  const cu = await memory();
  for (const stop of [0, 1, 2]) {
    const aborter = new AbortController();
    if (stop === 0) aborter.abort(new Error('enough'));
    const onProgress = ({ done }) => done === stop && aborter.abort(new Error('enough'));
    await assert.rejects(cu.migrate(2, { 1: step(1), 2: step(2) }, { signal: aborter.signal, onProgress }), /enough/);
    assert.equal(await cu.getValue('data', 1), null);
  }
  assert.equal(await cu.migrate(2, { 1: step(1), 2: step(2) }), 0);
  await cu.close();
});

test('newer data can be read and not changed', async () => {
  const cu = await memory();
  await cu.migrate(2, { 1: step(1), 2: step(2) });
  await assert.rejects(cu.migrate(1, { 1: step(1) }), isStorage('newerVersion'));
  await assert.rejects(cu.setValue('data', 1, 0), isStorage('newerVersion'));
  await assert.rejects(cu.run(`ext.table('data')[1] = 0`), /newer than the program/);
  assert.equal(await cu.getValue('data', 1), 12);
  assert.equal(await cu.migrate(2, {}), 2);
  await cu.setValue('data', 1, 0);
  await cu.close();
});

test('what is no migration is refused', async () => {
  const cu = await memory();
  for (const version of [-1, 1.5, 2 ** 32, '1', null]) await assert.rejects(cu.migrate(version, {}), isUsage('INVALID_INPUT', 'version'));
  for (const steps of [null, [], { 1: 2 }, 'x']) await assert.rejects(cu.migrate(1, steps), isUsage('INVALID_INPUT', 'steps'));
  await cu.beginTransaction();
  await assert.rejects(cu.migrate(1, { 1: step(1) }), isUsage('busy'));
  await cu.rollbackTransaction();
  await cu.close();
});

const DOCUMENTS = 6000;
const filled = async () => {
  const cu = await memory();
  const operations = Array.from({ length: DOCUMENTS }, (_, n) => ({ type: 'set', table: 'n', key: n, value: { a: n % 7, b: `text ${n}` } }));
  await cu.processBatch(operations);
  return cu;
};

test('an index tells how far it is', async () => {
  const cu = await filled();
  const seen = [];
  await cu.createIndex('n', 'a', { onProgress: (progress) => seen.push(progress) });
  assert.ok(seen.length > 5, `${seen.length} reports`);
  for (const [position, { done, total }] of seen.entries()) {
    assert.equal(total, DOCUMENTS);
    assert.ok(done <= total && done >= (seen[position - 1]?.done ?? 1), JSON.stringify(seen));
  }
  assert.equal(await cu.dropIndex('n', 'a'), true);
  await assert.rejects(cu.createIndex('n', 'b', { signal: AbortSignal.abort(new Error('enough')) }), /^Error: enough$/);
  assert.equal(await cu.dropIndex('n', 'b'), false);
  await cu.close();
});

// A page that hears of its worker's progress may be too late to end the work.
test('an index can be given up at any time', here, async () => {
  const cu = await filled();
  for (const stop of [1, 2000, DOCUMENTS]) {
    const aborter = new AbortController();
    const onProgress = ({ done }) => done >= stop && aborter.abort(new Error('enough'));
    await assert.rejects(cu.createIndex('n', 'b', { signal: aborter.signal, onProgress }), /^Error: enough$/);
    assert.equal(await cu.dropIndex('n', 'b'), false);
  }
  await assert.rejects(cu.createIndex('n', 'b', { onProgress: () => { throw new RangeError('of the page'); } }), /of the page/);
  // Nothing holds the database up.
  await cu.setValue('n', 1, { a: 1 });
  assert.equal(await cu.createIndex('n', 'b', { unique: false }), true);
  assert.equal((await cu.queryTable('n', { field: 'b', operator: '=', value: 'text 5', using: { index: 'b' } })).length, 1);
  await cu.close();
});
