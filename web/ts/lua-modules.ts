/** Modules that Lua code gets from the page: `require` finds them without files. */

import { UsageError } from './errors.js';

/** Lua source by the names that `require` takes. */
export type LuaModules = Readonly<Record<string, string>>;

/** Lua code that makes modules known: a table from names to sources is its argument. A module is compiled when it is first required. */
export const PRELOAD = `
local modules = ...
for name, source in pairs(modules) do
  package.preload[name] = function(...)
    return assert(load(source, '=' .. name, 't'))(...)
  end
end`;

/** @throws UsageError `INVALID_INPUT` naming the module whose source is none */
export function checkModules(modules: LuaModules): LuaModules {
  if (typeof modules !== 'object' || modules === null) throw new UsageError('INVALID_INPUT', "'modules' maps names to Lua source");
  for (const [name, source] of Object.entries(modules)) {
    if (typeof source !== 'string') throw new UsageError('INVALID_INPUT', `the module '${name}' is not given as Lua source`);
  }
  return modules;
}
