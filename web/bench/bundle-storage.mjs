// Makes what `cargo xtask bench storage` serves: one file of JavaScript per database, minified, with its wasm beside it; and
// `versions.json`.
//
//   node bench/bundle-storage.mjs FOLDER [DIST]
//
// DIST is the folder of an earlier build of the package, which becomes the database `cu-before`.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const web = fileURLToPath(new URL('..', import.meta.url));
const [folder, before] = process.argv.slice(2);
const SIDES = ['cu', 'cu-opfs', 'indexeddb', 'dexie', 'sqlite', 'wa-sqlite', 'loki'];
const PACKAGES = { dexie: 'dexie', sqlite: '@sqlite.org/sqlite-wasm', 'wa-sqlite': 'wa-sqlite', loki: 'lokijs' };
const WASM = [
  'dist/cu-home.wasm',
  'dist/cu-storage.wasm',
  'node_modules/@sqlite.org/sqlite-wasm/dist/sqlite3.wasm',
  'node_modules/wa-sqlite/dist/wa-sqlite.wasm',
];
const OPTIONS = {
  bundle: true,
  format: 'esm',
  minify: true,
  platform: 'browser',
  target: 'es2022',
  external: ['node:*', 'module', 'fs', 'path', 'url', 'crypto'],
  logLevel: 'error',
};

rmSync(folder, { recursive: true, force: true });
mkdirSync(join(folder, 'databases'), { recursive: true });
const here = join(web, 'bench');
const entryPoints = SIDES.map((name) => join(here, 'databases', `${name}.mjs`));
await build({ ...OPTIONS, entryPoints, outdir: join(folder, 'databases') });
for (const name of ['storage', 'storage-worker']) {
  await build({ ...OPTIONS, entryPoints: [join(here, `${name}.mjs`)], outdir: folder });
}
copyFileSync(join(here, 'storage.html'), join(folder, 'storage.html'));
for (const file of WASM) copyFileSync(join(web, file), join(folder, 'databases', basename(file)));

if (before !== undefined) {
  // Beside its own wasm, and under names of its own.
  const here = join(folder, 'databases', 'before');
  const earlier = {
    name: 'earlier',
    setup: ({ onResolve }) => onResolve({ filter: /dist\/index\.js$/ }, () => ({ path: join(before, 'index.js') })),
  };
  const entry = join(web, 'bench/databases/cu.mjs');
  await build({ ...OPTIONS, entryPoints: [{ in: entry, out: 'cu-before' }], outdir: here, plugins: [earlier] });
  // Which VM it loads, that build knows.
  for (const file of ['cu.wasm', 'cu-home.wasm', 'cu-storage.wasm']) {
    if (existsSync(join(before, file))) copyFileSync(join(before, file), join(here, file));
  }
  writeFileSync(join(folder, 'databases', 'cu-before.js'), "export * from './before/cu-before.js';\n");
}

const version = (name) => JSON.parse(readFileSync(join(web, 'node_modules', name, 'package.json'), 'utf8')).version;
const versions = Object.fromEntries(Object.entries(PACKAGES).map(([side, name]) => [side, version(name)]));
writeFileSync(join(folder, 'versions.json'), JSON.stringify(versions, null, 2));
