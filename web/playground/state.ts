/** The state inspector: what `_home`, saved functions and global variables hold, as a tree of functions, coroutines and tables. */

import { FunctionBlob, type LuaValue } from 'cu-wasm';
import { INSPECT, INSPECT_FUEL, type StateChild, type StateNode, type StateSection } from './inspect-program.js';
import type { Session } from './session.js';
import { keyText } from './stored.js';
import { element } from './values.js';

const SAVED_MAX = 100;

/** What a person has opened or closed, by path; the rest is as {@link isOpenFirst} says. */
const toggled = new Map<string, boolean>();

const SIGNS: Readonly<Record<string, string>> = { function: 'ƒ', coroutine: '⟳', table: '{}', frame: '↳' };

/** @param onLine is called for a line of a chunk that a person wants to see; `hasLine` tells which chunks can be shown */
export interface Lines {
  hasLine(chunk: string): boolean;
  onLine(chunk: string, line: number): void;
}

/** Looks into the state and shows it. */
export async function showState(session: Session, panel: HTMLElement, lines: Lines): Promise<void> {
  const { cu, library } = session;
  const saved = await savedFunctions(session);
  const { values } = await cu.run(INSPECT, { chunkName: 'inspector', args: [library, saved], fuel: INSPECT_FUEL });
  const [sections, isCut] = values as unknown as [StateSection[], boolean];
  const shown = sections.map((section) => showSection(section, session, lines));
  if (isCut) shown.push(element('p', 'hint muted', 'There is more than is shown here.'));
  panel.replaceChildren(...shown);
}

async function savedFunctions({ cu }: Session): Promise<[string, LuaValue][]> {
  const tables = await cu.listTables();
  const found: [string, LuaValue][] = [];
  for (const { name } of tables) {
    for (const { key, value } of await cu.queryEntries(name, { limit: SAVED_MAX })) {
      if (value instanceof FunctionBlob) found.push([`${name}.${keyText(key)}`, value]);
    }
  }
  return found.slice(0, SAVED_MAX);
}

function showSection({ title, children }: StateSection, { home }: Session, lines: Lines): HTMLElement {
  const [heading, note, empty] = WORDS[title]?.(home) ?? [title, '', ''];
  const list = listOf(children);
  const tree = element('ul', 'tree', ...list.map((child) => showChild(child, title, 0, lines)));
  const section = element('section', 'state-section', element('h3', '', heading, ' ', element('span', 'muted', note)));
  section.append(list.length === 0 ? element('p', 'empty', empty) : tree);
  return section;
}

const WORDS: Readonly<Record<string, (home: Session['home']) => [string, string, string]>> = {
  _home: (home) => [
    '_home',
    home === 'kept' ? 'there again after a reload' : 'of the restored state',
    'Empty. What a program puts into _home stays: _home.n = 1, functions and coroutines too.',
  ],
  saved: () => ['Saved functions', 'in the database', 'None. The panel Tables saves functions.'],
  globals: () => ['Global variables', 'until the page is closed', 'None besides Lua’s own.'],
};

function showChild({ label, shared, node }: StateChild, path: string, depth: number, lines: Lines): HTMLElement {
  const name = text(label);
  const here = `${path}/${name}`;
  const children = listOf(node.children);
  const row = [
    element('span', 'name', name),
    ...(shared === true ? [element('span', 'tag', 'shared')] : []),
    element('span', `value ${node.kind}`, ...sign(node), describeNode(node)),
  ];
  const item = element('li', '');
  const { chunk, line } = node;
  if (chunk !== undefined && line !== undefined && line > 0 && lines.hasLine(chunk)) {
    const go = element('button', 'go', `line ${line}`);
    go.setAttribute('type', 'button');
    go.setAttribute('aria-label', `Show line ${line} of the program, for ${name}`);
    go.addEventListener('click', () => lines.onLine(chunk, line));
    item.append(go);
  }
  if (children.length === 0) {
    item.append(element('div', 'leaf', ...row));
    return item;
  }
  const details = document.createElement('details');
  details.open = toggled.get(here) ?? isOpenFirst(node, depth);
  details.addEventListener('toggle', () => toggled.set(here, details.open));
  const inner = element('ul', 'tree', ...children.map((child) => showChild(child, here, depth + 1, lines)));
  details.append(element('summary', 'branch', ...row), inner);
  item.append(details);
  return item;
}

function isOpenFirst({ kind, children }: StateNode, depth: number): boolean {
  return depth < 3 && kind !== 'table' && listOf(children).length <= 12;
}

function sign({ kind }: StateNode): HTMLElement[] {
  const shown = SIGNS[kind];
  if (shown === undefined) return [];
  const made = element('span', 'sign', shown);
  made.setAttribute('aria-hidden', 'true');
  return [made];
}

function describeNode({ kind, text: bare }: StateNode): string {
  const shown = text(bare);
  if (kind === 'string') return JSON.stringify(shown);
  return kind === 'function' || kind === 'coroutine' ? `${kind} ${shown}` : shown;
}

/** An empty Lua table arrives as an object. */
function listOf(children: StateChild[] | undefined): StateChild[] {
  return Array.isArray(children) ? children : [];
}

function text(shown: string | Uint8Array): string {
  return typeof shown === 'string' ? shown : new TextDecoder().decode(shown);
}
