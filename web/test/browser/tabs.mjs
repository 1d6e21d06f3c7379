// Tabs that write to one database at once, and tabs that are killed while they hold the store: what is counted, and how long others wait.
//
//   node test/browser/tabs.mjs     as `cargo xtask tabs` starts it, with CU_TAB_SECONDS and CU_TAB_KILLS
import { pathToFileURL } from 'node:url';
import { withProfile } from './chromium.mjs';

/** Commits of a tab before the one in the middle of which it is killed. */
const BEFORE = 3;
/** Commits of each other tab after a kill before the next one. */
const AFTER = 5;
/** And before the first one. */
const UNDISTURBED = 20;

/** In a page: opens the database and counts in it, by batches that add to a shared counter and to one of the tab's own. */
export async function begin(tab) {
  const { Cu } = await import('cu-wasm');
  const cu = await Cu.open({ name: 'tabs', storage: 'indexeddb' });
  /** What the shared counter was after each commit of this tab, and when it was known, in milliseconds since 1970. */
  const counting = { seen: [], times: [], isStopped: false };
  counting.once = async () => {
    const [shared] = await cu.batchTableOperations([
      { type: 'increment', table: 'counters', key: 'shared' },
      { type: 'increment', table: 'counters', key: `of ${tab}` },
    ]);
    counting.seen.push(shared);
    counting.times.push(performance.timeOrigin + performance.now());
  };
  counting.close = () => cu.close();
  window.counting = counting;
}

/** In a page: counts so often, or so long; what was seen. */
export async function count([rounds, milliseconds]) {
  const { counting } = window;
  const end = performance.now() + milliseconds;
  while (!counting.isStopped && counting.seen.length < rounds && performance.now() < end) await counting.once();
  await counting.close();
  return counting.seen;
}

/** In a page: all counters. */
export async function counters() {
  const { Cu } = await import('cu-wasm');
  const cu = await Cu.open({ name: 'tabs', storage: 'indexeddb' });
  const entries = await cu.queryEntries('counters');
  await cu.close();
  return Object.fromEntries(entries.map(({ key, value }) => [key, value]));
}

/**
 * In a page that is to be killed: counts, and then once more, in a transaction of IndexedDB that goes on and on. One that another tab was faster
 * than is aborted, and the next one held; which it is, is known when the store has answered what was asked before.
 */
async function hold(before) {
  const { counting } = window;
  while (counting.seen.length < before) await counting.once();
  const { put } = IDBObjectStore.prototype;
  const held = new WeakSet();
  IDBTransaction.prototype.commit = () => undefined;
  IDBObjectStore.prototype.put = function (...entry) {
    const request = put.apply(this, entry);
    if (held.has(this.transaction)) return request;
    held.add(this.transaction);
    const again = () => {
      this.count().onsuccess = again;
    };
    this.count().onsuccess = () => {
      again();
      void window.holding();
    };
    return request;
  };
  await counting.once();
}

async function openTabs(browser, names) {
  const pages = [];
  for (const name of names) {
    const page = await browser.open();
    await page.evaluate(begin, name);
    pages.push(page);
  }
  return pages;
}

/**
 * Tabs that count at once, so many rounds each or so long.
 *
 * @returns counts: `commits`; `lost` (a commit that resolved is not counted, or a number was given to none), `doubled` (a number was given to two)
 */
export async function atOnce(tabs, { rounds = Infinity, milliseconds = Infinity }) {
  const counts = {};
  await withProfile(async (start) => {
    const browser = await start();
    const names = Array.from({ length: tabs }, (_, tab) => `tab ${tab}`);
    const pages = await openTabs(browser, names);
    const seen = await Promise.all(pages.map((page) => page.evaluate(count, [rounds, milliseconds])));
    const found = await pages[0].evaluate(counters);
    const own = names.map((name, tab) => Math.abs((found[`of ${name}`] ?? 0) - seen[tab].length));
    const numbers = seen.flat();
    const different = new Set(numbers).size;
    counts.commits = numbers.length;
    counts.shared = found.shared;
    counts.lost = Math.abs(found.shared - different) + own.reduce((sum, one) => sum + one);
    counts.doubled = numbers.length - different;
    counts.each = seen.map(({ length }) => length);
  })();
  return counts;
}

/**
 * Tabs that count while others are killed, one after the other, each in the middle of a commit that holds the store.
 *
 * @returns counts: `kills`, `commits` (those that resolved), `lost` (a commit that resolved is not in its tab's counter), `doubled` (a number was given
 * to two, or a surviving tab's counter is more than its commits), `torn` (the shared counter is not the sum of the tabs' own), `kept` (a killed commit
 * is there, though its transaction never ended); milliseconds: `first` and `last`, the longest until the first and until the last
 * of the other tabs went on after a kill, and `usual`, the longest between two commits of one of them while nobody was killed
 */
export async function killed(tabs, kills) {
  const counts = { kills: 0, commits: 0, lost: 0, kept: 0, first: 0, last: 0, usual: 0 };
  await withProfile(async (start) => {
    const browser = await start();
    const names = Array.from({ length: tabs - 1 }, (_, tab) => `tab ${tab}`);
    const pages = await openTabs(browser, names);
    const counting = pages.map((page) => page.evaluate(count, [Infinity, Infinity]));
    /** The numbers that the commits of each victim were told. */
    const victims = [];
    const idle = await Promise.all(pages.map((page) => page.waitForFunction((rounds) => {
      const { times } = window.counting;
      return times.length < rounds ? null : Math.max(...times.slice(1).map((time, index) => time - times[index]));
    }, UNDISTURBED).then((handle) => handle.jsonValue())));
    counts.usual = Math.max(...idle);
    for (; counts.kills < kills; counts.kills += 1) {
      const [victim] = await openTabs(browser, [`victim ${counts.kills}`]);
      const holding = new Promise((resolve) => void victim.exposeFunction('holding', resolve));
      await victim.waitForFunction(() => window.holding !== undefined);
      // Ends with its tab, by an error.
      const dying = victim.evaluate(hold, BEFORE).catch(() => undefined);
      await holding;
      victims.push(await victim.evaluate(() => window.counting.seen));
      const at = Date.now();
      await browser.crash(victim);
      const waits = await Promise.all(pages.map((page) => page.waitForFunction(([at, after]) => {
        const later = window.counting.times.filter((time) => time > at);
        return later.length < after ? null : later[0] - at;
      }, [at, AFTER]).then((handle) => handle.jsonValue())));
      counts.first = Math.max(counts.first, Math.min(...waits));
      counts.last = Math.max(counts.last, ...waits);
      await victim.close().catch(() => undefined);
      await dying;
    }
    await Promise.all(pages.map((page) => page.evaluate(() => void (window.counting.isStopped = true))));
    const seen = await Promise.all(counting);
    const { shared, ...own } = await pages[0].evaluate(counters);
    const all = [...seen, ...victims].flat();
    counts.commits = all.length;
    counts.doubled = all.length - new Set(all).size;
    counts.torn = Math.abs(shared - Object.values(own).reduce((sum, one) => sum + one));
    const beyond = (name, numbers) => (own[`of ${name}`] ?? 0) - numbers.length;
    for (const [tab, numbers] of seen.entries()) {
      counts.doubled += Math.max(beyond(names[tab], numbers), 0);
      counts.lost += Math.max(-beyond(names[tab], numbers), 0);
    }
    for (const [kill, numbers] of victims.entries()) {
      counts.kept += Math.max(beyond(`victim ${kill}`, numbers), 0);
      counts.lost += Math.max(-beyond(`victim ${kill}`, numbers), 0);
    }
  })();
  return counts;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [seconds, kills] = [Number(process.env.CU_TAB_SECONDS), Number(process.env.CU_TAB_KILLS)];
  for (const tabs of [2, 4]) {
    const { commits, shared, lost, doubled, each } = await atOnce(tabs, { milliseconds: seconds * 1000 });
    console.log(`${tabs} tabs that write at once for ${seconds} s: ${commits} commits (${each.join(', ')}), ${shared} counted, ${lost} lost, ${doubled} doubled`);
    if (lost + doubled > 0 || shared !== commits) process.exitCode = 1;
  }
  for (const tabs of [2, 4]) {
    const { commits, lost, doubled, torn, kept, first, last, usual } = await killed(tabs, kills);
    const [one, all, before] = [first, last, usual].map((wait) => wait.toFixed(0));
    console.log(`${tabs} tabs, one killed ${kills} times while it held the store: ${commits} commits, ${lost} lost, ${doubled} doubled, ${torn} torn, ${kept} stored unresolved`);
    console.log(`  after a kill another tab went on after at most ${one} ms, the last of them after ${all}; before the kills a tab waited up to ${before} ms for its next commit`);
    if (lost + doubled + torn + kept > 0) process.exitCode = 1;
  }
}
