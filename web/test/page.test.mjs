// The stand-in for Node's assertions that pages use judges as Node's own do.
import node from 'node:assert/strict';
import { test } from 'node:test';
import page from './page/assert.mjs';

const cyclic = () => {
  const value = { list: [] };
  value.list.push(value);
  return value;
};
const VALUES = [
  undefined, null, true, false, 0, -0, 1, NaN, 1n, '', 'a', [], [1], [1, undefined], [undefined], {}, { a: 1 }, { a: undefined }, { b: undefined },
  { a: [1, { b: 2 }] }, { a: [1, { b: 3 }] }, Object.create(null), new Map(), new Map([['a', [1]]]), new Map([['a', [2]]]), new Map([[1, 2]]),
  new Set([1]), new Set([2]), new Uint8Array(2), new Uint8Array([0, 1]), new Date(0), new Date(1), new Error('a'), new Error('b'),
  new TypeError('a'), cyclic(), new (class Thing {})(), JSON.parse('{"__proto__": 1}'),
];

const passes = (check) => {
  try {
    check();
    return true;
  } catch {
    return false;
  }
};

for (const name of ['equal', 'notEqual', 'deepEqual', 'notDeepEqual']) {
  test(name, () => {
    for (const left of VALUES) {
      for (const right of VALUES) {
        const [expected, actual] = [node, page].map((assert) => passes(() => assert[name](left, right)));
        node.equal(actual, expected, `${name}(${String(Object.prototype.toString.call(left))}, ${Object.prototype.toString.call(right)})`);
      }
    }
  });
}

const ERRORS = [new TypeError('no such user'), Object.assign(new Error('x'), { code: 'fuel', value: { a: [1] } }), 'a string'];
const EXPECTED = [
  undefined, Error, TypeError, RangeError, /no such/, /other/, { code: 'fuel' }, { code: 'heap' }, { message: /^x$/, value: { a: [1] } }, { message: /y/ },
  { value: { a: [2] } }, (error) => error.code === 'fuel', () => false,
];

test('throws and rejects', async () => {
  for (const thrown of ERRORS) {
    for (const expected of EXPECTED) {
      // Node compares a string's properties in its own way.
      if (typeof thrown === 'string' && typeof expected === 'object') continue;
      const fail = () => {
        throw thrown;
      };
      const [wanted, actual] = [node, page].map((assert) => passes(() => assert.throws(fail, expected)));
      node.equal(actual, wanted, `throws ${thrown} with ${expected}`);
      const later = await page.rejects(Promise.reject(thrown), expected).then(() => true, () => false);
      node.equal(later, wanted, `rejects ${thrown} with ${expected}`);
    }
  }
  node.equal(passes(() => page.throws(() => 1)), false);
  await node.rejects(page.rejects(Promise.resolve(1)), { name: 'AssertionError' });
  for (const value of [0, 1, '', 'a', null]) node.equal(passes(() => page.ok(value)), passes(() => node.ok(value)));
  node.equal(passes(() => page.match('abc', /b/)), true);
  node.equal(passes(() => page.match('abc', /d/)), false);
});
