// Snapshots of a whole Lua state: taken at rest and in the middle of a run, and gone on with in another instance. The images in
// `fixtures/images` were written natively and under Node; both go on here with the output that was recorded.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Cu } from './entry.mjs';

const OPTIONS = { storage: 'memory', now: 0, seed: 1 };
const MIB = 2 ** 20;

test('globals, closures and coroutines go on', async () => {
  const first = await Cu.open(OPTIONS);
  await first.run(`
    local n = 0
    function count() n = n + 1; return n end
    reader = coroutine.wrap(function() for i = 1, math.huge do coroutine.yield(i * i) end end)
    shape = setmetatable({ 1, 2 }, { __index = function(t, k) return k .. '!' end })
    count(); reader()`);
  const image = await first.snapshot();
  const program = 'return count(), reader(), shape.x, tostring(shape), math.random(1000000)';
  const expected = (await first.run(program)).values;
  await first.close();
  const second = await Cu.restore(image, OPTIONS);
  assert.equal(second.running, false);
  assert.deepEqual((await second.run(program)).values, expected);
  await assert.rejects(second.resume(), { code: 'INVALID_INPUT' });
  await second.close();
});

// A call that was refused ended the restored run.
test('until a restored run is resumed, other runs are refused and leave it as it is', async () => {
  // Taken while the run waits for the page; in the restored state the page is asked again.
  let image = null;
  const pause = async () => {
    await null;
    image = await first.snapshot();
    return 20;
  };
  const first = await Cu.open({ ...OPTIONS, functions: { pause } });
  await first.run('function f() return 1 end  t = {}');
  assert.equal(await first.eval('local n = 1 n = n + pause() return n + 1'), 22);
  await first.close();
  const options = { ...OPTIONS, functions: { pause: async () => 40 } };
  const second = await Cu.restore(image, options);
  assert.equal(second.running, true);
  const calls = {
    run: () => second.run('return 1'),
    eval: () => second.eval('return 1'),
    call: () => second.call('f'),
    persistFunction: () => second.persistFunction('t', 'f', 'function() end'),
    handle: () => second.handle('return t'),
    iterate: () => second.iterate('coroutine.yield(1)').next(),
  };
  for (const [name, call] of Object.entries(calls)) {
    await assert.rejects(call(), { code: 'busy', suggestion: /resume\(\)/ }, name);
    assert.equal(second.running, true, name);
  }
  assert.deepEqual(await second.get('t'), {});
  assert.deepEqual((await second.resume()).values, [42]);
  assert.equal(await second.eval('return f()'), 1);
  await second.close();
  const third = await Cu.restore(image, options);
  await assert.rejects(third.resume({ fuel: 0 }), { code: 'fuel' });
  assert.equal(await third.eval('return f()'), 1);
  await third.close();
});

test('a run goes on where it was saved', async () => {
  const source = `
    local total = 0
    for round = 1, 40 do
      local list = {}
      for i = 1, 500 do list[i] = (i * 7919) % 1000 end
      table.sort(list, function(a, b) total = total + 1; return a < b end)
      print(round, total)
    end
    return total, ...`;
  const options = { args: ['argument'], chunkName: 'sums.lua' };
  const whole = await Cu.open({ ...OPTIONS, heapLimit: MIB });
  const expected = await whole.run(source, options);
  await whole.close();

  const first = await Cu.open({ ...OPTIONS, heapLimit: MIB });
  const abort = new AbortController();
  let printed = '';
  const run = first.run(source, { ...options, signal: abort.signal, onOutput: (text) => (printed += text) });
  while (printed === '') await new Promise((resolve) => setTimeout(resolve, 0));
  const image = await first.snapshot();
  // Between two slices: what was printed until then has been told, and nothing since.
  const before = printed;
  abort.abort(new Error('enough'));
  await assert.rejects(run, { message: 'enough' });
  await first.close();

  const second = await Cu.restore(image, { ...OPTIONS, heapLimit: MIB });
  assert.equal(second.running, true);
  const again = await second.snapshot();
  assert.deepEqual(again, image);
  const { values, output, fuelUsed } = await second.resume();
  assert.deepEqual(values, expected.values);
  assert.equal(before + output, expected.output);
  assert.equal(fuelUsed, expected.fuelUsed);
  assert.equal(second.running, false);
  await second.close();
});

test('an error in a resumed run has its position', async () => {
  const image = await readFile(new URL('../../fixtures/images/v1/failing.image', import.meta.url));
  const cu = await Cu.restore(image, OPTIONS);
  await assert.rejects(cu.resume(), (error) => error.code === 'LUA_EXECUTION_ERROR' && /^failing.lua:\d+: /.test(error.message));
  assert.equal(await cu.eval('return 1 + 1'), 2);
  await cu.close();
});

test('images of every released version go on as recorded', async () => {
  const folder = new URL('../../fixtures/images/v1/', import.meta.url);
  const images = (await readdir(folder)).filter((name) => name.endsWith('.image') && name !== 'failing.image');
  assert.ok(images.length >= 4);
  for (const name of images) {
    const cu = await Cu.restore(await readFile(new URL(name, folder)), OPTIONS);
    const { output } = await cu.resume();
    const expected = await readFile(new URL(name.replace('.image', '.expected'), folder), 'utf8');
    assert.equal(output, expected, name);
    await cu.close();
  }
});

test('what cannot be is refused', async () => {
  for (const wrong of [undefined, null, 'image', 1, [], {}]) {
    await assert.rejects(Cu.restore(wrong, OPTIONS), { name: 'UsageError', code: 'INVALID_INPUT', message: /the bytes of an image are needed/ });
  }
  const cu = await Cu.open({ ...OPTIONS, files: { a: 'text' } });
  await cu.run("list = { io.open('a') }");
  await assert.rejects(cu.snapshot(), { code: 'SAVE_STATE_FAILED', message: '_G.list[1]: cannot save an open file' });
  await cu.run('list = nil collectgarbage()');
  const image = await cu.snapshot();
  await cu.close();
  for (const [position, code] of [[0, 'corrupt'], [4, 'newerVersion'], [image.length >> 1, 'corrupt']]) {
    const damaged = image.slice();
    damaged[position] = damaged[position] + 1;
    await assert.rejects(Cu.restore(damaged, OPTIONS), { code });
  }
  await assert.rejects(Cu.restore(image, { ...OPTIONS, heapLimit: 10_000 }), { code: 'heap' });
});
