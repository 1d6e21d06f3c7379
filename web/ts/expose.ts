/**
 * Objects of the page by reference, limited to what the page lists.
 *
 * The list is kept on the page's side: Lua code has three kinds of functions, which take a name and look it up in the list, never in the
 * object. What Lua code does to its side of the object, a table with a metatable, opens nothing.
 */

import { UsageError } from './errors.js';
import type { HostFunction, HostFunctions } from './host.js';

/** What Lua code may touch of an object. */
export interface ExposeOptions {
  /** Called as `object:name(...)`. */
  methods?: readonly string[];
  /** Read as `object.name`; the value is copied. */
  properties?: readonly string[];
  /** Which properties may be assigned to as well. */
  writable?: readonly string[];
}

const NEVER = ['constructor', '__proto__', 'prototype'];

/** An object that Lua code may use by reference: see {@link expose}. */
export class Exposed {
  /** @internal */
  readonly functions: HostFunctions;

  constructor(object: object, options: ExposeOptions) {
    const { methods = [], properties = [], writable = [] } = options;
    for (const name of [...methods, ...properties, ...writable]) {
      if (typeof name !== 'string' || NEVER.includes(name)) throw new UsageError('INVALID_INPUT', `'${String(name)}' cannot be exposed`);
    }
    const target = object as Record<string, unknown>;
    const readable = new Set<unknown>([...properties, ...writable]);
    const assignable = new Set<unknown>(writable);
    const call = methods.map((name): [string, HostFunction] => [
      name,
      (...args) => {
        const method = target[name];
        if (typeof method !== 'function') throw new UsageError('INVALID_INPUT', `'${name}' is not a method`);
        return Reflect.apply(method, object, args) as unknown;
      },
    ]);
    this.functions = {
      get: (name: unknown) => (readable.has(name) ? target[name as string] : undefined),
      set: (name: unknown, value: unknown) => {
        if (!assignable.has(name)) throw new UsageError('INVALID_INPUT', `field '${String(name)}' cannot be assigned to`);
        target[name as string] = value;
      },
      call: Object.fromEntries(call),
    };
  }

  /** @internal One whose object lies elsewhere: what reaches it are these functions. */
  static of(functions: HostFunctions): Exposed {
    return Object.assign(Object.create(Exposed.prototype) as Exposed, { functions });
  }
}

/**
 * Makes an object usable from Lua by reference, when given to `set` or as one of the `functions`, not inside a group of them: only what is
 * listed can be touched. What methods get and give is copied, as with other functions of the page.
 */
export function expose(object: object, options: ExposeOptions): Exposed {
  return new Exposed(object, options);
}

/** Lua code that makes the functions in a global variable an object. */
export const EXPOSE = `
local name = ...
local functions, methods = _G[name], {}
local get, set = functions.get, functions.set
local object = {}
for key, method in next, functions.call or {} do
  methods[key] = function(self, ...)
    if self ~= object then error("call it as a method of '" .. name .. "', with a colon", 2) end
    return method(...)
  end
end
_G[name] = setmetatable(object, {
  __index = function(_, key) return methods[key] or get(key) end,
  __newindex = function(_, key, value) set(key, value) end,
  __metatable = false,
})`;
