// How a module's memory grows: seldom once it is large, as each time may have the engine collect its garbage, and by as little as it can while it is small.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu } from '../dist/index.js';

const KIB = 1024;

test('memory that is large grows by an eighth', async () => {
  const cu = await Cu.open({ storage: 'memory' });
  const sizes = [cu.parts.database.wasmBytes()];
  for (let number = 0; sizes.at(-1) < 24 * KIB * KIB; number += 1) {
    assert.ok(number < 2000, 'memory does not grow with what is in it');
    await cu.setValue('t', number, 'x'.repeat(40 * KIB));
    const size = cu.parts.database.wasmBytes();
    if (size !== sizes.at(-1)) sizes.push(size);
  }
  const large = sizes.filter((size) => size >= 2 * KIB * KIB);
  for (let step = 1; step < large.length; step += 1) {
    const grown = large[step] - large[step - 1];
    assert.ok(grown >= large[step - 1] / 8 - 64 * KIB, `from ${large[step - 1]} it grew by ${grown}`);
  }
  assert.ok(large.length > 5 && large.length < 25, `${large.length} sizes`);
  await cu.close();
});

test('memory that is small grows by what is needed', async () => {
  const cu = await Cu.open({ storage: 'memory', cacheBytes: 256 * KIB });
  const sizes = [cu.parts.database.wasmBytes()];
  for (let number = 0; sizes.at(-1) < 1.5 * KIB * KIB; number += 1) {
    assert.ok(number < 2000, 'memory does not grow with what is in it');
    await cu.setValue('t', number, 'x'.repeat(4 * KIB));
    const size = cu.parts.database.wasmBytes();
    if (size !== sizes.at(-1)) sizes.push(size);
  }
  assert.ok(sizes.every((size, step) => step === 0 || size - sizes[step - 1] <= 128 * KIB), sizes.join());
  await cu.close();
});
