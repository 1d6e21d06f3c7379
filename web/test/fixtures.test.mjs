// Every program in fixtures/lua, through the built package: it prints what the reference interpreter printed, and
// where that failed, it fails with the same message.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { latin1 } from './bytes.mjs';
import { Cu, EnhancedLuaError } from './entry.mjs';

const folder = new URL('../../fixtures/lua/', import.meta.url);
const FUEL = 2_000_000_000;
const HEAP_LIMIT = 64 * 1024 * 1024;

const areas = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
for (const { name: area } of areas) {
  describe(area, () => {
    const programs = readdirSync(new URL(`${area}/`, folder)).filter((file) => file.endsWith('.lua'));
    for (const file of programs) test(file, () => check(area, file));
  });
}

async function check(area, file) {
  const base = file.slice(0, -'.lua'.length);
  const read = (extension) => readFileSync(new URL(`${area}/${base}.${extension}`, folder));
  const fails = existsSync(new URL(`${area}/${base}.err`, folder));
  const printed = [];
  const options = { chunkName: file, fuel: FUEL, onOutput: (_, bytes) => printed.push(bytes) };

  const cu = await Cu.open({ storage: 'memory', heapLimit: HEAP_LIMIT, files: {} });
  let error = null;
  try {
    await cu.run(read('lua'), options);
  } catch (thrown) {
    error = thrown;
  } finally {
    await cu.close();
  }
  assert.equal(latin1(printed), latin1([read('out')]));
  if (!fails) {
    assert.equal(error, null);
    return;
  }
  assert.ok(error instanceof EnhancedLuaError, `it should have failed, but: ${error}`);
  assert.equal(error.message, new TextDecoder().decode(read('err')).replace(/\n$/, ''));
}
