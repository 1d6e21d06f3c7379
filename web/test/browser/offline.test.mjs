// The example in `examples/offline`: a page with a service worker goes on when the network is gone. A page around it, which
// the service worker has no part in, loads it, has the server refuse everything, and loads it again.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { BROWSERS, withBrowser } from './browsers.mjs';
import { withServer } from './page-server.mjs';

const AROUND = `<!doctype html><meta charset="utf-8"><title>around</title><iframe src="/web/offline/index.html"></iframe><script type="module">
  const frame = document.querySelector('iframe');
  const text = (selector) => frame.contentDocument?.querySelector(selector)?.textContent ?? '';
  const until = async (holds) => { while (!holds()) await new Promise((resolve) => requestAnimationFrame(resolve)); };
  await until(() => /^(kept|not kept:)/.test(text('#state')));
  const first = [text('#state'), text('#visits')];
  await fetch('/go-offline', { method: 'POST' });
  const network = await fetch('/web/offline/index.html?not-kept').then(({ status }) => status, () => 'none');
  const loaded = new Promise((resolve) => (frame.onload = resolve));
  frame.contentWindow.location.reload();
  await loaded;
  await until(() => /^[0-9]+$/.test(text('#visits')));
  await fetch('/report', { method: 'POST', body: JSON.stringify({ first, network, second: text('#visits') }) });
</script>`;

const names = ['index.html', 'main.js', 'service-worker.js'];
const example = Object.fromEntries(
  await Promise.all(names.map(async (name) => [`/web/offline/${name}`, await readFile(new URL(`../../examples/offline/${name}`, import.meta.url))])),
);
// The example has the package beside it.
example['/web/offline/main.js'] = example['/web/offline/main.js'].toString().replace('../cu-wasm/index.js', '../dist/index.js');

for (const browser of BROWSERS) {
  const conditions = browser.missing === null ? { timeout: 5 * 60 * 1000 } : { skip: browser.missing };
  test(`${browser.name}: the example goes on without a network`, conditions, async () => {
    await withServer({ files: { ...example, '/around.html': AROUND } }, async ({ address, report }) => {
      await withBrowser(browser, `${address}/around.html`, async () => {
        assert.deepEqual(await report(), { first: ['kept for offline use', '1'], network: 'none', second: '2' });
      });
    });
  });
}
