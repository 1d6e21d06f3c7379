// Killing the browser right after a commit has resolved, and while one is under way: rounds over one profile, each of which checks what the
// kill before it has left.
//
//   node test/browser/kills.mjs     as `cargo xtask kills` starts it, with CU_KILL_ROUNDS
import { pathToFileURL } from 'node:url';
import { withProfile } from './chromium.mjs';

/** Keys that every batch writes anew, so that a batch of which only a part is there shows. */
const KEYS = 50;
/** Commits of a round before the one that is killed. */
const BEFORE = 3;

export const MOMENTS = ['after', 'during'];

/**
 * @param moment `after`: the process group is killed as soon as this process knows that a batch has resolved, and nothing else is begun;
 * `during`: as soon as it knows that a batch has begun
 * @returns counts: `rounds`, `lost` (a resolved batch is not there), `torn` (a part of a batch is), `kept` (a batch is there that was not
 * known to be resolved)
 */
export async function kills(moment, rounds) {
  const counts = { rounds: 0, lost: 0, torn: 0, kept: 0 };
  await withProfile(async (start) => {
    let resolved = -1;
    for (let round = 0; round <= rounds; round += 1) {
      const browser = await start();
      const page = await browser.open();
      const found = await page.evaluate(look, KEYS);
      if (round > 0) note(counts, found, resolved);
      if (round < rounds) resolved = await killed(browser, page, moment, Math.max(resolved, found.last) + 1);
      await browser.kill();
    }
  })();
  return counts;
}

function note(counts, { last, values, numbers }, resolved) {
  counts.rounds += 1;
  if (last < resolved) counts.lost += 1;
  if (last > resolved) counts.kept += 1;
  const whole = values.length === KEYS && values.every((value) => value === last);
  if (!whole || numbers.some((number, index) => number !== index)) counts.torn += 1;
}

/** Writes batches numbered from `first` on until the browser is dead. The number of the last one known to be resolved. */
async function killed(browser, page, moment, first) {
  let resolved = first - 1;
  const victim = first + BEFORE;
  let kill;
  const dead = new Promise((resolve, reject) => {
    kill = () => browser.kill().then(resolve, reject);
  });
  await page.exposeFunction('tell', (what, number) => {
    if (what === 'resolved') resolved = number;
    const moments = { after: ['resolved', victim - 1], during: ['begun', victim] };
    if (what === moments[moment][0] && number === moments[moment][1]) kill();
  });
  // Ends with the browser, by an error.
  const writing = page.evaluate(write, [KEYS, first, moment === 'after']).catch(() => undefined);
  await dead;
  await writing;
  return resolved;
}

/** In the page: what is there. */
async function look(keys) {
  const { Cu } = await import('cu-wasm');
  const cu = await Cu.open({ name: 'kills', storage: 'indexeddb' });
  const all = await cu.queryTable('kept', { sort: 'key' });
  const values = all.map(({ number }) => number);
  const numbers = await cu.queryTable('numbers', {});
  await cu.close();
  return { last: numbers.length - 1, values: values.length === 0 ? Array(keys).fill(-1) : values, numbers };
}

/** In the page: batch after batch. */
async function write([keys, first, waits]) {
  const { Cu } = await import('cu-wasm');
  const cu = await Cu.open({ name: 'kills', storage: 'indexeddb' });
  for (let number = first; ; number += 1) {
    const operations = Array.from({ length: keys }, (_, key) => ({ type: 'set', table: 'kept', key, value: { key, number } }));
    operations.push({ type: 'set', table: 'numbers', key: number, value: number });
    const batch = cu.batchTableOperations(operations);
    // Not awaited: the batch is under way while the word travels.
    if (!waits) void window.tell('begun', number);
    await batch;
    const told = window.tell('resolved', number);
    if (waits) await told;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const moment of MOMENTS) {
    const { rounds, lost, torn, kept } = await kills(moment, Number(process.env.CU_KILL_ROUNDS));
    console.log(`killed ${moment} commits: ${rounds} rounds, ${lost} resolved batches lost, ${torn} torn; ${kept} were there unresolved`);
    if (lost + torn > 0) process.exitCode = 1;
  }
}
