// Opens and closes many instances in one page and measures what memory stays: the page's JavaScript heap, and the resident memory of all
// of Chromium's processes, in which wasm memory shows. By itself it takes as many cycles as CU_CYCLES says: `cargo xtask cycles`.
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { withBrowser } from './browsers.mjs';
import { withServer } from './page-server.mjs';
import { Gate, MEASURED_CHROMIUM, mebibytes, residentBytes } from './resident.mjs';

const page = '<!doctype html><title>cycles</title><script type="module" src="/web/test/cycles.js"></script>';

/** Bytes of JavaScript heap that may stay per cycle, and of all memory for all cycles from the first fifth on: an instance has over a million. */
export const HEAP_PER_CYCLE_MAX = 4 * 1024;
export const RESIDENT_GROWTH_MAX = 32 * 2 ** 20;

/** Opens and closes so many instances. Five measurements on the way, and what grew from the first to the last. */
export async function measure(cycles, entry) {
  const script = await readFile(new URL('../page/cycles.mjs', import.meta.url));
  const points = [];
  // Each report lets the page go on once, whichever of the two comes first.
  const gate = new Gate();
  const files = { '/cycles.html': page, '/web/test/cycles.js': script, '/measured': () => gate.pass() };
  await withServer({ files }, async ({ address, report }) => {
    await withBrowser(MEASURED_CHROMIUM, `${address}/cycles.html?cycles=${cycles}&entry=${entry}`, async ({ group }) => {
      while (points.length < 5) {
        const { done, heap, error } = await report();
        if (error !== undefined) throw new Error(error);
        points.push({ done, heap, resident: await residentBytes(group) });
        gate.open();
      }
    });
  });
  const [first] = points;
  const last = points.at(-1);
  // The least of three: processes that have ended give their memory back when they come to it.
  const residentGrowth = Math.min(...points.slice(2).map(({ resident }) => resident)) - first.resident;
  return { points, heapPerCycle: (last.heap - first.heap) / (last.done - first.done), residentGrowth };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const cycles = Number(process.env.CU_CYCLES);
  let failed = false;
  for (const entry of ['index', 'worker']) {
    const { points, heapPerCycle, residentGrowth } = await measure(cycles, entry);
    console.log(`cu-wasm/${entry}: after opening and closing, JavaScript heap and memory of all processes (MiB)`);
    for (const { done, heap, resident } of points) console.log(`  ${String(done).padStart(5)}  ${mebibytes(heap).padStart(7)}  ${mebibytes(resident).padStart(7)}`);
    console.log(`  from the first row to the last: ${heapPerCycle.toFixed(0)} bytes of heap per cycle, ${mebibytes(residentGrowth)} MiB of memory in all`);
    failed ||= heapPerCycle > HEAP_PER_CYCLE_MAX || residentGrowth > RESIDENT_GROWTH_MAX;
  }
  process.exitCode = failed ? 1 : 0;
}
