// What the older system's documentation promised of its class: transactions, batches in pieces, advice, compression, options, `_home`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflate, inflate, textOf } from './bytes.mjs';
import { Cu, EnhancedCuWASM, EnhancedLuaError, here } from './entry.mjs';

const opened = (name, body, options = {}) =>
  test(name, async () => {
    const cu = await EnhancedCuWASM.init({ storage: 'memory', ...options });
    try {
      await body(cu);
    } finally {
      await cu.close();
    }
  });

const set = (key, value, table = 't') => ({ type: 'set', table, key, value });

opened('beginTransaction, commitTransaction: what is between is one', async (cu) => {
  await cu.setValue('t', 'a', 1);
  assert.equal(await cu.beginTransaction(), true);
  await cu.setValue('t', 'a', 2);
  await cu.batchTableOperations([set('b', { n: 1 }), { type: 'increment', table: 't', key: 'b', field: 'n' }]);
  // The transaction sees what it has done.
  assert.deepEqual([await cu.getValue('t', 'a'), await cu.getValue('t', 'b')], [2, { n: 2 }]);
  assert.deepEqual(await cu.queryTable('t', { field: 'n', operator: '=', value: 2 }), [{ n: 2 }]);
  assert.equal((await cu.getQueryPlan('t', { field: 'n', operator: '=', value: 2 }))['access'], 'scan');
  assert.equal(await cu.commitTransaction(), true);
  assert.deepEqual([await cu.getValue('t', 'a'), await cu.getValue('t', 'b')], [2, { n: 2 }]);
});

opened('rollbackTransaction drops everything, saved functions too', async (cu) => {
  await cu.setValue('t', 'a', 1);
  await cu.persistFunction('f', 'next', 'local n = 0; return function() n = n + 1; return n end');
  await cu.callFunction('f', 'next');
  await cu.beginTransaction();
  await cu.deleteValue('t', 'a');
  await cu.persistFunction('f', 'other', 'function() return 1 end');
  assert.deepEqual([await cu.callFunction('f', 'next'), await cu.callFunction('f', 'next')], [2, 3]);
  assert.equal(await cu.rollbackTransaction(), true);
  assert.equal(await cu.getValue('t', 'a'), 1);
  assert.equal(await cu.callFunction('f', 'next'), 2);
  await assert.rejects(cu.callFunction('f', 'other'), { code: 'UNKNOWN_FUNCTION' });
});

opened('a batch that fails in a transaction is undone, what was before it stays', async (cu) => {
  await cu.beginTransaction();
  await cu.setValue('t', 'text', 'x');
  const failing = [set('a', 1), { type: 'increment', table: 't', key: 'text' }];
  await assert.rejects(cu.batchTableOperations(failing), (error) => error instanceof EnhancedLuaError && error.details.position === 1);
  const [done, failed] = await cu.batchTableOperations([set('b', 2), failing[1]], { atomic: false });
  assert.equal(done, true);
  assert.equal(typeof failed.error.message, 'string');
  await cu.commitTransaction();
  assert.deepEqual([await cu.getValue('t', 'text'), await cu.getValue('t', 'a'), await cu.getValue('t', 'b')], ['x', null, 2]);
});

opened('transactions do not nest, and what cannot be part of one is refused instead of waiting for its end', async (cu) => {
  for (const name of ['commitTransaction', 'rollbackTransaction']) await assert.rejects(cu[name](), { code: 'INVALID_INPUT', message: /no transaction is open/ });
  await cu.beginTransaction();
  await assert.rejects(cu.beginTransaction(), { code: 'busy' });
  await assert.rejects(cu.run('_home.x = 1'), { code: 'busy', message: '_home cannot be stored while a transaction is open' });
  await cu.setValue('t', 'a', 1);
  await cu.commitTransaction();
  await cu.run('_home.x = 2');
  assert.equal(await cu.createIndex('t', 'n'), true);
}, { home: true });

opened('transaction commits when its work resolves and rolls back when it rejects', async (cu) => {
  assert.equal(await cu.transaction(async () => { await cu.setValue('t', 'a', 1); return 'done'; }), 'done');
  const failure = new Error('mine');
  await assert.rejects(cu.transaction(async () => { await cu.setValue('t', 'a', 2); throw failure; }), failure);
  assert.equal(await cu.getValue('t', 'a'), 1);
});

opened('closing drops an open transaction and does not hang', async (cu) => {
  await cu.beginTransaction();
  await cu.setValue('t', 'a', 1);
});

opened('batches of every type: set get delete query update increment, in input order', async (cu) => {
  const results = await cu.batchTableOperations([
    set('a', { n: 1, k: 'x' }),
    set('b', { n: 2, k: 'y' }),
    set('c', 5),
    { type: 'get', table: 't', key: 'b' },
    { type: 'update', table: 't', key: 'a', value: { n: 10 } },
    { type: 'increment', table: 't', key: 'c', by: 2 },
    { type: 'query', table: 't', field: 'n', operator: '>=', value: 2, sort: { field: 'n', order: 'desc' } },
    { type: 'query', table: 't', query: { field: 'k', operator: 'in', value: ['x'] } },
    { type: 'delete', table: 't', key: 'a' },
    { type: 'get', table: 't', key: 'a' },
  ]);
  assert.deepEqual(results, [true, true, true, { n: 2, k: 'y' }, true, 7, [{ n: 10, k: 'x' }, { n: 2, k: 'y' }], [{ n: 10, k: 'x' }], true, null]);
  await assert.rejects(cu.batchTableOperations([set('d', 1), { type: 'query', table: 't', field: 'n', operator: '~', value: 1 }]), { code: 'UNSUPPORTED_OPERATOR' });
});

opened('batchTableOperations: onProgress and signal', async (cu) => {
  const seen = [];
  await cu.batchTableOperations([set('a', 1), set('b', 2)], { onProgress: (progress) => seen.push(progress) });
  assert.deepEqual(seen, [{ done: 2, total: 2 }]);
  await assert.rejects(cu.batchTableOperations([set('c', 1)], { signal: AbortSignal.abort() }), { name: 'AbortError' });
  assert.equal(await cu.getValue('t', 'c'), null);
});

opened('processBatch takes any number of operations, in pieces', async (cu) => {
  const operations = Array.from({ length: 25 }, (_, index) => set(index, { index }));
  const seen = [];
  const results = await cu.processBatch(operations, { batchSize: 1000, onProgress: ({ done, total }) => seen.push([done, total]) });
  assert.deepEqual([results.length, results.every((result) => result === true)], [25, true]);
  assert.deepEqual(seen, [[10, 25], [20, 25], [25, 25]]);
  const failing = [...operations.slice(0, 12).map(({ key }) => ({ type: 'delete', table: 't', key })), { type: 'nothing', table: 't', key: 1 }];
  await assert.rejects(cu.processBatch(failing), { code: 'UNKNOWN_OPERATION', message: /^operation 12:/, details: { position: 12 } });
  assert.deepEqual([await cu.getValue('t', 9), await cu.getValue('t', 10)], [null, { index: 10 }]);
  await assert.rejects(cu.processBatch(operations, { batchSize: 0 }), { message: /^batchSize:/ });
}, { maxBatchSize: 10 });

// What is told of progress comes late from a worker.
test('processBatch looks at its signal between two batches', here, async () => {
  const cu = await Cu.open({ storage: 'memory', maxBatchSize: 10 });
  const controller = new AbortController();
  const operations = Array.from({ length: 25 }, (_, index) => set(index, { index }));
  await assert.rejects(cu.processBatch(operations, { signal: controller.signal, onProgress: () => controller.abort() }), { name: 'AbortError' });
  assert.deepEqual([await cu.getValue('t', 9), await cu.getValue('t', 10)], [{ index: 9 }, null]);
  await cu.close();
});

opened('computeBatch runs programs in order', async (cu) => {
  const seen = [];
  assert.deepEqual(await cu.computeBatch(['x = 1 return x', 'x = x + 1 return x, 5', ''], { onProgress: ({ done }) => seen.push(done) }), [1, 2, null]);
  assert.deepEqual(seen, [1, 2, 3]);
  await assert.rejects(cu.computeBatch(['x = 9', 'error("no")', 'x = 10']), { code: 'LUA_EXECUTION_ERROR', message: 'batch[1]:1: no' });
  assert.equal(await cu.eval('return x'), 9);
  await assert.rejects(cu.computeBatch('return 1'), { message: /^sources:/ });
  await assert.rejects(cu.computeBatch(['return 1'], { signal: AbortSignal.abort() }), { name: 'AbortError' });
});

opened('optimizeQuery names an index that is used once it is there', async (cu) => {
  await cu.batchTableOperations(Array.from({ length: 500 }, (_, index) => set(index, { n: index, name: `name ${index}`, group: index % 7 })));
  const cases = [
    [{ field: 'n', operator: 'between', value: [10, 12] }, 'n', 'btree'],
    [{ field: 'group', operator: '=', value: 900 }, 'group', 'hash'],
    [{ where: { and: [{ field: 'name', operator: 'startsWith', value: 'name 49' }, { field: 'n', operator: '!=', value: 1 }] } }, 'name', 'btree'],
  ];
  for (const [query, field, kind] of cases) {
    const { plan, indexes } = await cu.optimizeQuery('t', query);
    assert.deepEqual([plan['fullScan'], indexes[0].field, indexes[0].kind], [true, field, kind]);
    const before = await cu.queryTable('t', query);
    await cu.createIndex('t', indexes[0].field, indexes[0].kind);
    const after = await cu.optimizeQuery('t', query);
    assert.deepEqual([after.plan['fullScan'], after.plan['index'], after.indexes], [false, field, []]);
    assert.deepEqual(await cu.queryTable('t', query), before);
  }
  assert.deepEqual((await cu.optimizeQuery('t', { field: 'name', operator: 'contains', value: '9' })).indexes, []);
});

opened('createExternalTable', async (cu) => {
  assert.equal(await cu.createExternalTable('people', { ann: { age: 30 }, bob: { age: 25 } }), 'people');
  assert.deepEqual(await cu.getValue('people', 'ann'), { age: 30 });
  assert.equal(await cu.createExternalTable('numbers', new Map([[1, 'one'], [true, 'yes']])), 'numbers');
  assert.deepEqual([await cu.getValue('numbers', 1), await cu.getValue('numbers', true)], ['one', 'yes']);
  await cu.setValue('external_1', 'taken', 1);
  const names = [await cu.createExternalTable(), await cu.createExternalTable()];
  assert.deepEqual(names, ['external_2', 'external_3']);
  await assert.rejects(cu.createExternalTable(''), { code: 'INVALID_TABLE_NAME' });
  await assert.rejects(cu.createExternalTable('x', 5), { message: /^entries:/ });
});

opened('compressData is deflate, as others read and write it', async (cu) => {
  const text = 'to be or not to be '.repeat(1000);
  const bytes = await cu.compressData(text);
  assert.ok(bytes.length < text.length / 10);
  assert.equal(textOf(await inflate(bytes)), text);
  assert.equal(textOf(await cu.decompressData(bytes)), text);
  assert.equal(textOf(await cu.decompressData(await deflate(text))), text);
  const noise = crypto.getRandomValues(new Uint8Array(50_000));
  assert.deepEqual(await cu.decompressData(await cu.compressData(noise)), noise);
  assert.deepEqual(await cu.decompressData(await cu.compressData('')), new Uint8Array());
  await assert.rejects(cu.compressData(5), { code: 'INVALID_INPUT', message: /^data:/ });
  await assert.rejects(cu.compressData(new Uint8Array(64 * 1024 * 1024 + 1)), { code: 'COMPRESSION_FAILED', message: /^data:/ });
  for (const damaged of [bytes.subarray(0, 20), new Uint8Array([255, 255, 255]), new Uint8Array()]) {
    await assert.rejects(cu.decompressData(damaged), { code: 'DECOMPRESSION_FAILED', message: /^bytes:/ });
  }
  await assert.rejects(cu.decompressData(bytes, text.length - 1), { code: 'DECOMPRESSION_FAILED' });
  await assert.rejects(cu.decompressData('x'), { code: 'INVALID_INPUT' });
});

/** A function whose saved form is of about so many bytes before compression, and repeats itself. */
const large = (lines) => `function() local n = 0\n${'n = n + 1 * 2 - 3\n'.repeat(lines)} return n end`;
const storedBytes = async (cu, name) => (await cu.getValue('f', name)).bytes.length;

opened('persistFunction compresses over compressionThreshold, or as compress says', async (cu) => {
  const source = large(100);
  await cu.persistFunction('f', 'plain', source, { compress: false });
  await cu.persistFunction('f', 'usual', source);
  await cu.persistFunction('f', 'small', source, { compress: true });
  const plain = await storedBytes(cu, 'plain');
  assert.ok(plain > 1024 && plain < 8000);
  assert.equal(await storedBytes(cu, 'usual'), plain);
  assert.ok((await storedBytes(cu, 'small')) < plain / 2);
  // A call that changes nothing stores nothing, also where another instance has loaded the function.
  const before = await Promise.all(['plain', 'small'].map((name) => cu.getValue('f', name)));
  const value = await cu.callFunction('f', 'plain');
  assert.equal(await cu.callFunction('f', 'small'), value);
  await cu.persistFunction('f', 'larger', large(1000));
  assert.ok((await storedBytes(cu, 'larger')) < plain);
  assert.deepEqual(await Promise.all(['plain', 'small'].map((name) => cu.getValue('f', name))), before);
}, { compressionThreshold: 8000, cacheTimeout: 0 });

test('the threshold of compression is 1024 bytes unless it is given', async () => {
  const sizes = [];
  for (const options of [{}, { compressionThreshold: 1e6 }]) {
    const cu = await Cu.open({ storage: 'memory', ...options });
    await cu.persistFunction('f', 'f', large(100));
    sizes.push(await storedBytes(cu, 'f'));
    await cu.close();
  }
  assert.ok(sizes[0] < sizes[1] / 2, sizes.join());
  await assert.rejects(Cu.open({ storage: 'memory', compressionThreshold: -1 }), { code: 'INVALID_INPUT', message: /^compressionThreshold:/ });
});

opened('functions of 100 KiB of bytecode are saved; the limit can be moved', async (cu) => {
  await cu.persistFunction('f', 'big', large(20_000), { compress: false });
  assert.ok((await storedBytes(cu, 'big')) > 100 * 1024);
  assert.equal(await cu.callFunction('f', 'big'), -20_000);
  const small = await Cu.open({ storage: 'memory', maxFunctionBytes: 500 });
  await assert.rejects(small.persistFunction('f', 'big', large(100), { compress: false }), { code: 'FUNCTION_TOO_LARGE' });
  await small.close();
}, { maxFunctionBytes: 4 << 20, heapLimit: 32 << 20 });

test('functions that were not called for cacheTimeout are dropped from memory, and loaded again', here, async () => {
  const { now } = Date;
  let time = 0;
  Date.now = () => time;
  const cu = await Cu.open({ storage: 'memory', cacheTimeout: 1000 });
  try {
    await cu.persistFunction('f', 'a', `local big = ("x"):rep(100000); return function() return #big end`, { compress: false });
    assert.equal(await cu.callFunction('f', 'a'), 100_000);
    await cu.persistFunction('f', 'b', 'function() return 1 end');
    const used = async () => {
      await cu.eval('collectgarbage()');
      return cu.getMemoryStats().used;
    };
    const before = await used();
    time = 900;
    await cu.callFunction('f', 'b');
    assert.ok((await used()) > before - 50_000);
    time = 1800;
    await cu.callFunction('f', 'b');
    assert.ok((await used()) < before - 90_000);
    assert.equal(await cu.callFunction('f', 'a'), 100_000);
  } finally {
    Date.now = now;
    await cu.close();
  }
});

test('a query that waits longer than queryTimeout fails', here, async () => {
  const cu = await Cu.open({ storage: 'memory', queryTimeout: 1 });
  cu.parts.database.documents = () => new Promise(() => undefined);
  await assert.rejects(cu.queryTable('t'), { code: 'QUERY_FAILED', message: /queryTimeout of 1 ms/ });
  await cu.close();
  await assert.rejects(Cu.open({ storage: 'memory', queryTimeout: 'soon' }), { code: 'INVALID_INPUT', message: /^queryTimeout:/ });
});

opened('saveState and loadState: _home, committed on request', async (cu) => {
  await cu.run('_home.n = 1');
  assert.equal(await cu.saveState(), true);
  await cu.run('_home.n = 2');
  assert.equal(await cu.loadState(), true);
  assert.equal(await cu.eval('return Memory.n'), 1);
}, { home: { commit: 'manual' } });

opened('saveState and loadState without _home', async (cu) => {
  await cu.setValue('t', 'a', 1);
  assert.deepEqual([await cu.saveState(), await cu.loadState(), await cu.getValue('t', 'a')], [true, true, 1]);
  assert.deepEqual([await cu.getHomeTableId(), await cu.getMemoryTableId()], [null, null]);
  await assert.rejects(cu.setMemoryAliasEnabled(true), { code: 'INVALID_INPUT' });
});

opened('getMemoryTableId, getHomeTableId and setMemoryAliasEnabled', async (cu) => {
  assert.deepEqual([await cu.getHomeTableId(), await cu.getMemoryTableId()], [1, 1]);
  await cu.setMemoryAliasEnabled(false);
  assert.equal(await cu.eval('return Memory'), null);
  await cu.setMemoryAliasEnabled(true);
  assert.equal(await cu.eval('return Memory == _home'), true);
  await assert.rejects(cu.setMemoryAliasEnabled(1), { message: /^enabled:/ });
}, { home: true });

opened('restoreFunction loads a function ahead of its first call', async (cu) => {
  await cu.persistFunction('f', 'a', 'local n = 0; return function() n = n + 1; return n end');
  assert.equal(await cu.restoreFunction('f', 'a'), true);
  assert.equal(await cu.callFunction('f', 'a'), 1);
  await assert.rejects(cu.restoreFunction('f', 'b'), { code: 'UNKNOWN_FUNCTION', details: { table: 'f', name: 'b' } });
});

opened('maxBatchBytes limits a batch', async (cu) => {
  await assert.rejects(cu.batchTableOperations([set('a', 'x'.repeat(1000))]), { code: 'BATCH_SIZE_EXCEEDED', message: /over the limit of 500/ });
  await cu.setValue('t', 'a', 'x'.repeat(300));
}, { maxBatchBytes: 500 });
