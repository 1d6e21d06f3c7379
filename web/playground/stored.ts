/** The panel that lists what is stored: tables, their keys, their values. */

import type { Cu, Entry, LuaValue, TableInfo } from 'cu-wasm';
import { IMAGES_TABLE } from './images.js';
import { describe, element, showValue } from './values.js';

const ROWS_MAX = 50;

/** Which tables are closed; all others are open, so that a new table shows its contents. */
const folded = new Set<string>();

/** @param onPick is called with the entry that a person chose */
export async function showStored(cu: Cu, panel: HTMLElement, onPick: (table: string, entry: Entry) => void): Promise<void> {
  const tables = (await cu.listTables()).filter(({ name }) => name !== IMAGES_TABLE);
  const entries = await Promise.all(tables.map(({ name }) => cu.queryEntries(name, { limit: ROWS_MAX })));
  const sections = tables.map((table, index) => showTable(table, entries[index] ?? [], onPick));
  const empty = element('p', 'empty', 'Nothing yet. Save a function or a record below; it will be here after a reload.');
  panel.replaceChildren(...(sections.length === 0 ? [empty] : sections));
}

function showTable(table: TableInfo, entries: Entry[], onPick: (table: string, entry: Entry) => void): HTMLElement {
  const details = document.createElement('details');
  details.open = !folded.has(table.name);
  details.addEventListener('toggle', () => {
    if (details.open) folded.delete(table.name);
    else folded.add(table.name);
  });
  const list = element('ul', '');
  for (const entry of entries) {
    const pick = element('button', 'entry', element('span', 'key', keyText(entry.key)), showValue(entry.value));
    pick.setAttribute('type', 'button');
    pick.title = describe(entry.value);
    pick.addEventListener('click', () => onPick(table.name, entry));
    list.append(element('li', '', pick));
  }
  const more = table.count - entries.length;
  if (more > 0) list.append(element('li', 'more', `… and ${more.toLocaleString('en')} more`));
  details.append(element('summary', '', table.name, element('span', 'count', table.count.toLocaleString('en'))), list);
  return details;
}

/** A key as a person reads it. */
export function keyText(key: LuaValue): string {
  return typeof key === 'string' ? key : describe(key);
}
