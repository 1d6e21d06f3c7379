// Makes what `cargo xtask bench vm` serves: one file of JavaScript per side, minified, with its wasm beside it; and
// `manifest.json`: versions of the packages, and bytes of what a page loads of each.
//
//   node bench/bundle.mjs FOLDER
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const web = fileURLToPath(new URL('..', import.meta.url));
const folder = process.argv[2];
const SIDES = ['cu', 'cu-database', 'wasmoon', 'luau-web', 'fengari', 'empty'];
const WASM = ['dist/cu.wasm', 'dist/cu-compile.wasm', 'dist/cu-storage.wasm', 'node_modules/wasmoon/dist/glue.wasm'];

/** What a page loads of each package: an entry to bundle, and files beside it. */
const PACKAGES = {
  cu: { entry: './dist/index.js', files: ['dist/cu-compile.wasm', 'dist/cu-storage.wasm'] },
  'cu without storage': { entry: './dist/index.js', files: ['dist/cu-compile.wasm'] },
  wasmoon: { entry: 'wasmoon', files: ['node_modules/wasmoon/dist/glue.wasm'] },
  // Of its two builds, Chromium takes this one.
  'luau-web': { entry: 'luau-web', files: [], chunks: (name) => !name.includes('Asyncify') },
  fengari: { entry: 'fengari-web', files: [] },
};

const OPTIONS = {
  bundle: true,
  format: 'esm',
  minify: true,
  splitting: true,
  target: 'es2022',
  // What sides for Node and the web import of Node, behind a look at where they are.
  external: ['node:*', 'module', 'fs', 'path', 'url', 'crypto', 'child_process', 'ws'],
  logLevel: 'error',
};

async function sizes({ entry, files, chunks = () => true }) {
  const stdin = { contents: `export * from '${entry}';`, resolveDir: web };
  const built = await build({ ...OPTIONS, stdin, outdir: 'out', write: false, chunkNames: '[name]' });
  const parts = built.outputFiles.filter(({ path }) => chunks(path)).map(({ contents }) => contents);
  parts.push(...files.map((file) => readFileSync(join(web, file))));
  const total = (measure) => parts.reduce((bytes, part) => bytes + measure(part), 0);
  return {
    raw: total((part) => part.length),
    gzip: total((part) => gzipSync(part, { level: 9 }).length),
    brotli: total((part) => brotliCompressSync(part, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).length),
  };
}

function version(name) {
  return JSON.parse(readFileSync(join(web, 'node_modules', name, 'package.json'), 'utf8')).version;
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(join(folder, 'sides'), { recursive: true });
// Node has to know that these files are modules.
writeFileSync(join(folder, 'package.json'), '{"type": "module"}\n');
const here = join(web, 'bench');
await build({ ...OPTIONS, entryPoints: SIDES.map((name) => join(here, 'sides', `${name}.mjs`)), outdir: join(folder, 'sides') });
await build({ ...OPTIONS, entryPoints: [join(here, 'worker.mjs')], outdir: folder, external: ['./sides/*'] });
copyFileSync(join(here, 'worker.html'), join(folder, 'worker.html'));
for (const file of WASM) copyFileSync(join(web, file), join(folder, 'sides', file.slice(dirname(file).length + 1)));

const manifest = {
  versions: Object.fromEntries(['wasmoon', 'luau-web', 'fengari-web'].map((name) => [name, version(name)])),
  sizes: {},
};
for (const [name, parts] of Object.entries(PACKAGES)) manifest.sizes[name] = await sizes(parts);
writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest, null, 2));
