// Resume anywhere, across platforms: each program is begun by the native `cu`, stopped, gone on with in Node, stopped, gone on with natively,
// and so on, by images, and has to end as it does undisturbed: the same output, errors and exit code. In a step in which it ends, both
// platforms run it to its end.
//
//   node test/crossing.mjs [--cu PROGRAM] [--primes 101,1009] [FOLDER OR FILE]...
//
// runs all Lua programs of the folders (without any: the fixtures) for each prime as the distance of stops in fuel, and reports counts. Programs
// are left out that use the host's files or clock, which are others in Node, that have more in memory than a page restores, and that do not print
// the same twice undisturbed.
//
//   node test/crossing.mjs --suite [--cu PROGRAM] --distances 1009,10007,... FILE...
//
// is for the official test suite: one run a file, with these distances from stop to stop and the file's folder as files in Node. Of files that
// do not print the same twice undisturbed, only the end is compared. `cargo xtask conformance --stops --crossing` does it.
//
// In Node the modules take turns: one that compiles functions that run often, one that only interprets, one that compiles all functions.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decode } from '../dist/codec.js';
import { Cu } from '../dist/index.js';

const FINISHED = 0;
const OUT_OF_FUEL = 1;
const OPTIONS = { storage: 'none', heapLimit: 2 ** 31, seed: 1 };
/** `never` loads `cu.wasm`, the others `cu-compile.wasm`. */
const MODULES = ['hot', 'never', 'eager'];
/** Times that a program goes over to Node and back, at most. */
const CROSSINGS_MAX = 3;
const LIMIT_MS = 10 * 60 * 1000;
const USES_THE_HOST = /os\.(clock|tmpname)|io\.(open|lines|popen|tmpfile)/;

export const FIXTURES = ['lua', 'deviations'].map((folder) => fileURLToPath(new URL(`../../fixtures/${folder}`, import.meta.url)));

/** The programs in a folder, or the one at this path. */
export function programs(path) {
  if (!statSync(path).isDirectory()) return [resolve(path)];
  const files = readdirSync(path, { recursive: true }).filter((file) => file.endsWith('.lua'));
  return files.sort().map((file) => resolve(path, file));
}

/** The distances of stops in a run that is stopped everywhere after the same fuel. */
const evenly = (distance) => Array(2 * CROSSINGS_MAX).fill(distance);

/**
 * What became of each program. `report` is told of each with its crossings, and the problem of those that are not `same`.
 *
 * @param distances from stop to stop, natively and in Node by turns; a number for all
 */
export async function crossings(cu, files, distances, report = () => undefined, isSuite = false) {
  const counts = { same: 0, crossings: 0, short: 0, host: 0, unsaveable: 0, large: 0, unsteady: 0, differs: 0 };
  const folder = mkdtempSync(join(tmpdir(), 'cu-crossing-'));
  const steps = typeof distances === 'number' ? evenly(distances) : distances;
  try {
    for (const file of files) {
      const { kind, crossings = 0, problem } = await crossed(cu, file, steps, join(folder, 'stopped.image'), isSuite);
      counts[kind] += 1;
      counts.crossings += crossings;
      report(kind, file, problem, crossings);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return counts;
}

/** A folder's files, as the option `files` has them. */
function contents(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = entries.map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  return Object.fromEntries(paths.map((path) => [relative(folder, path).replaceAll('\\', '/'), new Uint8Array(readFileSync(path))]));
}

/** Runs the native program for a file of Lua code, in its folder. */
function native(cu, file, args) {
  const options = { cwd: dirname(file), input: '', maxBuffer: 2 ** 30, timeout: LIMIT_MS, env: { ...process.env, LC_ALL: 'C' } };
  const { stdout, stderr, status, error } = spawnSync(cu, args, options);
  if (error !== undefined) throw error;
  return { output: stdout.toString('latin1'), errors: stderr.toString('latin1'), status };
}

async function crossed(cu, file, distances, image, isSuite) {
  if (!isSuite && USES_THE_HOST.test(readFileSync(file, 'latin1'))) return { kind: 'host' };
  const [whole, again] = [native(cu, file, [basename(file)]), native(cu, file, [basename(file)])];
  const isSteady = whole.output === again.output && whole.errors === again.errors;
  if (!isSteady && !isSuite) return { kind: 'unsteady' };
  const host = isSuite ? { files: contents(dirname(file)), environment: { PATH: '/bin' } } : { files: {} };
  let printed = '';
  for (let crossings = 0; ; crossings++) {
    const first = crossings === 0;
    const [distance, distanceInNode] = distances.slice(2 * crossings);
    const last = distance === undefined;
    const stop = ['--after', String(distance), '-o', image];
    const args = first ? ['snapshot', ...stop, basename(file)] : ['resume', image, ...(last ? [] : stop)];
    const step = native(cu, file, args);
    printed += step.output;
    const unsaveable = step.errors.split('\n').find((line) => line.includes('cannot save'));
    if (unsaveable !== undefined) return { kind: 'unsaveable', crossings, problem: unsaveable };
    const ended = step.errors.includes('ended before the stop');
    if (ended || last || step.status !== 0) {
      const problem = difference(whole, { ...step, output: printed }, ended, isSteady);
      if (problem !== null) return { kind: 'differs', crossings, problem: `after ${crossings} crossings: ${problem}` };
      return { kind: first ? 'short' : 'same', crossings };
    }
    const inNode = await goOn(image, distanceInNode ?? distance, { ...host, compile: MODULES[crossings % MODULES.length] });
    if (inNode.problem !== undefined) return { kind: inNode.kind, crossings, problem: inNode.problem };
    if (inNode.image !== undefined) {
      printed += inNode.output;
      writeFileSync(image, inNode.image);
      continue;
    }
    // It has ended in Node; natively finalizers and the report of an error follow.
    const end = native(cu, file, ['resume', image]);
    if (isSteady && !end.output.startsWith(inNode.output)) return { kind: 'differs', crossings, problem: 'it ends with other output in Node' };
    if (inNode.error === null ? end.status !== 0 && whole.status === 0 : !end.errors.includes(inNode.error)) {
      return { kind: 'differs', crossings, problem: `it ends in Node with ${inNode.error}` };
    }
    const problem = difference(whole, { ...end, output: printed + end.output }, false, isSteady);
    if (problem !== null) return { kind: 'differs', crossings, problem: `after ${crossings} crossings: ${problem}` };
    return { kind: 'same', crossings: crossings + 1 };
  }
}

/** What a run that was stopped did otherwise than the whole one. A run that ends before its stop has a line more of errors, and fails. */
function difference(whole, stopped, ended, isSteady) {
  if (isSteady && stopped.output !== whole.output) return 'it prints something else';
  if (isSteady && !stopped.errors.startsWith(whole.errors)) return `it fails with ${stopped.errors.slice(0, 200)}`;
  return ended || stopped.status === whole.status ? null : `it ends with exit code ${stopped.status}: ${stopped.errors.slice(0, 200)}`;
}

/** Goes on in Node for this much fuel, in a module that compiles as the options say: the output, and an image or how it ended. */
async function goOn(image, fuel, options) {
  const cu = await Cu.restore(readFileSync(image), { ...OPTIONS, ...options }).catch((error) => error);
  if (/^over the limit/.test(cu.message)) return { kind: 'large', problem: cu.message };
  if (!(cu instanceof Cu)) return { kind: 'differs', problem: `it cannot be restored in Node: ${cu.message}` };
  try {
    return cu.parts.vm.call((instance) => {
      const status = instance.step(fuel);
      const output = Buffer.from(instance.takeOutput()).toString('latin1');
      if (status === OUT_OF_FUEL) return { output, image: instance.snapshot() };
      return { output, error: status === FINISHED ? null : decode(instance.takeError()).message };
    });
  } catch (error) {
    return { kind: /cannot save/.test(error.message) ? 'unsaveable' : 'differs', problem: `in Node: ${error.message}` };
  } finally {
    await cu.close();
  }
}

/** The official test suite's files, a line for each. */
async function suite(cu, files, distances) {
  const report = (kind, file, problem, crossings) => {
    const word = { differs: 'FAIL', same: 'PASS', short: 'PASS' }[kind] ?? 'NONE';
    console.log(`${word} ${basename(file)}${problem === undefined ? `  (${crossings} crossings)` : `: ${problem}`}`);
  };
  const counts = await crossings(cu, files, distances, report, true);
  const { same, short, unsaveable, large, differs } = counts;
  console.log(
    `${same} files went on after ${counts.crossings} crossings, ${short} ended before their first stop, ${unsaveable} cannot be saved, ` +
      `${large} have too much in memory, ${differs} failed`,
  );
  if (differs > 0) process.exitCode = 1;
}

async function main(args) {
  let cu = fileURLToPath(new URL('../../target/release/cu', import.meta.url));
  let primes = [101, 1009, 10_007];
  let distances = null;
  let isSuite = false;
  const paths = [];
  for (let index = 0; index < args.length; index++) {
    if (args[index] === '--cu') cu = resolve(args[++index]);
    else if (args[index] === '--primes') primes = args[++index].split(',').map(Number);
    else if (args[index] === '--distances') distances = args[++index].split(',').map(Number);
    else if (args[index] === '--suite') isSuite = true;
    else paths.push(args[index]);
  }
  const files = (paths.length > 0 ? paths : FIXTURES).flatMap(programs);
  if (isSuite) return suite(cu, files, distances);
  const report = (kind, file, problem) => problem !== undefined && console.log(`${kind} ${file}: ${problem}`);
  let differs = 0;
  for (const prime of primes) {
    const counts = await crossings(cu, files, prime, report);
    differs += counts.differs;
    console.log(`every ${prime}: ${Object.entries(counts).map(([kind, count]) => `${count} ${kind}`).join(', ')}, of ${files.length}`);
  }
  if (differs > 0) process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
