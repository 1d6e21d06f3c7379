// Killing the browser right after a commit has resolved, and while one is under way, and a power cut right after one: rounds over one profile,
// each of which checks what the one before it has left.
//
//   node test/browser/kills.mjs     as `cargo xtask kills` starts it, with CU_KILL_ROUNDS
import { readFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { withProfile } from './chromium.mjs';

/** Commits of a round before the one that is killed. */
const BEFORE = 3;

export const MOMENTS = ['after', 'during', 'cut'];

const program = (name) => readFile(fileURLToPath(new URL(`../../../fixtures/crash/${name}.lua`, import.meta.url)), 'utf8');

/** What is committed: functions that run in the page, and what they are given. */
export const WORKLOADS = {
  /** Keys that every batch writes anew, so that a batch of which only a part is there shows. */
  batches: { look: lookAtBatches, write: writeBatches, given: { keys: 50, entry: 'cu-wasm', storage: 'indexeddb' } },
  /** The same in the origin's private file system, by a worker. */
  files: { look: lookAtBatches, write: writeBatches, given: { keys: 50, entry: './cu-wasm/worker.js', storage: 'opfs' } },
  /** A state in `_home` of which a mixture of two commits would show. */
  home: { look: lookAtHome, write: writeHome, given: { round: await program('round'), check: await program('check') } },
};

/**
 * @param moment `after`: the process group is killed as soon as this process knows that a commit has resolved, and nothing else is begun;
 * `during`: as soon as it knows that one has begun; `cut`: as `after`, but the files of the database are copied before the kill, and the next
 * round has the copy, as after a power cut that loses nothing that was written
 * @returns counts: `rounds`, `lost` (a resolved commit is not there), `torn` (a part of one is), `kept` (one is there that was not
 * known to be resolved)
 */
export async function kills(moment, rounds, workload = WORKLOADS.batches) {
  const counts = { rounds: 0, lost: 0, torn: 0, kept: 0 };
  await withProfile(async (start) => {
    let resolved = -1;
    for (let round = 0; round <= rounds; round += 1) {
      const browser = await start();
      const page = await browser.open();
      const found = await page.evaluate(workload.look, workload.given);
      if (round > 0) note(counts, found, resolved);
      if (round < rounds) resolved = await killed(browser, page, moment, workload, Math.max(resolved, found.last) + 1);
      await browser.kill();
    }
  })();
  return counts;
}

function note(counts, { last, isWhole }, resolved) {
  counts.rounds += 1;
  if (!isWhole) counts.torn += 1;
  else if (last < resolved) counts.lost += 1;
  else if (last > resolved) counts.kept += 1;
}

/** Makes commits numbered from `first` on until the browser is dead. The number of the last one known to be resolved. */
async function killed(browser, page, moment, { write, given }, first) {
  let resolved = first - 1;
  const victim = first + BEFORE;
  let kill;
  const dead = new Promise((resolve, reject) => {
    kill = () => browser.kill().then(resolve, reject);
  });
  await page.exposeFunction('tell', async (what, number) => {
    if (what === 'resolved') resolved = number;
    const moments = { after: ['resolved', victim - 1], during: ['begun', victim], cut: ['resolved', victim - 1] };
    if (what !== moments[moment][0] || number !== moments[moment][1]) return;
    if (moment === 'cut') await browser.copyDatabases();
    kill();
  });
  // Ends with the browser, by an error.
  const writing = page.evaluate(write, [given, first, moment !== 'during']).catch(() => undefined);
  await dead;
  await writing;
  if (moment === 'cut') await browser.putCopyBack();
  return resolved;
}

/** In the page: what is there. */
async function lookAtBatches({ keys, entry, storage }) {
  const { Cu } = await import(entry);
  const cu = await Cu.open({ name: 'kills', storage });
  const all = await cu.queryTable('kept', { sort: 'key' });
  const numbers = await cu.queryTable('numbers', {});
  await cu.close();
  const last = numbers.length - 1;
  const isWhole = all.length === (last < 0 ? 0 : keys) && all.every(({ number }) => number === last);
  return { last, isWhole: isWhole && numbers.every((number, index) => number === index) };
}

/** In the page: batch after batch. */
async function writeBatches([{ keys, entry, storage }, first, waits]) {
  const { Cu } = await import(entry);
  const cu = await Cu.open({ name: 'kills', storage });
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

/** In the page: rounds are counted from 1, commits from 0. */
async function lookAtHome({ check }) {
  const { Cu } = await import('cu-wasm');
  const cu = await Cu.open({ name: 'kills', storage: 'indexeddb', home: { commit: 'manual' } });
  const round = await cu.eval(check);
  await cu.close();
  return { last: round - 1, isWhole: round >= 0 };
}

/** In the page: a run and its commit, again and again. */
async function writeHome([{ round }, first, waits]) {
  const { Cu } = await import('cu-wasm');
  const cu = await Cu.open({ name: 'kills', storage: 'indexeddb', home: true });
  for (let number = first; ; number += 1) {
    const run = cu.eval(round);
    if (!waits) void window.tell('begun', number);
    await run;
    const told = window.tell('resolved', number);
    if (waits) await told;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const [name, workload] of Object.entries(WORKLOADS)) {
    for (const moment of MOMENTS) {
      const { rounds, lost, torn, kept } = await kills(moment, Number(process.env.CU_KILL_ROUNDS), workload);
      const how = moment === 'cut' ? 'files copied after' : `Chromium killed ${moment}`;
      console.log(`${name}, ${how} commits: ${rounds} rounds, ${lost} resolved ones lost, ${torn} torn; ${kept} were there unresolved`);
      if (lost + torn > 0) process.exitCode = 1;
    }
  }
}
