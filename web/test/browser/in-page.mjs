// Tests of the package in Chromium that need a browser with one page.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withProfile } from './chromium.mjs';

export const TIMEOUT = { timeout: 120_000 };

/** A test with the browser and one page that is open. What goes wrong there unseen fails it. */
export const inPage = (name, body) =>
  test(name, TIMEOUT, withProfile(async (start) => {
    const browser = await start();
    const page = await browser.open();
    await body(page, browser);
    assert.deepEqual(page.unseen, []);
  }));
