/** The playground page: runs the program in the editor and shows what it prints, returns and stores. */

import { Cu, EnhancedLuaError, LuaError, type RunResult } from 'cu-wasm';
import { createEditor } from './editor.js';
import { EXAMPLES, SAMPLE_USERS } from './examples.js';
import { connectForms } from './forms.js';
import { showStored } from './stored.js';
import { describe, element } from './values.js';

const CHUNK = 'program';
const SOURCE_KEY = 'cu-playground-source';
const OUTPUT_CHARACTERS_MAX = 200_000;
const HEAP_LIMIT = 16 * 1024 * 1024;

const find = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const runButton = find<HTMLButtonElement>('run');
const stopButton = find<HTMLButtonElement>('stop');
const output = find('output');
const figures = find('figures');
const badge = find('storage');

const firstExample = Object.values(EXAMPLES)[0] ?? '';
const editor = createEditor(
  find('editor'),
  localStorage.getItem(SOURCE_KEY) ?? firstExample,
  () => void runProgram(),
  () => localStorage.setItem(SOURCE_KEY, editor.text),
);

let cu: Cu | null = null;
let running: AbortController | null = null;

async function start(): Promise<void> {
  cu = await Cu.open({ name: 'cu-playground', heapLimit: HEAP_LIMIT });
  const inMemory = cu.storage === 'memory';
  badge.textContent = inMemory ? 'in memory only' : 'saved in this browser';
  badge.classList.toggle('warning', inMemory);
  const opened = cu;
  const refresh = (): Promise<void> => showStored(opened, find('stored'), (table, entry) => pick(table, entry));
  const pick = connectForms(opened, refresh);
  find('samples').addEventListener('click', () => void addSamples(opened).then(refresh).catch(showError));
  await refresh();
  runButton.disabled = false;
}

async function addSamples(opened: Cu): Promise<void> {
  await opened.batchTableOperations(
    SAMPLE_USERS.map((value, index) => ({ type: 'set', table: 'users', key: `user${index + 1}`, value })),
  );
}

async function runProgram(): Promise<void> {
  if (cu === null || running !== null) return;
  running = new AbortController();
  runButton.disabled = true;
  stopButton.disabled = false;
  output.replaceChildren();
  figures.textContent = 'running…';
  editor.mark(null);
  const started = performance.now();
  try {
    const result = await cu.run(editor.text, { chunkName: CHUNK, signal: running.signal, onOutput: print });
    showResult(result, performance.now() - started);
  } catch (error) {
    figures.textContent = `${(performance.now() - started).toFixed(1)} ms`;
    if (running.signal.aborted) output.append(element('p', 'note', 'Stopped.'));
    else showError(error);
  } finally {
    running = null;
    runButton.disabled = false;
    stopButton.disabled = true;
  }
}

function print(text: string): void {
  const atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
  const last = output.lastElementChild;
  const printed = last?.classList.contains('printed') === true ? last : element('pre', 'printed');
  if (printed !== last) output.append(printed);
  printed.append(text);
  const all = printed.textContent;
  if (all.length > OUTPUT_CHARACTERS_MAX) printed.textContent = `…${all.slice(-OUTPUT_CHARACTERS_MAX / 2)}`;
  if (atEnd) output.scrollTop = output.scrollHeight;
}

function showResult({ values, fuelUsed }: RunResult, elapsed: number): void {
  if (values.length > 0) {
    output.append(element('p', 'returned', element('span', 'muted', 'returned '), values.map(describe).join(', ')));
  }
  const heap = cu === null ? '' : ` · heap ${Math.ceil(cu.getMemoryStats().used / 1024).toLocaleString('en')} KiB`;
  figures.textContent = `${elapsed.toFixed(1)} ms · fuel ${fuelUsed.toLocaleString('en')}${heap}`;
}

function showError(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof EnhancedLuaError ? error.code : '';
  const box = element('div', 'failure', element('p', 'message', message), element('span', 'code', code));
  box.setAttribute('role', 'alert');
  if (error instanceof LuaError && error.traceback !== '') box.append(element('pre', 'traceback', error.traceback));
  if (error instanceof EnhancedLuaError && error.suggestion !== null) box.append(element('p', 'muted', error.suggestion));
  output.append(box);
  output.scrollTop = output.scrollHeight;
  if (error instanceof LuaError && error.chunk === CHUNK) editor.mark(error.line);
}

const examples = find<HTMLSelectElement>('examples');
examples.append(...Object.keys(EXAMPLES).map((name) => new Option(name, name)));
examples.addEventListener('change', () => {
  const source = EXAMPLES[examples.value];
  examples.value = '';
  if (source === undefined) return;
  editor.replace(source);
  editor.focus();
});
runButton.addEventListener('click', () => void runProgram());
stopButton.addEventListener('click', () => running?.abort());
find('clear').addEventListener('click', () => {
  output.replaceChildren();
  figures.textContent = '';
});
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey) || event.defaultPrevented) return;
  event.preventDefault();
  void runProgram();
});

start().catch((error: unknown) => {
  badge.textContent = 'not available';
  badge.classList.add('warning');
  showError(error);
});
