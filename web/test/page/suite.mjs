// The tests of the API as a page runs them; the page's address says with which entry of the package, and which test files.
import { run } from './runner.mjs';

const suites = {
  api: () => import('../api.test.mjs'),
  basic: () => import('../basic.test.mjs'),
  'basic-import': () => import('../basic-import.test.mjs'),
  'basic-saved': () => import('./basic.mjs'),
  bigint: () => import('../bigint.test.mjs'),
  codec: () => import('../codec.test.mjs'),
  enhanced: () => import('../enhanced.test.mjs'),
  'error-codes': () => import('../error-codes.test.mjs'),
  external: () => import('../external.test.mjs'),
  fixtures: () => import('../fixtures.test.mjs'),
  handles: () => import('../handles.test.mjs'),
  host: () => import('../host.test.mjs'),
  image: () => import('../image.test.mjs'),
  indexeddb: () => import('./indexeddb.mjs'),
  live: () => import('../live.test.mjs'),
  migration: () => import('../migration.test.mjs'),
  operators: () => import('../operators.test.mjs'),
  plain: () => import('../plain.test.mjs'),
  transactions: () => import('../transactions.test.mjs'),
  cells: () => import('../cells.test.mjs'),
  reach: () => import('../reach.test.mjs'),
};

const report = (body) => fetch('/report', { method: 'POST', body: JSON.stringify(body) });
let unseen = [];
addEventListener('error', ({ message }) => unseen.push(message));
addEventListener('unhandledrejection', ({ reason }) => unseen.push(`unhandled rejection: ${reason?.stack ?? reason}`));
try {
  const names = new URLSearchParams(location.search).get('suites').split(',');
  for (const name of names) await suites[name]();
  const results = await run((done, all) => (document.title = `${done} of ${all}`));
  await report({ results, unseen, agent: navigator.userAgent });
} catch (error) {
  await report({ results: [], unseen: [...unseen, `${error.stack}\n${error}`], agent: navigator.userAgent });
}
