// What is peculiar to the VM in a worker: a worker of one's own, one that is lost, and what is refused. The API as such is tested by
// worker-api.test.mjs.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Cu, Values } from '../dist/worker.js';

const thread = new URL('../dist/worker-thread.js', import.meta.url);
const script = (text) => new URL(`data:text/javascript,${encodeURIComponent(text)}`);

test('the worker may be a script of one\'s own', async () => {
  const cu = await Cu.open({ storage: 'memory', worker: script(`import '${thread}'`) });
  assert.equal(await cu.eval('return 1 + 1'), 2);
  await cu.close();
});

test('a worker whose script fails is a typed error', async () => {
  await assert.rejects(Cu.open({ worker: script('throw new Error("broken")') }), { code: 'INIT_FAILED', message: /broken/ });
});

test('a worker that ends rejects what is pending and all that follows', async () => {
  const cu = await Cu.open({
    storage: 'memory',
    worker: script(`import { parentPort } from 'node:worker_threads';
      import '${thread}';
      parentPort.on('message', ({ method }) => { if (method === 'listTables') process.exit() });`),
  });
  const subscription = await cu.subscribe('t', {}, () => undefined);
  const pending = [cu.run('while true do end'), cu.listTables()];
  for (const promise of [...pending, subscription.ended]) await assert.rejects(promise, { name: 'UsageError', code: 'poisoned' });
  await assert.rejects(cu.eval('return 1'), { code: 'poisoned' });
  await cu.close();
  await assert.rejects(cu.eval('return 1'), { code: 'closed' });
});

test('opening fails as it does without a worker', async () => {
  await assert.rejects(Cu.open({ storage: 'none', home: true }), { name: 'StorageError', code: 'unavailable' });
  await assert.rejects(Cu.open({ wasm: new Response('', { status: 404 }) }), { code: 'WASM_LOAD_FAILED', message: /404/ });
  await assert.rejects(Cu.open({ signal: AbortSignal.abort() }), { name: 'AbortError' });
});

test('the wasm goes along as bytes, module or response', async () => {
  const bytes = await readFile(new URL('../dist/cu.wasm', import.meta.url));
  for (const wasm of [bytes, new Response(bytes), Promise.resolve(WebAssembly.compile(bytes)), new URL('../dist/cu.wasm', import.meta.url)]) {
    const cu = await Cu.open({ storage: 'none', wasm });
    assert.equal(await cu.eval('return 3'), 3);
    await cu.close();
  }
});

test('functions of the page run in the page, and what they throw stays what it is', async () => {
  const here = { count: 0 };
  const thrown = new RangeError('mine');
  const cu = await Cu.open({
    storage: 'none',
    functions: { add: (n) => (here.count += n), several: () => new Values(1, null, 3), fail: () => { throw thrown; } },
  });
  assert.deepEqual((await cu.run('return add(2) + add(3), several()')).values, [7, 1, null, 3]);
  assert.equal(here.count, 5);
  await assert.rejects(cu.run('fail()'), (error) => error.originalError === thrown && error.message === 'mine');
  assert.throws(() => cu.callSync('f'), { code: 'INVALID_INPUT' });
  await cu.close();
});

test('the audit log is kept by the worker, and known here', async () => {
  const cu = await Cu.open({ storage: 'memory', now: 5 });
  await cu.enableAuditLog(['setValue', 'run'], { who: 'alice' });
  await cu.setValue('t', 'k', 1);
  await assert.rejects(cu.run('error("no")'));
  assert.deepEqual(cu.auditLog.map(({ operation, result }) => [operation, result]), [['setValue', 'ok'], ['run', 'LUA_EXECUTION_ERROR']]);
  assert.deepEqual(await cu.audit(), cu.auditLog);
  assert.equal((await cu.verifyAuditLog()).count, 2);
  await cu.close();
});
