// Compiled functions do what the interpreter does: every program of the fixtures with all of its functions compiled as soon as they
// run, and with none. Output, error, fuel and the whole state afterwards, as an image, are the same.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Cu } from '../dist/index.js';

const fixtures = new URL('../../fixtures/', import.meta.url);
const FUEL = 300_000_000;
const HEAP_LIMIT = 64 * 1024 * 1024;

for (const folder of ['lua', 'deviations']) {
  describe(folder, () => {
    const files = readdirSync(new URL(`${folder}/`, fixtures), { recursive: true });
    for (const file of files.filter((file) => file.endsWith('.lua')).sort()) {
      test(file, async () => {
        const source = readFileSync(new URL(`${folder}/${file}`, fixtures));
        assert.deepEqual(await run(source, file, 'eager'), await run(source, file, 'never'));
      });
    }
  });
}

async function run(source, chunkName, compile) {
  const cu = await Cu.open({ storage: 'none', heapLimit: HEAP_LIMIT, files: {}, seed: 7, now: 1e12, compile });
  const printed = [];
  const result = { error: null, fuel: null };
  try {
    const options = { chunkName, fuel: FUEL, onOutput: (_, bytes) => printed.push(bytes) };
    result.fuel = (await cu.run(source, options)).fuelUsed;
  } catch (error) {
    result.error = `${error.code} ${error.message} ${error.traceback ?? ''}`;
  }
  // Some fixtures end with what no image can hold.
  const image = await Promise.resolve(cu.snapshot()).catch((error) => error.message);
  await cu.close();
  return { ...result, output: Buffer.concat(printed).toString('latin1'), image: Buffer.from(image).toString('latin1') };
}

/** A loop that runs long enough to be seen. */
const LOOP = 'local s = 0 for i = 1, 3000000 do s = s + i % 7 end return s';

test('a function that runs often is compiled, unless nothing is to be', async () => {
  const compiled = [];
  const { Module } = WebAssembly;
  WebAssembly.Module = class extends Module {
    constructor(bytes) {
      super(bytes);
      compiled.push(bytes.length);
    }
  };
  try {
    for (const [compile, isCompiled] of [['hot', true], ['never', false]]) {
      compiled.length = 0;
      const cu = await Cu.open({ storage: 'none', compile });
      assert.deepEqual((await cu.run(LOOP)).values, [8999997]);
      await cu.close();
      assert.equal(compiled.length > 0, isCompiled, compile);
    }
  } finally {
    WebAssembly.Module = Module;
  }
});

test('where code cannot be compiled at once, it is interpreted', async () => {
  const { Module } = WebAssembly;
  let tried = 0;
  WebAssembly.Module = class {
    constructor() {
      tried += 1;
      throw new RangeError('not on this thread');
    }
  };
  try {
    const cu = await Cu.open({ storage: 'none', wasm: readFileSync(new URL('../dist/cu-compile.wasm', import.meta.url)), compile: 'hot' });
    assert.deepEqual((await cu.run(LOOP)).values, [8999997]);
    await cu.close();
  } finally {
    WebAssembly.Module = Module;
  }
  assert.ok(tried > 0);
});

/** Ways in which a function comes to be called by a native one, and so changes a variable that is not its direct caller's. */
const INDIRECT = {
  'table.sort': 'table.sort({2, 1}, function() change(3) end)',
  'string.gsub': 'string.gsub("a", "a", function() change(3) end)',
  pcall: 'pcall(function() change(3) end)',
  'pcall in string.gsub': 'string.gsub("a", "a", function() pcall(change, 4) end)',
  'a metamethod': 'local y = object + 1',
  'a metamethod in table.sort': 'table.sort({2, 1}, function() local y = object.level4 end)',
  'another function': 'between()',
};

/** What compiled code took for an integer must not be used as one when it has become something else. */
test('variables that are changed from afar', async () => {
  const program = (call, value) => `
    local level, enabled
    local function set() if enabled then enabled = false debug.setlocal(level, 2, ${value}) end end
    function change(above) level = above + 2 set() end
    object = setmetatable({}, {__add = function() change(2) return 1 end, __index = function() change(4) return 1 end})
    local function between() string.gsub("a", "a", function() change(4) end) return 1 end
    local function f(last)
      local x = 1
      for i = 1, last do
        x = x + 1
        if i == last then enabled = true end
        ${call}
        x = x + 1
      end
      return x
    end
    for last = 1150, 1200, 7 do print(pcall(f, last)) end`;
  for (const [name, call] of Object.entries(INDIRECT)) {
    for (const value of ['"10"', '1.5', '{}', 'print', '"a long string that is no number, and longer than forty bytes"']) {
      const source = program(call, value);
      const expected = await run(source, 'afar', 'never');
      for (const compile of ['eager', 'hot']) assert.deepEqual(await run(source, 'afar', compile), expected, `${name}, ${value}, ${compile}`);
    }
  }
});
