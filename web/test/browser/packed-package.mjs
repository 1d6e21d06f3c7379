// The package as npm packs it, unpacked into the `node_modules` of an app.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const web = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Runs `body` with the folder of an app that has these files and the package.
 *
 * @param linked packages of this repository's own `node_modules` that the app has as well
 */
export async function withApp(files, body, linked = []) {
  const folder = await mkdtemp(join(tmpdir(), 'cu-app-'));
  try {
    await run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: web });
    const [archive] = await readdir(folder);
    const modules = join(folder, 'node_modules');
    await mkdir(join(modules, 'cu-wasm'), { recursive: true });
    await run('tar', ['-xzf', join(folder, archive), '-C', join(modules, 'cu-wasm'), '--strip-components=1']);
    for (const name of linked) await symlink(join(web, 'node_modules', name), join(modules, name), 'dir');
    await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }));
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    await body(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
