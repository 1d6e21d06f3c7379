/** Showing values that came from Lua or the database, and reading values that a person typed. */

import { FunctionBlob, type LuaValue } from 'cu-wasm';

/** An element with a class and text or children. */
export function element(tag: string, className: string, ...children: (Node | string)[]): HTMLElement {
  const made = document.createElement(tag);
  if (className !== '') made.className = className;
  made.append(...children);
  return made;
}

/** A value on one line, coloured by its kind. */
export function showValue(value: LuaValue): HTMLElement {
  return element('span', `value ${kind(value)}`, describe(value));
}

/** A value on one line, much as a Lua or JSON literal. */
export function describe(value: LuaValue): string {
  if (value === null) return 'nil';
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value !== 'object') return String(value);
  if (value instanceof FunctionBlob) return `ƒ function, ${value.bytes.length} bytes`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return `[${value.map(describe).join(', ')}]`;
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  const fields = entries.map(([key, field]) => `${typeof key === 'string' ? key : `[${describe(key)}]`}: ${describe(field)}`);
  return fields.length === 0 ? '{}' : `{ ${fields.join(', ')} }`;
}

/** Reads JSON; text that is none is taken as a string, so that names need no quotes. */
export function parseValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Reads JSON values between commas. */
export function parseArguments(text: string): unknown[] {
  return JSON.parse(`[${text}]`) as unknown[];
}

function kind(value: LuaValue): string {
  if (value === null) return 'nil';
  if (typeof value === 'string') return 'string';
  if (value instanceof FunctionBlob) return 'function';
  return typeof value === 'object' ? 'table' : 'number';
}
