// The parts of `cargo xtask bench vm` that run in a page: that what is timed is also right, and that memory is seen. No timings.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wasmBytes } from '../bench/memory.mjs';
import { check, NUMBERS, NUMBERS_SUM, sum } from '../bench/programs.mjs';

test('the numbers of the transfers have the sum that is checked', () => {
  assert.equal(sum(NUMBERS), NUMBERS_SUM);
  assert.throws(() => check(sum(NUMBERS.slice(1)), NUMBERS_SUM), /750748.5 instead of 750750/);
});

test('the side of this package runs programs and makes its crossings', async () => {
  const before = wasmBytes();
  const { open } = await import('../bench/sides/cu.mjs');
  const side = await open();
  assert.ok(wasmBytes() > before, 'the memory of a new instance is counted');
  assert.equal(await side.first(), 42);
  await side.run('print(1, 2.5, "text")');
  assert.equal(side.takeOutput(), '1\t2.5\ttext\n');
  await assert.rejects(side.run('error("no")'), /no/);
  for (const name of ['callLua', 'callLuaAwaited', 'tableIn', 'tableOut']) await side[name](3);
});
