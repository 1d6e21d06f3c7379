// The order in which rows are shown is that of the database, for whatever keys.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { liveQuery } from '../dist/svelte.js';
import { compareKeys } from '../dist/live-rows.js';
import { Cu } from './entry.mjs';

const KEYS = [
  false, true, -Infinity, -(2n ** 63n), -3.5, -1, 0, 0.5, 1, 2, 2 ** 53, 2n ** 53n + 1n, 2n ** 62n, 1e300, Infinity, '', 'a', 'a\0', 'aa', 'b',
  'é', '\uffee', '\u{10000}', new Uint8Array([0x61, 0xff]), new Uint8Array([0xff]),
];

test('keys compare as they are stored', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  await cu.batchTableOperations(KEYS.map((key) => ({ type: 'set', table: 't', key, value: 1 })));
  const stored = (await cu.queryEntries('t')).map(({ key }) => key);
  assert.equal(stored.length, KEYS.length);
  for (let left = 0; left < stored.length; left++) {
    for (let right = 0; right < stored.length; right++) {
      assert.equal(Math.sign(compareKeys(stored[left], stored[right])), Math.sign(left - right), `${stored[left]} and ${stored[right]}`);
    }
  }
  await cu.close();
});

test('a store has what the query gives, whatever is committed', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  const query = { field: 'n', operator: '<', value: 7 };
  const reports = [];
  let wake = () => undefined;
  const end = liveQuery(cu, 't', query).subscribe((state) => wake(reports.push(state)));
  assert.deepEqual(reports, [{ rows: [], entries: [], isLoading: true, error: null }]);
  let seed = 5;
  const random = (below) => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % below;
  for (let round = 0; round < 60; round++) {
    const operations = Array.from({ length: 1 + random(4) }, () => {
      const key = KEYS[random(KEYS.length)];
      return random(3) === 0 ? { type: 'delete', table: 't', key } : { type: 'set', table: 't', key, value: { n: random(10) } };
    });
    await cu.batchTableOperations(operations);
    const expected = await cu.queryEntries('t', query);
    const isThere = () => {
      try {
        assert.deepEqual(reports.at(-1).entries, expected);
        return true;
      } catch {
        return false;
      }
    };
    while (!isThere()) await new Promise((resolve) => (wake = resolve));
  }
  end();
  await cu.close();
});
