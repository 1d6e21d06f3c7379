// Runs blocks of code from documents. A line may state what it gives:
//
//     await lua.eval('return 6 * 7');   // → 42
//     await lua.eval('x = = 1');        // fails: EVAL_FAILED
//
// What follows the arrow is an expression that the statement's value, or the variable's that it declares, is compared with. A statement that is
// to fail has to throw an error with this code. Every statement of that kind has to be reached.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parse } from 'acorn';

const web = fileURLToPath(new URL('../..', import.meta.url));
const STATED = /^\s*(→|fails:)\s*(.+?)\s*$/;

/** The properties of objects that the code names, `run` in `lua.run(…)`, and its other names. */
export function usedNames(code) {
  const [properties, names] = [new Set(), new Set()];
  walk(parse(code, { ecmaVersion: 'latest', sourceType: 'module' }), (node) => {
    if (node.type === 'MemberExpression' && !node.computed) properties.add(node.property.name);
    if (node.type === 'Identifier') names.add(node.name);
  });
  return { properties, names };
}

/** The code with its statements about results made checks, and how many they are. */
export function withChecks(code, place) {
  const comments = [];
  const tree = parse(code, { ecmaVersion: 'latest', sourceType: 'module', locations: true, onComment: comments });
  const statements = [];
  walk(tree, (node) => {
    if (node.type === 'ExpressionStatement' || node.type === 'VariableDeclaration') statements.push(node);
  });
  const changes = [];
  for (const { value, start, loc } of comments) {
    const stated = STATED.exec(value);
    if (stated === null) continue;
    const [, kind, text] = stated;
    const line = place.line + loc.start.line - 1;
    const ending = statements.filter((node) => node.end <= start && node.loc.end.line === loc.start.line);
    const statement = ending.sort((left, right) => left.end - right.end).at(-1);
    assert.ok(statement !== undefined, `docs/${place.document}:${line}: there is no statement in front of the result`);
    changes.push({ statement, kind, text, line });
  }
  let checked = code;
  for (const { statement, kind, text, line } of changes.sort((left, right) => right.statement.start - left.statement.start)) {
    const source = code.slice(statement.start, statement.end);
    checked = checked.slice(0, statement.start) + check(statement, source, kind, text, line) + checked.slice(statement.end);
  }
  return { checked, count: changes.length };
}

function check(statement, source, kind, text, line) {
  if (statement.type === 'VariableDeclaration') {
    assert.ok(kind === '→' && statement.declarations.length === 1 && statement.declarations[0].id.type === 'Identifier', source);
    return `${source} documented.equal(${line}, ${statement.declarations[0].id.name}, (${text}));`;
  }
  const expression = source.replace(/;$/, '');
  if (kind === '→') return `documented.equal(${line}, (${expression}), (${text}));`;
  return `await documented.fails(${line}, async () => (${expression}), ${JSON.stringify(text)});`;
}

function walk(node, visit) {
  if (Array.isArray(node)) return node.forEach((inner) => walk(inner, visit));
  if (typeof node?.type !== 'string') return;
  visit(node);
  for (const inner of Object.values(node)) if (typeof inner === 'object' && inner !== null) walk(inner, visit);
}

/** Runs `body` in a new folder, in which modules can import the package by its name, and those that it is linked with. */
export async function inFolder(body, linked = ['react', 'react-dom', 'vue']) {
  const folder = await mkdtemp(join(tmpdir(), 'cu-document-'));
  const before = process.cwd();
  try {
    const modules = join(folder, 'node_modules');
    await mkdir(modules);
    await symlink(web, join(modules, 'cu-wasm'), 'dir');
    for (const name of linked) await symlink(join(web, 'node_modules', name), join(modules, name), 'dir');
    await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }));
    process.chdir(folder);
    await body(folder);
  } finally {
    process.chdir(before);
    await rm(folder, { recursive: true, force: true });
  }
}

let modules = 0;

/**
 * Runs a block as a module of its own.
 *
 * @param before code that it goes on from, and `after` what is run behind it
 */
export async function runBlock(folder, document, block, before = '', after = '') {
  const { checked, count } = withChecks(block.code, { document, line: block.line });
  const reached = new Set();
  const at = (line) => `docs/${document}:${line}`;
  globalThis.documented = {
    equal(line, actual, expected) {
      reached.add(line);
      assert.deepEqual(actual, expected, `${at(line)}: it gives ${show(actual)}`);
    },
    async fails(line, attempt, code) {
      reached.add(line);
      const error = await attempt().then((value) => assert.fail(`${at(line)}: it gives ${show(value)}`), (thrown) => thrown);
      assert.equal(error.code ?? error.name, code, `${at(line)}: ${error.stack ?? error}`);
    },
  };
  modules++;
  const file = join(folder, `block-${modules}.mjs`);
  await writeFile(file, `${before}\n${checked}\n${after}`);
  try {
    await import(pathToFileURL(file).href);
  } catch (error) {
    if (error.code !== 'ERR_ASSERTION') error.message = `${at(block.line)}: ${error.message}`;
    throw error;
  }
  assert.equal(reached.size, count, `${at(block.line)}: ${count} lines state a result, ${reached.size} were reached`);
}

function show(value) {
  if (typeof value === 'bigint') return `${value}n`;
  return JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? `${inner}n` : inner)) ?? String(value);
}

/** A test of each example in JavaScript of a document. One that imports nothing goes on from the document's first, which opens an instance. */
export async function runExamples(context, { name, sections }) {
  const [opening] = sections.flatMap(({ blocks }) => blocks);
  await inFolder(async (folder) => {
    for (const { heading, blocks } of sections) {
      for (const block of blocks.filter(({ language }) => language === 'js')) {
        const isAlone = /^import /m.test(block.code);
        const run = () => runBlock(folder, name, block, isAlone ? '' : opening.code, isAlone && block !== opening ? '' : 'await lua.close();');
        await context.test(`${heading}, line ${block.line}`, run);
      }
    }
  });
}
