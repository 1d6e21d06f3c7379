// The page's half of `cargo xtask bench persist`, in Node and, when CU_ADDRESS and CU_CHROMIUM are set, in Chromium: what saving and
// restoring takes. Times are medians. In Node `v8.serialize` is the peer, for the same graph in the same run.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import v8 from 'node:v8';
import { Cu } from '../dist/index.js';

const show = (where, name, value, goal = '') =>
  console.log(`${where.padEnd(9)} ${name.padEnd(58)} ${value.padStart(14)}  ${goal}`.trimEnd());
const us = (ms) => `${(ms * 1000).toFixed(1)} us`;
const millis = (ms) => `${ms.toFixed(2)} ms`;

/** As in tests/src/bin/persist.rs. */
function typical(parts) {
  let source =
    "local handlers, log, count = {}, {level = 'info', lines = {}}, 0\n" +
    'local function note(text) count = count + 1; log.lines[#log.lines + 1] = text; return count end\n' +
    'local function main(event, a, b)\n';
  for (let part = 0; part < parts; part++) {
    source +=
      `  if event == 'event${part}' then\n    local total = (a or 0) * ${part} + (b or 1)\n    for i = 1, total do\n` +
      `      if i % ${part + 2} == 0 then note('step ' .. i .. ' of event${part}') else handlers[i] = {{i, total, name = 'n' .. i}} end\n` +
      '    end\n    return total, #log.lines\n  end\n';
  }
  return `${source}  return nil\nend\nhandlers.main = main\nreturn main`;
}

/** Runs in Node and in the page. Timers of browsers are coarse, so `batch` calls are timed together. */
async function measure(Cu, storage, source, optionBytes) {
  const options = new Uint8Array(optionBytes);
  const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
  const time = (repetitions, batch, work) => {
    const times = [];
    for (let repetition = 0; repetition < repetitions; repetition++) {
      const start = performance.now();
      for (let call = 0; call < batch; call++) work();
      times.push((performance.now() - start) / batch);
    }
    return median(times);
  };
  const results = {};
  const cu = await Cu.open({ name: 'bench', storage, heapLimit: 1 << 20 });
  await cu.persistFunction('f', 'main', source);
  const { vm } = cu.parts;
  const blob = vm.call((instance) => instance.saveFunction('f', 'main'));
  results.blobBytes = blob.length;
  results.save = time(51, 50, () => vm.call((instance) => instance.saveFunction('f', 'main')));
  results.restore = time(51, 50, () => vm.call((instance) => instance.loadFunction('f', 'main', blob)));
  // Each source differs, or nothing would be written.
  const times = [];
  for (let round = 0; round < 51; round++) {
    const start = performance.now();
    await cu.persistFunction('f', 'main', `${source} -- ${round}`.replace('count = {}', `count${round} = {}`));
    times.push(performance.now() - start);
  }
  results.persist = median(times);
  await cu.close();

  const heap = await Cu.open({ storage: 'none', heapLimit: 1 << 20 });
  await heap.eval("data = {} local i = 0 while collectgarbage('count') < 500 do i = i + 1 data[i] = {i, 'name' .. i, x = i / 3} end collectgarbage()");
  results.heapBytes = heap.getMemoryStats().used;
  const image = await heap.snapshot();
  results.imageBytes = image.length;
  results.snapshot = time(31, 4, () => heap.parts.vm.call((instance) => instance.snapshot()));
  const restores = [];
  for (let round = 0; round < 31; round++) {
    const start = performance.now();
    const restored = heap.parts.vm.call((instance) => instance.constructor.restore(options, image));
    restores.push(performance.now() - start);
    restored.free();
  }
  results.restoreImage = median(restores);
  await heap.close();
  return results;
}

function report(where, results, goals) {
  show(where, 'typical function: blob', `${results.blobBytes} B`);
  show(where, 'typical function: save', us(results.save), goals ? '<= 150 us' : '');
  show(where, 'typical function: restore', us(results.restore), goals ? '<= 150 us' : '');
  show(where, goals ? 'typical function: compiled, run and durable in IndexedDB' : 'typical function: compiled, run and stored in memory', millis(results.persist), goals ? '<= 3 ms' : '');
  show(where, 'heap for images', `${Math.round(results.heapBytes / 1024)} KiB`, 'about 512 KiB');
  show(where, 'image: size', `${results.imageBytes} B`);
  show(where, 'image: snapshot', millis(results.snapshot), goals ? '<= 5 ms' : '');
  show(where, 'image: restore', millis(results.restoreImage), goals ? '<= 5 ms' : '');
}

/** 100,000 objects: an image of a VM that holds them, and what V8 makes of the same. Taken in turn, so that both meet the same noise. */
async function graph() {
  const make = "local t = {} for i = 1, 100000 do t[i] = {id = i, name = 'name' .. i, score = i / 3, tags = i % 10} end";
  const cu = await Cu.open({ storage: 'none', heapLimit: 1 << 30 });
  await cu.eval(`${make} data = t collectgarbage()`);
  const objects = Array.from({ length: 100_000 }, (_, index) => {
    const i = index + 1;
    return { id: i, name: `name${i}`, score: i / 3, tags: i % 10 };
  });
  const times = { write: [], read: [], serialize: [], deserialize: [] };
  const timed = (list, work) => {
    const start = performance.now();
    const value = work();
    list.push(performance.now() - start);
    return value;
  };
  let image, bytes;
  for (let round = 0; round < 7; round++) {
    image = timed(times.write, () => cu.parts.vm.call((instance) => instance.snapshot()));
    bytes = timed(times.serialize, () => v8.serialize(objects));
    const restored = timed(times.read, () => cu.parts.vm.call((instance) => instance.constructor.restore(OPTIONS, image)));
    restored.free();
    timed(times.deserialize, () => v8.deserialize(bytes));
  }
  await cu.close();
  const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
  const [write, read, serialize, deserialize] = Object.values(times).map(median);
  show('node', '100,000 tables: image written', millis(write));
  show('node', '100,000 tables: v8.serialize', millis(serialize));
  show('node', '100,000 tables: written, of v8', `${(write / serialize).toFixed(2)} x`, '<= 2 x');
  show('node', '100,000 tables: image read', millis(read));
  show('node', '100,000 tables: v8.deserialize', millis(deserialize));
  show('node', '100,000 tables: read, of v8', `${(read / deserialize).toFixed(2)} x`, '<= 2 x');
  show('node', '100,000 tables: bytes, of v8', `${(image.length / bytes.length).toFixed(2)} x`, '<= 0.5 x');
}

const { encode } = await import('../dist/codec.js');
const OPTIONS = encode({ heapLimit: 1 << 30, seed: 1 });

const source = typical(40);
if (process.env.CU_ADDRESS === undefined) {
  report('node', await measure(Cu, 'memory', source, [...OPTIONS]), false);
  await graph();
} else {
  const { withProfile } = await import('../test/browser/chromium.mjs');
  await withProfile(async (start) => {
    const page = await (await start()).open();
    const results = await page.evaluate(
      async ([measure, source, options]) => {
        const { Cu } = await import('cu-wasm');
        return new Function(`return ${measure}`)()(Cu, 'indexeddb', source, options);
      },
      [measure.toString(), source, [...OPTIONS]],
    );
    report('chromium', results, true);
  })();
}
