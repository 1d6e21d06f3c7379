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
  'exists',
] as const;

export type Operator = (typeof OPERATORS)[number];

export interface Condition {
  /** A field's name or path: `age`, `address.city`. */
  field: string;
  operator: Operator;
  /** `exists` takes whether the field should be there; `between` takes `[low, high]` (both included), `in` and `not in` an array. */
  value: unknown;
}

/** Conditions that must all hold, of which one must hold, or that must not hold. */
export type Where = Condition | { and: readonly Where[] } | { or: readonly Where[] } | { not: Where };

export type AggregateFunction = 'count' | 'min' | 'max' | 'sum' | 'avg';

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
  where?: Where | readonly Where[];
  /** A field, ascending, or several with their order. */
  sort?: string | SortField | readonly (string | SortField)[];
  limit?: number;
  offset?: number;
  /** Only what comes behind this position, the `cursor` of an earlier page of the same query. */
  after?: LuaValue;
  /** Fields to keep of each document. */
  fields?: readonly string[];
  /** Makes each entry a group of the documents that agree in these fields: its key is what they agree in. */
  groupBy?: string | readonly string[];
  /** What to compute of each group, or of all documents, by name; `count` can do without a field. */
  aggregates?: { readonly [name: string]: AggregateFunction | { function: AggregateFunction; field?: string } };
  /** Overrides the choice of the way: all documents, any index, or this one. */
  using?: 'scan' | 'index' | { index: string };
}

/** One stored document with its key. */
export interface Entry {
  key: Key;
  value: LuaValue;
}

/** How a query is answered: by which index, if any, and how many documents that touches. */
export type QueryPlan = { readonly [key: string]: LuaValue };

/** Documents of a query with their keys, and the position to go on from. */
export interface Page {
  rows: Entry[];
  cursor: LuaValue;
}

/** What the database answers. */
export interface QueryAnswer extends Page {
  plan: QueryPlan;
}

/** The conditions of a query, to be put beside others. */
export function conditions(query: Query): readonly Where[] {
  const { field, operator, value, where = [] } = query;
  const single = field === undefined && operator === undefined ? [] : [{ field, operator, value } as Condition];
  return [...single, ...(isList(where) ? where : [where])];
}

function isList(where: Where | readonly Where[]): where is readonly Where[] {
  return Array.isArray(where);
}

export function encodeQuery(table: string, query: Query, explain: boolean): Uint8Array {
  return encode(queryRequest(table, query, explain));
}

type QueryRequest = { table: string } & { -readonly [Name in keyof Query]?: unknown } & { explain?: true };

/** The query in the form that the database takes. Most have little of what there can be, and what is left out is not looked for. */
export function queryRequest(table: string, query: Query, explain: boolean): QueryRequest {
  checkTable(table);
  if (typeof query !== 'object' || query === null) throw new UsageError('INVALID_INPUT', 'a query is an object');
  const { after, fields, groupBy, aggregates, using } = query;
  const all = conditions(query).map((where) => checkWhere(where, 0));
  const request: QueryRequest = { table };
  const [single] = all;
  // One condition on a field can stand in the query itself.
  if (all.length === 1 && single !== undefined && 'field' in single) Object.assign(request, single);
  else if (all.length > 0) request.where = all;
  const sort = checkSort(query.sort);
  if (sort.length > 0) request.sort = sort.length === 1 && sort[0]?.order === 'asc' ? sort[0].field : sort;
  const limit = checkCount('limit', query.limit);
  if (limit !== undefined) request.limit = limit;
  const offset = checkCount('offset', query.offset);
  if (offset !== undefined) request.offset = offset;
  if (after !== undefined) request.after = after;
  if (fields !== undefined) request.fields = fields;
  if (groupBy !== undefined) request.groupBy = groupBy;
  if (aggregates !== undefined) request.aggregates = aggregates;
  if (using !== undefined) request.using = using;
  if (explain) request.explain = true;
  return request;
}

/** @throws UsageError `INVALID_QUERY_FIELD` */
export function checkField(field: unknown): asserts field is string {
  if (typeof field !== 'string' || field === '') {
    throw new UsageError('INVALID_QUERY_FIELD', 'a field is named by a string that is not empty');
  }
}

/** Levels of conditions inside each other; the database has the same limit. */
const DEPTH_MAX = 100;

function checkWhere(where: Where, depth: number): object {
  if (typeof where !== 'object' || where === null || depth > DEPTH_MAX) {
    throw new UsageError('INVALID_INPUT', 'a condition is an object, nested up to 100 levels');
  }
  const inner = (list: readonly Where[]): object[] => {
    if (!Array.isArray(list)) throw new UsageError('INVALID_INPUT', "'and' and 'or' take arrays of conditions");
    return list.map((one) => checkWhere(one, depth + 1));
  };
  if ('and' in where) return { and: inner(where.and) };
  if ('or' in where) return { or: inner(where.or) };
  if ('not' in where) return { not: checkWhere(where.not, depth + 1) };
  return checkCondition(where);
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

function checkSort(sort: Query['sort']): { field: string; order: 'asc' | 'desc' }[] {
  if (sort === undefined || sort === null) return [];
  const fields = (Array.isArray(sort) ? sort : [sort]) as readonly (string | SortField)[];
  return fields.map((entry) => {
    const { field, order = 'asc' } = typeof entry === 'string' ? { field: entry } : entry;
    checkField(field);
    if (order !== 'asc' && order !== 'desc') {
      throw new UsageError('INVALID_INPUT', "sort order is 'asc' or 'desc'", { details: { field } });
    }
    return { field, order };
  });
}

function checkCount(name: string, count: number | undefined): number | undefined {
  if (count === undefined || count === null) return undefined;
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new UsageError('INVALID_QUERY_LIMIT', `${name} is a whole number, 0 or more`, { details: { [name]: count } });
  }
  return count;
}
