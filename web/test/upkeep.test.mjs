// The checkpoint that is written when nobody writes: when it comes, and what keeps it away.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Upkeep } from '../dist/upkeep.js';

/** An upkeep over a made-up database, whose pauses end when the test says so. */
function world(checkpoint = async () => undefined) {
  const pauses = [];
  const made = { log: 0, checkpoints: 0 };
  const database = {
    logBytes: () => made.log,
    checkpoint: async () => {
      made.checkpoints += 1;
      await checkpoint(made);
      made.log = 0;
    },
  };
  const poison = { call: (call) => call(), wait: async (call) => call() };
  const upkeep = new Upkeep(database, poison, () => new Promise((resolve) => pauses.push(resolve)));
  const pass = async () => {
    assert.equal(pauses.length, 1, 'one pause at a time');
    pauses.pop()();
    await new Promise(setImmediate);
  };
  return { upkeep, made, pauses, pass };
}

test('a long log is written to its pages when nobody has written for a while', async () => {
  const { upkeep, made, pauses, pass } = world();
  made.log = 1_000_000;
  upkeep.written();
  await pass();
  assert.equal(made.checkpoints, 1);
  assert.equal(pauses.length, 0);
});

test('whoever goes on writing puts it off', async () => {
  const { upkeep, made, pass } = world();
  made.log = 1_000_000;
  upkeep.written();
  for (let write = 0; write < 5; write += 1) {
    upkeep.written();
    await pass();
    // The first pause began before the second write.
    assert.equal(made.checkpoints, 0, `after write ${write}`);
    upkeep.written();
  }
  await pass();
  await pass();
  assert.equal(made.checkpoints, 1);
});

test('a short log stays', async () => {
  const { upkeep, made, pauses, pass } = world();
  made.log = 1000;
  upkeep.written();
  await pass();
  assert.equal(made.checkpoints, 0);
  assert.equal(pauses.length, 0);
});

test('what is written during a checkpoint is looked after too', async () => {
  const { upkeep, made, pauses, pass } = world(async () => {
    if (made.checkpoints === 1) upkeep.written();
  });
  made.log = 1_000_000;
  upkeep.written();
  await pass();
  assert.equal(pauses.length, 1);
  made.log = 1_000_000;
  await pass();
  assert.equal(made.checkpoints, 2);
});

test('a checkpoint that fails is tried again after the next write, and none comes behind the end', async () => {
  const { upkeep, made, pass } = world(async () => {
    if (made.checkpoints === 1) throw new Error('quota');
  });
  made.log = 1_000_000;
  upkeep.written();
  await pass();
  assert.equal(made.checkpoints, 1);
  upkeep.written();
  await pass();
  assert.equal(made.checkpoints, 2);
  made.log = 1_000_000;
  upkeep.written();
  upkeep.end();
  await pass();
  assert.equal(made.checkpoints, 2);
});
