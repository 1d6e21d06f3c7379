// Every operator of queries against what JavaScript says of the same documents, scanned and with indexes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu } from './entry.mjs';

const people = Array.from({ length: 300 }, (_, n) => ({ n, age: (n * 37) % 90, name: `${['Ann', 'Bob', 'Cid'][n % 3]} ${(n * 7) % 100}` }));

const OPERATORS = {
  '=': [25, (value, given) => value === given],
  '!=': [25, (value, given) => value !== given],
  '<': [25, (value, given) => value < given],
  '<=': [25, (value, given) => value <= given],
  '>': [25, (value, given) => value > given],
  '>=': [25, (value, given) => value >= given],
  between: [[20, 30], (value, [low, high]) => value >= low && value <= high],
  in: [[1, 2, 37, 74], (value, list) => list.includes(value)],
  'not in': [[1, 2, 37, 74], (value, list) => !list.includes(value)],
  startsWith: ['Bob 7', (value, text) => value.startsWith(text)],
  endsWith: ['7', (value, text) => value.endsWith(text)],
  contains: ['d 1', (value, text) => value.includes(text)],
};

for (const [operator, [value, matches]] of Object.entries(OPERATORS)) {
  test(`operator ${operator}`, async () => {
    const cu = await Cu.open({ storage: 'memory' });
    await cu.batchTableOperations(people.map((person) => ({ type: 'set', table: 'people', key: person.n, value: person })));
    const field = ['startsWith', 'endsWith', 'contains'].includes(operator) ? 'name' : 'age';
    const expected = people.filter((person) => matches(person[field], value));
    assert.ok(expected.length > 0 && expected.length < people.length);
    const byAge = [...expected].sort((a, b) => b.age - a.age || a.n - b.n);
    const check = async () => {
      assert.deepEqual(await cu.queryTable('people', { field, operator, value, sort: 'n' }), expected);
      const sort = [{ field: 'age', order: 'desc' }, 'n'];
      assert.deepEqual(await cu.queryTable('people', { field, operator, value, sort, offset: 1, limit: 2 }), byAge.slice(1, 3));
    };
    await check();
    for (const kind of ['btree', 'hash']) {
      await cu.createIndex('people', field, kind);
      await check();
    }
    await cu.close();
  });
}
