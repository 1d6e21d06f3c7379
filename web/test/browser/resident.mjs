// Chromium with what it takes to measure memory: collections on demand, exact figures of its JavaScript heap, and the memory of all of its
// processes, in which wasm memory shows.
import { readdir, readFile } from 'node:fs/promises';
import { BROWSERS } from './browsers.mjs';

const [chromium] = BROWSERS;
const FLAGS = ['--js-flags=--expose-gc', '--enable-precise-memory-info'];

export const MEASURED_CHROMIUM = {
  ...chromium,
  command(profile, address) {
    const [program, ...words] = chromium.command(profile, address);
    return [program, ...FLAGS, ...words];
  },
};

/** The memory of a group of processes without what they share, in bytes; of processes that end meanwhile none. */
export async function residentBytes(group) {
  const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const sizes = await Promise.all(processes.map(async (id) => {
    const stat = await readFile(`/proc/${id}/stat`, 'utf8').catch(() => '');
    // Behind the name, which may hold anything: state, parent, group.
    const [, , of] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (Number(of) !== group) return 0;
    const rollup = await readFile(`/proc/${id}/smaps_rollup`, 'utf8').catch(() => '');
    return [...rollup.matchAll(/^Private_(?:Clean|Dirty): +(\d+) kB$/gm)].reduce((sum, [, kibibytes]) => sum + kibibytes * 1024, 0);
  }));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Where a page waits until it has been measured; opened once, it lets one through, be that one there or still to come. */
export class Gate {
  #opened = 0;
  #waiting = null;

  open() {
    this.#opened += 1;
    this.#waiting?.();
  }

  async pass() {
    while (this.#opened === 0) await new Promise((resolve) => (this.#waiting = resolve));
    this.#opened -= 1;
    return '';
  }
}

export const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(1);
