// The document encoding: golden bytes, round trips over generated values, and hostile bytes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode, encodeInto } from '../dist/codec.js';
import { EnhancedLuaError, FunctionBlob } from '../dist/index.js';
import { fromHex, hex } from './bytes.mjs';

/** A small generator with a fixed seed (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('golden bytes', () => {
  const golden = [
    [null, '00'],
    [undefined, '00'],
    [false, '01'],
    [true, '02'],
    [0, '0300'],
    [-1, '0301'],
    [63, '037e'],
    [64, '038001'],
    [-65, '038101'],
    [2 ** 31, '038080808010'],
    [2n ** 63n - 1n, '03feffffffffffffffff01'],
    [-(2n ** 63n), '03ffffffffffffffffff01'],
    [-0, '040000000000000080'],
    [1.5, '04000000000000f83f'],
    [NaN, '04000000000000f87f'],
    [Infinity, '04000000000000f07f'],
    [2 ** 53, '040000000000004043'],
    ['', '0500'],
    ['aé', '050361c3a9'],
    [new Uint8Array([255]), '0501ff'],
    [[], '060100'],
    [[1, 'a'], '06060203020501' + '61'],
    [{}, '070100'],
    [{ a: 1 }, '07060105016103' + '02'],
    [{ a: undefined, b: null }, '0705010501' + '62' + '00'],
    [new Map([[1, true]]), '07040103' + '0202'],
    [new FunctionBlob(new Uint8Array([1, 2])), '0801020102'],
  ];
  for (const [value, bytes] of golden) assert.equal(hex(encode(value)), bytes, String(value));
});

test('a value comes back as it was', () => {
  const long = 'ü'.repeat(5000);
  const wide = Array.from({ length: 3000 }, (_, index) => ({ index, name: `n${index}`, tags: ['a', long.slice(0, index % 100)] }));
  const odd = JSON.parse('{"__proto__": {"polluted": true}, "constructor": 1, "": 2}');
  const map = new Map([[1, 'one'], [1.5, [null]], [true, {}], ['s', 2n ** 60n]]);
  for (const value of [long, wide, odd, map, [[[[]]]], { a: { b: { c: [] } } }, 2 ** 53 - 1, -(2 ** 53 - 1), 2 ** 51, -(2 ** 51), 'a\0\ufeffb']) {
    assert.deepEqual(decode(encode(value)), value);
  }
  assert.equal(Object.getPrototypeOf(decode(encode(odd))), Object.prototype);
  assert.equal({}.polluted, undefined);
  assert.ok(Object.is(decode(encode(-0)), -0));
  assert.deepEqual(decode(encode(new Uint8Array([0xff, 0]))), new Uint8Array([0xff, 0]));
  assert.equal(decode(encode(new TextEncoder().encode('text'))), 'text');
  assert.equal(decode(encode(5n)), 5);
});

test('generated values round-trip', () => {
  const seed = 20;
  const next = random(seed);
  const below = (limit) => Math.floor(next() * limit);
  const text = () => Array.from({ length: below(20) }, () => String.fromCodePoint(below(2) ? below(128) : 0x80 + below(0xd000))).join('');
  const value = (depth) => {
    switch (below(depth > 4 ? 6 : 8)) {
      case 0: return null;
      case 1: return below(2) === 1;
      case 2: return Math.floor((next() - 0.5) * 2 ** below(54));
      case 3: return (next() - 0.5) * 10 ** below(300);
      case 4: return text();
      case 5: return (BigInt(below(2 ** 31)) << 32n) | (1n << 54n);
      case 6: return Array.from({ length: below(6) }, () => value(depth + 1));
      default: return Object.fromEntries(Array.from({ length: below(6) }, () => [text(), value(depth + 1)]));
    }
  };
  for (let round = 0; round < 2000; round++) {
    const original = value(0);
    const bytes = encode(original);
    assert.deepEqual(decode(bytes), original, `seed ${seed} round ${round}`);
    assert.equal(hex(encode(decode(bytes))), hex(bytes), `seed ${seed} round ${round}`);
  }
});

test('what cannot be encoded is named by its path', () => {
  const cyclic = [];
  cyclic.push(cyclic);
  const deep = (levels) => (levels === 0 ? 1 : [deep(levels - 1)]);
  assert.deepEqual(decode(encode(deep(200))), deep(200));
  const cases = [
    [{ a: [1, () => 1] }, 'value.a[1]: a function'],
    [Symbol('s'), 'value: a symbol'],
    [2n ** 63n, 'value: a BigInt'],
    [{ d: new Date(0) }, 'value.d: an instance of Date'],
    [new Map([[null, 1]]), 'value.null: a key'],
    [cyclic, 'nesting deeper'],
    [deep(201), 'nesting deeper'],
  ];
  for (const [value, message] of cases) {
    assert.throws(() => encode(value), (error) => error.code === 'INVALID_INPUT' && error.message.includes(message), message);
  }
});

test('hostile bytes give a typed error', () => {
  const valid = encode({ list: [1, 2.5, 'three', { deep: [true, null] }], blob: new FunctionBlob(new Uint8Array(9)) });
  const next = random(7);
  const check = (bytes) => {
    try {
      decode(bytes);
    } catch (error) {
      assert.ok(error instanceof EnhancedLuaError && error.code === 'corrupt', `${hex(bytes)}: ${error}`);
    }
  };
  for (let length = 0; length < valid.length; length++) {
    assert.throws(() => decode(valid.subarray(0, length)), { code: 'corrupt' });
  }
  for (let round = 0; round < 5000; round++) {
    const bytes = valid.slice();
    bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256);
    check(bytes);
  }
  const nested = new Uint8Array(100_000).fill(6);
  assert.throws(() => decode(nested), { code: 'corrupt' });
  for (const bytes of ['0000', '09', '0803010f', '06ffffffffffff7f', '0607ffffffff0f0000', '03ffffffffffffffffffff', '03ffffffffffffffffff7f', '0702010600']) {
    assert.throws(() => decode(fromHex(bytes)), { code: 'corrupt' }, bytes);
  }
});

test('maps come back whatever keys the ones before them had', () => {
  const next = random(7);
  const names = ['a', 'ab', 'b', 'id', 'ids', 'name', '', '1', '__proto__', 'ü', 'k'.repeat(70)];
  const key = () => (next() < 0.05 ? [7, true, 1.5][Math.floor(next() * 3)] : names[Math.floor(next() * names.length)]);
  const map = (depth) => {
    const entries = Array.from({ length: Math.floor(next() * 5) }, () => [key(), depth > 2 || next() < 0.7 ? Math.floor(next() * 1e6) : map(depth + 1)]);
    const unique = new Map(entries);
    const isPlain = [...unique.keys()].every((one) => typeof one === 'string');
    // A literal with `__proto__` as data, as the decoder makes it.
    return isPlain ? Object.fromEntries(unique) : unique;
  };
  for (let round = 0; round < 300; round += 1) {
    const rows = Array.from({ length: 10 }, () => map(0));
    assert.deepEqual(decode(encode(rows)), rows, `round ${round}`);
  }
  // Text keys that look like numbers stand where they were written when another key makes it a Map.
  const mixed = new Map([['b', 1], ['10', 2], ['9', 3], [true, 4]]);
  assert.deepEqual([...decode(encode(mixed))], [...mixed]);
});

test('lengths of every size stand before maps of any depth', () => {
  const text = (length) => 'x'.repeat(length);
  const nested = (length) => ({ a: [{ b: text(length), c: { d: text(length) } }, text(length)], e: undefined, f: length });
  const { e: _, ...kept } = nested(0);
  assert.equal(hex(encode(nested(0))), hex(encode(kept)));
  for (const length of [0, 1, 100, 118, 119, 120, 121, 122, 16_000, 16_370, 16_380, 3, 70_000, 2_100_000, 5]) {
    const bytes = encode(nested(length));
    assert.equal(decode(bytes).a[0].c.d.length, length);
    // What a new encoder writes, which has seen no other lengths.
    const anew = encodeInto(new Uint8Array(1), [nested(length)]).subarray(-bytes.length);
    assert.ok(bytes.every((byte, index) => byte === anew[index]), `${length}`);
  }
  const many = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`k${index}`, index < 200 ? undefined : index]));
  assert.deepEqual(decode(encode(many)), JSON.parse(JSON.stringify(many)));
});

test('an error names the path of what cannot be encoded, and nothing of what was passed before', () => {
  const passed = { a: { b: [1, { c: 2 }] }, d: [[1, 2, 3], new Map([['x', { y: 1 }]])] };
  for (const [value, path] of [
    [{ ...passed, e: Symbol('s') }, 'value.e'],
    [[passed, [() => 1]], 'value[1][0]'],
    [{ ...passed, f: { g: [passed, new Date()] } }, 'value.f.g[1]'],
    [new Map([['m', passed], ['n', 2n ** 70n]]), 'value.n'],
    [Symbol('s'), 'value'],
  ]) {
    assert.throws(() => encode(value), (error) => error.details.path === path && error.message.startsWith(`${path}:`), path);
  }
});
