// Databases in files, in Node: what was resolved is there afterwards, what a crash leaves is cut off, damage is told, a file has one owner.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Cu, openFile } from '../dist/node.js';

const run = promisify(execFile);
const node = new URL('../dist/node.js', import.meta.url).href;

const inFolder = (name, body) =>
  test(name, { timeout: 120_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cu-node-'));
    try {
      await body(join(folder, 'app.cudb'));
    } finally {
      await rm(folder, { recursive: true });
    }
  });

inFolder('what is stored is there for the next instance, functions and _home too', async (file) => {
  const open = (options) => Cu.open({ file, home: true, ...options });
  const first = await open();
  assert.equal(first.storage, 'store');
  await first.batchTableOperations(Array.from({ length: 500 }, (_, n) => ({ type: 'set', table: 't', key: n, value: { n, half: n / 2 } })));
  await first.createIndex('t', 'half');
  await first.persistFunction('f', 'count', 'local n = 0; return function() n = n + 1; return n end');
  assert.equal(await first.callFunction('f', 'count'), 1);
  await first.run('_home.steps = coroutine.wrap(function() for i = 1, 9 do coroutine.yield(i) end end) _home.steps()');
  await first.close();
  const second = await open();
  assert.equal(await second.callFunction('f', 'count'), 2);
  assert.equal(await second.eval('return _home.steps()'), 2);
  const query = { field: 'half', operator: '=', value: 7.5 };
  assert.deepEqual(await second.queryTable('t', query), [{ n: 15, half: 7.5 }]);
  assert.equal((await second.getQueryPlan('t', query)).index, 'half');
  await second.close();
  await second.close();
});

inFolder('what closures and coroutines change after a run that filled the heap is stored', async (file) => {
  const open = () => Cu.open({ file, home: { atomic: true } });
  const first = await open();
  await first.run(`local n = 0 _home.next = function() n = n + 1 return n end
    _home.steps = coroutine.wrap(function() for i = 1, 9 do coroutine.yield(i) end end) _home.steps()`);
  await assert.rejects(first.run('_home.next() _home.steps() local last while true do last = { last } end'), { code: 'heap' });
  assert.deepEqual((await first.run('return _home.next(), _home.steps()')).values, [1, 2]);
  await first.close();
  const second = await open();
  assert.deepEqual((await second.run('return _home.next(), _home.steps()')).values, [2, 3]);
  await second.close();
});

inFolder('a file has one owner, in this process and in others', async (file) => {
  const cu = await Cu.open({ file });
  await cu.setValue('t', 'k', 1);
  await assert.rejects(Cu.open({ file }), { name: 'StorageError', code: 'blocked' });
  const program = `import { Cu } from '${node}'; await Cu.open({ file: ${JSON.stringify(file)} }).catch(({ code }) => console.log(code));`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program]);
  assert.equal(stdout, 'blocked\n');
  await cu.close();
  const again = await Cu.open({ file });
  assert.equal(await again.getValue('t', 'k'), 1);
  await again.close();
});

inFolder('a frame that makes no sense under a right checksum is damage', async (file) => {
  const bodies = {
    'an append without its sequence': [1, 0, 0], 'an append of nothing': [1], 'a checkpoint of nothing': [2], 'a checkpoint cut short': [2, ...Array(19).fill(0)],
    'a root record longer than the frame': [2, ...Array(16).fill(0), 0xff, 0xff, 0xff, 0x7f, 1], 'a page without its length': [3, 1, 0, 0, 0, 1],
    'a page longer than the frame': [3, 1, 0, 0, 0, 9, 0, 0, 0, 1], 'a kind that is none': [9, 1, 2, 3],
  };
  for (const [name, body] of Object.entries(bodies)) {
    const bytes = Buffer.from(body);
    const head = Buffer.alloc(4);
    head.writeUInt32LE(bytes.length);
    const sum = createHash('sha256').update(bytes).digest().subarray(0, 8);
    await writeFile(file, Buffer.concat([Buffer.from('CUNODE\x01\n'), head, sum, bytes]));
    await assert.rejects(Cu.open({ file }), { name: 'StorageError', code: 'corrupt' }, name);
  }
});

inFolder('file is a path', async (file) => {
  for (const wrong of [1, null, '', {}, `${file}\0`]) await assert.rejects(Cu.open({ file: wrong }), { name: 'UsageError', code: 'INVALID_INPUT', message: /^file: / });
});

inFolder('opening that fails lets go of the file', async (file) => {
  await assert.rejects(Cu.open({ file, compressionThreshold: -1 }));
  const cu = await new Cu().init({ file });
  assert.equal(await cu.init({ file }), cu);
  await cu.close();
  await writeFile(file, 'something else altogether');
  await assert.rejects(Cu.open({ file }), { code: 'corrupt', message: /is no database/ });
});

inFolder('cut anywhere in its last frame, a file holds all transactions before it', async (file) => {
  const cu = await Cu.open({ file });
  const sizes = [];
  for (let n = 0; n < 5; n++) {
    await cu.setValue('t', 'k', n);
    sizes.push((await stat(file)).size);
  }
  const whole = await readFile(file);
  await cu.close();
  for (let cut = sizes[3]; cut < sizes[4]; cut++) {
    await writeFile(file, whole.subarray(0, cut));
    const again = await Cu.open({ file });
    assert.equal(await again.getValue('t', 'k'), 3, `cut at ${cut}`);
    // It goes on from there.
    await again.setValue('t', 'new', cut);
    await again.close();
    const after = await Cu.open({ file });
    assert.deepEqual([await after.getValue('t', 'k'), await after.getValue('t', 'new')], [3, cut]);
    await after.close();
  }
  // With the last frame damaged it counts as unfinished; one before it is damage.
  for (let at = 8; at < sizes[4]; at += 7) {
    const damaged = new Uint8Array(whole.subarray(0, sizes[4]));
    damaged[at] ^= 0x40;
    await writeFile(file, damaged);
    const opened = await Cu.open({ file }).then(async (again) => {
      const value = await again.getValue('t', 'k');
      await again.close();
      return value;
    }, ({ code }) => code);
    if (at >= sizes[3]) assert.equal(opened, 3, `damaged at ${at}`);
    else assert.ok(opened === 'corrupt' || opened !== 4, `damaged at ${at}: ${opened}`);
  }
});

inFolder('a process that is killed loses nothing that was resolved', async (file) => {
  const program = `
    import { Cu } from '${node}';
    const cu = await Cu.open({ file: ${JSON.stringify(file)} });
    for (let n = 0; ; n++) {
      await cu.batchTableOperations([{ type: 'set', table: 't', key: 'n', value: n }, { type: 'set', table: 't', key: 'copy', value: n }]);
      process.stdout.write(n + '\\n');
    }`;
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    let told = -1;
    await new Promise((resolve) => {
      child.stdout.on('data', (data) => {
        told = Number(String(data).trim().split('\n').at(-1));
        if (told >= 20 + 13 * round) child.kill('SIGKILL');
      });
      child.on('close', resolve);
    });
    const cu = await Cu.open({ file });
    const [n, copy] = [await cu.getValue('t', 'n'), await cu.getValue('t', 'copy')];
    assert.ok(n >= told, `${told} was resolved, ${n} is there`);
    assert.equal(copy, n);
    await cu.close();
  }
});

inFolder('a file that is mostly outdated is written anew', async (file) => {
  const store = await openFile(file);
  const page = (fill) => new Uint8Array(100_000).fill(fill);
  let [, checkpoint, sequence] = await store.load(0);
  assert.deepEqual([checkpoint, sequence], [0, 0]);
  for (let round = 0; round < 60; round++) {
    assert.equal(await store.append(sequence++, Uint8Array.of(round)), true);
    assert.equal(await store.checkpoint(checkpoint++, sequence, Uint8Array.of(round, 1), Uint32Array.of(1, round % 3), [page(round), page(round + 100)]), true);
  }
  assert.equal(await store.append(sequence - 1, page(1)), false);
  assert.equal(await store.checkpoint(checkpoint - 1, sequence, page(1), new Uint32Array(), []), false);
  assert.equal(await store.readPages(checkpoint - 1, Uint32Array.of(1)), null);
  assert.equal(await store.append(sequence++, Uint8Array.of(7)), true);
  assert.ok((await stat(file)).size < 2_000_000, `${(await stat(file)).size} bytes`);
  const check = async (opened) => {
    assert.deepEqual(await opened.load(0), [Uint8Array.of(59, 1), checkpoint, sequence, Uint8Array.of(7)]);
    assert.deepEqual(await opened.load(sequence), [Uint8Array.of(59, 1), checkpoint, sequence]);
    // What is given twice in one checkpoint counts as it comes last.
    assert.deepEqual(await opened.readPages(checkpoint, Uint32Array.of(0, 1, 2, 9)), [page(157), page(59), page(159), undefined]);
  };
  await check(store);
  await store.close();
  await assert.rejects(store.append(sequence, Uint8Array.of(1)), /closed/);
  const again = await openFile(file);
  await check(again);
  await again.close();
});
