// Runs what the native `determinism` wrote to the file that is named, in Node and in the browsers that are there, interpreted and with every
// function compiled, and compares output, error, fuel and the VM's image afterwards. Prints what differs and a table. Ends with status 1 if
// anything differs. Started by `cargo xtask determinism`, which sets CU_CHROMIUM and says where the other browsers are.
import { readFileSync } from 'node:fs';
import { BROWSERS, withBrowser } from '../test/browser/browsers.mjs';
import { withServer } from '../test/browser/page-server.mjs';

/** Of a run, as natively; the fuel is enough for all. */
const LIMITS = { heapLimit: 64 << 20, fuel: 200_000_000 };
/** What the native host gives a program beside. */
const HOST = { storage: 'none', seed: 0, now: 1_600_000_000_000, files: {} };
const WAYS = [
  { name: 'interpreted', compile: 'never', file: 'cu.wasm' },
  { name: 'compiled', compile: 'eager', file: 'cu-compile.wasm' },
];

const programs = readFileSync(process.argv[2], 'utf8').split('\n').filter(Boolean).map((line) => {
  const [name, fuel, output, error, image, source] = line.split(' ');
  return { name, fuel: Number(fuel), output, error, image, source: source.slice(1) };
});

/** What programs come to in one way, in Node or in a page: the function is sent there as text. */
async function run(Cu, wasm, sources, compile, { heapLimit, fuel }, host) {
  const hexadecimal = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  const hash = async (bytes) => hexadecimal(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)));
  const outcomes = [];
  for (const source of sources) {
    const bytes = Uint8Array.from(source.match(/../g) ?? [], (digits) => parseInt(digits, 16));
    const cu = await Cu.open({ ...host, heapLimit, compile, wasm });
    const pieces = [];
    try {
      const options = { fuel, chunkName: 'program', onOutput: (_, piece) => piece.forEach((byte) => pieces.push(byte)) };
      const { fuelUsed, error } = await cu.run(bytes, options).then(
        (result) => ({ ...result, error: '-' }),
        async ({ message, traceback = '', details }) => ({ ...details, error: await hash(new TextEncoder().encode(`${message}\n${traceback}`)) }),
      );
      const image = await cu.snapshot().then(hash, () => '-');
      outcomes.push({ fuel: fuelUsed, output: await hash(Uint8Array.from(pieces)), error, image });
    } catch (error) {
      outcomes.push({ problem: String(error) });
    }
    await cu.close();
  }
  return outcomes;
}

/** A page that reports the outcomes of each way, or why there are none. */
const page = '<!doctype html><title>determinism</title><script type="module" src="/web/test/determinism.js"></script>';
const script = `
import { Cu } from '/web/dist/index.js';
const run = ${run};
const report = (found) => fetch('/report', { method: 'POST', body: JSON.stringify({ agent: navigator.userAgent, ...found }) });
try {
  const sources = await (await fetch('/sources.json')).json();
  for (const { compile, file } of ${JSON.stringify(WAYS)}) {
    const wasm = await WebAssembly.compile(await (await fetch('/web/dist/' + file)).arrayBuffer());
    await report({ outcomes: await run(Cu, wasm, sources, compile, ${JSON.stringify(LIMITS)}, ${JSON.stringify(HOST)}) });
  }
} catch (error) {
  await report({ problem: String(error) });
}`;
const sources = programs.map(({ source }) => source);
const rows = [];

/** Compares what all programs have come to on a platform. */
function compare(platform, way, outcomes) {
  const differ = { output: 0, error: 0, fuel: 0, image: 0, failed: 0 };
  let same = 0;
  for (const [index, expected] of programs.entries()) {
    const outcome = outcomes[index] ?? { problem: 'no outcome' };
    const wrong = outcome.problem !== undefined ? ['failed'] : ['output', 'error', 'fuel', 'image'].filter((what) => outcome[what] !== expected[what]);
    wrong.forEach((what) => (differ[what] += 1));
    if (wrong.length === 0) same += 1;
    else console.log(`${platform}, ${way.name}: ${expected.name}: ${outcome.problem ?? wrong.map((what) => `${what} ${outcome[what]}, natively ${expected[what]}`).join('; ')}`);
  }
  rows.push([platform, way.name, programs.length, same, differ.output, differ.error, differ.fuel, differ.image, differ.failed]);
}

const { Cu } = await import('../dist/index.js');
for (const way of WAYS) {
  const wasm = await WebAssembly.compile(readFileSync(new URL(`../dist/${way.file}`, import.meta.url)));
  compare(`Node ${process.versions.node}`, way, await run(Cu, wasm, sources, way.compile, LIMITS, HOST));
}
const files = { '/page.html': page, '/web/test/determinism.js': script, '/sources.json': JSON.stringify(sources) };
const present = BROWSERS.filter(({ name, missing }) => {
  if (missing !== null) console.log(`LEFT OUT: ${name}: ${missing}`);
  return missing === null;
});
for (const browser of present) {
  await withServer({ files }, ({ address, report }) => withBrowser(browser, `${address}/page.html`, async () => {
    for (const way of WAYS) {
      const { agent, outcomes = [], problem } = await report();
      if (problem !== undefined) throw new Error(`${browser.name}: ${problem}`);
      const version = /(?:Chrome|Firefox|Version)\/(\d+)/.exec(agent)?.[1] ?? '';
      compare(`${browser.name} ${version}`, way, outcomes);
    }
  }));
}

console.log(`\n| compared with native ${process.arch} | | programs | same | other output | other error | other fuel | other image | failed |\n|---|---|--:|--:|--:|--:|--:|--:|--:|`);
for (const row of rows) console.log(`| ${row.join(' | ')} |`);
const isWhole = rows.length === WAYS.length * (1 + present.length) && rows.every(([, , count, same]) => count === same);
process.exitCode = programs.length > 0 && isWhole ? 0 : 1;
