/** The playground page: runs the program in the editor and shows what it prints, returns and leaves behind. */

import { EnhancedLuaError, LuaError, type RunResult } from 'cu-wasm';
import { recordRun, showCharts } from './charts.js';
import { createEditor } from './editor.js';
import { EXAMPLES, SAMPLE_USERS } from './examples.js';
import { connectForms } from './forms.js';
import { connectImages } from './images.js';
import { fromFragment, LINK_CHARACTERS_SAFE, toFragment } from './link.js';
import { notify } from './notice.js';
import { connectTheme, recall, remember } from './preferences.js';
import { Session } from './session.js';
import { showState, type Lines } from './state.js';
import { showStored } from './stored.js';
import { connectTabs } from './tabs.js';
import { describe, element } from './values.js';

const CHUNK = 'program';
const SOURCE_KEY = 'cu-playground-source';
const OUTPUT_CHARACTERS_MAX = 200_000;
const WASM_PAGE_BYTES = 65_536;

const find = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const runButton = find<HTMLButtonElement>('run');
const stopButton = find<HTMLButtonElement>('stop');
const output = find('output');
const figures = find('figures');
const badge = find('storage');

const session = new Session();
const ownProgram = (): string => recall(SOURCE_KEY) ?? Object.values(EXAMPLES)[0] ?? '';
/** A program of a link is not the reader's own before he changes it. */
let isOwn = true;
const editor = createEditor(find('editor'), ownProgram(), () => void runProgram(), () => {
  if (isOwn) remember(SOURCE_KEY, editor.text);
  isOwn = true;
});
const lines: Lines = { hasLine: (chunk) => chunk === CHUNK, onLine: (_, line) => editor.goTo(line) };

let running: AbortController | null = null;
let pick: ReturnType<typeof connectForms>;
let showImages: () => Promise<void>;

async function start(): Promise<void> {
  await session.open();
  pick = connectForms(session, refresh);
  showImages = connectImages(session, changeState);
  find('samples').addEventListener('click', () => void addSamples().then(refresh).catch(showError));
  await changeState();
  await openLink();
}

/** After another state has taken the place of the one before. */
async function changeState(): Promise<void> {
  const { cu, home } = session;
  const words = { kept: cu.storage === 'memory' ? 'in memory only' : 'saved in this browser', elsewhere: '_home is in another tab', restored: 'a restored state' };
  badge.textContent = words[home];
  badge.classList.toggle('warning', home !== 'kept' || cu.storage === 'memory');
  find('run-name').textContent = cu.running ? 'Resume' : 'Run';
  if (home === 'restored') {
    notify('This is a restored state. The one before is as it was stored.', { name: 'Back to it', run: () => void leaveRestored() });
  }
  runButton.disabled = false;
  if (cu.running) runButton.focus();
  await refresh();
}

async function leaveRestored(): Promise<void> {
  try {
    await session.open();
    notify(null);
    await changeState();
    runButton.focus();
  } catch (error) {
    showError(error);
  }
}

async function refresh(): Promise<void> {
  await showStored(session.cu, find('stored'), (table, entry) => pick(table, entry));
  await showImages();
  showCharts(find('charts'));
  // A state in the middle of a run has no turn for the inspector's program.
  if (session.cu.running) find('state').replaceChildren(element('p', 'empty', 'A run is under way: Resume goes on with it.'));
  else await showState(session, find('state'), lines).catch(showStateError);
}

function showStateError(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  find('state').replaceChildren(element('p', 'empty error', `The state cannot be looked into: ${message}`));
}

async function addSamples(): Promise<void> {
  await session.cu.batchTableOperations(
    SAMPLE_USERS.map((value, index) => ({ type: 'set', table: 'users', key: `user${index + 1}`, value })),
  );
}

/** Runs the program, or goes on with the run that a restored state is in the middle of. */
async function runProgram(): Promise<void> {
  if (!session.isOpen || running !== null) return;
  const { cu } = session;
  running = new AbortController();
  const options = { signal: running.signal, onOutput: print };
  showRunning(true);
  output.replaceChildren();
  editor.mark(null);
  const started = performance.now();
  const clock = setInterval(() => (figures.textContent = `running… ${((performance.now() - started) / 1000).toFixed(0)} s`), 1000);
  try {
    const result = await (cu.running ? cu.resume(options) : cu.run(editor.text, { ...options, chunkName: CHUNK }));
    record(performance.now() - started, result.fuelUsed);
    showResult(result);
  } catch (error) {
    record(performance.now() - started, null);
    if (running.signal.aborted) output.append(element('p', 'note', 'Stopped.'));
    else showError(error);
  } finally {
    clearInterval(clock);
    running = null;
    showRunning(false);
  }
  find('run-name').textContent = 'Run';
  await refresh().catch(showStateError);
}

/** One of the two buttons is there at a time, and keeps the focus of the other. */
function showRunning(isRunning: boolean): void {
  const [from, to] = isRunning ? [runButton, stopButton] : [stopButton, runButton];
  const hadFocus = document.activeElement === from;
  if (isRunning) figures.textContent = 'running…';
  to.hidden = false;
  to.disabled = false;
  from.hidden = true;
  from.disabled = true;
  if (hadFocus) to.focus();
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

function record(time: number, fuel: number | null): void {
  const { used, wasm } = session.cu.getMemoryStats();
  recordRun({ time, fuel, heap: used, pages: wasm / WASM_PAGE_BYTES });
  const spent = fuel === null ? '' : ` · fuel ${fuel.toLocaleString('en')}`;
  figures.textContent = `${time.toFixed(1)} ms${spent} · heap ${Math.ceil(used / 1024).toLocaleString('en')} KiB`;
}

function showResult({ values }: RunResult): void {
  if (values.length > 0) {
    output.append(element('p', 'returned', element('span', 'muted', 'returned '), values.map(describe).join(', ')));
  }
  if (output.childElementCount === 0) output.append(element('p', 'note', 'Done. Nothing was printed or returned.'));
}

function showError(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  const box = element('div', 'failure', element('p', 'message', message));
  box.setAttribute('role', 'alert');
  if (error instanceof EnhancedLuaError) box.append(element('p', 'code', error.code));
  const isHere = error instanceof LuaError && error.chunk === CHUNK && error.line !== null;
  if (isHere && error.line !== null) {
    box.append(lineButton(error.line, `Show line ${error.line}`));
    editor.mark(error.line, message.replace(`${CHUNK}:${error.line}: `, ''));
  }
  if (error instanceof LuaError && error.traceback !== '') box.append(showTraceback(error.traceback));
  if (error instanceof EnhancedLuaError && error.suggestion !== null) box.append(element('p', 'muted', error.suggestion));
  output.append(box);
  output.scrollTop = output.scrollHeight;
}

/** A traceback whose lines of the program can be pressed. */
function showTraceback(traceback: string): HTMLElement {
  const parts = traceback.split(new RegExp(`\\b(${CHUNK}:\\d+)`));
  const shown = parts.map((part, index) => (index % 2 === 0 ? part : lineButton(Number(part.slice(CHUNK.length + 1)), part)));
  return element('pre', 'traceback', ...shown);
}

function lineButton(line: number, name: string): HTMLElement {
  const button = element('button', 'line', name);
  button.setAttribute('type', 'button');
  button.addEventListener('click', () => editor.goTo(line));
  return button;
}

/** Shows the program of the page's address. It is not run: that is for the reader, who has seen it then. */
async function openLink(): Promise<void> {
  try {
    const program = await fromFragment(session.cu, location.hash);
    if (program === null || program === editor.text) return;
    isOwn = false;
    editor.replace(program);
    const back = (): void => {
      editor.replace(ownProgram());
      history.replaceState(null, '', location.pathname);
      notify(null);
      editor.focus();
    };
    notify('This program came with the link. It has not been run: read it first.', { name: 'Back to my program', run: back });
  } catch (error) {
    showError(error);
  }
}

async function share(): Promise<void> {
  const address = new URL(await toFragment(session.cu, editor.text), location.href);
  history.replaceState(null, '', address);
  const copied = await navigator.clipboard.writeText(address.href).then(() => true, () => false);
  const long = address.href.length > LINK_CHARACTERS_SAFE ? ` It has ${address.href.length.toLocaleString('en')} characters; some programs cut long links.` : '';
  notify(`${copied ? 'The link is copied.' : 'The link is in the address bar.'}${long} Whoever opens it sees the program before it runs.`, { name: 'Close', run: () => notify(null) });
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
connectTabs(find('panels'));
connectTheme(find<HTMLSelectElement>('theme'));
runButton.addEventListener('click', () => void runProgram());
stopButton.addEventListener('click', () => running?.abort());
find('share').addEventListener('click', () => void share().catch(showError));
addEventListener('hashchange', () => void openLink());
find('clear').addEventListener('click', () => {
  output.replaceChildren();
  figures.textContent = '';
});
document.addEventListener('keydown', (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.defaultPrevented) return;
  if (event.key === 'Enter') void runProgram();
  else if (event.key === '.') running?.abort();
  else return;
  event.preventDefault();
});

start().catch((error: unknown) => {
  badge.textContent = 'not available';
  badge.classList.add('warning');
  showError(error);
});
