// What `cargo xtask bench storage` runs in a worker, one per database: opens it, does one row's work, and gives the time and a checksum
// of what was found. Looking at the results is outside the time.
import { wasmBytes } from './memory.mjs';
import { checksum, draw, drawIds, record, records } from './databases/records.mjs';

const BATCH = 1000;
/** How long a row of short calls takes at least. */
const RATE_MS = 100;
/** Calls of a row whose results are compared. */
const CHECKED = 4;
const SINGLE = 60;
const IN_FLIGHT = 32;

let open;
let opened;
let size;
let name;

const timed = async (body) => {
  const started = performance.now();
  await body();
  return performance.now() - started;
};

/** Milliseconds of one call, of as many as it takes; and the checksum of the first ones' rows. */
async function rate(call) {
  let check;
  for (let number = 0; number < CHECKED; number += 1) check = checksum(await call(number), check);
  let calls = 0;
  const started = performance.now();
  for (;;) {
    await call(calls);
    calls += 1;
    const ms = performance.now() - started;
    if (ms >= RATE_MS) return { ms: ms / calls, check };
  }
}

/** Versions of a round's writes differ from those of all rounds before. */
const versioned = (ids, version) => ids.map((id) => record(id, size, version));

const ROWS = {
  get: () => rate(async (number) => [await opened.get(draw(number, size))]),
  equality: () => rate((number) => opened.equality(draw(number, size / 10))),
  range: () => rate((number) => opened.range(draw(number, size - 10), 10)),
  tenth: () => rate((number) => opened.between(draw(number, size * 0.9), draw(number, size * 0.9) + size / 10 - 1)),
  page: () => rate((number) => opened.page(size * 0.9 + draw(number, size / 20), 10)),
  contains: () => rate((number) => opened.contains(`mark${draw(number, 1000)}x`)),
  async overwrite(round) {
    const ids = drawIds(BATCH, round, size);
    const batch = versioned(ids, round + 1);
    const ms = await timed(() => opened.write(batch));
    return { ms, check: await read(ids.slice(0, CHECKED)) };
  },
  async single(round) {
    const ids = drawIds(SINGLE, round + 100, size);
    const list = versioned(ids, round + 101);
    const ms = await timed(async () => {
      for (const one of list) await opened.write([one]);
    });
    return { ms: ms / SINGLE, check: await read(ids) };
  },
  async flight(round) {
    const ids = drawIds(IN_FLIGHT * 8, round + 200, size);
    const list = versioned(ids, round + 201);
    const ms = await timed(async () => {
      for (let start = 0; start < list.length; start += IN_FLIGHT) {
        await Promise.all(list.slice(start, start + IN_FLIGHT).map((one) => opened.write([one])));
      }
    });
    return { ms: ms / list.length, check: await read(ids) };
  },
  async index() {
    const ms = await timed(() => opened.createIndex());
    await opened.dropIndex();
    return { ms, check: 0 };
  },
};

async function read(ids) {
  const rows = [];
  for (const id of ids) rows.push(await opened.get(id));
  return checksum(rows);
}

const COMMANDS = {
  /** A new database with all records, written in atomic batches. */
  async load(command) {
    await opened?.close();
    ({ size } = command);
    name = `${command.side} ${command.name}`;
    const all = records(size);
    opened = await open(name);
    await opened.prepare();
    const ms = await timed(async () => {
      for (let start = 0; start < size; start += BATCH) await opened.write(all.slice(start, start + BATCH));
    });
    return { ms, check: await read(drawIds(CHECKED, 0, size)) };
  },
  /** From the module's import to the first answer. */
  async reopen(command) {
    ({ size } = command);
    name = `${command.side} ${command.name}`;
    let check;
    const ms = await timed(async () => {
      await import_(command.side);
      opened = await open(name);
      check = checksum(await opened.equality(7));
    });
    return { ms, check };
  },
  row: ({ row, round }) => ROWS[row](round),
  async close() {
    await opened.close();
    return {};
  },
  memory: () => ({ bytes: wasmBytes() }),
};

async function import_(side) {
  ({ open } = await import(new URL(`databases/${side}.js`, import.meta.url).href));
}

onmessage = async ({ data }) => {
  try {
    if (open === undefined && data.do !== 'reopen') await import_(data.side);
    postMessage(await COMMANDS[data.do](data));
  } catch (error) {
    postMessage({ error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
  }
};
