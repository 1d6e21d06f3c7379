// Runs what the native `determinism` wrote to the file that is named, interpreted and with every function compiled, and compares output
// and fuel. Ends with status 1 if anything differs.
import { readFileSync } from 'node:fs';
import { Cu } from '../dist/index.js';

const HEAP_LIMIT = 64 << 20;
const FUEL = 200_000_000;
const load = (file) => WebAssembly.compile(readFileSync(new URL(`../dist/${file}`, import.meta.url)));
const WAYS = [
  { compile: 'never', wasm: await load('cu.wasm') },
  { compile: 'eager', wasm: await load('cu-compile.wasm') },
];
const bytes = (hexadecimal) => Buffer.from(hexadecimal.slice(1), 'hex');

let [same, different] = [0, 0];
for (const line of readFileSync(process.argv[2], 'utf8').split('\n').filter(Boolean)) {
  const [name, fuel, output, source] = line.split(' ');
  // The page has a clock, the native host has none.
  if (bytes(source).includes('os.')) continue;
  let problem = null;
  for (const way of WAYS) {
    const cu = await Cu.open({ storage: 'none', heapLimit: HEAP_LIMIT, seed: 0, ...way });
    const pieces = [];
    try {
      const result = await cu.run(bytes(source), { fuel: FUEL, chunkName: 'program', onOutput: (_, piece) => pieces.push(piece) });
      if (result.fuelUsed !== Number(fuel)) problem ??= `${way.compile}: ${result.fuelUsed} fuel, natively ${fuel}`;
      else if (!Buffer.concat(pieces).equals(bytes(output))) problem ??= `${way.compile}: another output`;
    } catch (error) {
      problem ??= `${way.compile}: ${error}`;
    }
    await cu.close();
  }
  if (problem === null) {
    same += 1;
  } else {
    different += 1;
    console.log(`${name}: ${problem}`);
  }
}
console.log(`${same} programs have the same output and fuel natively and in Node, interpreted and compiled; ${different} differ`);
process.exitCode = different === 0 && same > 0 ? 0 : 1;
