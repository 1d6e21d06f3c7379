// A few of the rounds of `cargo xtask kills`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kills, MOMENTS, WORKLOADS } from './kills.mjs';

const ROUNDS = 3;

for (const [name, workload] of Object.entries(WORKLOADS)) {
  for (const moment of MOMENTS) {
    test(`${name}: Chromium ended ${moment} commits loses no resolved one and tears none`, { timeout: 300_000 }, async () => {
      const { rounds, lost, torn } = await kills(moment, ROUNDS, workload);
      assert.deepEqual({ rounds, lost, torn }, { rounds: ROUNDS, lost: 0, torn: 0 });
    });
  }
}
