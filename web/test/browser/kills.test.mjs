// A few of the rounds of `cargo xtask kills`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kills, MOMENTS } from './kills.mjs';

const ROUNDS = 3;

for (const moment of MOMENTS) {
  test(`a browser killed ${moment} commits loses no resolved batch and tears none`, { timeout: 300_000 }, async () => {
    const { rounds, lost, torn } = await kills(moment, ROUNDS);
    assert.deepEqual({ rounds, lost, torn }, { rounds: ROUNDS, lost: 0, torn: 0 });
  });
}
