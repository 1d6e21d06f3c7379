// The tests of the API in pages of every browser that is there, with the entries of the package: the very files that run in Node.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { BROWSERS, withBrowser } from './browsers.mjs';
import { withServer } from './page-server.mjs';

/** Nothing takes so long, on however busy a machine: what does hangs. */
const TIMEOUT = { timeout: 5 * 60 * 1000 };

const API = 'api,external,migration,enhanced,error-codes,handles,host,image,live,indexeddb,operators,plain,reach,bigint,transactions,cells';
const RUNS = [
  { entry: 'index', suites: `${API},codec,fixtures,basic,basic-import,basic-saved` },
  { entry: 'worker', suites: API },
  { entry: 'inline', suites: 'live,indexeddb' },
];
/** Fewer tests than this have gone missing. */
const TESTS_MIN = { index: 345, worker: 70, inline: 6 };

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The tests as one script for pages; the package itself stays outside. */
async function bundle() {
  const modules = {
    'node:assert/strict': 'assert',
    'node:test': 'runner',
    'node:fs': 'files',
    'node:fs/promises': 'files',
    './entry.mjs': 'entry',
    '../entry.mjs': 'entry',
  };
  const standIns = {
    name: 'stand-ins',
    setup({ onResolve }) {
      onResolve({ filter: /.*/ }, ({ path }) => {
        if (Object.hasOwn(modules, path)) return { path: here(`../page/${modules[path]}.mjs`) };
        const [, file] = /\/dist\/([\w-]+\.js)(\?.*)?$/.exec(path) ?? [];
        return file === undefined ? undefined : { path: `/web/dist/${file}`, external: true };
      });
    },
  };
  const options = { bundle: true, write: false, format: 'esm', target: 'es2022', plugins: [standIns] };
  const { outputFiles } = await build({ entryPoints: [here('../page/suite.mjs')], ...options });
  return outputFiles[0].text;
}

const script = await bundle();
const page = '<!doctype html><title>suite</title><script type="module" src="/web/test/suite.js"></script>';

for (const browser of BROWSERS) {
  if (browser.missing !== null) console.log(`LEFT OUT: the tests in ${browser.name}: ${browser.missing}`);
  for (const { entry, suites } of RUNS) {
    const conditions = browser.missing === null ? TIMEOUT : { skip: browser.missing };
    test(`${browser.name}: the API by cu-wasm/${entry}`, conditions, async (context) => {
      await withServer({ files: { '/suite.html': page, '/web/test/suite.js': script } }, async ({ address, report }) => {
        await withBrowser(browser, `${address}/suite.html?entry=${entry}&suites=${suites}`, async () => {
          const { results, unseen, agent } = await report();
          context.diagnostic(`${agent}: ${results.length} tests, ${results.filter(({ skip }) => skip !== null).length} left out`);
          const failed = results.filter(({ error }) => error !== null);
          assert.deepEqual(failed.map(({ name, error }) => `${name}: ${error}`), []);
          assert.deepEqual(unseen, []);
          assert.ok(results.length >= TESTS_MIN[entry], `only ${results.length} tests`);
        });
      });
    });
  }
}
