// `ext` in Lua code: the programs of fixtures/external print what they print natively, and what a page adds: permissions, calls of the page
// inside transactions, runs that end in one, images, live queries, sandboxes.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { latin1 } from './bytes.mjs';
import { Cu, entry, here, StorageError, UsageError } from './entry.mjs';

const folder = new URL('../../fixtures/external/', import.meta.url);
const HEAP_LIMIT = 16 * 1024 * 1024;
const memory = (options = {}) => Cu.open({ storage: 'memory', heapLimit: HEAP_LIMIT, ...options });
const permissions = { tables: { forbidden: 'none', readonly: 'read' } };
const isDefault = entry === 'index';
/** Every VM of the package; a worker has the default one. */
const VMS = { default: {}, ...(isDefault ? { small: { compile: 'never' }, eager: { compile: 'eager' }, home: { home: true } } : {}) };

/**
 * What a VM that compiles functions lacks: blobs of functions with userdata, as with coroutines. A function in a document then holds a table by
 * `ext.table(name)` alone.
 */
const MISSING = { 'functions.lua': /^functions\.lua:\d+: handlers\.self_user\.upvalue 'handlers': cannot save a userdata$/ };
const lacks = (name, file) => ['default', 'eager'].includes(name) && Object.hasOwn(MISSING, file);

/** What a program prints. */
async function printed(cu, source, options = {}) {
  return (await cu.run(source, options)).output;
}

const until = (condition) => new Promise((resolve) => {
  const look = () => (condition() ? resolve() : setTimeout(look, 1));
  look();
});

for (const [name, options] of Object.entries(VMS)) {
  describe(`fixtures, ${name}`, () => {
    for (const file of readdirSync(folder).filter((file) => file.endsWith('.lua'))) {
      test(file, async () => {
        const cu = await memory({ permissions, ...options });
        const bytes = [];
        const run = cu.run(readFileSync(new URL(file, folder)), { chunkName: file, onOutput: (_, piece) => bytes.push(piece) });
        const expected = latin1([readFileSync(new URL(file.replace('.lua', '.out'), folder))]);
        if (lacks(name, file)) {
          await assert.rejects(run, { message: MISSING[file] });
          assert.ok(bytes.length > 0 && expected.startsWith(latin1(bytes)));
        } else {
          await run;
          assert.equal(latin1(bytes), expected);
        }
        await cu.close();
      });
    }
  });
}

test('the page and Lua code see the same tables', async () => {
  const cu = await memory();
  await cu.setValue('users', 'alice', { name: 'Alice', age: 30 });
  await cu.run(`local users = ext.table('users')
    users.bob = { name = 'Bob', age = users.alice.age - 5 }
    users:index('age')`);
  assert.deepEqual(await cu.getValue('users', 'bob'), { name: 'Bob', age: 25 });
  assert.equal((await cu.getQueryPlan('users', { field: 'age', operator: '=', value: 25, using: { index: 'age' } })).index, 'age');
  await cu.setValue('users', [1, 2].join(), new Uint8Array([255]));
  assert.equal(await printed(cu, `for key, value in pairs(ext.table('users')) do print(key, type(value)) end`), '1,2\tstring\nalice\ttable\nbob\ttable\n');
  await cu.close();
});

test('without a database there is no ext', async () => {
  const cu = await Cu.open({ storage: 'none' });
  assert.equal(await cu.eval('return ext'), null);
  await cu.close();
});

test('permissions of the instance and of the run', async () => {
  const cu = await memory({ permissions: { tables: { orders: 'read', '*': 'write', secret: 'none' } } });
  await cu.setValue('orders', 'a', 1);
  await cu.run(`kept = ext.table('users') kept.a = 1 query = kept:where('$value', 1)`);
  const fails = async (code, message, options = {}) => {
    const [ok, error] = (await cu.run(`return pcall(function() ${code} end)`, { chunkName: 'test', ...options })).values;
    assert.deepEqual([ok, error], [false, message], code);
  };
  await fails(`ext.table('orders').b = 2`, "test:1: external table 'orders' may not be changed here");
  assert.equal(await cu.eval(`return ext.table('orders').a`), 1);
  await fails(`return ext.table('secret')`, "test:1: external table 'secret' may not be used here");
  await fails(`return ext.table('_home')`, "test:1: external table '_home' may not be used here");
  await fails(`return ext.table('_audit')`, "test:1: external table '_audit' may not be used here");
  // A run narrows it, also for what was made by another.
  const reads = { permissions: { tables: { users: 'read', '*': 'none' } } };
  assert.equal((await cu.run('return kept.a + query:count()', reads)).values[0], 2);
  await fails('kept.a = 2', "test:1: external table 'users' may not be changed here", reads);
  await fails(`kept:index('x')`, "test:1: external table 'users' may not be changed here", reads);
  await fails(`return ext.table('orders')`, "test:1: external table 'orders' may not be used here", reads);
  const none = { permissions: { tables: { '*': 'none' } } };
  for (const code of ['return kept.a', 'return query:count()', 'return #kept', 'return (kept:where())']) {
    await fails(code, "test:1: external table 'users' may not be used here", none);
  }
  // `next` is a function between, which has no position.
  await fails('return (next(kept))', "external table 'users' may not be used here", none);
  assert.equal(await cu.eval('return kept.a'), 1);
  await cu.close();
});

test('a sandbox has ext when its run may use a table, and one of its own', async () => {
  const cu = await memory();
  const guest = (tables) => ({ sandbox: 'guest', permissions: { tables } });
  assert.equal((await cu.run('return ext', { sandbox: 'guest' })).values[0], null);
  assert.equal((await cu.run('return ext', guest({ _home: 'write' }))).values[0], null);
  await cu.run(`t = ext.table('notes') t.a = 1 ext.table = nil`, guest({ notes: 'write' }));
  assert.equal(await cu.eval(`return ext.table('notes').a`), 1);
  // It keeps the name, and may do what its run may.
  const [ok, message] = (await cu.run('return pcall(function() return t.a end)', { sandbox: 'guest' })).values;
  assert.deepEqual([ok, /may not be used here/.test(message)], [false, true]);
  assert.equal((await cu.run('return t.a, ext.transaction(function() t.a = 5 return t.a end)', guest({ notes: 'write' }))).values[1], 5);
  assert.equal((await cu.run('return ext.table', { sandbox: 'other', permissions: { tables: { '*': 'read' } } })).values.length, 1);
  await cu.close();
});

test('calls of the page inside a transaction of Lua code are part of it', async () => {
  const cu = await memory();
  const busy = (call) => assert.rejects(call, (error) => error instanceof UsageError && error.code === 'busy');
  await cu.set('inside', async () => {
    await cu.setValue('t', 'page', 1);
    await busy(cu.beginTransaction());
    await busy(cu.commitTransaction());
    await busy(cu.rollbackTransaction());
    await cu.createIndex('t', 'x');
    await busy(cu.snapshot());
    return [await cu.getValue('t', 'lua'), (await cu.queryEntries('t')).length];
  });
  const program = (end) => `return pcall(ext.transaction, function()
    local t = ext.table('t')
    t.lua = 7
    local seen = inside()
    ${end}
    return seen[1], seen[2], t.page
  end)`;
  assert.deepEqual((await cu.run(program(''))).values, [true, 7, 2, 1]);
  assert.equal((await cu.queryEntries('t')).length, 2);
  await cu.deleteValue('t', 'page');
  await cu.deleteValue('t', 'lua');
  assert.deepEqual((await cu.run(program('error("no", 0)'))).values, [false, 'no']);
  assert.deepEqual(await cu.queryEntries('t'), []);
  assert.ok((await cu.snapshot()).length > 0);
  await cu.close();
});

test('transactions of Lua code inside one of the page', async () => {
  const cu = await memory();
  await cu.beginTransaction();
  await cu.run(`local t = ext.table('t') t.a = 1
    ext.transaction(function() t.b = 2 end)
    pcall(ext.transaction, function() t.c = 3 ext.transaction(function() t.d = 4 end) error() end)`);
  await assert.rejects(cu.run(`ext.transaction(function() ext.table('t').e = 5 error('no') end)`), /no/);
  assert.deepEqual((await cu.queryEntries('t')).map(({ key }) => key), ['a', 'b']);
  await cu.rollbackTransaction();
  assert.deepEqual(await cu.queryEntries('t'), []);
  await cu.transaction(() => cu.run(`ext.transaction(function() ext.table('t').f = 6 end)`));
  assert.equal(await cu.getValue('t', 'f'), 6);
  await cu.close();
});

test('whatever ends a run in a transaction undoes it, and the next one begins anew', async () => {
  const cu = await memory({ files: {} });
  await cu.set('never', () => new Promise(() => undefined));
  let waits = null;
  await cu.set('waiting', () => new Promise(() => waits?.()));
  const inside = (code) => `ext.transaction(function() ext.table('t').x = 1 ext.transaction(function() ext.table('t').y = 1 ${code} end) end)`;
  const ended = async () => {
    assert.deepEqual(await cu.queryEntries('t'), []);
    assert.equal(await cu.eval(`return ext.transaction(function() ext.table('u').n = (ext.table('u').n or 0) + 1 return 'goes on' end)`), 'goes on');
  };
  await assert.rejects(cu.run(inside('error("no")')), /no/);
  await ended();
  await assert.rejects(cu.run(inside('while true do end'), { fuel: 100_000 }), { code: 'fuel' });
  await ended();
  await assert.rejects(cu.run(inside('os.exit(3)')));
  await ended();
  await assert.rejects(cu.run(inside('local s = "x" while true do s = s .. s end')), { code: 'heap' });
  await ended();
  const aborter = new AbortController();
  const reached = new Promise((resolve) => (waits = resolve));
  const run = cu.run(inside('waiting()'), { signal: aborter.signal });
  await reached;
  aborter.abort(new Error('enough'));
  await assert.rejects(run, /enough/);
  await ended();
  assert.equal(await cu.getValue('u', 'n'), 5);
  await cu.close();
});

test('a run that is given up at any moment leaves the database whole', here, async () => {
  const cu = await memory();
  await cu.setValue('t', 'count', 0);
  const program = `local t = ext.table('t')
    for i = 1, 20 do
      ext.transaction(function() t.count = t.count + 1 t[i] = t.count ext.transaction(function() t.last = i end) end)
    end`;
  let aborted = 0;
  for (let steps = 0; steps < 40; steps++) {
    const aborter = new AbortController();
    const run = cu.run(program, { signal: aborter.signal });
    const outcome = run.then(() => true, () => false);
    for (let step = 0; step < steps; step++) await Promise.resolve();
    aborter.abort();
    if (!(await outcome)) aborted++;
    const before = await cu.getValue('t', 'count');
    await cu.run(`ext.transaction(function() local t = ext.table('t') t.count = t.count + 1 end)`);
    assert.equal(await cu.getValue('t', 'count'), before + 1, `${steps} steps`);
    assert.equal((await cu.getValue('t', 'last')) ?? 0, (await cu.queryEntries('t', { field: '$key', operator: 'between', value: [1, 20], sort: { field: '$key', order: 'desc' }, limit: 1 }))[0]?.key ?? 0);
    await cu.run(`local t = ext.table('t') t.last = nil for i = 1, 20 do t[i] = nil end`);
  }
  assert.ok(aborted > 20, `${aborted} aborted`);
  await cu.close();
});

test('live queries see what Lua code commits, a transaction as one change', async () => {
  const cu = await memory();
  const changes = [];
  const subscription = await cu.subscribe('users', { field: 'age', operator: '>=', value: 25 }, ({ added, changed, removed }) => {
    changes.push([added.map(({ key }) => key), changed.map(({ key }) => key), removed]);
  });
  await cu.run(`local users = ext.table('users') users.alice = { age = 30 } users.bob = { age = 20 }`);
  await until(() => changes.length > 1);
  await cu.run(`ext.transaction(function() local users = ext.table('users')
    users.bob = { age = 40 } users.alice = { age = 31 } users.carol = { age = 50 } users.carol = nil end)`);
  await until(() => changes.length > 2);
  await cu.run(`pcall(ext.transaction, function() ext.table('users').dave = { age = 60 } error() end) ext.table('users').alice = nil`);
  await until(() => changes.length > 3);
  assert.deepEqual(changes, [[[], [], []], [['alice'], [], []], [['bob'], ['alice'], []], [[], [], ['alice']]]);
  subscription.end();
  await cu.close();
});

test('an image goes on over another database, and without one as far as it uses none', async () => {
  const cu = await memory();
  await cu.run(`users = ext.table('users') users.a = { n = 1 } ones = users:where('n', 1)`);
  const image = await cu.snapshot();
  await cu.close();
  const other = await Cu.restore(image, { storage: 'memory', heapLimit: HEAP_LIMIT });
  assert.equal(await printed(other, `print(users.a, ones:count()) users.b = { n = 1 } print(ones:count(), users == ext.table('users'))`), 'nil\t0\n1\ttrue\n');
  await other.close();
  const none = await Cu.restore(image, { storage: 'none', heapLimit: HEAP_LIMIT });
  const [ok, message] = (await none.run('return pcall(function() return users.a end)')).values;
  assert.deepEqual([ok, /users: this instance was opened without storage/.test(message)], [false, true], message);
  await none.close();
});

test('a run that waits for a table goes on from an image', here, async () => {
  const cu = await memory();
  await cu.run(`local t = ext.table('t') for i = 1, 100 do t[i] = { n = i } end`);
  const program = `local t, sum = ext.table('t'), 0
    t.sum = nil
    for key, row in pairs(t) do sum = sum + row.n end
    t:where('n', '>', 50):each(function(row, key) sum = sum + row.n * key end)
    t.sum = sum
    return t.sum`;
  const expected = await cu.eval(program);
  const running = cu.eval(program);
  while (!cu.running) await Promise.resolve();
  const image = await cu.snapshot();
  await running;
  const other = await Cu.restore(image, { storage: 'memory', heapLimit: HEAP_LIMIT });
  await other.batchTableOperations((await cu.queryEntries('t', { where: [{ field: 'n', operator: 'exists', value: true }] })).map(({ key, value }) => ({ type: 'set', table: 't', key, value })));
  assert.equal(other.running, true);
  const { values } = await other.resume();
  assert.deepEqual(values, [expected]);
  await cu.close();
  await other.close();
});

test('callSync reads what is in memory and says that it cannot wait', here, async () => {
  const cu = await memory();
  await cu.run(`t = ext.table('t') t.a = 41 function read() return t.a + 1 end function write() t.a = 1 end`);
  assert.equal(cu.callSync('read'), 42);
  assert.throws(() => cu.callSync('write'), { code: 'promise' });
  assert.equal(await cu.call('read') > 0, true);
  await cu.close();
});

test('saved functions and _home hold tables by name', { skip: isDefault ? undefined : 'one entry is enough' }, async () => {
  const cu = await memory({ home: true });
  await cu.run(`_home.users = ext.table('users') _home.users.a = { n = 1 }`);
  await cu.rollBackHome();
  assert.equal(await cu.eval('return _home.users.a.n'), 1);
  await cu.persistFunction('f', 'count', `function() return ext.table('users'):where():count() end`);
  assert.equal(await cu.callFunction('f', 'count'), 1);
  await cu.close();
});

test('what the store refuses is an error in Lua that names the table', async () => {
  const cu = await memory();
  await cu.createIndex('t', 'n', { unique: true });
  await cu.setSchema('s', { age: { type: 'integer', min: 0 } });
  const { values } = await cu.run(`local t, s = ext.table('t'), ext.table('s')
    t.a = { n = 1 }
    local results = { select(2, pcall(function() t.b = { n = 1 } end)), select(2, pcall(function() s.x = { age = -1 } end)) }
    ext.transaction(function()
      results[3] = select(2, pcall(function() t.b = { n = 1 } end))
      t.c = { n = 3 }
    end)
    return results[1], results[2], results[3], t.c.n, t.b`, { chunkName: 'test' });
  const duplicate = "test:3: t: index 'n' allows each value once";
  assert.deepEqual(values, [duplicate, 'test:3: s: age must be at least 0', duplicate.replace(':3:', ':5:'), 3, null]);
  assert.ok(StorageError);
  await cu.close();
});
