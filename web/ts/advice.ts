/** What index would make a query faster. */

import type { IndexKind } from './definitions.js';
import { conditions, type Operator, type Query, type QueryPlan, type Where } from './query.js';

export interface IndexAdvice {
  field: string;
  kind: IndexKind;
  reason: string;
}

export interface QueryAdvice {
  /** How the query is answered now. */
  plan: QueryPlan;
  /** Indexes that do not exist and would serve it, the best one first. None where one is used already. */
  indexes: IndexAdvice[];
}

/** Operators that an index serves, by how much of the table they usually leave. */
const SERVED: readonly { operators: readonly Operator[]; kind: IndexKind; what: string }[] = [
  { operators: ['=', 'in'], kind: 'hash', what: 'looks for equal values' },
  { operators: ['startsWith'], kind: 'btree', what: 'looks for a prefix' },
  { operators: ['between', '<', '<=', '>', '>='], kind: 'btree', what: 'looks for a range' },
];

export function advise(query: Query, plan: QueryPlan): QueryAdvice {
  if (plan['fullScan'] !== true) return { plan, indexes: [] };
  const joined = conditions(query).flatMap(conjuncts);
  const indexes: IndexAdvice[] = [];
  const add = (field: string, kind: IndexKind, reason: string): void => {
    if (!indexes.some((advice) => advice.field === field)) indexes.push({ field, kind, reason });
  };
  for (const { operators, kind, what } of SERVED) {
    for (const { field, operator } of joined) {
      if (operators.includes(operator)) add(field, kind, `the condition on '${field}' ${what}`);
    }
  }
  for (const field of sortFields(query.sort).slice(0, 1)) add(field, 'btree', `the result is sorted by '${field}'`);
  return { plan, indexes };
}

function conjuncts(where: Where): { field: string; operator: Operator }[] {
  if ('and' in where) return where.and.flatMap(conjuncts);
  return 'or' in where || 'not' in where ? [] : [where];
}

function sortFields(sort: Query['sort']): string[] {
  const entries = sort === undefined ? [] : Array.isArray(sort) ? sort : [sort];
  return entries.map((entry: string | { field: string }) => (typeof entry === 'string' ? entry : entry.field));
}
