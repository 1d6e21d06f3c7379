// docs/TROUBLESHOOTING.md: its examples do what they say, and it names every error code there is, and no other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { named, readDocument } from './documents/read.mjs';
import { runExamples } from './documents/run.mjs';
import { surfaceOf } from './documents/surface.mjs';

const document = readDocument('TROUBLESHOOTING.md');
const { sections } = document;
const { texts: codes } = surfaceOf('cu-wasm').get('ErrorCode');

/** The spans in backticks that these lines are made of. */
const spans = (line) => [...line.matchAll(/`([^`]+)`/g)].map(([, span]) => span);

test('headings, the table of codes, and words in capitals name codes that exist', () => {
  const headed = sections.filter(({ heading }) => heading.startsWith('`')).flatMap(({ heading }) => spans(heading.split(':')[0]));
  const listed = sections.find(({ heading }) => heading === 'The call was wrong').lines.filter((line) => line.startsWith('| `')).flatMap((line) => spans(line.split('|')[1]));
  const capital = sections.flatMap(({ lines }) => lines).flatMap(spans).filter((span) => /^[A-Z]+(_[A-Z]+)+$/.test(span));
  const failing = sections.flatMap(({ blocks }) => blocks).flatMap(({ code }) => [...code.matchAll(/\/\/ fails: (\w+)/g)].map(([, code]) => code));
  const allowed = new Set([...codes, '_home', 'require', 'io', 'os.getenv']);
  for (const code of [...headed, ...listed, ...capital, ...failing]) assert.ok(allowed.has(code), `there is no error code ${code}`);
  assert.ok(headed.length > 20 && listed.length > 10 && capital.length > 20);
});

test('no code is missing', () => {
  const all = named(sections.flatMap(({ lines }) => lines));
  assert.deepEqual(codes.filter((code) => !all.has(code)), []);
});

test('every example does what it says', (context) => runExamples(context, document));
