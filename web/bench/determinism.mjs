// Runs what the native `determinism` wrote to the file that is named, in Node and in Chromium, interpreted and with every function compiled, and
// compares output, fuel and the VM's image afterwards. Prints what differs and a table. Ends with status 1 if anything differs.
// Started by `cargo xtask determinism`, which sets CU_ADDRESS and CU_CHROMIUM.
import { readFileSync } from 'node:fs';
import { withProfile } from '../test/browser/chromium.mjs';

const LIMITS = { heapLimit: 64 << 20, fuel: 200_000_000 };
const WAYS = [
  { name: 'interpreted', compile: 'never', file: 'cu.wasm' },
  { name: 'compiled', compile: 'eager', file: 'cu-compile.wasm' },
];
/** Programs that cross to a page at a time. */
const AT_ONCE = 50;

const programs = readFileSync(process.argv[2], 'utf8').split('\n').filter(Boolean).map((line) => {
  const [name, fuel, output, image, source] = line.split(' ');
  return { name, fuel: Number(fuel), output, image, source: source.slice(1) };
}).filter(({ source }) => !source.includes(Buffer.from('os.').toString('hex'))); // The page has a clock, the native host has none.

/** What programs come to, in Node or in a page: the function is sent there as text. */
async function run([sources, { compile, file }, { heapLimit, fuel }, address]) {
  const { Cu } = await import(address);
  const inNode = globalThis.process?.versions?.node !== undefined;
  const place = new URL(file, inNode ? address : import.meta.resolve(address));
  const wasm = await WebAssembly.compile(inNode ? await (await import('node:fs/promises')).readFile(place) : await (await fetch(place)).arrayBuffer());
  const hexadecimal = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  const hash = async (bytes) => hexadecimal(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)));
  const outcomes = [];
  for (const source of sources) {
    const bytes = Uint8Array.from(source.match(/../g) ?? [], (digits) => parseInt(digits, 16));
    const cu = await Cu.open({ storage: 'none', heapLimit, seed: 0, compile, wasm });
    const pieces = [];
    try {
      const { fuelUsed } = await cu.run(bytes, { fuel, chunkName: 'program', onOutput: (_, piece) => pieces.push(...piece) });
      outcomes.push({ fuel: fuelUsed, output: await hash(Uint8Array.from(pieces)), image: await hash(await cu.snapshot()) });
    } catch (error) {
      outcomes.push({ error: String(error) });
    }
    await cu.close();
  }
  return outcomes;
}

const rows = [];

/** Compares what all programs come to on a platform. */
async function compare(platform, way, ask) {
  const differ = { output: 0, fuel: 0, image: 0, failed: 0 };
  let same = 0;
  for (let from = 0; from < programs.length; from += AT_ONCE) {
    const some = programs.slice(from, from + AT_ONCE);
    const outcomes = await ask(some.map(({ source }) => source));
    for (const [index, outcome] of outcomes.entries()) {
      const expected = some[index];
      const wrong = outcome.error !== undefined ? ['failed'] : ['output', 'fuel', 'image'].filter((what) => outcome[what] !== expected[what]);
      wrong.forEach((what) => (differ[what] += 1));
      if (wrong.length === 0) same += 1;
      else console.log(`${platform}, ${way.name}: ${expected.name}: ${outcome.error ?? wrong.map((what) => `${what} ${outcome[what]}, natively ${expected[what]}`).join('; ')}`);
    }
  }
  rows.push([platform, way.name, programs.length, same, differ.output, differ.fuel, differ.image, differ.failed]);
}

const index = new URL('../dist/index.js', import.meta.url).href;
for (const way of WAYS) await compare(`Node ${process.versions.node}`, way, (sources) => run([sources, way, LIMITS, index]));
await withProfile(async (start) => {
  const browser = await start();
  const page = await browser.open();
  const version = /Chrome\/(\d+)/.exec(await page.evaluate(() => navigator.userAgent))?.[1] ?? '';
  for (const way of WAYS) await compare(`Chromium ${version}`, way, (sources) => page.evaluate(run, [sources, way, LIMITS, 'cu-wasm']));
})();

console.log(`\n| compared with native ${process.arch} | | programs | same | other output | other fuel | other image | failed |\n|---|---|--:|--:|--:|--:|--:|--:|`);
for (const row of rows) console.log(`| ${row.join(' | ')} |`);
process.exitCode = programs.length > 0 && rows.length === 2 * WAYS.length && rows.every(([, , count, same]) => count === same) ? 0 : 1;
