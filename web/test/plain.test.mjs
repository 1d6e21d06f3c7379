// Values that cross without documents in between (`exchange.ts`, `web/src/plain.rs`): the same as by documents, whatever their number and length.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu, here, UsageError } from './entry.mjs';

const PLAIN = [
  null, true, false, 0, 1, -1, 63, 64, -64, -65, 127, 128, 8191, 8192, 2 ** 27 - 1, 2 ** 27, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, 2 ** 53 - 1, -(2 ** 53 - 1), 0.5, -0.5,
  -0, 1e300, 5e-324, Infinity, -Infinity, NaN, '', 'a', 'schön', 'x'.repeat(64), 'x'.repeat(65), 'x'.repeat(200),
];

/** `call` and, where it is there, `callSync`. */
const callers = (cu) => [(...request) => cu.call(...request), ...(here.skip ? [] : [async (...request) => cu.callSync(...request)])];

test('every plain value comes back as it went', async () => {
  const seen = [];
  const cu = await Cu.open({ storage: 'none', functions: { page: (...args) => (seen.push(args), args[0]) } });
  await cu.run('function echo(...) return ... end function through(...) return page(...) end');
  for (const call of callers(cu)) {
    for (const value of PLAIN) {
      assert.deepEqual(await call('echo', value), value);
      for (const other of PLAIN) {
        assert.deepEqual(await call('through', value, other), value);
        assert.deepEqual(seen.pop(), [value, other]);
      }
    }
  }
  await cu.close();
});

test('the first of any number of values of any length', async () => {
  const cu = await Cu.open({ storage: 'none' });
  await cu.run(`
    function strings(count, length) local list = {} for i = 1, count do list[i] = ('x'):rep(length) end return table.unpack(list) end
    function numbers(count) local list = {} for i = 1, count do list[i] = i end return table.unpack(list) end
    function floats(count) local list = {} for i = 1, count do list[i] = i / 4 end return table.unpack(list) end`);
  for (const call of callers(cu)) {
    for (let count = 1; count <= 12; count++) {
      for (let length = 0; length <= 130; length += 1 + (length % 3)) {
        assert.equal(await call('strings', count, length), 'x'.repeat(length), `${count} of ${length}`);
      }
    }
    for (let count = 0; count <= 200; count++) {
      assert.equal(await call('numbers', count), count === 0 ? null : 1, `${count} integers`);
      assert.equal(await call('floats', count), count === 0 ? null : 0.25, `${count} floats`);
    }
  }
  await cu.close();
});

test('arguments of any number, and names of any length', async () => {
  const cu = await Cu.open({ storage: 'none' });
  await cu.run("function count(...) return select('#', ...) end");
  for (const call of callers(cu)) {
    for (let count = 0; count <= 40; count++) {
      assert.equal(await call('count', ...Array(count).fill(7)), count);
      assert.equal(await call('count', ...Array(count).fill('word')), count);
    }
    for (let length = 1; length <= 200; length++) {
      const name = 'f'.repeat(length);
      await cu.set(name, length);
      await assert.rejects(call(name), /attempt to call a number value/);
      await cu.run(`function ${name}(a) return a + ${length} end`);
      assert.equal(await call(name, 1), length + 1);
    }
  }
  await cu.close();
});

test('an exhausted stack of the page poisons the instance that lost frames by it, and no other', here, async () => {
  const [cu, other] = [await Cu.open({ storage: 'none' }), await Cu.open({ storage: 'none' })];
  await cu.set('page', (value) => value + 1);
  await cu.run('function f(n) return page(n) end');
  await other.run('function f(n) return n end');
  const down = () => {
    try {
      cu.callSync('f', 1);
    } catch {
      // It goes on until there is no stack at all.
    }
    down();
  };
  // Engines give the error different names.
  assert.throws(down);
  // Whether a frame was lost depends on where the stack ended.
  const after = () => cu.callSync('f', 41);
  try {
    assert.equal(after(), 42);
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    assert.equal(error.code, 'poisoned');
    await assert.rejects(cu.eval('return 1'), { code: 'poisoned' });
  }
  assert.equal(other.callSync('f', 3), 3);
  await other.close();
  await cu.close();
});
