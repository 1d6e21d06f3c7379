// docs/QUICKSTART.md in browsers: its app, built by Vite from the packed package, is used as the document says, reloaded, and used again.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readDocument } from '../documents/read.mjs';
import { filesOf } from '../documents/steps.mjs';
import { BROWSERS, withBrowser } from './browsers.mjs';
import { withApp } from './packed-package.mjs';
import { withServer } from './page-server.mjs';

const POLICY = { 'Content-Security-Policy': "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'" };

/** Uses the page as a person would, and tells what it shows; after the first time, once more after a reload. */
const USER = `
const find = (selector) => document.querySelector(selector);
/** Waits until the page shows it. */
const until = async (holds) => {
  while (!holds()) await new Promise((resolve) => new MutationObserver((_, observer) => (observer.disconnect(), resolve())).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true }));
};
const shown = () => ({ visits: find('#visits').value, tasks: [...find('#tasks').children].map(({ firstChild }) => firstChild.data.trim()), summary: find('#summary').textContent });
const add = async (title, priority) => {
  const { elements } = find('form');
  [elements.title.value, elements.priority.value] = [title, priority];
  find('form').requestSubmit();
  await until(() => find('#tasks').textContent.includes(title));
};

async function use() {
  await until(() => find('#summary').textContent !== '');
  if (sessionStorage.before === undefined) {
    await add('Water the plants', 2);
    await add('Call Ann', 5);
    await add('Read', 1);
    await until(() => find('#summary').textContent === '3 to do, 1 of them urgent');
    const full = shown();
    find('#tasks').children[1].querySelector('button').click();
    await until(() => find('#summary').textContent === '2 to do, 1 of them urgent');
    sessionStorage.before = JSON.stringify([full, shown()]);
    location.reload();
    return;
  }
  // The page's script goes on behind what it shows first.
  while (window.score === undefined) await new Promise(requestAnimationFrame);
  const score = await window.score({ title: 'Call Ann', priority: 4 });
  await report({ before: JSON.parse(sessionStorage.before), after: shown(), score });
}
const report = (body) => fetch('/report', { method: 'POST', body: JSON.stringify(body) });
use().catch((error) => report({ error: String(error.stack ?? error) }));
addEventListener('unhandledrejection', ({ reason }) => report({ error: String(reason) }));
`;
const EXPECTED = {
  before: [
    { visits: '1', tasks: ['Call Ann (5)', 'Water the plants (2)', 'Read (1)'], summary: '3 to do, 1 of them urgent' },
    { visits: '1', tasks: ['Call Ann (5)', 'Read (1)'], summary: '2 to do, 1 of them urgent' },
  ],
  after: { visits: '2', tasks: ['Call Ann (5)', 'Read (1)'], summary: '2 to do, 1 of them urgent' },
  score: 48,
};

for (const browser of BROWSERS) {
  test(`${browser.name}: the app of the quick start`, browser.missing === null ? { timeout: 300_000 } : { skip: browser.missing }, async () => {
    const { build } = await import('vite');
    await withApp(filesOf(readDocument('QUICKSTART.md')), async (folder) => {
      await build({ root: folder, logLevel: 'error', configFile: false });
      const page = join(folder, 'dist/index.html');
      await writeFile(page, (await readFile(page, 'utf8')).replace('</body>', '<script type="module" src="/user.js"></script></body>'));
      await writeFile(join(folder, 'dist/user.js'), USER);
      let found;
      await withServer({ folder: join(folder, 'dist'), headers: POLICY }, async ({ address, report }) => {
        await withBrowser(browser, `${address}/index.html`, async () => (found = await report()));
      });
      assert.deepEqual(found, EXPECTED);
    });
  });
}
