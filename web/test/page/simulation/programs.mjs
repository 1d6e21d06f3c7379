// Actions of Lua code: programs, calls, saved functions, `_home`, limits, snapshots.
import { check, fails } from './check.mjs';
import { FUNCTIONS } from './model.mjs';

const SAVED = 'local calls, sum = 0, 0; return function(n) if n < 0 then calls = calls + 100 error("refused") end calls = calls + 1 sum = sum + n return calls, sum end';
const NAMES = ['alpha', 'beta', 'gamma'];

export const BY_PROGRAMS = {
  async compute({ random, cu }) {
    const numbers = Array.from({ length: 1 + random.below(30) }, () => random.below(1000));
    const { values, output } = await cu.run(
      'local t = { ... } table.sort(t) local sum = 0 for _, n in ipairs(t) do sum = sum + n end print(#t) return sum, t[1], t[#t], table.concat(t, " ")',
      { args: numbers },
    );
    const sorted = [...numbers].sort((a, b) => a - b);
    check([values, output], [[sorted.reduce((sum, n) => sum + n, 0), sorted[0], sorted.at(-1), sorted.join(' ')], `${numbers.length}\n`]);
  },

  async clock({ cu, now }) {
    check(await cu.eval('return os.time()'), Math.floor(now() / 1000));
  },

  /** Makes garbage: strings, tables, closures, coroutines. */
  async garbage({ random, cu }) {
    const n = 50 + random.below(400);
    const source = `local sum = 0
      for i = 1, ... do
        local t = { i, tostring(i) .. ('x'):rep(i % 50), function() return i end }
        local co = coroutine.wrap(function() coroutine.yield(t[3]()) end)
        sum = sum + co() + #t[2]
      end
      return sum`;
    let expected = 0;
    for (let i = 1; i <= n; i++) expected += i + String(i).length + (i % 50);
    check(await cu.eval(source, { args: [n] }), expected);
  },

  async global({ random, cu, model }) {
    const name = random.pick(NAMES);
    check(await cu.get(name), model.globals[name] ?? null);
    const value = random.chance(0.2) ? null : { n: random.below(100), list: [1, 'two', false] };
    await cu.set(name, value);
    if (value === null) delete model.globals[name];
    else model.globals[name] = value;
    check(await cu.eval(`return ${name} and ${name}.n`), value?.n ?? null);
  },

  /** Functions of the page, at once and by promises, from a comparator. */
  async pageFunctions({ random, cu }) {
    const numbers = Array.from({ length: 6 }, () => random.below(50));
    const sorted = [...numbers].sort((a, b) => a - b);
    check(await cu.eval('local t = { ... } table.sort(t, function(a, b) return later(a) < later(b) end) return table.concat(t, ",")', { args: numbers }), sorted.join(','));
    check(await cu.eval('local ok, message = pcall(refuse) return ok == false and tostring(message):match("refused") ~= nil'), true);
  },

  async saveFunction({ random, cu, model }) {
    const name = random.pick(FUNCTIONS);
    check(await cu.persistFunction('saved', name, SAVED), true);
    model.functions[name] = [0, 0];
  },

  async callFunction({ random, cu, model }) {
    const name = random.pick(FUNCTIONS);
    const known = model.functions[name];
    const n = random.below(10);
    if (known === undefined) return void (await fails(cu.callFunction('saved', name, n), ['UNKNOWN_FUNCTION']));
    check(await cu.callFunction('saved', name, n), known[0] + 1);
    model.functions[name] = [known[0] + 1, known[1] + n];
  },

  /** A saved function that fails is as it was stored. */
  async failingFunction({ random, cu, model }) {
    const name = random.pick(FUNCTIONS);
    if (model.functions[name] === undefined) return;
    await fails(cu.callFunction('saved', name, -1), ['LUA_EXECUTION_ERROR']);
    await cu.restoreFunction('saved', name);
  },

  async home({ random, cu, model }) {
    const { home } = model;
    const n = random.below(100);
    const values = await cu.run(
      `_home.count = (_home.count or 0) + 1
       _home.add = _home.add or (function() local sum = 0 return function(n) sum = sum + n return sum end end)()
       _home.steps = _home.steps or coroutine.wrap(function() local at = 0 while true do at = at + 1 coroutine.yield(at) end end)
       _home.list = _home.list or {}
       local list = _home.list
       list[#list + 1] = ...
       if #list > 40 then _home.list = { ... } end
       return _home.count, _home.add(...), _home.steps(), #_home.list, _home.list[1]`,
      { args: [n] },
    );
    home.count += 1;
    home.sum += n;
    home.position += 1;
    home.list = home.list.length >= 40 ? [n] : [...home.list, n];
    check(values.values, [home.count, home.sum, home.position, home.list.length, home.list[0]]);
  },

  /** With the option `atomic`, a run that fails leaves `_home` as it was. */
  async failingHome({ cu, model }) {
    await fails(cu.run('_home.count = -1 _home.list = nil error({ code = 7 })'), ['LUA_EXECUTION_ERROR']);
    check(await cu.eval('return _home.count or 0'), model.home.count);
  },

  async error({ random, cu }) {
    const [source, codes] = random.pick([
      ['x = = 1', ['EVAL_FAILED']],
      ['local t; return t.x', ['LUA_EXECUTION_ERROR']],
      ['error("on purpose")', ['LUA_EXECUTION_ERROR']],
      ['local function f() return 1 + f() end f()', ['LUA_EXECUTION_ERROR', 'heap']],
      ['string.rep("x", -1):bad()', ['LUA_EXECUTION_ERROR']],
    ]);
    await fails(cu.run(source), codes);
  },

  async limits({ random, cu }) {
    if (random.chance(0.5)) return void (await fails(cu.run('while true do end', { fuel: 100_000 }), ['fuel']));
    await fails(cu.run('local t = {} for i = 1, math.huge do t[i] = { i } end'), ['heap']);
    await cu.run('collectgarbage()');
  },

  async aborted({ random, cu }) {
    const aborter = new AbortController();
    const run = cu.run('while true do coroutine.wrap(function() end)() end', { signal: aborter.signal });
    if (random.chance(0.5)) aborter.abort();
    else setTimeout(() => aborter.abort(), random.below(10));
    await fails(run, ['AbortError']);
  },

  /** A snapshot goes on elsewhere with the same variables, and what it does there is not seen here. */
  async snapshot({ random, cu, model, Cu, functions }) {
    const image = await cu.snapshot();
    const copy = await Cu.restore(image, { storage: 'none', heapLimit: 1 << 22, functions });
    try {
      const name = random.pick(NAMES);
      check(await copy.get(name), model.globals[name] ?? null);
      check(await copy.eval('_home.count = (_home.count or 0) + 1000 return _home.count'), model.home.count + 1000);
      await fails(copy.setValue('people', 'k00', 1), ['unavailable']);
    } finally {
      await copy.close();
    }
    check(await cu.eval('return _home.count or 0'), model.home.count);
  },
};
