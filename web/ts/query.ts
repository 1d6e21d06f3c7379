/** Queries as callers write them, checked and put into the one form that the database takes. */

import { encode, type LuaValue } from './codec.js';
import { UsageError } from './errors.js';
import { checkTable, type Key } from './batch.js';

const OPERATORS = [
  '=',
  '!=',
  '<',
  '<=',
  '>',
  '>=',
  'between',
  'startsWith',
  'endsWith',
  'contains',
  'in',
  'not in',
] as const;

export type Operator = (typeof OPERATORS)[number];

export interface Condition {
  /** A field's name or path: `age`, `address.city`. */
  field: string;
  operator: Operator;
  /** `between` takes `[low, high]` (both included), `in` and `not in` an array. */
  value: unknown;
}

export interface SortField {
  field: string;
  order?: 'asc' | 'desc';
}

/** Conditions are joined by "and". Filter, sort, offset, limit, in this order; without `sort`, in order of keys. */
export interface Query {
  /** One condition, together with `operator` and `value`. */
  field?: string;
  operator?: Operator;
  value?: unknown;
  /** Conditions beside it. */
  where?: readonly Condition[];
  /** A field, ascending, or several with their order. */
  sort?: string | SortField | readonly (string | SortField)[];
  limit?: number;
  offset?: number;
}

/** One stored document with its key. */
export interface Entry {
  key: Key;
  value: LuaValue;
}

/** How a query is answered: by which index, if any, and how many documents that touches. */
export type QueryPlan = { readonly [key: string]: LuaValue };

export function encodeQuery(table: string, query: Query, explain: boolean): Uint8Array {
  checkTable(table);
  if (typeof query !== 'object' || query === null) throw new UsageError('INVALID_INPUT', 'a query is an object');
  const { field, operator, value, where = [], limit, offset } = query;
  const single = field === undefined && operator === undefined ? [] : [{ field, operator, value }];
  return encode({
    table,
    where: [...single, ...where].map(checkCondition),
    sort: checkSort(query.sort),
    limit: checkCount('limit', limit),
    offset: checkCount('offset', offset),
    explain,
  });
}

/** @throws UsageError `INVALID_QUERY_FIELD` */
export function checkField(field: unknown): asserts field is string {
  if (typeof field !== 'string' || field === '') {
    throw new UsageError('INVALID_QUERY_FIELD', 'a field is named by a string that is not empty');
  }
}

function checkCondition({ field, operator, value }: { field?: unknown; operator?: unknown; value?: unknown }): object {
  checkField(field);
  if (typeof operator !== 'string') {
    throw new UsageError('INVALID_QUERY_OPERATOR', `the condition on '${field}' has no operator`, { details: { field } });
  }
  if (!(OPERATORS as readonly string[]).includes(operator)) {
    const message = `there is no operator '${operator}'; there are ${OPERATORS.join(', ')}`;
    throw new UsageError('UNSUPPORTED_OPERATOR', message, { details: { field, operator } });
  }
  if (operator === 'between' && !(Array.isArray(value) && value.length === 2)) {
    throw new UsageError('INVALID_INPUT', "'between' takes an array [low, high]", { details: { field } });
  }
  if ((operator === 'in' || operator === 'not in') && !Array.isArray(value)) {
    throw new UsageError('INVALID_INPUT', `'${operator}' takes an array`, { details: { field } });
  }
  return { field, operator, value: value ?? null };
}

function checkSort(sort: Query['sort']): { field: string; descending: boolean }[] {
  if (sort === undefined || sort === null) return [];
  const fields = (Array.isArray(sort) ? sort : [sort]) as readonly (string | SortField)[];
  return fields.map((entry) => {
    const { field, order = 'asc' } = typeof entry === 'string' ? { field: entry } : entry;
    checkField(field);
    if (order !== 'asc' && order !== 'desc') {
      throw new UsageError('INVALID_INPUT', "sort order is 'asc' or 'desc'", { details: { field } });
    }
    return { field, descending: order === 'desc' };
  });
}

function checkCount(name: string, count: number | undefined): number | undefined {
  if (count === undefined || count === null) return undefined;
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new UsageError('INVALID_QUERY_LIMIT', `${name} is a whole number, 0 or more`, { details: { [name]: count } });
  }
  return count;
}
