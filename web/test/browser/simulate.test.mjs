// A little of simulated use, from a fixed seed and of a fixed length; `cargo xtask simulate` does a day of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { simulate, WASM_MAX } from './simulate.mjs';

/** Nothing takes so long, on however busy a machine: what does hangs. */
const TIMEOUT = { timeout: 5 * 60 * 1000 };

test('simulated use is as its model in every step', TIMEOUT, async (context) => {
  const { errors, pages, state, wasmMost } = await simulate({ seed: 7, actions: 600, measurements: 9 });
  context.diagnostic(JSON.stringify({ errors, pages, wasmMost }));
  assert.equal(state.count, 600);
  assert.equal(pages, 4);
  // Errors that were meant to come did come.
  for (const code of ['LUA_EXECUTION_ERROR', 'EVAL_FAILED', 'UNKNOWN_FUNCTION', 'unavailable']) assert.ok(errors[code] > 0, code);
  assert.ok(wasmMost <= WASM_MAX, `${wasmMost} bytes`);
});

test('a simulation whose model is wrong fails', TIMEOUT, async () => {
  const wrong = { model: { tables: { people: { k00: { id: 1 } }, notes: {}, stock: {} } }, random: 1, count: 0 };
  await assert.rejects(simulate({ seed: 7, actions: 100, measurements: 1, state: wrong }), /seed 7: action 1, open.*found \{\}, expected \{"k00"/);
});
