// Runs that go from the native program to Node and back by images, in the middle: a share of the fixtures. All of them: `node test/crossing.mjs`.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { crossings, FIXTURES, programs } from './crossing.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('runs go on from native to Node and back', { timeout: 600_000 }, async () => {
  execFileSync('cargo', ['build', '--release', '-q', '-p', 'cu-cli'], { cwd: root });
  const target = process.env.CARGO_TARGET_DIR ?? `${root}/target`;
  // Every seventh program, so that each folder has its share.
  const files = FIXTURES.flatMap(programs).filter((_, index) => index % 7 === 0);
  const problems = [];
  const report = (kind, file, problem) => kind === 'differs' && problems.push(`${file}: ${problem}`);
  const counts = await crossings(`${target}/release/cu`, files, 211, report);
  assert.deepEqual(problems, []);
  assert.ok(counts.same > files.length / 3 && counts.crossings > counts.same, JSON.stringify(counts));
});
