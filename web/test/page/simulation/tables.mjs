// Actions on the database, each compared with the model.
import { check, fails } from './check.mjs';
import { KEYS, TABLES } from './model.mjs';

const WORDS = ['ash', 'birch', 'cedar', 'elm', 'fir', 'hazel', 'larch', 'maple', 'oak', 'pine', 'rowan', 'yew', 'Äsche', 'дуб'];

const key = (random) => `k${String(random.below(KEYS)).padStart(2, '0')}`;
const table = (random) => random.pick(TABLES);

function document({ random, count }) {
  return { id: count * 100 + random.below(100), n: random.below(100) - 20, word: random.pick(WORDS), tags: [random.pick(WORDS), random.below(9)] };
}

function query({ random }) {
  const numbers = random.chance(0.6);
  const value = () => (numbers ? random.below(100) - 20 : random.pick(WORDS));
  const operator = random.pick(numbers ? ['=', '!=', '<', '<=', '>', '>=', 'between', 'in', 'not in'] : ['=', '!=', '<', '>=', 'startsWith', 'endsWith', 'contains', 'in']);
  const condition = { field: numbers ? 'n' : 'word', operator, value: value() };
  if (operator === 'between') condition.value = [value(), value()].sort((a, b) => a - b);
  if (operator === 'in' || operator === 'not in') condition.value = [value(), value(), value()];
  if (['startsWith', 'endsWith', 'contains'].includes(operator)) condition.value = condition.value.slice(0, 1 + random.below(2));
  if (random.chance(0.4)) condition.sort = [{ field: random.pick(['n', 'word']), order: random.pick(['asc', 'desc']) }, { field: 'id', order: 'asc' }];
  if (random.chance(0.3)) condition.limit = 1 + random.below(20);
  if (random.chance(0.15)) condition.offset = random.below(10);
  return condition;
}

/** One operation of a batch, done in these tables too; its result. */
function operation(world, tables) {
  const { random } = world;
  const at = { table: table(random), key: key(random) };
  const rows = tables[at.table];
  const found = rows[at.key];
  switch (random.weighted({ set: 5, get: 2, delete: 2, increment: 2, update: 2 })) {
    case 'set': {
      const value = document(world);
      rows[at.key] = value;
      return [{ type: 'set', ...at, value }, true];
    }
    case 'get':
      return [{ type: 'get', ...at }, found ?? null];
    case 'delete':
      delete rows[at.key];
      return [{ type: 'delete', ...at }, found !== undefined];
    case 'increment': {
      if (found === undefined) return [{ type: 'get', ...at }, null];
      const by = random.below(9) - 4;
      rows[at.key] = { ...found, n: found.n + by };
      return [{ type: 'increment', ...at, field: 'n', by }, found.n + by];
    }
    case 'update': {
      if (found === undefined) return [{ type: 'get', ...at }, null];
      const word = random.pick(WORDS);
      rows[at.key] = { ...found, word };
      return [{ type: 'update', ...at, value: { word } }, true];
    }
  }
}

function batch(world) {
  const tables = Object.fromEntries(Object.entries(world.model.tables).map(([name, rows]) => [name, { ...rows }]));
  const made = Array.from({ length: 1 + world.random.below(12) }, () => operation(world, tables));
  return { operations: made.map(([operation]) => operation), results: made.map(([, result]) => result), tables };
}

export const ON_TABLES = {
  async set(world) {
    const [at, name, value] = [table(world.random), key(world.random), document(world)];
    check(await world.cu.setValue(at, name, value), true);
    world.model.tables[at][name] = value;
  },

  async get({ random, cu, model }) {
    const [at, name] = [table(random), key(random)];
    check(await cu.getValue(at, name), model.tables[at][name] ?? null);
  },

  async delete({ random, cu, model }) {
    const [at, name] = [table(random), key(random)];
    check(await cu.deleteValue(at, name), model.tables[at][name] !== undefined);
    delete model.tables[at][name];
  },

  async batch(world) {
    const { operations, results, tables } = batch(world);
    check(await world.cu.batchTableOperations(operations), results);
    world.model.tables = tables;
  },

  /** One operation that cannot be done undoes all. */
  async failingBatch(world) {
    const { operations } = batch(world);
    const bad = { type: 'increment', table: table(world.random), key: 'text', field: 'word', by: 1 };
    const all = [{ type: 'set', table: bad.table, key: 'text', value: { word: 'not a number' } }, ...operations, bad];
    await fails(world.cu.batchTableOperations(all), ['BATCH_OPERATION_FAILED', 'type', 'INVALID_INPUT']);
    check(await world.cu.getValue(bad.table, 'text'), null);
  },

  async transaction(world) {
    const { cu, random } = world;
    const { operations, results, tables } = batch(world);
    const isKept = random.chance(0.7);
    const reason = new Error('rolled back');
    const work = cu.transaction(async () => {
      check(await cu.batchTableOperations(operations), results);
      if (!isKept) throw reason;
    });
    if (isKept) {
      await work;
      world.model.tables = tables;
    } else check(await work.then(() => null, (error) => error), reason);
  },

  async query(world) {
    const { random, cu, model } = world;
    const at = table(random);
    const asked = query(world);
    const rows = (await cu.queryEntries(at, asked)).map(({ key, value }) => [key, value]);
    check(rows, model.rows(at, asked), () => JSON.stringify([at, asked]));
  },

  async count({ random, cu, model }) {
    const at = table(random);
    const value = random.below(100) - 20;
    const found = await cu.queryEntries(at, { field: 'n', operator: '>', value, aggregates: { count: 'count', sum: { function: 'sum', field: 'n' } } });
    const numbers = Object.values(model.tables[at]).map(({ n }) => n).filter((n) => n > value);
    check([found[0]?.value.count ?? 0, found[0]?.value.sum ?? 0], [numbers.length, numbers.reduce((sum, n) => sum + n, 0)]);
  },

  async index({ random, cu, model }) {
    const [at, field] = [table(random), random.pick(['n', 'word', 'id'])];
    const name = `${at}.${field}`;
    if (model.indexes[name] === true) {
      check(await cu.dropIndex(at, field), true);
      delete model.indexes[name];
    } else {
      check(await cu.createIndex(at, field), true);
      model.indexes[name] = true;
    }
  },

  /** What is under way at the same time is done in the order of the calls. */
  async together(world) {
    const { cu, model, random } = world;
    const at = table(random);
    const names = Array.from({ length: 3 }, () => key(random));
    const values = names.map(() => document(world));
    const stored = { ...model.tables[at] };
    names.forEach((name, index) => (stored[name] = values[index]));
    const asked = [...names.map((name, index) => cu.setValue(at, name, values[index])), cu.eval('return 1 + 1')];
    check((await Promise.all(asked)).at(-1), 2);
    model.tables[at] = stored;
    check(await cu.getValue(at, names[0]), stored[names[0]]);
  },

  /** A live query has the rows that the query has, after each of a few commits. */
  async live(world) {
    const { random, cu, model } = world;
    const at = table(random);
    const { field, operator, value } = query(world);
    const rows = new Map();
    let wake = () => undefined;
    const { end, ended } = await cu.subscribe(at, { field, operator, value }, ({ added, changed, removed }) => {
      for (const { key, value } of [...added, ...changed]) rows.set(key, value);
      for (const key of removed) rows.delete(key);
      wake();
    });
    const wanted = () => JSON.stringify(model.rows(at, { field, operator, value }));
    const shown = () => JSON.stringify([...rows].sort(([a], [b]) => (a < b ? -1 : 1)));
    for (let commits = random.below(4); ; commits--) {
      while (shown() !== wanted()) await new Promise((resolve) => (wake = resolve));
      if (commits <= 0) break;
      await ON_TABLES.batch(world);
    }
    end();
    await ended;
  },

  async tableNames({ cu, model }) {
    const names = (await cu.listTables()).filter(({ name, count }) => TABLES.includes(name) && count > 0);
    const expected = TABLES.map((name) => ({ name, count: Object.keys(model.tables[name]).length })).filter(({ count }) => count > 0);
    check(names.map(({ name, count }) => ({ name, count })), expected.sort((a, b) => (a.name < b.name ? -1 : 1)));
  },
};
