// The React hook, the Vue composable and the Svelte store in components of the real frameworks, in Chromium: rows come and go with
// commits, another query takes the place of the first, what is wrong is shown, and a component that is gone watches no more.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { build } from 'esbuild';
import { compile } from 'svelte/compiler';
import { BROWSERS, withBrowser } from './browsers.mjs';
import { withApp } from './packed-package.mjs';
import { withServer } from './page-server.mjs';

/**
 * The story that each framework's component is taken through. `show(cu, query)` puts it into `#app`, or gives it another query; `hide()`
 * takes it away. The component writes its rows' names, or `loading`, or its error's code.
 */
const STORY = `
import { Cu } from 'cu-wasm';
import { hide, show } from './component.js';

const app = document.querySelector('#app');
/** Waits until the component has written this, and nothing else. */
const until = async (text) => {
  while (app.textContent.trim() !== text) await new Promise((resolve) => new MutationObserver((_, observer) => (observer.disconnect(), resolve())).observe(app, { subtree: true, childList: true, characterData: true }));
  seen.push(text);
};
const seen = [];
const ended = [];

async function story() {
  const cu = await Cu.open({ storage: 'memory' });
  const { subscribe } = cu;
  cu.subscribe = async (...request) => {
    const subscription = await subscribe.apply(cu, request);
    ended.push(subscription.ended);
    return subscription;
  };
  const set = (key, name, age) => cu.setValue('users', key, { name, age });
  await set('b', 'Bob', 30);
  show(null, {});
  await until('loading');
  const adults = () => ({ field: 'age', operator: '>=', value: 18 });
  show(cu, adults());
  await until('Bob');
  await set('a', 'Ann', 40);
  await until('Ann Bob');
  // The same query as another object: the component goes on watching as it does.
  show(cu, adults());
  await set('b', 'Ben', 30);
  await until('Ann Ben');
  await cu.deleteValue('users', 'a');
  await until('Ben');
  await set('c', 'Cid', 3);
  const watchedBefore = ended.length;
  show(cu, { sort: { field: 'age' }, limit: 2 });
  await until('Cid Ben');
  await ended[0];
  await set('d', 'Dan', 20);
  await until('Cid Dan');
  show(cu, { field: 'age', operator: 'like', value: 1 });
  await until('UNSUPPORTED_OPERATOR');
  show(cu, {});
  await until('Ben Cid Dan');
  const watched = ended.length;
  hide();
  await Promise.all(ended);
  await cu.close();
  return { seen, watchedBefore, watched };
}

const report = (body) => fetch('/report', { method: 'POST', body: JSON.stringify(body) });
story().then(report, (error) => report({ error: String(error.stack ?? error), seen }));
`;
const EXPECTED = {
  seen: ['loading', 'Bob', 'Ann Bob', 'Ann Ben', 'Ben', 'Cid Ben', 'Cid Dan', 'UNSUPPORTED_OPERATOR', 'Ben Cid Dan'],
  watchedBefore: 1,
  watched: 3,
};

const REACT = `
import { createElement, StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { useLiveQuery } from 'cu-wasm/react';

function Users({ cu, query }) {
  const { rows, isLoading, error } = useLiveQuery(cu, 'users', query);
  return createElement('p', null, error?.code ?? (isLoading ? 'loading' : rows.map(({ name }) => name).join(' ')));
}
const root = createRoot(document.querySelector('#app'));
export const show = (cu, query) => root.render(createElement(Users, { cu, query }));
export const hide = () => root.unmount();
`;

const VUE = `
import { createApp, h, shallowRef } from 'vue';
import { useLiveQuery } from 'cu-wasm/vue';

const [cu, query] = [shallowRef(null), shallowRef({})];
const app = createApp({
  setup() {
    const { rows, isLoading, error } = useLiveQuery(cu, 'users', query);
    return () => h('p', error.value?.code ?? (isLoading.value ? 'loading' : rows.value.map(({ name }) => name).join(' ')));
  },
});
let isThere = false;
export function show(nextCu, nextQuery) {
  [cu.value, query.value] = [nextCu, nextQuery];
  if (!isThere) app.mount('#app');
  isThere = true;
}
export const hide = () => app.unmount();
`;

const SVELTE = `
<script>
  let { store } = $props();
</script>
<p>{$store.error?.code ?? ($store.isLoading ? 'loading' : $store.rows.map(({ name }) => name).join(' '))}</p>
`;
const SVELTE_STORES = `
import { mount, unmount } from 'svelte';
import { readable } from 'svelte/store';
import { liveQuery } from 'cu-wasm/svelte';
import Users from './Users.svelte';

let component = null;
let asked = null;
export function show(cu, query) {
  if (JSON.stringify(query) === asked) return;
  asked = JSON.stringify(query);
  if (component !== null) unmount(component);
  const store = cu === null ? readable({ isLoading: true, rows: [] }) : liveQuery(cu, 'users', query);
  component = mount(Users, { target: document.querySelector('#app'), props: { store } });
  asked = cu === null ? null : asked;
}
export const hide = () => unmount(component);
`;

const svelte = {
  name: 'svelte',
  setup({ onLoad }) {
    onLoad({ filter: /\.svelte$/ }, ({ path }) => ({ contents: compile(SVELTE, { filename: path, generate: 'client' }).js.code, loader: 'js' }));
  },
};

const [chromium] = BROWSERS;
const FRAMEWORKS = [
  { name: 'React', files: { 'component.js': REACT }, linked: ['react', 'react-dom', 'scheduler'] },
  { name: 'Vue', files: { 'component.js': VUE }, linked: ['vue'] },
  { name: 'Svelte', files: { 'component.js': SVELTE_STORES, 'Users.svelte': SVELTE }, linked: ['svelte'] },
];

async function shown(files, linked) {
  const page = '<!doctype html><meta charset="utf-8"><title>app</title><div id="app"></div><script type="module" src="dist/main.js"></script>';
  let found;
  await withApp({ 'main.js': STORY, 'index.html': page, ...files }, async (folder) => {
    await build({
      absWorkingDir: folder,
      entryPoints: ['main.js'],
      bundle: true,
      format: 'esm',
      outdir: 'dist',
      conditions: ['svelte', 'browser'],
      define: { 'process.env.NODE_ENV': '"development"', __VUE_OPTIONS_API__: 'true', __VUE_PROD_DEVTOOLS__: 'false', __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false' },
      // The wasm lies where the bundle looks for it: beside itself.
      plugins: [svelte],
      logLevel: 'error',
    });
    const wasm = { '/dist/cu-compile.wasm': null, '/dist/cu-storage.wasm': null };
    const { readFile } = await import('node:fs/promises');
    for (const path of Object.keys(wasm)) wasm[path] = await readFile(join(folder, 'node_modules/cu-wasm', path));
    await withServer({ folder, files: wasm }, async ({ address, report }) => {
      await withBrowser(chromium, `${address}/index.html`, async () => (found = await report()));
    });
  }, linked);
  return found;
}

for (const { name, files, linked } of FRAMEWORKS) {
  test(`${name} shows live rows`, { timeout: 5 * 60 * 1000 }, async () => {
    assert.deepEqual(await shown(files, linked), EXPECTED);
  });
}

test('React in strict mode begins anew what it has ended', { timeout: 5 * 60 * 1000 }, async () => {
  const strict = REACT.replace('root.render(createElement(Users, { cu, query }))', 'root.render(createElement(StrictMode, null, createElement(Users, { cu, query })))');
  assert.notEqual(strict, REACT);
  const { seen } = await shown({ 'component.js': strict }, ['react', 'react-dom', 'scheduler']);
  assert.deepEqual(seen, EXPECTED.seen);
});

test('React on a server shows that it is loading', async () => {
  const { createElement } = await import('react');
  const { renderToString } = await import('react-dom/server');
  const { useLiveQuery } = await import('../../dist/react.js');
  const Users = () => createElement('p', null, String(useLiveQuery(null, 'users').isLoading));
  assert.equal(renderToString(createElement(Users)), '<p>true</p>');
});
