// Sandboxes of one instance: apart from each other, with what the profile has, and with what the page gives them.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Cu } from './entry.mjs';

const attempts = readFileSync(new URL('../../fixtures/sandbox/escapes.lua', import.meta.url), 'utf8').split('\n--@ ').slice(1);

const open = (options = {}) => Cu.open({ storage: 'none', heapLimit: 8 << 20, fuel: 1e8, ...options });

/** What a script sees of its libraries: fields with what they are. */
const SHOW = `
local lines = {}
for name, library in pairs(_G) do
  if type(library) == 'table' and library ~= _G then
    for field, value in pairs(library) do lines[#lines + 1] = name .. '.' .. field .. ' ' .. tostring(value):gsub('[^%w: ]', '?') end
  end
end
table.sort(lines)
return table.concat(lines, ' ') .. tostring(getmetatable('')) .. ('x'):rep(3) .. tostring(secret)`;

for (const sandbox of [undefined, true]) {
  test(`attempts to get out change nothing for others, with sandbox: ${sandbox}`, async () => {
    const cu = await open({ sandbox });
    await cu.run('secret = "of the victim"', { sandbox: 'victim' });
    const shown = await cu.eval(SHOW, { sandbox: 'victim' });
    assert.match(shown, /string\.rep function/);
    const own = await cu.eval(SHOW.replace('for name, library in pairs(_G)', 'for name, library in pairs({ string = string, math = math })'));
    assert.ok(attempts.length >= 100);
    for (const [index, attempt] of attempts.entries()) {
      const name = attempt.slice(0, attempt.indexOf('\n'));
      await cu.run(attempt.slice(name.length), { sandbox: `attacker ${index}` }).catch(() => undefined);
      assert.equal(await cu.eval(SHOW, { sandbox: 'victim' }), shown, name);
      assert.ok(!JSON.stringify(await cu.eval('return tostring(loot)', { sandbox: `attacker ${index}` }).catch(String)).includes('victim'), name);
    }
    assert.equal(await cu.eval(SHOW.replace('for name, library in pairs(_G)', 'for name, library in pairs({ string = string, math = math })')), own);
    await cu.close();
  });
}

test('an instance as a sandbox has the profile', async () => {
  const cu = await open({ sandbox: true, files: {} });
  assert.deepEqual((await cu.run('return io, require, collectgarbage, debug.getinfo, string.dump, os.exit')).values, Array(6).fill(null));
  await assert.rejects(cu.run('string.rep = print'), { message: "script:1: attempt to change field 'rep' of a read-only table" });
  await cu.close();
});

test('a function given to one sandbox is not that of another', async () => {
  const cu = await open({ functions: { name: () => 'own' } });
  for (const sandbox of ['a', 'b']) await cu.set('name', () => sandbox, { sandbox });
  assert.equal(await cu.eval('return name()', { sandbox: 'a' }), 'a');
  assert.equal(await cu.eval('return name()', { sandbox: 'b' }), 'b');
  assert.equal(await cu.eval('return name()'), 'own');
  await cu.close();
});

test('sandboxes have variables and functions that the page gives them', async () => {
  const cu = await open();
  await cu.set('limit', 7, { sandbox: 'a' });
  await cu.set('double', (x) => 2 * x, { sandbox: 'a' });
  await cu.run('x = double(limit)', { sandbox: 'a' });
  assert.equal(await cu.get('x', { sandbox: 'a' }), 14);
  assert.equal(await cu.get('x', { sandbox: 'b' }), null);
  assert.equal(await cu.get('x'), null);
  assert.deepEqual((await cu.run('return limit, double', { sandbox: 'b' })).values, [null, null]);
  await assert.rejects(cu.run('\x1bLua', { sandbox: 'a' }), /binary chunk in a sandbox/);
  const image = await cu.snapshot();
  await cu.close();
  const restored = await Cu.restore(image, { storage: 'none', heapLimit: 8 << 20, functions: { double: (x) => 0 } });
  await restored.set('double', (x) => 3 * x, { sandbox: 'a' });
  assert.deepEqual((await restored.run('x = x + 1 return x, double(limit)', { sandbox: 'a' })).values, [15, 21]);
  await restored.close();
});
