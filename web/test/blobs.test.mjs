// Saved functions go from one platform to the other as blobs: the native library, and each of the VM's modules in Node. Everywhere a program
// gives the same blob, byte for byte, and a function that goes on elsewhere returns what it does where nothing is saved.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decode, encode } from '../dist/codec.js';
import { Cu } from '../dist/index.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const FUEL = 2 ** 29;
const FINISHED = 0;
const CALLS = 8;
/** Bytes up to which a blob is not compressed, as the native program has it. */
const UNCOMPRESSED_MAX = 1024;

/** The options that choose each module, and whether blobs may hold coroutines there. */
const MODULES = {
  'cu.wasm': { options: { compile: 'never' }, hasCoroutines: false },
  'cu-compile.wasm': { options: { compile: 'hot' }, hasCoroutines: false },
  'cu-compile.wasm, all compiled': { options: { compile: 'eager' }, hasCoroutines: false },
  'cu-home.wasm': { options: { storage: 'memory', home: true }, hasCoroutines: true },
};

/** Shared and recursive upvalues, metatables, cycles, protected calls and variables to be closed; each call changes what is kept. */
const CLOSURES = `
  local closed, list, self = 0, {}, nil
  local words = ('a word among many '):rep(100)
  local account = setmetatable({ balance = 0.5 }, {
    __index = function(t, key) list[#list + 1] = key return #key end,
    __call = function(t, n) t.balance = t.balance + n return t.balance end,
    __close = function() closed = closed + 1 end,
  })
  account.me = account
  local function sum(n) if n == 0 then return 0 end return n + sum(n - 1) end
  local function deposit(...) return select('#', ...) + account.me(...) end
  self = function()
    local ok, message = pcall(function()
      local guard <close> = account
      deposit(sum(closed + 3), 'two', nil)
      return closed % 2 == 0 and error({ code = closed }) or guard.missing
    end)
    list[closed] = nil
    return table.concat({ tostring(ok), type(message) == 'table' and message.code or message, account.balance, #list, closed,
      tostring(self ~= nil), #words, string.rep('x', closed) }, ' ')
  end
  return self`;

/** Coroutines suspended in a protected call, a metamethod, an iterator, another coroutine and the scope of variables to be closed. */
const COROUTINES = `
  local closed, events = 0, {}
  local function guard(name)
    return setmetatable({}, { __close = function(_, e) closed = closed + 1 events[#events + 1] = name .. ':' .. tostring(e) end })
  end
  local slow = setmetatable({}, {
    __index = function(t, key) return coroutine.yield('index ' .. key) end,
    __lt = function() coroutine.yield('less') return true end,
  })
  local inner = coroutine.wrap(function(...)
    local first <close> = guard('inner')
    for word in ('one two three'):gmatch('%a+') do coroutine.yield(word, ...) end
    error('inner ends', 0)
  end)
  local outer = coroutine.create(function(start, ...)
    local count, given = start, { ... }
    local function note(text) count = count + 1 return text .. count .. #given end
    local whole <close> = guard('outer')
    while true do
      local ok, result = pcall(function()
        local part <close> = guard('part')
        for key, value in pairs({ 'a', 'b' }) do coroutine.yield(note(key .. value)) end
        coroutine.yield(note(slow.field or 'nothing'), slow < slow)
        return inner(count)
      end)
      coroutine.yield(note(tostring(ok) .. tostring(result)))
    end
  end)
  return function()
    local ok, text = coroutine.resume(outer, closed, 'given', nil)
    return table.concat({ tostring(ok), tostring(text), coroutine.status(outer), closed, table.concat(events, ',') }, ' ')
  end`;

let folder;
let program;

before(() => {
  execFileSync('cargo', ['build', '-q', '-p', 'cu-persist', '--example', 'blob'], { cwd: root });
  program = join(process.env.CARGO_TARGET_DIR ?? `${root}/target`, 'debug/examples/blob');
  folder = mkdtempSync(join(tmpdir(), 'cu-blobs-'));
});

after(() => rmSync(folder, { recursive: true }));

/** What defining and calling a function gives in a process of its own. */
const native = {
  define(source) {
    const [text, blob] = [join(folder, 'source.lua'), join(folder, 'defined.blob')];
    writeFileSync(text, source);
    execFileSync(program, ['define', text, blob]);
    return readFileSync(blob);
  },
  call(bytes) {
    const [blob, next] = [join(folder, 'given.blob'), join(folder, 'next.blob')];
    writeFileSync(blob, bytes);
    const printed = execFileSync(program, ['call', blob, next], { encoding: 'utf8' });
    return { printed: printed.replace(/\r?\n$/, ''), blob: readFileSync(next) };
  },
};

/** Does the same in an instance of a module. */
async function inModule(name, task) {
  const cu = await Cu.open({ storage: 'none', files: {}, ...MODULES[name].options });
  const finish = (instance) => {
    if (instance.step(FUEL) !== FINISHED) throw new Error(decode(instance.takeError()).message);
    return decode(instance.takeValues());
  };
  const save = (instance) => Buffer.from(instance.saveFunction('t', 'f', UNCOMPRESSED_MAX));
  const module = {
    define: (source) =>
      cu.parts.vm.call((instance) => {
        instance.startDefine('t', 'f', new TextEncoder().encode(source));
        finish(instance);
      }),
    load: (blob) => cu.parts.vm.call((instance) => instance.loadFunction('t', 'f', blob)),
    call: () =>
      cu.parts.vm.call((instance) => {
        instance.startCall('t', 'f', encode([]));
        return finish(instance)[0];
      }),
    save: () => cu.parts.vm.call(save),
    eval: (source) => cu.eval(source),
  };
  try {
    return await task(module);
  } finally {
    await cu.close();
  }
}

/** Calls natively, each in a process of its own: the blob at first, and what each call printed and left. */
function nativeCalls(source) {
  const defined = native.define(source);
  const calls = [];
  for (let blob = defined; calls.length < CALLS; blob = calls.at(-1).blob) calls.push(native.call(blob));
  return { defined, calls };
}

const withCoroutines = Object.keys(MODULES).filter((name) => MODULES[name].hasCoroutines);
const withoutCoroutines = Object.keys(MODULES).filter((name) => !MODULES[name].hasCoroutines);

for (const [kind, source, modules] of [
  ['closures', CLOSURES, Object.keys(MODULES)],
  ['coroutines', COROUTINES, withCoroutines],
]) {
  test(`${kind} go on as blobs on every platform, which have the same bytes everywhere`, async () => {
    const { defined, calls } = nativeCalls(source);
    assert.equal(new Set(calls.map(({ printed }) => printed)).size, CALLS, 'each call returns something else');
    assert.equal(defined[5], 1, 'they are compressed');
    for (const name of modules) {
      // Undisturbed, but saved after each call.
      await inModule(name, (module) => {
        module.define(source);
        assert.deepEqual(module.save(), defined, `${name}: defined`);
        for (const [index, { printed, blob }] of calls.entries()) {
          assert.equal(module.call(), printed, `${name}: call ${index}`);
          assert.deepEqual(module.save(), blob, `${name}: after call ${index}`);
        }
      });
      // From what was saved natively, and from there natively again.
      for (const [index, { blob }] of calls.slice(0, -1).entries()) {
        const saved = await inModule(name, (module) => {
          module.load(blob);
          assert.deepEqual(module.save(), blob, `${name}: loaded`);
          assert.equal(module.call(), calls[index + 1].printed, `${name}: from a native blob, call ${index + 1}`);
          return module.save();
        });
        assert.deepEqual(saved, calls[index + 1].blob, `${name}: from a native blob, after call ${index + 1}`);
        const next = calls[index + 2];
        if (next !== undefined) assert.deepEqual(native.call(saved), next, `${name}: natively again`);
      }
    }
  });
}

test('modules without coroutines in blobs say so, and go on', async () => {
  const blob = native.define(COROUTINES);
  assert.ok(withoutCoroutines.length > 0);
  for (const name of withoutCoroutines) {
    await inModule(name, async (module) => {
      assert.throws(() => module.load(blob), { code: 'newerVersion' }, name);
      module.define(COROUTINES);
      module.call();
      assert.throws(() => module.save(), /function 'f'\.upvalue 'outer': cannot save a coroutine/, name);
      assert.match(module.call(), /^true 2b/, name);
      assert.equal(await module.eval('return 6 * 7'), 42);
    });
  }
});

// An image holds coroutines with every module. Here functions are compiled, or not, when the coroutine is suspended in them.
test('a coroutine that is suspended in compiled functions is saved as in interpreted ones', async () => {
  const options = { storage: 'none', files: {}, seed: 7, now: 0, heapLimit: 2 ** 26 };
  const define = `next = (function() ${COROUTINES} end)()`;
  const expected = nativeCalls(COROUTINES).calls.map(({ printed }) => printed);
  const images = {};
  for (const [index, compile] of ['eager', 'never', 'hot'].entries()) {
    let cu = await Cu.open({ ...options, compile });
    await cu.run(define, { chunkName: 'define' });
    images[compile] = [];
    for (const printed of expected) {
      assert.equal(await cu.eval('return next()'), printed, compile);
      const image = await cu.snapshot();
      images[compile].push(Buffer.from(image));
      await cu.close();
      cu = await Cu.restore(image, { ...options, compile: ['eager', 'never', 'hot'][(index + images[compile].length) % 3] });
    }
    await cu.close();
  }
  assert.deepEqual(images.never, images.eager);
  assert.deepEqual(images.hot, images.eager);
});
