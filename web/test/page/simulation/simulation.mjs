// Simulated use of the package in a page: actions from a seeded generator, each of which takes a pause by a clock of its own first, and each
// compared with a model. The page's address has the seed and how many actions there are; `/state` has where a page before this one stopped.
// Reports go to the server: a measurement now and then, the state before a reload, an error.
import { check, expectedErrors } from './check.mjs';
import { Model, TABLES } from './model.mjs';
import { BY_PROGRAMS } from './programs.mjs';
import { Random } from './random.mjs';
import { ON_TABLES } from './tables.mjs';

const search = new URLSearchParams(location.search);
const [seed, actions, measurements] = ['seed', 'actions', 'measurements'].map((name) => Number(search.get(name)));

const ACTIONS = { ...ON_TABLES, ...BY_PROGRAMS };
const WEIGHTS = {
  set: 10, get: 10, delete: 4, batch: 10, failingBatch: 2, transaction: 3, query: 14, count: 3, index: 2, together: 4, live: 3, tableNames: 1,
  compute: 6, clock: 2, garbage: 3, global: 5, pageFunctions: 2, saveFunction: 1, callFunction: 6, failingFunction: 1, home: 6, failingHome: 1,
  error: 3, limits: 0.3, aborted: 0.5, snapshot: 0.7, reopen: 0.5,
};
/** Seconds of a pause at most: 2 on average, so that 43,200 actions are a day. */
const PAUSE_MAX = 4;

const report = (body) => fetch('/report', { method: 'POST', body: JSON.stringify(body) });

const state = await (await fetch('/state')).json();
const random = new Random(state?.random ?? seed);
const world = {
  random,
  model: new Model(state?.model),
  count: state?.count ?? 0,
  now: () => clock,
  functions: {
    later: async (value) => value,
    refuse: async () => {
      throw new Error('refused');
    },
  },
};
let clock = state?.clock ?? Date.UTC(2026, 0, 1);
let unseen = null;
// What Lua code and the package take for the time.
Date.now = () => clock;
addEventListener('unhandledrejection', ({ reason }) => (unseen = `unhandled: ${reason?.stack ?? reason}`));
addEventListener('error', ({ message }) => (unseen = `unhandled: ${message}`));

const entry = random.chance(0.75) ? 'index' : 'worker';
// A worker has its own clock, so what it tells of the time is not compared.
if (entry === 'worker') WEIGHTS.clock = 0;
world.Cu = (await import(`/web/dist/${entry}.js`)).Cu;

async function open() {
  const { functions } = world;
  world.cu = await world.Cu.open({ name: 'simulation', storage: 'indexeddb', heapLimit: 1 << 21, home: { atomic: true }, functions, cacheTimeout: 300_000, durability: 'relaxed' });
  world.model.globals = {};
  await compare();
}

/** All that is stored, against the model. */
async function compare() {
  const { cu, model } = world;
  for (const table of TABLES) {
    const entries = await cu.queryEntries(table);
    check(Object.fromEntries(entries.map(({ key, value }) => [key, value])), model.tables[table], () => `in ${table}`);
  }
  check(await cu.eval('return { _home.count or 0, _home.list and #_home.list or 0 }'), [model.home.count, model.home.list.length]);
}

ACTIONS.reopen = async () => {
  await world.cu.close();
  await open();
};

async function measure() {
  await compare();
  await world.cu.run('collectgarbage()');
  // Two collections: what the first one finalizes, the second one frees.
  for (let round = 0; round < 2; round++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const { wasm, used } = await world.cu.getMemoryStats();
  const { count } = world;
  await report({ kind: 'measured', count, clock, entry, wasm, used, heap: performance.memory.usedJSHeapSize });
  await fetch('/go-on');
}

let action = 'open';
try {
  await open();
  while (world.count < actions) {
    action = random.weighted(WEIGHTS);
    clock += random.next() * PAUSE_MAX * 1000;
    await ACTIONS[action](world);
    world.count += 1;
    if (unseen !== null) throw new Error(unseen);
    if (world.count % Math.floor(actions / measurements) === 0) await measure();
    // A new page every third measurement.
    if (world.count % (3 * Math.floor(actions / measurements)) === 0 && world.count < actions) break;
  }
  await compare();
  // A reload closes nothing; at the end all is closed.
  if (world.count >= actions) await world.cu.close();
  const { model, count } = world;
  await report({ kind: count < actions ? 'reload' : 'done', state: { random: random.state, model, count, clock }, entry, errors: expectedErrors });
  if (count < actions) {
    await fetch('/go-on');
    location.reload();
  }
} catch (error) {
  await report({ kind: 'error', message: `action ${world.count + 1}, ${action}, by cu-wasm/${entry}: ${error.stack ?? error}` });
}
