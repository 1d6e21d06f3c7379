// The packed package in small apps: built by Vite, webpack and esbuild, and without a bundler. All are served under a strict
// Content-Security-Policy, and report what they find.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { BROWSERS, withBrowser } from './browsers.mjs';
import { withApp } from './packed-package.mjs';
import { withServer } from './page-server.mjs';

const TIMEOUT = { timeout: 5 * 60 * 1000 };
const POLICY = { 'Content-Security-Policy': "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'" };
const [chromium] = BROWSERS;

const CHECK = `
  async function check(Class, options = {}) {
    const cu = await Class.open({ name: 'app', storage: 'indexeddb', functions: { twice: async (n) => 2 * n }, ...options });
    await cu.setValue('t', 'k', { n: 20 });
    const { n } = await cu.getValue('t', 'k');
    const value = await cu.eval('local s = 0 for i = 1, 300000 do s = s + 1 end return twice(...) + s', { args: [n + 1] });
    await cu.close();
    return value;
  }
  const report = (body) => fetch('/report', { method: 'POST', body: JSON.stringify(body) });
  const show = (error) => report({ error: String(error) + (error.suggestion ?? '') });
`;
const FOUND = 300_042;

/** With the wasm files that the bundler finds by itself. */
const DEFAULT = `
  import { Cu } from 'cu-wasm';
  import { Cu as InWorker } from 'cu-wasm/worker';
  ${CHECK}
  (async () => report({ here: await check(Cu), home: await check(Cu, { home: true }), worker: await check(InWorker), isolated: crossOriginIsolated }))().catch(show);
`;
const EXPECTED = { here: FOUND, home: FOUND, worker: FOUND, isolated: false };

const HTML = (script) => `<!doctype html><meta charset="utf-8"><title>app</title><script type="module" src="${script}"></script>`;

/** Serves a folder and gives what its page reports in a browser. */
async function reported(browser, folder, headers = POLICY, path = '/index.html') {
  let found;
  await withServer({ folder, headers }, async ({ address, report }) => {
    await withBrowser(browser, address + path, async () => (found = await report()));
  });
  return found;
}

test('Vite', TIMEOUT, async () => {
  const { build } = await import('vite');
  await withApp({ 'index.html': HTML('/main.js'), 'main.js': DEFAULT }, async (folder) => {
    await build({ root: folder, logLevel: 'error', configFile: false });
    assert.deepEqual(await reported(chromium, join(folder, 'dist')), EXPECTED);
  });
});

test('webpack', TIMEOUT, async () => {
  const { default: webpack } = await import('webpack');
  await withApp({ 'main.js': DEFAULT, 'index.html': HTML('dist/main.js') }, async (folder) => {
    const options = { mode: 'production', context: folder, entry: './main.js', output: { path: join(folder, 'dist'), publicPath: 'auto' } };
    const stats = await new Promise((resolve, reject) => webpack(options, (error, stats) => (error ? reject(error) : resolve(stats))));
    assert.deepEqual(stats.toJson({ all: false, errors: true }).errors, []);
    assert.deepEqual(await reported(chromium, folder), EXPECTED);
  });
});

test('esbuild, which is told where wasm and worker are', TIMEOUT, async () => {
  const { build } = await import('esbuild');
  const main = `
    import { Cu } from 'cu-wasm/slim';
    import { Cu as Inline } from 'cu-wasm/inline';
    import { Cu as InWorker } from 'cu-wasm/worker';
    import wasm from 'cu-wasm/cu.wasm';
    import storageWasm from 'cu-wasm/cu-storage.wasm';
    ${CHECK}
    const given = { wasm, storageWasm };
    (async () => report({
      slim: await check(Cu, given), inline: await check(Inline), worker: await check(InWorker, { ...given, worker: '/dist/thread.js' }),
    }))().catch(show);`;
  await withApp({ 'main.js': main, 'thread.js': `import 'cu-wasm/worker-thread';`, 'index.html': HTML('dist/main.js') }, async (folder) => {
    await build({
      absWorkingDir: folder,
      entryPoints: ['main.js', 'thread.js'],
      bundle: true,
      format: 'esm',
      outdir: 'dist',
      publicPath: '/dist',
      loader: { '.wasm': 'file' },
      logLevel: 'error',
    });
    assert.deepEqual(await reported(chromium, folder), { slim: FOUND, inline: FOUND, worker: FOUND });
  });
});

const PLAIN = (text) => text.replace(/'cu-wasm'/, "'/node_modules/cu-wasm/dist/index.js'").replace(/'cu-wasm\/worker'/, "'/node_modules/cu-wasm/dist/worker.js'");

for (const browser of BROWSERS) {
  const conditions = browser.missing === null ? TIMEOUT : { skip: browser.missing };

  test(`${browser.name}: a plain module script under a strict policy`, conditions, async () => {
    await withApp({ 'main.js': PLAIN(DEFAULT), 'index.html': HTML('main.js') }, async (folder) => {
      assert.deepEqual(await reported(browser, folder), EXPECTED);
    });
  });

  test(`${browser.name}: a policy without wasm is told by the error`, conditions, async () => {
    await withApp({ 'main.js': PLAIN(DEFAULT), 'index.html': HTML('main.js') }, async (folder) => {
      const { error } = await reported(browser, folder, { 'Content-Security-Policy': "default-src 'self'; script-src 'self'" });
      assert.match(error, /^EnhancedLuaError: cannot load the wasm module: .*Let the page's Content-Security-Policy have 'wasm-unsafe-eval'/s);
    });
  });
}
