// The audit log: what is in it, and that no change of it goes unseen. The fixture was written by the Rust side, which checks the other way round.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AuditLog } from '../dist/audit.js';
import { decode, encode } from '../dist/codec.js';
import { Cu, entry } from './entry.mjs';
import { Poison } from '../dist/poison.js';

const open = (options = {}) => Cu.open({ storage: 'memory', now: 1_700_000_000_123, ...options });

test('operations leave records', async () => {
  const cu = await open();
  assert.deepEqual(await cu.verifyAuditLog(), { count: 0, hash: '' });
  await cu.setValue('users', 'before', 1);
  await cu.enableAuditLog(['run', 'call', 'setValue', 'deleteValue', 'batchTableOperations', 'createIndex'], { who: 'alice' });
  await cu.run('function f() return 1 end', { chunkName: 'setup' });
  assert.equal(await cu.call('f'), 1);
  await assert.rejects(cu.run('error("no")'), /no/);
  await cu.setValue('users', 'u1', { age: 1 });
  await cu.batchTableOperations([{ type: 'set', table: 'users', key: 7, value: 'secret' }, { type: 'delete', table: 'users', key: 'u1' }]);
  await assert.rejects(cu.batchTableOperations([{ type: 'nonsense', table: 'users', key: 1 }]));
  await cu.createIndex('users', 'age');
  assert.equal(await cu.getValue('users', 7), 'secret');
  const records = await cu.audit();
  const shown = records.map(({ who, operation, target, when, result }) => [who, operation, target, when, result]);
  const at = (operation, target, result) => ['alice', operation, target, 1_700_000_000_123, result];
  assert.deepEqual(shown, [
    at('run', 'setup', 'ok'),
    at('call', 'f', 'ok'),
    at('run', 'script', 'LUA_EXECUTION_ERROR'),
    at('setValue', ['users', 'u1'], 'ok'),
    at('batchTableOperations', [['set', 'users', 7], ['delete', 'users', 'u1']], 'ok'),
    at('batchTableOperations', [['nonsense', 'users', 1]], 'UNKNOWN_OPERATION'),
    at('createIndex', ['users', 'age'], 'ok'),
  ]);
  assert.deepEqual(cu.auditLog, records);
  const head = await cu.verifyAuditLog();
  assert.equal(head.count, 7);
  await cu.deleteValue('users', 7);
  assert.equal((await cu.verifyAuditLog(head)).count, 8);
  await assert.rejects(cu.verifyAuditLog({ ...head, hash: '0'.repeat(64) }), { code: 'corrupt', message: 'audit log: record 7 is not the one that was noted' });
  if (entry !== 'worker') assert.throws(() => cu.callSync('f'), { code: 'denied' });
  assert.ok(!JSON.stringify(await cu.audit()).includes('secret'));
  await cu.close();
});

test('records of calls at the same time are in a row', async () => {
  const cu = await open();
  await cu.enableAuditLog();
  await Promise.all(Array.from({ length: 50 }, (_, key) => cu.setValue('t', key, key)));
  assert.equal((await cu.verifyAuditLog()).count, 50);
  await cu.close();
});

test('a transaction that is rolled back leaves its records', async () => {
  const cu = await open();
  await cu.enableAuditLog(['setValue']);
  await cu.beginTransaction();
  await cu.setValue('t', 1, 1);
  await cu.setValue('t', 2, 2);
  assert.equal((await cu.audit()).length, 0);
  await cu.rollbackTransaction();
  assert.equal(await cu.getValue('t', 1), null);
  assert.equal((await cu.verifyAuditLog()).count, 2);
  await cu.transaction(() => cu.setValue('t', 3, 3));
  assert.equal(await cu.getValue('t', 3), 3);
  assert.deepEqual((await cu.audit()).map(({ target }) => target), [['t', 1], ['t', 2], ['t', 3]]);
  await cu.close();
});

test('nothing else writes to the log', async () => {
  const cu = await open();
  await cu.enableAuditLog(['run']);
  await cu.run('return 1');
  const table = '_audit';
  for (const write of [
    () => cu.setValue(table, 1, {}), () => cu.deleteValue(table, 1), () => cu.setSchema(table, { who: { type: 'integer' } }),
    () => cu.batchTableOperations([{ type: 'update', table, key: 1, value: { who: 'x' } }]),
    () => cu.batchTableOperations([{ type: 'increment', table, key: 1, field: 'when' }]),
    () => cu.persistFunction(table, 'f', 'function() end'),
  ]) {
    await assert.rejects(write(), { code: 'INVALID_TABLE_NAME' });
  }
  assert.equal((await cu.verifyAuditLog()).count, 1);
  assert.ok(!(await cu.listTables()).some(({ name }) => name === table));
  await cu.close();
});

test('without a database there is no log', async () => {
  const cu = await open({ storage: 'none' });
  await assert.rejects(cu.audit(), { code: 'unavailable' });
  await assert.rejects(async () => cu.enableAuditLog(['nonsense']), { code: 'INVALID_INPUT' });
  await cu.close();
});

/** A database that holds rows and nothing else. */
function stored(rows) {
  return {
    query: async () => encode({ rows }),
    batch: async (bytes) => encode(decode(bytes).map(({ type, key, value }) => {
      const at = rows.findIndex((row) => row.key === key);
      if (type === 'get') return at < 0 ? null : rows[at].value;
      if (at < 0) rows.push({ key, value });
      else rows[at] = { key, value };
      rows.sort((left, right) => left.key - right.key);
      return null;
    })),
  };
}

const logOf = (rows) => new AuditLog(stored(rows), new Poison(), () => 5, null);

async function faulty(rows) {
  const error = await logOf(structuredClone(rows)).verify().then(() => null, (thrown) => thrown);
  assert.equal(error?.code, 'corrupt');
  return error.details.record;
}

test('every change of a record is found, and named', async () => {
  const rows = [];
  const log = logOf(rows);
  for (const key of ['a', 'b', 'c']) await log.append('who', 'set', ['t', key], 'ok');
  assert.equal((await log.verify()).count, 3);
  for (let place = 1; place <= 3; place++) {
    for (const [field, value] of Object.entries(rows[place].value)) {
      const wrong = typeof value === 'number' ? [value + 1, value + 0.5, String(value)] : [1, null, ...(typeof value === 'string' ? flips(value) : [[...value, 1], value[0]])];
      for (const other of wrong) {
        const changed = structuredClone(rows);
        changed[place].value[field] = other;
        assert.equal(await faulty(changed), place, `${field}: ${other}`);
      }
    }
    const more = structuredClone(rows);
    more[place].value.extra = 1;
    assert.equal(await faulty(more), place);
    assert.equal(await faulty(rows.toSpliced(place, 1)), place, 'removed');
    assert.equal(await faulty(rows.slice(0, place)), place, 'cut off');
  }
  const swapped = structuredClone(rows);
  [swapped[1].value, swapped[3].value] = [swapped[3].value, swapped[1].value];
  assert.equal(await faulty(swapped), 1);
  for (const head of [[2, rows[3].value.hash], [3, rows[2].value.hash], [3], 'x', [3, rows[3].value.hash, 1]]) {
    assert.equal(await faulty([{ key: 0, value: head }, ...rows.slice(1)]), 0, JSON.stringify(head));
  }
  assert.equal(await faulty(rows.slice(1)), 0, 'without its head');
});

/** A text with each of its characters changed. */
function flips(text) {
  return Array.from(text, (character, at) => text.slice(0, at) + String.fromCharCode(character.charCodeAt(0) ^ 1) + text.slice(at + 1));
}

test('hashes are those of the Rust side', async () => {
  const rows = [];
  await logOf(rows).append('alice', 'set', ['users', 1], 'ok');
  // `persist/src/audit.rs` has the same.
  assert.equal(rows[1].value.hash, '8751767ada2bfd621405d9b7eeee0746164aed40cbc846a5cacc75cf090b82fa');
});
