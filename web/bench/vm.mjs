// Speed of the VM beside wasmoon, both in wasm under this Node. Warm: both in this process, rounds alternating and
// swapping who goes first, so that a slow spell of the machine meets both; the first round is not counted. Cold: a
// program's first run in a process of its own, after its side is open. Every program must print the same on both.
//
//   node --expose-gc bench/vm.mjs [part of a program's name]
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { LuaFactory } from 'wasmoon';
import { Cu } from '../dist/index.js';

const ROUNDS_WARM = 7;
const ROUNDS_COLD = 5;
const HEAP_LIMIT = 256 * 1024 * 1024;

const MICRO = {
  'fib(32)': `local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end print(fib(32))`,
  'integer loop': `local x = 0 for i = 1, 20000000 do x = x + i % 7 end print(x)`,
  'array fill and sum': `
    local sum = 0
    for round = 1, 20 do
      local t = {}
      for i = 1, 200000 do t[i] = i end
      for i = 1, #t do sum = sum + t[i] end
    end
    print(sum)`,
  'field access': `
    local point = {x = 1, y = 2, z = 3}
    for i = 1, 5000000 do point.x = point.y + point.z; point.y = point.x - point.z end
    print(point.x, point.y)`,
  'pcall loop': `
    local function step(i) return i end
    local n = 0
    for i = 1, 1000000 do local ok, value = pcall(step, i) if ok then n = n + value % 3 end end
    print(n)`,
  'coroutine switches': `
    local next = coroutine.wrap(function() for i = 1, 1000000 do coroutine.yield(i) end end)
    local n = 0
    for i = 1, 1000000 do n = n + next() % 3 end
    print(n)`,
};

/** In Lua, because a number that crosses to JavaScript loses whether it was a float. */
const COLLECTING_PRINT = `
  local lines = {}
  function print(...)
    local values = table.pack(...)
    for i = 1, values.n do values[i] = tostring(values[i]) end
    lines[#lines + 1] = table.concat(values, '\\t') .. '\\n'
  end
  function take_output()
    local text = table.concat(lines)
    lines = {}
    return text
  end`;

class Ours {
  output = '';

  static async open() {
    const side = new Ours();
    side.cu = await Cu.open({ storage: 'memory', heapLimit: HEAP_LIMIT });
    return side;
  }

  async run(source) {
    this.output = (await this.cu.run(source)).output;
  }

  close() {
    return this.cu.close();
  }
}

class Wasmoon {
  output = '';

  static async open() {
    const side = new Wasmoon();
    side.engine = await new LuaFactory().createEngine({ injectObjects: false, traceAllocations: false });
    side.engine.doStringSync(COLLECTING_PRINT);
    return side;
  }

  async run(source) {
    // Not doString, which runs the program inside a coroutine and through promises.
    this.engine.doStringSync(source);
    this.output = this.engine.doStringSync('return take_output()');
  }

  close() {
    this.engine.global.close();
  }
}

const SIDES = { cu: Ours, wasmoon: Wasmoon };

const median = (numbers) => numbers.toSorted((left, right) => left - right)[Math.floor(numbers.length / 2)];
const geometricMean = (numbers) => Math.exp(numbers.reduce((sum, number) => sum + Math.log(number), 0) / numbers.length);
const alternating = (round) => (round % 2 === 0 ? ['cu', 'wasmoon'] : ['wasmoon', 'cu']);

async function time(side, source) {
  globalThis.gc?.();
  const started = performance.now();
  await side.run(source);
  return performance.now() - started;
}

/** Gives the median times of both sides, and what each run printed. */
async function measureWarm(source, outputs) {
  const times = { cu: [], wasmoon: [] };
  const sides = { cu: await Ours.open(), wasmoon: await Wasmoon.open() };
  for (let round = 0; round <= ROUNDS_WARM; round++) {
    for (const name of alternating(round)) {
      const elapsed = await time(sides[name], source);
      if (round > 0) times[name].push(elapsed);
      outputs.add(sides[name].output);
    }
  }
  for (const side of Object.values(sides)) await side.close();
  return { cu: median(times.cu), wasmoon: median(times.wasmoon) };
}

function measureCold(program, outputs) {
  const times = { cu: [], wasmoon: [] };
  for (let round = 0; round < ROUNDS_COLD; round++) {
    for (const name of alternating(round)) {
      const arguments_ = ['--expose-gc', fileURLToPath(import.meta.url), '--cold', name, program];
      const { elapsed, output } = JSON.parse(execFileSync(process.execPath, arguments_, { encoding: 'utf8' }));
      times[name].push(elapsed);
      outputs.add(output);
    }
  }
  return { cu: median(times.cu), wasmoon: median(times.wasmoon) };
}

function programs() {
  const folder = new URL('../../fixtures/bench/', import.meta.url);
  const files = readdirSync(folder).filter((file) => file.endsWith('.lua')).sort();
  const whole = files.map((file) => [file.slice(0, -'.lua'.length), readFileSync(new URL(file, folder), 'utf8')]);
  return [...Object.entries(MICRO), ...whole];
}

/** The part of this program that runs in a process of its own. */
async function cold(name, program) {
  const [, source] = programs().find(([candidate]) => candidate === program);
  const side = await SIDES[name].open();
  const elapsed = await time(side, source);
  console.log(JSON.stringify({ elapsed, output: side.output }));
  await side.close();
}

async function compare(only) {
  const cell = ({ cu, wasmoon }) => `${cu.toFixed(1).padStart(9)} ${wasmoon.toFixed(1).padStart(9)} ${(wasmoon / cu).toFixed(2).padStart(7)}×`;
  console.log(`milliseconds; medians of ${ROUNDS_COLD} cold and ${ROUNDS_WARM} warm runs; node ${process.version}\n`);
  const head = ['cold', 'warm'].map((kind) => `${`${kind} cu`.padStart(9)} ${'wasmoon'.padStart(9)} ${'faster'.padStart(8)}`);
  console.log(`${'program'.padEnd(20)} ${head.join('  ')}`);
  const speedups = { cold: [], warm: [] };
  for (const [name, source] of programs().filter(([name]) => name.includes(only))) {
    const outputs = new Set();
    try {
      const figures = { cold: measureCold(name, outputs), warm: await measureWarm(source, outputs) };
      if (outputs.size !== 1) throw new Error(`outputs differ: ${JSON.stringify([...outputs])}`);
      for (const kind of ['cold', 'warm']) speedups[kind].push(figures[kind].wasmoon / figures[kind].cu);
      console.log(`${name.padEnd(20)} ${cell(figures.cold)}  ${cell(figures.warm)}`);
    } catch (error) {
      process.exitCode = 1;
      console.log(`${name.padEnd(20)} ${error.message}`);
    }
  }
  const means = ['cold', 'warm'].map((kind) => `${geometricMean(speedups[kind]).toFixed(2)}×`.padStart(28));
  console.log(`${'geometric mean'.padEnd(20)} ${means.join('  ')}`);
}

if (process.argv[2] === '--cold') await cold(process.argv[3], process.argv[4]);
else await compare(process.argv[2] ?? '');
