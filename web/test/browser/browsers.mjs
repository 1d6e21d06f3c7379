// The browsers of this machine, started with nothing but an address: pages report what they find to the server that they come from.
// So no driver is needed, and each browser is the one that people have.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const { CU_CHROMIUM, CU_FIREFOX, CU_WEBKIT, CU_XVFB } = process.env;
if (CU_CHROMIUM === undefined) throw new Error('start these tests with `cargo xtask test browsers`, which sets CU_CHROMIUM');

/** Keeps Chromium without a window, and from opening connections of its own. */
export const CHROMIUM = [
  '--headless=new',
  '--no-first-run',
  '--disable-quic',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
];

/** Preferences that keep Firefox from opening pages and connections of its own. */
const FIREFOX = {
  'app.normandy.enabled': false,
  'app.update.enabled': false,
  'browser.aboutwelcome.enabled': false,
  'browser.sessionstore.resume_from_crash': false,
  'browser.shell.checkDefaultBrowser': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'datareporting.policy.dataSubmissionPolicyBypassNotification': true,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'http://127.0.0.1:9/',
  'toolkit.telemetry.enabled': false,
  'trailhead.firstrun.didSeeAboutWelcome': true,
};

/**
 * Each with the way it is started. `missing` says why it cannot be: tests of it are left out then, and counted so.
 */
export const BROWSERS = [
  {
    name: 'Chromium',
    missing: null,
    command: (profile, address) => [CU_CHROMIUM, ...CHROMIUM, `--user-data-dir=${profile}`, address],
  },
  {
    name: 'Firefox',
    missing: CU_FIREFOX === undefined ? 'no Firefox was found or could be installed' : null,
    async command(profile, address) {
      const lines = Object.entries(FIREFOX).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
      await writeFile(join(profile, 'user.js'), lines.join(''));
      return [CU_FIREFOX, '--headless', '--no-remote', '--profile', profile, address];
    },
  },
  {
    name: 'WebKit',
    missing: CU_WEBKIT === undefined ? "no WebKitGTK browser was found or could be installed" : CU_XVFB === undefined ? 'there is no Xvfb' : null,
    needsDisplay: true,
    command: (_, address) => [CU_WEBKIT, address],
  },
];

/** Opens an address in a browser with a new profile while `body` runs. It is told the group of the browser's processes. */
export async function withBrowser(browser, address, body) {
  const profile = await mkdtemp(join(tmpdir(), 'cu-browser-'));
  const [program, ...words] = await browser.command(profile, address);
  const screen = browser.needsDisplay ? await startDisplay() : null;
  const folders = { HOME: profile, XDG_CACHE_HOME: profile, XDG_CONFIG_HOME: profile, XDG_DATA_HOME: profile };
  const display = screen === null ? {} : { DISPLAY: screen.display };
  // A process group of its own: ending it takes all of the browser's processes.
  const child = spawn(program, words, { detached: true, stdio: 'ignore', env: { ...process.env, ...folders, ...display } });
  let isOver = false;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const lost = exited.then((code) => {
    if (!isOver) throw new Error(`${browser.name} has ended with ${code}`);
  });
  try {
    await Promise.race([body({ group: child.pid }), lost]);
  } finally {
    isOver = true;
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL');
    await exited;
    screen?.end();
    await rm(profile, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** A screen in memory, for a browser that has no headless mode. */
async function startDisplay() {
  const words = ['-displayfd', '3', '-screen', '0', '1280x1024x24', '-nolisten', 'tcp'];
  const child = spawn(CU_XVFB, words, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  const number = await new Promise((resolve, reject) => {
    child.stdio[3].once('data', (data) => resolve(String(data).trim()));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`Xvfb has ended with ${code}`)));
  });
  return { display: `:${number}`, end: () => void child.kill('SIGKILL') };
}
