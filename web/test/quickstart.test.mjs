// docs/QUICKSTART.md in Node: its commands, except those that need a network or a browser (those are in `browser/quickstart.test.mjs`).
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { readDocument } from './documents/read.mjs';
import { commandsOf, filesOf } from './documents/steps.mjs';

const run = promisify(execFile);
const web = fileURLToPath(new URL('..', import.meta.url));
const document = readDocument('QUICKSTART.md');
/** What is left out: the build is done before the tests; Vite comes from a registry, and serves until it is stopped. */
const ELSEWHERE = ['cargo xtask build', 'npm install --save-dev vite', 'npx vite', 'npx vite build'];

test('the commands do what they are for, from packing on', { timeout: 180_000 }, async () => {
  const place = await mkdtemp(join(tmpdir(), 'cu-start-'));
  const env = { ...process.env, npm_config_offline: 'true', npm_config_audit: 'false', npm_config_update_notifier: 'false' };
  const shell = (command, cwd) => run('sh', ['-c', command], { cwd, env });
  try {
    // `Cu` is the repository as the document has it, with what npm packs.
    await mkdir(join(place, 'Cu/web'), { recursive: true });
    const archives = [];
    for (const command of commandsOf(document, 'repository').filter((command) => !ELSEWHERE.includes(command))) {
      const { stdout } = await shell(command.replace(/^cd web && npm pack$/, `npm pack --ignore-scripts --pack-destination ${place}/Cu/web`), web);
      archives.push(stdout.trim());
    }
    assert.deepEqual(archives, ['cu-wasm-0.1.0.tgz']);
    let folder = place;
    const printed = [];
    for (const command of commandsOf(document, 'app').filter((command) => !ELSEWHERE.includes(command))) {
      if (command === 'node visits.mjs') {
        for (const [name, text] of Object.entries(filesOf(document))) await writeFile(join(folder, name), text);
        printed.push((await shell(command, folder)).stdout, (await shell(command, folder)).stdout);
        continue;
      }
      await shell(command, folder);
      if (command.startsWith('mkdir my-app')) folder = join(folder, 'my-app');
    }
    assert.deepEqual(printed, ['1\n', '2\n']);
    const { type, dependencies } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
    assert.deepEqual([type, Object.keys(dependencies)], ['module', ['cu-wasm']]);
    assert.equal(dirname(folder), place);
  } finally {
    await rm(place, { recursive: true, force: true });
  }
});
