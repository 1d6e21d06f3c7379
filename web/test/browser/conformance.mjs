// The official test suite of Lua in Chromium: each file, and all of them in one state, in a page of its own with the suite's
// folder as files in memory. Started by `cargo xtask conformance --browser`, which sets CU_SUITE (the folder) and
// CU_FILES (the names of the programs to run).
//
// A page has no processes and loads no C libraries. What needs those is left out, each with its reason printed; all else
// runs as it stands.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { withProfile } from './chromium.mjs';

const { CU_SUITE, CU_FILES } = process.env;
const HEAP_LIMIT = 2 ** 31;
const LIMIT_MS = 15 * 60 * 1000;

/** Takes a part out of a file, and keeps the numbers of the lines after it. */
const blank = (text) => text.replace(/[^\n]+/g, '');

/** What is left out: the part of a file, or all of it, and the reason. */
const LEFT_OUT = {
  'main.lua': { part: /[^]*/, reason: 'all of it runs a program from a shell; a page has neither' },
  'files.lua': {
    part: /^if not _port then\n  local progname\n[^]*?^end$/m,
    reason: 'io.popen and os.execute start processes; a page has none',
  },
};

/** `big.lua` yields, so it runs in a coroutine, as `all.lua` has it. */
const IN_COROUTINE = `
  local f = coroutine.wrap(assert(loadfile('big.lua')))
  assert(f() == 'b')
  assert(f() == 'a')`;

/** The suite's files as text in which each character is a byte, which crosses to the page unchanged. */
function suite() {
  const files = {};
  for (const entry of readdirSync(CU_SUITE, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(CU_SUITE.length + 1).replaceAll('\\', '/');
    const text = readFileSync(path, 'latin1');
    const { part } = LEFT_OUT[name] ?? {};
    if (part !== undefined && !part.test(text)) throw new Error(`${name} has no part to leave out`);
    files[name] = part === undefined ? text : text.replace(part, blank);
  }
  return files;
}

/** Runs one file in the page. The message of its error, null when there is none. */
function inPage(page, files, file) {
  const source = file === 'big.lua' ? IN_COROUTINE : files[file];
  return page.evaluate(async ([files, file, source, heapLimit, limit]) => {
    const { Cu } = await import('cu-wasm');
    const bytes = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));
    const contents = Object.fromEntries(Object.entries(files).map(([name, text]) => [name, bytes(text)]));
    // The suite knows that every system has a PATH.
    const environment = { PATH: '/bin' };
    const cu = await Cu.open({ storage: 'memory', heapLimit, files: contents, environment });
    try {
      await cu.run(bytes(source), { chunkName: file, onOutput: () => undefined, signal: AbortSignal.timeout(limit) });
      return null;
    } catch (error) {
      return error.name === 'TimeoutError' ? `not at its end after ${limit / 1000} s` : error.message;
    } finally {
      await cu.close().catch(() => undefined);
    }
  }, [files, file, source, HEAP_LIMIT, LIMIT_MS]);
}

const files = suite();
// A file of which nothing is left has not passed.
const programs = CU_FILES.split(' ').filter((file) => files[file].trim() !== '');
for (const [name, { reason }] of Object.entries(LEFT_OUT)) console.log(`LEFT OUT ${name}: ${reason}`);
let failed = 0;
await withProfile(async (start) => {
  const browser = await start();
  for (const file of programs) {
    const page = await browser.open();
    const started = performance.now();
    let problem = null;
    try {
      problem = await inPage(page, files, file);
    } catch (error) {
      problem = `the page fails: ${error.message}`;
    }
    if (problem !== null) failed++;
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const message = problem?.startsWith(`${file}:`) ? problem : `${file}: ${problem}`;
    console.log(problem === null ? `PASS ${file}  (${seconds} s)` : `FAIL ${message}`);
    await page.close().catch(() => undefined);
  }
})();
console.log(`${programs.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
