// What Lua code must not reach through functions and values of the page: prototypes, constructors, anything that was not given.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu, expose } from './entry.mjs';

const NAMES = [
  'constructor', '__proto__', 'prototype', 'Function', 'Object', 'globalThis', 'eval', 'hasOwnProperty', 'isPrototypeOf', 'toString',
  'valueOf', 'toJSON', '__defineGetter__', '__lookupGetter__', 'call', 'apply', 'bind', 'caller', 'arguments', 'Symbol.iterator', 'then',
  'hidden',
];

const PLACES = ['plain', 'group', 'group.inner', 'group.inner.f', 'single', 'list', 'object', 'object.add', 'give()', 'give().deep', 'giveList()', 'bytes'];

/** Ways to a name of a value; each gives what it finds. */
const WAYS = [
  (place, name) => `return (${place})[${JSON.stringify(name)}]`,
  (place, name) => `return rawget(${place}, ${JSON.stringify(name)})`,
  (place, name) => `local o = ${place} return o[${JSON.stringify(name)}](o)`,
  (place, name) => `return getmetatable(${place}).__index[${JSON.stringify(name)}]`,
  (place, name) => `for key, value in next, ${place} do if key == ${JSON.stringify(name)} then return value end end`,
];


class Counter {
  count = 0;
  step = 1;
  hidden = 'reached';

  add(times) {
    this.count += times * this.step;
    return this.count;
  }
}

async function open() {
  const cu = await Cu.open({
    storage: 'none',
    heapLimit: 4 << 20,
    functions: { single: () => 1, group: { f: () => 1, inner: { f: () => 1 } }, give: () => ({ a: 1, deep: { b: 2 } }), giveList: () => [1, 2] },
  });
  await cu.set('plain', Object.defineProperty({ a: 1 }, 'hidden', { value: 'reached', enumerable: false }));
  await cu.set('list', [1, 2]);
  await cu.set('bytes', new Uint8Array([255]));
  await cu.set('object', expose(new Counter(), { methods: ['add'], properties: ['count'], writable: ['step'] }));
  return cu;
}

test('no way leads from what was given to what was not', async () => {
  const cu = await open();
  let attempts = 0;
  for (const place of PLACES) {
    assert.notEqual(await cu.eval(`return type(${place})`), 'nil', place);
    for (const name of NAMES) {
      for (const way of WAYS) {
        const program = way(place, name);
        const { values } = await cu.run(`local ok, value = pcall(function() ${program} end) return ok and value ~= nil`);
        assert.deepEqual(values, [false], program);
        attempts++;
      }
    }
  }
  assert.ok(attempts >= 200, String(attempts));
  await cu.close();
});

test('what was given is reached by the same ways', async () => {
  const cu = await open();
  for (const [place, name] of [['plain', 'a'], ['give()', 'a'], ['give().deep', 'b'], ['group', 'f'], ['group.inner', 'f']]) {
    for (const way of [WAYS[0], WAYS[1], WAYS[4]]) {
      const program = way(place, name);
      assert.equal(await cu.eval(`return (function() ${program} end)() ~= nil`), true, program);
    }
  }
  await cu.close();
});

test('names of the page are data in Lua, and change nothing in the page', async () => {
  const seen = [];
  const cu = await Cu.open({ storage: 'none', functions: { take: (value) => void seen.push(value) } });
  for (const name of NAMES) await cu.run(`take({[${JSON.stringify(name)}] = {polluted = true}, a = 1})`);
  assert.equal(seen.length, NAMES.length);
  assert.equal({}.polluted, undefined);
  assert.equal(Function.prototype.polluted, undefined);
  for (const value of seen) assert.equal(value.polluted, undefined);
  await cu.close();
});

test('an exposed object is used by reference, as far as it is listed', async () => {
  const counter = new Counter();
  const functions = { counter: expose(counter, { methods: ['add'], properties: ['count'], writable: ['step'] }) };
  const cu = await Cu.open({ storage: 'none', functions });
  assert.deepEqual((await cu.run('counter.step = 5 return counter:add(2), counter.count, counter.step')).values, [10, 10, 5]);
  assert.equal(counter.count, 10);
  for (const name of [...NAMES, 'count', 'add', 'other']) {
    const { values } = await cu.run(`return pcall(function() counter[${JSON.stringify(name)}] = {polluted = true} end)`);
    assert.equal(values[0], false, name);
    assert.match(values[1], /cannot be assigned to/);
  }
  assert.deepEqual([counter.count, counter.hidden, {}.polluted], [10, 'reached', undefined]);
  assert.equal(await cu.eval('return (pcall(counter.add, {}, 1))'), false);
  for (const name of ['constructor', '__proto__', 'prototype']) {
    assert.throws(() => expose(counter, { properties: [name] }), { code: 'INVALID_INPUT' });
    assert.throws(() => expose(counter, { methods: [name] }), { code: 'INVALID_INPUT' });
  }
  const image = await cu.snapshot();
  await cu.close();
  const restored = await Cu.restore(image, { storage: 'none', functions });
  assert.equal(await restored.eval('return counter:add(1)'), 15);
  await restored.close();
});
