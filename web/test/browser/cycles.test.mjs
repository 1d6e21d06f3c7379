// Memory stays flat while instances are opened and closed; `cargo xtask cycles` does it a thousand times.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { HEAP_PER_CYCLE_MAX, measure, RESIDENT_GROWTH_MAX } from './cycles.mjs';

const conditions = existsSync('/proc/self/smaps_rollup') ? { timeout: 5 * 60 * 1000 } : { skip: 'memory of processes is read from /proc' };

for (const [entry, cycles] of [['index', 100], ['worker', 40]]) {
  test(`opening and closing ${cycles} instances of cu-wasm/${entry} leaves nothing behind`, conditions, async (context) => {
    const { points, heapPerCycle, residentGrowth } = await measure(cycles, entry);
    context.diagnostic(JSON.stringify({ points, heapPerCycle, residentGrowth }));
    assert.ok(heapPerCycle <= HEAP_PER_CYCLE_MAX, `${heapPerCycle} bytes of heap per cycle`);
    assert.ok(residentGrowth <= RESIDENT_GROWTH_MAX, `${residentGrowth} bytes of memory`);
  });
}
