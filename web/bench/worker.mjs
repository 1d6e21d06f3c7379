// What `cargo xtask bench vm` runs in a page or in a Node process: it asks for commands, does one at a time, and posts what
// came out. Only the time between two looks at the clock here counts; nothing is attached to the page meanwhile.
//
// A page finds its channel in its address, Node finds the channel's address in CU_BENCH. A fresh page or process is the fresh
// instance of the cold runs: neither code nor memory is left from before.
import { wasmBytes } from './memory.mjs';

const inNode = typeof process === 'object' && process.env?.CU_BENCH !== undefined;
const channel = inNode ? process.env.CU_BENCH : `/channel/${new URLSearchParams(location.search).get('channel')}`;
/** How long one measurement of a rate takes at least. */
const RATE_MS = 150;

const sides = new Map();

/** Imports and opens a side, once. */
async function side(name) {
  if (!sides.has(name)) {
    const { open } = await import(new URL(`sides/${name}.js`, import.meta.url).href);
    sides.set(name, await open());
  }
  return sides.get(name);
}

const COMMANDS = {
  /** Makes a side ready, which later commands do by themselves too. */
  async open({ peer }) {
    await side(peer);
    return {};
  },
  /** Runs a program. */
  async run({ peer, source }) {
    const opened = await side(peer);
    globalThis.gc?.();
    const started = performance.now();
    await opened.run(source);
    const ms = performance.now() - started;
    return { ms, output: await opened.takeOutput() };
  },
  /** From nothing to the first result. The page around it is there already. */
  async start({ peer }) {
    const started = performance.now();
    const opened = await side(peer);
    if ((await opened.first()) !== 42) throw new Error('a wrong first result');
    return { ms: performance.now() - started, bytes: wasmBytes() };
  },
  /** Bytes of wasm memory. It never shrinks, so after a run this is the peak. */
  memory() {
    return { bytes: wasmBytes() };
  },
  /** Microseconds that one of a side's crossings takes (`callLua`, `callHost`, `tableIn`, …). */
  async crossing({ peer, name }) {
    const opened = await side(peer);
    if (opened[name] === undefined) return { us: null };
    globalThis.gc?.();
    for (let count = 1; ; count *= 2) {
      const started = performance.now();
      await opened[name](count);
      const ms = performance.now() - started;
      if (ms >= RATE_MS) return { us: (ms * 1000) / count };
    }
  },
};

async function answer(command) {
  try {
    return await COMMANDS[command.do](command);
  } catch (error) {
    return { error: error instanceof Error ? error.message || error.name : String(error) };
  }
}

for (;;) {
  const command = await (await fetch(`${channel}/command`)).json();
  if (command.do === 'end') break;
  if (command.do === 'wait') continue;
  if (command.do === 'go') {
    location.replace(command.address);
    break;
  }
  await fetch(`${channel}/result`, { method: 'POST', body: JSON.stringify(await answer(command)) });
}
