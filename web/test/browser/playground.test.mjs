// The playground in Chromium: each thing that it offers, with the mouse and with the keyboard alone, at a desk and on a phone. axe looks at
// every panel in both colours and both widths; what the browser complains about in its console fails a test, a violated policy above all.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { withProfile } from './chromium.mjs';

const TIMEOUT = { timeout: 5 * 60 * 1000 };
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const PHONE = { width: 390, height: 844 };

/** A test with the playground open. */
const inPlayground = (name, body, { fragment, prepare } = {}) =>
  test(`playground: ${name}`, TIMEOUT, withProfile(async (start) => {
    const browser = await start();
    const page = await browser.openPlayground(fragment, prepare);
    await body(page, browser);
    assert.deepEqual(page.unseen, []);
  }));

async function write(page, program) {
  await page.locator('.cm-content').click();
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.insertText(program);
}

async function run(page, program) {
  if (program !== undefined) await write(page, program);
  await page.keyboard.press('Control+Enter');
  await page.locator('#run:enabled').waitFor();
}

const program = (page) => page.locator('.cm-line').allTextContents().then((lines) => lines.join('\n'));
const focused = (page) => page.evaluate(() => document.activeElement?.id ?? '');
const reload = async (page) => {
  await page.reload();
  await page.locator('#run:enabled').waitFor();
};

/** A branch or leaf of the inspector by its name, with what is under it. */
const node = (page, name) => page.locator('#state li').filter({ has: page.locator(`xpath=./div/span[@class="name"][.="${name}"] | ./details/summary/span[@class="name"][.="${name}"]`) });

inPlayground('runs, marks the line of an error, and remembers the program', async (page) => {
  await run(page, 'print("hello")\nreturn 6 * 7');
  assert.deepEqual(await page.locator('#output > *').allTextContents(), ['hello\n', 'returned 42']);
  assert.match(await page.locator('#figures').innerText(), /ms · fuel [\d,]+ · heap/);

  await run(page, 'local t\n\nprint(t.x)');
  assert.match(await page.locator('#output [role=alert]').innerText(), /program:3: attempt to index a nil value[^]*stack traceback:/);
  assert.equal(await page.locator('.error-line').innerText(), 'print(t.x)');
  assert.match(await page.locator('.error-message').innerText(), /^attempt to index a nil value \(local 't'\)$/);
  // The line is one press away, also from the traceback.
  await page.locator('#output .traceback button', { hasText: 'program:3' }).click();
  assert.equal(await page.locator('.cm-activeLine').innerText(), 'print(t.x)');
  await run(page, 'x = = 1');
  assert.match(await page.locator('#output [role=alert]').innerText(), /program:1:.*near '='/);
  await reload(page);
  assert.equal(await program(page), 'x = = 1');
});

inPlayground('stops a runaway program, by button and by key', async (page) => {
  await page.locator('#examples').selectOption('A long run');
  for (const stop of [() => page.locator('#stop').click(), () => page.keyboard.press('Control+.')]) {
    await page.locator('#run').click();
    await page.locator('#output', { hasText: '10000000' }).waitFor();
    assert.equal(await focused(page), 'stop');
    await stop();
    await page.locator('#output', { hasText: 'Stopped.' }).waitFor();
    await page.locator('#run:enabled').waitFor();
    assert.equal(await focused(page), 'run');
  }
  await run(page, 'return "usable"');
  assert.match(await page.locator('#output').innerText(), /returned "usable"/);
});

inPlayground('the inspector shows upvalues, shared ones, and the line of a coroutine; all is there after a reload', async (page) => {
  await run(page, `local n = 0
_home.counter = function() n = n + 1 return n end
_home.reset = function() n = 0 end
_home.steps = coroutine.wrap(function(from)
  for step = from, 10 do
    coroutine.yield(step)
  end
end)
_home.waiting = coroutine.create(print)
_home.counter() _home.counter() _home.steps(4)
list = {1, {deep = true}, [true] = "x\\xff"}
list.self = list`);
  const check = async () => {
    assert.match(await node(page, 'counter').innerText(), /line 2[^]*counter[^]*function program:2\s[^]*n\s*2$/);
    assert.match(await node(page, 'reset').innerText(), /function program:3\s[^]*n\s*shared\s*2$/);
    assert.match(await node(page, 'steps').innerText(), /coroutine suspended at program:6[^]*from\s*4[^]*step\s*4$/);
    assert.match(await node(page, 'waiting').innerText(), /coroutine not started/);
  };
  await check();
  await node(page, 'list').locator('> details > summary').click();
  assert.match(await node(page, 'list').innerText(), /4 fields[^]*\[true\]\s*"x\ufffd"[^]*\[1\]\s*1[^]*\[2\][^]*self[^]*the one above/);
  await node(page, 'steps').locator('.go').first().click();
  assert.equal((await page.locator('.cm-activeLine').innerText()).trim(), 'coroutine.yield(step)');

  await reload(page);
  await check();
  assert.equal(await node(page, 'list').count(), 0);
  // What the program hides from the inspector, or gives metamethods, does no harm.
  await run(page, 'list = setmetatable({1}, {__index = error, __pairs = error, __tostring = error}) debug.getinfo = nil');
  assert.match(await page.locator('#state').innerText(), /cannot be looked into/);
  await reload(page);
  await check();
});

inPlayground('saved functions are shown with their upvalues; records and queries, with an index', async (page) => {
  await page.locator('#tab-tables').click();
  await page.locator('#form-function button[value=save]').click();
  await page.locator('#stored .entry', { hasText: 'counter' }).waitFor();
  for (const expected of ['1', '2']) {
    await page.locator('#form-function button[value=call]').click();
    await page.locator('#form-function output', { hasText: expected }).waitFor();
  }
  await page.locator('#samples').click();
  await page.locator('#stored .entry', { hasText: 'Alice' }).waitFor();
  await reload(page);
  assert.match(await node(page, 'Memory.counter').innerText(), /function Memory\.counter:2–5\s[^]*n\s*2$/);

  await page.locator('#tab-tables').click();
  assert.match(await page.locator('#stored').innerText(), /counter[^]*function[^]*Alice/);
  await page.locator('#form-function button[value=call]').click();
  await page.locator('#form-function output', { hasText: '3' }).waitFor();
  await page.locator('#tab-query').click();
  const answer = page.locator('#form-query output');
  await page.locator('#form-query button[value=ask]').click();
  await answer.filter({ hasText: /^4 documents in .* without an index/ }).waitFor();
  await page.locator('#form-query button[value=index]').click();
  await answer.filter({ hasText: 'users has an index over age' }).waitFor();
  await page.locator('#form-query button[value=ask]').click();
  await answer.filter({ hasText: /^4 documents in .* costs less here than the index age/ }).waitFor();
  await page.locator('#form-query [name=operator]').selectOption('=');
  await page.locator('#form-query button[value=ask]').click();
  await answer.filter({ hasText: /^1 document in .* by the index age[^]*user2/ }).waitFor();
  await page.locator('#tab-record').click();
  await page.locator('#form-record [name=value]').fill('{"name": ');
  await page.locator('#form-record button[value=set]').click();
  await page.locator('#form-record output .error').waitFor();
  await page.locator('#form-record [name=value]').fill('{"name": "Zoe"}');
  await page.locator('#form-record button[value=set]').click();
  await page.locator('#stored .entry', { hasText: 'Zoe' }).waitFor();
  await page.locator('#form-record button[value=delete]').click();
  await page.locator('#stored .entry', { hasText: 'Zoe' }).waitFor({ state: 'detached' });
});

inPlayground('a link shows its program and does not run it', async (page, browser) => {
  const text = '-- ä ✓ \u{1f600}\nran = true\nprint("from the link")';
  await write(page, text);
  await page.locator('#share').click();
  await page.locator('#notice', { hasText: 'link' }).waitFor();
  const { hash } = new URL(page.url());
  assert.match(hash, /^#code=[\w-]+$/);

  await write(page, 'print "my own"');
  const other = await browser.openPlayground(hash);
  await other.locator('#notice', { hasText: 'has not been run' }).waitFor();
  assert.equal(await program(other), text);
  assert.equal(await other.locator('#output').innerText(), '');
  assert.equal(await node(other, 'ran').count(), 0);
  await run(other);
  assert.equal(await other.locator('#output').innerText(), 'from the link\n');
  // The reader's own program is there again, and is what the browser remembers.
  await other.locator('#notice button').click();
  assert.equal(await program(other), 'print "my own"');
  await reload(other);
  assert.equal(await program(other), 'print "my own"');

  for (const damaged of ['#code=', '#code=AAAA', `${hash.slice(0, -6)}`, '#code=%%%', `#code=${hash.slice(7, 20)}!`]) {
    const broken = await browser.openPlayground(damaged);
    await broken.locator('#output [role=alert]', { hasText: 'The link is damaged' }).waitFor();
    assert.equal(await program(broken), 'print "my own"');
    assert.deepEqual(broken.unseen, []);
    await broken.close();
  }
  assert.deepEqual(other.unseen, []);
});

inPlayground('a state saved in the middle of a run is restored and goes on, from the browser and from a file', async (page) => {
  await write(page, 'count = 0\nwhile not (count > 1e6 and done) do count = count + 1 if count == 1e6 then print("half") end end\nprint("all")\nreturn done');
  await page.keyboard.press('Control+Enter');
  await page.locator('#output', { hasText: 'half' }).waitFor();
  await page.locator('#save-image').click();
  await page.locator('#images li', { hasText: 'in the middle of a run' }).waitFor();
  await page.locator('#stop').click();
  await page.locator('#run:enabled').waitFor();
  await run(page, 'kept = "whole state"');

  await page.locator('#images button', { hasText: 'Restore' }).click();
  await page.locator('#run-name', { hasText: 'Resume' }).waitFor();
  await page.locator('#storage', { hasText: 'a restored state' }).waitFor();
  await page.locator('#run').click();
  await page.locator('#stop').click();
  await page.locator('#output', { hasText: 'Stopped.' }).waitFor();
  // The run began again where it was: its variable is over a million, and the later one is not there.
  await run(page, 'return count >= 1e6, kept');
  assert.match(await page.locator('#output').innerText(), /returned true, nil/);

  await run(page, 'here = 5');
  await page.locator('#save-image').click();
  await page.locator('#images li').nth(1).waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#images button', { hasText: 'Download' }).nth(1).click()]);
  assert.match(download.suggestedFilename(), /^cu .*\.image$/);
  await page.locator('#notice button').click();
  await page.locator('#storage', { hasText: 'saved in this browser' }).waitFor();
  assert.equal(await node(page, 'here').count(), 0);
  await page.locator('#image-file').setInputFiles(await download.path());
  await node(page, 'here').waitFor();
  assert.match(await node(page, 'here').innerText(), /here\s*5/);
  // What is no image leaves the state as it is.
  await page.locator('#image-file').setInputFiles({ name: 'x.image', mimeType: 'application/octet-stream', buffer: Buffer.from('nothing') });
  await page.locator('#images-answer .error').waitFor();
  assert.match(await node(page, 'here').innerText(), /here\s*5/);
  for (const left of [1, 0]) {
    await page.locator('#images button', { hasText: 'Delete' }).first().click();
    await page.locator('#images li').nth(left).waitFor({ state: 'detached' });
  }
});

inPlayground('figures of each run: bars, words and a table', async (page) => {
  await page.locator('#tab-charts').click();
  await page.locator('#charts', { hasText: 'Run a program' }).waitFor();
  for (let runs = 1; runs <= 3; runs += 1) {
    await run(page, `local t = {} for i = 1, ${runs * 1000} do t[i] = {} end _home.t = t`);
    await page.locator('#charts svg').nth(3).waitFor();
    assert.equal(await page.locator('#charts svg').first().locator('rect').count(), runs);
  }
  await run(page, 'error("x")');
  const names = await page.locator('#charts svg').evaluateAll((drawings) => drawings.map((drawing) => drawing.getAttribute('aria-label')));
  assert.deepEqual(names.map((name) => name.split(' of ')[0]), ['Time', 'Fuel', 'Heap', 'Memory']);
  assert.match(names[2], /^Heap of the last runs: [\d,]+ KiB now, [\d,]+ to [\d,]+ in 4 runs$/);
  await page.locator('#charts summary').click();
  assert.equal(await page.locator('#charts tbody tr').count(), 4);
  // A run that has failed has no known fuel.
  assert.equal(await page.locator('#charts tbody tr').first().locator('td').nth(1).innerText(), '–');
});

inPlayground('all of it with the keyboard alone', async (page) => {
  const tabTo = async (id) => {
    for (let presses = 0; presses < 60; presses += 1) {
      if ((await focused(page)) === id) return;
      await page.keyboard.press('Tab');
    }
    assert.fail(`Tab does not reach ${id}; the focus is at ${await focused(page)}`);
  };
  await tabTo('examples');
  await tabTo('run');
  await tabTo('editor');
  await page.keyboard.press('ControlOrMeta+a');
  await page.keyboard.insertText('_home.list = {1, 2}\nreturn "by keys"');
  await page.keyboard.press('Control+Enter');
  await page.locator('#output', { hasText: 'by keys' }).waitFor();
  // Escape, then Tab, leaves the editor.
  await page.keyboard.press('Escape');
  await page.keyboard.press('Tab');
  assert.notEqual(await focused(page), 'editor');
  await tabTo('tab-state');
  await page.keyboard.press('ArrowRight');
  assert.equal(await focused(page), 'tab-tables');
  assert.equal(await page.locator('#panel-tables').isVisible(), true);
  await page.keyboard.press('End');
  assert.equal(await page.locator('#panel-charts').isVisible(), true);
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.locator('#panel-state').isVisible(), true);
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'panel-state');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.match(await node(page, 'list').innerText(), /2 fields[^]*\[1\]\s*1[^]*\[2\]\s*2/);
  await tabTo('save-image');
  await page.keyboard.press('Enter');
  await page.locator('#images li').waitFor();
});

inPlayground('a second tab does without _home and says so', async (page, browser) => {
  const other = await browser.openPlayground();
  assert.equal(await other.locator('#storage').innerText(), '_home is in another tab');
  await run(other, 'return _home');
  assert.match(await other.locator('#output').innerText(), /returned nil/);
  assert.deepEqual(other.unseen, []);
  await run(page, '_home.mine = 1');
  assert.match(await node(page, 'mine').innerText(), /mine\s*1/);
});

const STRICT = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'; require-trusted-types-for 'script'";

inPlayground('works under a strict policy of its server, wasm compiled at run time included', async (page) => {
  await run(page, 'local sum = 0 for i = 1, 3000000 do sum = sum + i % 7 end return sum');
  assert.match(await page.locator('#output').innerText(), /returned 8999997/);
  await run(page, 'error("x")');
  await page.locator('.error-message').waitFor();
  assert.notEqual(await page.locator('.cm-keyword, .cm-line span').first().evaluate((span) => getComputedStyle(span).color), 'rgb(0, 0, 0)');
  // Without the editor's styles, its scroller would not scroll.
  assert.equal(await page.locator('.cm-scroller').evaluate((scroller) => getComputedStyle(scroller).overflowX), 'auto');
}, {
  prepare: (page) => page.route('**/*', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, headers: { ...response.headers(), 'content-security-policy': STRICT } });
  }),
});

for (const colorScheme of ['light', 'dark']) {
  for (const [place, viewport] of [['desktop', { width: 1360, height: 860 }], ['phone', PHONE]]) {
    const prepare = async (page) => {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      await page.addInitScript({ path: AXE });
    };
    inPlayground(`axe finds nothing, ${colorScheme}, ${place}`, async (page) => {
      const check = async (where) => {
        const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document));
        const found = violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${where}: ${id}: ${target.flat().join(' ')}: ${failureSummary}`));
        assert.deepEqual(found, []);
        assert.ok(passes.some(({ id }) => id === 'color-contrast'), `${where}: contrast was looked at`);
      };
      // At each width everything is on the screen from left to right.
      const fits = async () => assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
      await check('the page');
      await page.locator('#examples').selectOption('A state that stays');
      await page.locator('#run').click();
      await page.locator('#run:enabled').waitFor();
      await node(page, 'story').waitFor();
      await page.locator('#save-image').click();
      await page.locator('#images li').waitFor();
      await check('the state');
      await page.locator('#tab-charts').click();
      await page.locator('#charts summary').click();
      await check('the figures');
      await page.locator('#tab-tables').click();
      await page.locator('#samples').click();
      await page.locator('#stored .entry', { hasText: 'Alice' }).waitFor();
      for (const tab of ['function', 'record', 'query']) {
        await page.locator(`#tab-${tab}`).click();
        await page.locator(`#form-${tab} button.primary`).click();
        await page.locator(`#form-${tab} output`).filter({ hasText: /./ }).waitFor();
        await check(`the form ${tab}`);
      }
      await fits();
      await page.locator('#share').click();
      await page.locator('#notice').waitFor();
      await page.locator('#examples').selectOption('An error with its traceback');
      await page.locator('#run').click();
      await page.locator('.failure').waitFor();
      await check('an error');
      await page.locator('#examples').selectOption('A long run');
      await page.locator('#run').click();
      await page.locator('#stop:enabled').waitFor();
      await check('a run');
      await page.locator('#stop').click();
      await page.locator('#run:enabled').waitFor();
      await fits();
    }, { prepare });
  }
}

test('playground: axe would find something', TIMEOUT, withProfile(async (start) => {
  const page = await (await start()).openPlayground('', (opened) => opened.addInitScript({ path: AXE }));
  await page.evaluate(() => document.querySelector('#theme').removeAttribute('aria-label'));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  assert.deepEqual(violations.map(({ id }) => id), ['select-name']);
  assert.match(await readFile(AXE, 'utf8'), /axe/);
}));
