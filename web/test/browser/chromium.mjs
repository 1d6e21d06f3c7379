// Chromium as a process of our own, so that a test can kill it: Playwright's own launcher would tidy up first.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import { CHROMIUM } from './browsers.mjs';

const { CU_ADDRESS, CU_CHROMIUM } = process.env;
if (CU_ADDRESS === undefined || CU_CHROMIUM === undefined) {
  throw new Error('start these tests with `cargo xtask test browsers`, which sets CU_ADDRESS and CU_CHROMIUM');
}

/** Nothing takes so long, on however busy a machine: what does hangs. */
const HANG_MS = 5 * 60 * 1000;

const ARGUMENTS = [...CHROMIUM, '--remote-debugging-port=0'];

const PACKAGE_PAGE = `<!doctype html>
<title>Package</title>
<script type="importmap">{ "imports": { "cu-wasm": "/cu-wasm/index.js" } }</script>`;

/** Where a profile has the files of IndexedDB and of the private file systems, and where a copy of them is kept. */
const DATABASES = ['Default/IndexedDB', 'Default/File System'];
const COPY = ' copy';

/** Runs a test with a new profile folder; all browsers started on it are gone before it is deleted. */
export function withProfile(body) {
  return async () => {
    const profile = await mkdtemp(join(tmpdir(), 'cu-browser-'));
    const browsers = [];
    const start = async () => {
      const browser = await launch(profile);
      browsers.push(browser);
      return browser;
    };
    try {
      await body(start);
    } finally {
      for (const browser of browsers) await browser.kill();
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    }
  };
}

async function launch(profile) {
  // A process group of its own: killing it takes all of Chromium's processes.
  const child = spawn(CU_CHROMIUM, [...ARGUMENTS, `--user-data-dir=${profile}`, 'about:blank'], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const endpoint = await new Promise((resolve, reject) => {
    const lines = createInterface({ input: child.stderr });
    lines.on('line', (line) => {
      const found = /DevTools listening on (ws:\S+)/.exec(line);
      if (found !== null) resolve(found[1]);
    });
    child.once('error', reject);
    void exited.then((code) => reject(new Error(`Chromium ended with ${code}`)));
  });
  const connection = await chromium.connectOverCDP(endpoint, { timeout: HANG_MS });
  /** What goes wrong in the page unseen is kept for the test. */
  const newPage = async () => {
    const page = await connection.contexts()[0].newPage();
    page.setDefaultTimeout(HANG_MS);
    page.unseen = [];
    page.on('pageerror', (error) => page.unseen.push(error));
    return page;
  };
  return {
    /** Opens an empty page that knows the package by its name. */
    async open() {
      const page = await newPage();
      await page.route('**/package.html', (route) => route.fulfill({ contentType: 'text/html', body: PACKAGE_PAGE }));
      await page.goto(new URL('/package.html', CU_ADDRESS).href);
      return page;
    },
    /**
     * Opens the playground and waits until it is ready. What the browser complains about, a violated policy above all, is unseen too.
     *
     * @param prepare is called with the page before it is loaded
     */
    async openPlayground(fragment = '', prepare = () => undefined) {
      const page = await newPage();
      page.on('console', (message) => {
        if (message.type() === 'error') page.unseen.push(message.text());
      });
      await prepare(page);
      await page.goto(new URL(fragment, CU_ADDRESS).href);
      await page.locator('#run:enabled').waitFor();
      return page;
    },
    /** Copies the files of all databases as they are now, aside. */
    async copyDatabases() {
      for (const folder of DATABASES.map((name) => join(profile, name)).filter(existsSync)) await cp(folder, folder + COPY, { recursive: true });
    },
    /** Makes the copy the profile's databases; to be called when the browser is dead. */
    async putCopyBack() {
      for (const folder of DATABASES.map((name) => join(profile, name))) {
        await rm(folder, { recursive: true, force: true });
        if (existsSync(folder + COPY)) await rename(folder + COPY, folder);
      }
    },
    /** Ends the process of a page at once, as if it had been killed, and no other. */
    async crash(page) {
      const session = await page.context().newCDPSession(page);
      const crashed = page.waitForEvent('crash');
      // There is nobody left to answer.
      void session.send('Page.crash').catch(() => undefined);
      await crashed;
    },
    /** SIGKILL, as a crash would end it. */
    async kill() {
      if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL');
      await exited;
      await connection.close().catch(() => undefined);
    },
  };
}
