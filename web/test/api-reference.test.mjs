// docs/API.md: its examples do what they say, and nothing that the package exports is missing from it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { named, readDocument, whole } from './documents/read.mjs';
import { runExamples, usedNames } from './documents/run.mjs';
import { ENTRIES, hiddenMembers, surfaceOf } from './documents/surface.mjs';

const reference = readDocument('API.md');
const { sections } = reference;
const everything = named(sections.flatMap(({ lines }) => lines));

test('every example does what it says', (context) => runExamples(context, reference));

const named_ = (section) => named([section.heading]);

/** The examples of the section whose heading names this. */
function examplesOf(name) {
  const section = sections.find((section) => named_(section).has(name));
  assert.ok(section !== undefined, `no heading of docs/API.md names \`${name}\``);
  const blocks = whole(reference, section).flatMap(({ blocks }) => blocks).filter(({ language }) => language === 'js');
  return blocks.map(({ code }) => usedNames(code));
}

test('every public member of Cu has an example under a heading with its name', async () => {
  const { Cu } = await import('../dist/index.js');
  const { members, statics } = surfaceOf('cu-wasm').get('Cu');
  const disposal = members.filter((name) => name.startsWith('__@asyncDispose'));
  assert.equal(disposal.length, 1);
  const documented = [...members.filter((name) => !disposal.includes(name)), ...statics, 'asyncDispose'];
  for (const name of documented) assert.ok(examplesOf(name).some(({ properties }) => properties.has(name)), `\`${name}\` has no example`);

  // The declarations tell all that is there.
  const actual = new Set();
  for (let { prototype } = Cu; prototype !== Object.prototype; prototype = Object.getPrototypeOf(prototype)) {
    for (const name of Object.getOwnPropertyNames(prototype)) actual.add(name);
  }
  actual.delete('constructor');
  const hidden = hiddenMembers('cu-wasm', 'Cu');
  assert.deepEqual([...actual].filter((name) => !hidden.includes(name)).sort(), members.filter((name) => !disposal.includes(name)).sort());
});

for (const { name: entry } of ENTRIES) {
  test(`all exports of ${entry} are there, with fields and texts`, async () => {
    const surface = surfaceOf(entry);
    assert.ok(everything.has(entry), `\`${entry}\` is not named`);
    for (const [name, { kind, fields = [], texts = [], members = [] }] of surface) {
      // The functions of the older system are described where they come from; their shapes are in MIGRATION.md and the types.
      if (entry === 'cu-wasm/basic' && kind !== 'value') continue;
      if (name === 'default') continue;
      assert.ok(everything.has(name), `${entry}: \`${name}\` is not named`);
      for (const part of [...fields, ...texts, ...members.filter((member) => !member.startsWith('__@'))]) {
        assert.ok(everything.has(part), `${entry}: \`${part}\` of ${name} is not named`);
      }
    }
  });
}

test('values and classes of cu-wasm have examples', () => {
  for (const [name, { kind }] of surfaceOf('cu-wasm')) {
    if (kind !== 'class' && kind !== 'value') continue;
    assert.ok(examplesOf(name).some(({ names }) => names.has(name)) || name === 'Cu', `\`${name}\` has no example`);
  }
});

test('options stand in the section of their type', () => {
  const surface = surfaceOf('cu-wasm');
  for (const [name, { kind, fields = [] }] of surface) {
    if (kind !== 'fields' || fields.length === 0) continue;
    const all = sections.filter((section) => named_(section).has(name) || named(section.lines).has(name)).flatMap((section) => whole(reference, section));
    const found = named(all.flatMap(({ lines }) => lines));
    for (const field of fields) assert.ok(found.has(field), `${name}: \`${field}\` is not in its section`);
  }
});

test('links lead somewhere', () => {
  const anchors = new Set(sections.map(({ heading }) => heading.toLowerCase().replace(/[^\w\- ]/g, '').replace(/ /g, '-')));
  for (const [, anchor] of sections.flatMap(({ lines }) => lines).join('\n').matchAll(/\]\(#([^)]+)\)/g)) assert.ok(anchors.has(anchor), `#${anchor}`);
});
