// The Lua module `bigint` against JavaScript's BigInt, and in saved state.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bigint } from '../dist/bigint.js';
import { Cu } from './entry.mjs';

const open = (options = {}) => Cu.open({ storage: 'memory', heapLimit: 8 << 20, modules: { bigint }, ...options });

const SEED = 20261126;

/** Numbers from a seeded generator (mulberry32), of which many have few digits, or are near powers of the limbs' base. */
function numbers(seed) {
  const random = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit) => Math.floor(random() * limit);
  const digits = (count) => BigInt(Array.from({ length: count }, () => below(10)).join('') || '0');
  const magnitude = () => {
    switch (below(5)) {
      case 0:
        return BigInt(below(20));
      case 1:
        return 10n ** BigInt(7 * below(8)) + BigInt(below(3) - 1);
      case 2:
        return digits(1 + below(20)) * 10n ** BigInt(7 * below(6));
      default:
        return digits(1 + below(80));
    }
  };
  const signed = () => (below(2) === 0 ? 1n : -1n) * magnitude();
  return { signed, below };
}

const floorDivide = (a, b) => a / b - (a % b !== 0n && a < 0n !== b < 0n ? 1n : 0n);

const BINARY = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '//': floorDivide,
  '/': floorDivide,
  '%': (a, b) => a - floorDivide(a, b) * b,
};

test('arithmetic and comparison agree with BigInt', async () => {
  const { signed, below } = numbers(SEED);
  const cases = [];
  for (let index = 0; index < 1500; index++) {
    const [a, b] = [signed(), index % 50 === 0 ? 1n : signed()];
    const expected = { lt: a < b, le: a <= b, eq: a === b, unm: String(-a) };
    for (const [operator, work] of Object.entries(BINARY)) expected[operator] = b === 0n && '/%'.includes(operator[0]) ? 'error' : String(work(a, b));
    const base = 2 + below(35);
    cases.push({ a: String(a), b: String(b), base, expected: { ...expected, text: a.toString(base), back: String(a) } });
  }
  const cu = await open();
  const { values } = await cu.run(`
    local new = require 'bigint'.new
    local binary = {}
    for _, operator in ipairs { '+', '-', '*', '//', '/', '%' } do
      binary[operator] = load('local a, b = ... return a ' .. operator .. ' b')
    end
    local results = {}
    for index, case in ipairs(...) do
      local a, b = new(case.a), new(case.b)
      local result = { lt = a < b, le = a <= b, eq = a == b, unm = tostring(-a), text = a:tostring(case.base) }
      result.back = tostring(new(result.text, case.base))
      for operator, work in pairs(binary) do
        local ok, value = pcall(work, a, b)
        result[operator] = ok and tostring(value) or 'error'
      end
      results[index] = result
    end
    return results`, { args: [cases.map(({ a, b, base }) => ({ a, b, base }))] });
  for (const [index, { a, b, base, expected }] of cases.entries()) {
    assert.deepEqual({ ...values[0][index] }, expected, `seed ${SEED}: a = ${a}, b = ${b}, base = ${base}`);
  }
  await cu.close();
});

test('powers agree with BigInt', async () => {
  const cu = await open();
  const pairs = [[2, 0], [0, 0], [0, 5], [-3, 5], [-3, 4], [2, 64], [10, 70], [7, 300], [123456789, 25]];
  const { values } = await cu.run(`
    local new, results = require 'bigint'.new, {}
    for index, pair in ipairs(...) do results[index] = tostring(new(pair[1]) ^ pair[2]) end
    return results`, { args: [pairs] });
  assert.deepEqual(values[0], pairs.map(([a, b]) => String(BigInt(a) ** BigInt(b))));
  await cu.close();
});

test('plain numbers mix in on both sides', async () => {
  const cu = await open();
  const { values } = await cu.run(`
    local new = require 'bigint'.new
    local big = new('100000000000000000000')
    return tostring(big + 1), tostring(1 - big), tostring(math.mininteger * big), tostring(big // 3.0), tostring(7 % new(-4)),
      big > 5, 5 >= big, big <= math.maxinteger, tostring(2 ^ new(70)), 'n = ' .. big .. '!', tostring(new(math.mininteger)), tostring(new(1e22))`);
  assert.deepEqual(values, ['100000000000000000001', '-99999999999999999999', String(-(2n ** 63n) * 10n ** 20n), '33333333333333333333',
    '-1', true, false, false, String(2n ** 70n), 'n = 100000000000000000000!', String(-(2n ** 63n)), '10000000000000000000000']);
  // Lua asks no metamethod when types differ.
  assert.equal(await cu.eval(`return require 'bigint'.new(1) == 1`), false);
  await cu.close();
});

test('what cannot be is an error that names the argument, at the caller', async () => {
  const cu = await open();
  const fails = (source, message) =>
    assert.rejects(cu.eval(`local new = require 'bigint'.new local result = ${source}`, { chunkName: 'code' }), { message: `code:1: ${message}` });
  await fails(`new('12x')`, "bad argument #1 to 'new' ('12x' is no whole number)");
  await fails(`new('')`, "bad argument #1 to 'new' ('' is no whole number)");
  await fails(`new('8', 8)`, "bad argument #1 to 'new' ('8' is no whole number)");
  await fails(`new('1', 37)`, "bad argument #2 to 'new' (base is a whole number from 2 to 36)");
  await fails(`new(1.5)`, "bad argument #1 to 'new' ('1.5' is no whole number)");
  await fails(`new(0/0)`, "bad argument #1 to 'new' ('nan' is no whole number)");
  await fails(`new(1/0)`, "bad argument #1 to 'new' ('inf' is no whole number)");
  await fails(`new({})`, "bad argument #1 to 'new' (number, text or bigint expected, got table)");
  await fails(`new(1):tostring(1)`, "bad argument #2 to 'tostring' (base is a whole number from 2 to 36)");
  await fails(`new(1) + 'x'`, 'attempt to perform arithmetic on a bigint and a string value');
  await fails(`new(1) + 1.5`, 'number has no integer representation');
  await fails(`new(1) < {}`, 'attempt to compare a bigint and a table value');
  await fails(`new(1) // 0`, 'attempt to divide a bigint by zero');
  await fails(`new(1) % 0`, 'attempt to divide a bigint by zero');
  await fails(`new(2) ^ -1`, 'the exponent of a bigint is negative');
  await cu.close();
});

test('numbers from saved state work with new ones', async () => {
  const cu = await open({ home: true });
  await cu.eval(`_home.n = require 'bigint'.new('123456789012345678901234567890')`);
  // The metatable that it was saved with is another one than the module's, as after a reload.
  await cu.eval(`package.loaded.bigint = nil`);
  await cu.rollBackHome();
  const { values } = await cu.run(`
    local new = require 'bigint'.new
    local n = _home.n
    return tostring(n + new(1)), tostring(new(1) + n), n == new('123456789012345678901234567890'), new(2) < n, n:tostring(16), getmetatable(n) == getmetatable(new(1))`);
  const n = 123456789012345678901234567890n;
  assert.deepEqual(values, [String(n + 1n), String(n + 1n), true, true, n.toString(16), false]);
  await cu.close();
});

test('modules are Lua source by name', async () => {
  const cu = await open({ modules: { answer: `local name = ... return { name = name, value = 42 }` } });
  assert.deepEqual(await cu.eval(`return require 'answer'`), { name: 'answer', value: 42 });
  assert.equal(await cu.eval(`return require 'answer' == require 'answer'`), true);
  await assert.rejects(cu.eval(`return require 'bigint'`), /module 'bigint' not found/);
  await cu.close();
  await assert.rejects(open({ modules: { broken: 1 } }), { code: 'INVALID_INPUT', message: "the module 'broken' is not given as Lua source" });
});
