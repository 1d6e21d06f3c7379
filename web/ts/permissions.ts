/**
 * What Lua code may use of what the page has: functions of the page, and persistent tables.
 *
 * The options of an instance say what any run may do at most, those of a run narrow that. A refusal is an error that names what was refused,
 * with code `denied`.
 */

import { UsageError } from './errors.js';

/** `write` allows reading too. */
export type TableAccess = 'none' | 'read' | 'write';

export interface Permissions {
  /**
   * Functions of the page that Lua code may call, by their names: `fetch`, `storage.get`, `storage.*` for all in a group. Default: all.
   */
  functions?: readonly string[] | undefined;
  /**
   * What Lua code may do with tables that outlive it, by name: with `_home`, and those of `ext.table`. `*` stands for those that are not listed.
   * Default: `write`; in a sandbox that a run names, `none`. Where `_home` may only be read, changes are undone at the end of the run, which then fails.
   */
  tables?: Readonly<Record<string, TableAccess>> | undefined;
}

const LEVELS: readonly TableAccess[] = ['none', 'read', 'write'];

export class Permission {
  private readonly granted: readonly Permissions[];

  /** @param granted all of which have to allow something */
  constructor(...granted: readonly (Permissions | undefined)[]) {
    this.granted = granted.filter((permissions) => permissions !== undefined).map(checked);
  }

  /** What this and a run's own permissions allow. */
  narrowed(permissions: Permissions | undefined, sandbox: string | undefined): Permission {
    if (permissions === undefined && sandbox === undefined) return this;
    const own = permissions === undefined ? {} : checked(permissions);
    const tables = sandbox === undefined ? own.tables : { '*': 'none' as const, ...own.tables };
    return new Permission(...this.granted, { ...own, tables });
  }

  /** @throws UsageError `denied` */
  checkCall(name: string): void {
    const allows = ({ functions }: Permissions): boolean => functions?.some((pattern) => matches(pattern, name)) ?? true;
    if (!this.granted.every(allows)) throw denied('function', name, 'may not be called');
  }

  table(name: string): TableAccess {
    const levels = this.granted.map(({ tables = {} }) => {
      const listed = Object.hasOwn(tables, name) ? tables[name] : Object.hasOwn(tables, '*') ? tables['*'] : 'write';
      return LEVELS.indexOf(listed ?? 'write');
    });
    return LEVELS[Math.min(2, ...levels)] ?? 'none';
  }

  /** Whether any table but the database's own may be looked at. */
  allowsTables(): boolean {
    // A name that nobody lists stands for all others.
    const names = ['\0', ...this.granted.flatMap(({ tables = {} }) => Object.keys(tables))];
    return names.some((name) => !name.startsWith('_') && this.table(name) !== 'none');
  }
}

export function denied(kind: 'function' | 'table', name: string, what: string): UsageError {
  return new UsageError('denied', `permission denied: ${kind} '${name}' ${what}`, { details: { [kind]: name } });
}

function matches(pattern: string, name: string): boolean {
  if (pattern === '*') return true;
  return pattern.endsWith('.*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}

function checked(permissions: Permissions): Permissions {
  const wrong = (what: string): UsageError => new UsageError('INVALID_INPUT', `permissions: ${what}`);
  if (typeof permissions !== 'object' || permissions === null) throw wrong('an object is needed');
  const { functions, tables } = permissions;
  if (functions !== undefined && (!Array.isArray(functions) || functions.some((name) => typeof name !== 'string'))) {
    throw wrong('functions: a list of names is needed');
  }
  if (tables === undefined) return { functions };
  if (typeof tables !== 'object' || tables === null) throw wrong('tables: an object from names to access is needed');
  for (const [name, access] of Object.entries(tables)) {
    if (!LEVELS.includes(access)) throw wrong(`tables: '${name}' is to be one of ${LEVELS.join(', ')}`);
  }
  return { functions, tables };
}
