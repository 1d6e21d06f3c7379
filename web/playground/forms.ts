/** The three forms beside the program: save and call a function, store a record, ask a query. */

import { FunctionBlob, type Cu, type Entry, type Operator, type Query } from 'cu-wasm';
import { describe, element, parseArguments, parseValue, showValue } from './values.js';

const OPERATORS: readonly Operator[] = [
  '=', '!=', '<', '<=', '>', '>=', 'between', 'startsWith', 'endsWith', 'contains', 'in', 'not in',
];

type Field = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;

/** Fills the forms with an entry of the database and shows the one that fits it. */
export type Pick = (table: string, entry: Entry) => void;

/** @param onStored is called after each change of the database */
export function connectForms(cu: Cu, onStored: () => Promise<void>): Pick {
  const functions = connect('form-function', async (form, action) => {
    const [table, name] = [read(form, 'table'), read(form, 'name')];
    if (action === 'save') {
      await cu.persistFunction(table, name, read(form, 'source'));
      await onStored();
      return [`${table}.${name} is saved.`];
    }
    const value = await cu.callFunction(table, name, ...parseArguments(read(form, 'args')));
    await onStored();
    return [showValue(value)];
  });
  const records = connect('form-record', async (form, action) => {
    const [table, key] = [read(form, 'table'), read(form, 'key')];
    if (action === 'delete') {
      const found = await cu.deleteValue(table, key);
      await onStored();
      return [found ? `${table}.${key} is deleted.` : `There was no ${table}.${key}.`];
    }
    await cu.setValue(table, key, JSON.parse(read(form, 'value')));
    await onStored();
    return [`${table}.${key} is stored.`];
  });
  const queries = connect('form-query', async (form, action) => ask(cu, form, action));
  const operator = field(queries, 'operator') as HTMLSelectElement;
  operator.append(...OPERATORS.map((name) => new Option(name, name, name === '>=', name === '>=')));

  const show = connectTabs([functions, records, queries]);
  return (table, { key, value }) => {
    const isFunction = value instanceof FunctionBlob;
    const form = isFunction ? functions : records;
    field(form, 'table').value = table;
    field(form, isFunction ? 'name' : 'key').value = typeof key === 'string' ? key : describe(key);
    if (!isFunction) field(form, 'value').value = JSON.stringify(value, plain, 2);
    field(queries, 'table').value = table;
    show(form);
  };
}

async function ask(cu: Cu, form: HTMLFormElement, action: string): Promise<(Node | string)[]> {
  const [name, sort, limit] = [read(form, 'field'), read(form, 'sort'), read(form, 'limit')];
  const condition: Query =
    name === '' ? {} : { field: name, operator: read(form, 'operator') as Operator, value: parseValue(read(form, 'value')) };
  const query: Query = { ...condition, ...(sort === '' ? {} : { sort }), ...(limit === '' ? {} : { limit: Number(limit) }) };
  const table = read(form, 'table');
  if (action === 'plan') return [element('pre', '', JSON.stringify(await cu.getQueryPlan(table, query), plain, 2))];
  const started = performance.now();
  const entries = await cu.queryEntries(table, query);
  const elapsed = performance.now() - started;
  const rows = entries.map(({ key, value }) => element('li', '', element('span', 'key', String(key)), showValue(value)));
  const count = `${rows.length} ${rows.length === 1 ? 'document' : 'documents'} in ${elapsed.toFixed(1)} ms`;
  return [element('span', 'muted', count), element('ul', 'rows', ...rows)];
}

/** Runs an action for the button that was pressed; shows what it gives, or its error. */
function connect(id: string, action: (form: HTMLFormElement, name: string) => Promise<(Node | string)[]>): HTMLFormElement {
  const form = document.getElementById(id) as HTMLFormElement;
  const answer = form.querySelector('output') as HTMLOutputElement;
  const buttons = [...form.querySelectorAll<HTMLButtonElement>('button[type=submit]')];
  const main = buttons.find((button) => button.classList.contains('primary'));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const pressed = (event.submitter ?? main) as HTMLButtonElement;
    for (const button of buttons) button.disabled = true;
    action(form, pressed.value)
      .then(
        (shown) => answer.replaceChildren(...shown),
        (error: unknown) => answer.replaceChildren(element('span', 'error', error instanceof Error ? error.message : String(error))),
      )
      .finally(() => {
        for (const button of buttons) button.disabled = false;
        if (document.activeElement === document.body) pressed.focus();
      });
  });
  // Enter in a field submits with the first button by default; the primary one is meant.
  form.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || !(event.target instanceof HTMLInputElement)) return;
    event.preventDefault();
    form.requestSubmit(main);
  });
  return form;
}

/** The tab pattern: arrow keys move between tabs, only the chosen one is in the tab order. */
function connectTabs(forms: readonly HTMLFormElement[]): (form: HTMLFormElement) => void {
  const tabs = forms.map((form) => document.getElementById(form.getAttribute('aria-labelledby') ?? '') as HTMLElement);
  const select = (chosen: number): void => {
    tabs.forEach((tab, index) => {
      tab.setAttribute('aria-selected', String(index === chosen));
      tab.tabIndex = index === chosen ? 0 : -1;
    });
    forms.forEach((form, index) => (form.hidden = index !== chosen));
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener('click', () => select(index));
    tab.addEventListener('keydown', ({ key }) => {
      const step = key === 'ArrowRight' ? 1 : key === 'ArrowLeft' ? -1 : 0;
      if (step === 0) return;
      const next = (index + step + tabs.length) % tabs.length;
      select(next);
      tabs[next]?.focus();
    });
  });
  return (form) => select(forms.indexOf(form));
}

function field(form: HTMLFormElement, name: string): Field {
  return form.elements.namedItem(name) as Field;
}

function read(form: HTMLFormElement, name: string): string {
  return field(form, name).value.trim();
}

/** For values that JSON has no form for. */
function plain(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Map ? Object.fromEntries(value) : value;
}
