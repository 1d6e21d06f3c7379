/** The three forms beside the program: save and call a function, store a record, ask a query. */

import { FunctionBlob, type Entry, type Operator, type Query, type QueryPlan } from 'cu-wasm';
import type { Session } from './session.js';
import { keyText } from './stored.js';
import { connectTabs } from './tabs.js';
import { describe, element, parseArguments, parseValue, showValue } from './values.js';

const OPERATORS: readonly Operator[] = [
  '=', '!=', '<', '<=', '>', '>=', 'between', 'startsWith', 'endsWith', 'contains', 'in', 'not in',
];

type Field = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;

/** Fills the forms with an entry of the database and shows the one that fits it. */
export type Pick = (table: string, entry: Entry) => void;

/** @param onStored is called after each change of the database */
export function connectForms(session: Session, onStored: () => Promise<void>): Pick {
  const functions = connect('form-function', async (form, action) => {
    const [table, name] = [read(form, 'table'), read(form, 'name')];
    if (action === 'save') {
      await session.cu.persistFunction(table, name, read(form, 'source'));
      await onStored();
      return [`${table}.${name} is saved.`];
    }
    const value = await session.cu.callFunction(table, name, ...parseArguments(read(form, 'args')));
    await onStored();
    return [showValue(value)];
  });
  const records = connect('form-record', async (form, action) => {
    const [table, key] = [read(form, 'table'), read(form, 'key')];
    if (action === 'delete') {
      const found = await session.cu.deleteValue(table, key);
      await onStored();
      return [found ? `${table}.${key} is deleted.` : `There was no ${table}.${key}.`];
    }
    await session.cu.setValue(table, key, JSON.parse(read(form, 'value')));
    await onStored();
    return [`${table}.${key} is stored.`];
  });
  const queries = connect('form-query', async (form, action) => ask(session, form, action));
  const operator = field(queries, 'operator') as HTMLSelectElement;
  operator.append(...OPERATORS.map((name) => new Option(name, name, name === '>=', name === '>=')));

  const show = connectTabs(document.getElementById('forms') as HTMLElement);
  return (table, { key, value }) => {
    const isFunction = value instanceof FunctionBlob;
    const form = isFunction ? functions : records;
    field(form, 'table').value = table;
    field(form, isFunction ? 'name' : 'key').value = typeof key === 'string' ? key : describe(key);
    if (!isFunction) field(form, 'value').value = JSON.stringify(value, plain, 2);
    field(queries, 'table').value = table;
    show(form.parentElement as HTMLElement);
  };
}

async function ask({ cu }: Session, form: HTMLFormElement, action: string): Promise<(Node | string)[]> {
  const [name, sort, limit] = [read(form, 'field'), read(form, 'sort'), read(form, 'limit')];
  const table = read(form, 'table');
  if (action === 'index') {
    if (name === '') throw new Error('An index is made of a field.');
    await cu.createIndex(table, name);
    return [`${table} has an index over ${name}; queries use it by themselves.`];
  }
  const condition: Query =
    name === '' ? {} : { field: name, operator: read(form, 'operator') as Operator, value: parseValue(read(form, 'value')) };
  const query: Query = { ...condition, ...(sort === '' ? {} : { sort }), ...(limit === '' ? {} : { limit: Number(limit) }) };
  const plan = await cu.getQueryPlan(table, query);
  const started = performance.now();
  const entries = await cu.queryEntries(table, query);
  const elapsed = performance.now() - started;
  const rows = entries.map(({ key, value }) => element('li', '', element('span', 'key', keyText(key)), showValue(value)));
  const count = `${rows.length} ${rows.length === 1 ? 'document' : 'documents'} in ${elapsed.toFixed(1)} ms`;
  const details = element('details', 'plan', element('summary', '', 'Plan'), element('pre', '', JSON.stringify(plan, plain, 2)));
  return [element('p', 'muted', `${count}, ${describePlan(plan)}`), element('ul', 'rows', ...rows), details];
}

function describePlan({ index, unusedIndexes }: QueryPlan): string {
  if (index !== null) return `by the index ${String(index)}`;
  const unused = Array.isArray(unusedIndexes) ? unusedIndexes : [];
  return unused.length === 0 ? 'without an index' : `all looked at, which costs less here than the index ${unused.join(', ')}`;
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
