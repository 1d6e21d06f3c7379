// Simulated use in a page of Chromium, `test/page/simulation/`: so many actions, the page loaded anew now and then, memory measured on the way.
// By itself it takes CU_SIMULATE_ACTIONS actions from CU_SIMULATE_SEED: `cargo xtask simulate`.
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { withBrowser } from './browsers.mjs';
import { withServer } from './page-server.mjs';
import { Gate, MEASURED_CHROMIUM, mebibytes, residentBytes } from './resident.mjs';

const page = '<!doctype html><title>simulation</title><script type="module" src="/web/test/simulation.js"></script>';
const MEASUREMENTS = 24;

/** Bytes by which a page's JavaScript heap may be larger at its last measurement than at its first, and all memory at the end than early on. */
export const HEAP_GROWTH_MAX = 2 ** 20;
export const RESIDENT_GROWTH_MAX = 48 * 2 ** 20;
/** Bytes of wasm memory that an instance may have whose Lua values may take 2 MiB, and whose database is small. */
export const WASM_MAX = 8 * 2 ** 20;

/**
 * Takes so many actions from a seed. What was measured, and the errors that were expected and came, by code.
 *
 * @param state what an earlier page would have left
 */
export async function simulate({ seed, actions, measurements = MEASUREMENTS, state = null, onPoint = () => undefined }) {
  const entryPoints = [fileURLToPath(new URL('../page/simulation/simulation.mjs', import.meta.url))];
  const { outputFiles } = await build({ entryPoints, bundle: true, write: false, format: 'esm', target: 'es2022', external: ['/web/dist/*'] });
  // Each report lets the page go on once, whichever of the two comes first.
  const gate = new Gate();
  const files = {
    '/simulation.html': page,
    '/web/test/simulation.js': outputFiles[0].text,
    '/state': () => JSON.stringify(state),
    '/go-on': () => gate.pass(),
  };
  const points = [];
  const errors = {};
  let pages = 1;
  await withServer({ files }, async ({ address, report }) => {
    const search = new URLSearchParams({ seed, actions, measurements });
    await withBrowser(MEASURED_CHROMIUM, `${address}/simulation.html?${search}`, async ({ group }) => {
      for (let isOver = false; !isOver; ) {
        const found = await report();
        if (found.kind === 'error') throw new Error(`seed ${seed}: ${found.message}`);
        if (found.kind === 'measured') {
          points.push({ ...found, page: pages, resident: await residentBytes(group) });
          onPoint(points.at(-1));
        } else {
          state = found.state;
          for (const [code, count] of Object.entries(found.errors)) errors[code] = (errors[code] ?? 0) + count;
          if (found.kind === 'reload') pages += 1;
          isOver = found.kind === 'done';
        }
        gate.open();
      }
    });
  });
  return { points, errors, pages, state, ...growth(points) };
}

/** How the heap grew inside of pages, at most; the most wasm; all memory from the most of the first three measurements to the least of the last. */
function growth(points) {
  const [first, last] = [new Map(), new Map()];
  for (const { page, heap } of points) {
    if (!first.has(page)) first.set(page, heap);
    last.set(page, heap);
  }
  const resident = points.map((point) => point.resident);
  return {
    heapGrowth: Math.max(...[...first].map(([page, heap]) => last.get(page) - heap)),
    wasmMost: Math.max(...points.map(({ wasm }) => wasm)),
    residentGrowth: Math.min(...resident.slice(-3)) - Math.max(...resident.slice(0, 3)),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [seed, actions] = [Number(process.env.CU_SIMULATE_SEED), Number(process.env.CU_SIMULATE_ACTIONS)];
  console.log(`seed ${seed}, ${actions} actions; JavaScript heap, wasm and memory of all processes in MiB`);
  const started = performance.now();
  const begun = Date.UTC(2026, 0, 1);
  const onPoint = ({ count, clock, page, entry, heap, wasm, resident }) => {
    const hours = ((clock - begun) / 3_600_000).toFixed(1).padStart(5);
    console.log(`  ${hours} h  ${String(count).padStart(6)}  page ${page} (${entry})  ${[heap, wasm, resident].map((bytes) => mebibytes(bytes).padStart(7)).join(' ')}`);
  };
  const { errors, pages, state, heapGrowth, wasmMost, residentGrowth } = await simulate({ seed, actions, onPoint });
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${((state.clock - begun) / 3_600_000).toFixed(1)} hours of use in ${seconds} s: ${state.count} actions in ${pages} pages, all as in the model`);
  console.log(`expected errors: ${Object.entries(errors).map(([code, count]) => `${code} ${count}`).join(', ')}`);
  console.log(`growth: ${mebibytes(heapGrowth)} MiB of heap in a page at most, ${mebibytes(residentGrowth)} MiB of memory in all; wasm at most ${mebibytes(wasmMost)} MiB`);
  const isFlat = heapGrowth <= HEAP_GROWTH_MAX && residentGrowth <= RESIDENT_GROWTH_MAX && wasmMost <= WASM_MAX;
  process.exitCode = isFlat ? 0 : 1;
}
