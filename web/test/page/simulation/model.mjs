// What a database, its saved functions and its `_home` have to hold: plain arrays and objects, so that the model goes through JSON when the
// page is loaded anew.

export const TABLES = ['people', 'notes', 'stock'];
export const KEYS = 80;
export const FUNCTIONS = ['first', 'second', 'third'];

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

export class Model {
  constructor(saved) {
    this.tables = saved?.tables ?? Object.fromEntries(TABLES.map((table) => [table, {}]));
    this.indexes = saved?.indexes ?? {};
    /** Of each saved function how often it was called, and the sum of its arguments. */
    this.functions = saved?.functions ?? {};
    this.home = saved?.home ?? { count: 0, sum: 0, list: [], position: 0 };
    /** Global variables: gone with the instance. */
    this.globals = {};
  }

  toJSON() {
    const { tables, indexes, functions, home } = this;
    return { tables, indexes, functions, home };
  }

  /** The rows of a query in order: `[key, document]`. */
  rows(table, { field, operator, value, sort, limit, offset = 0 }) {
    const matches = CONDITIONS[operator];
    const rows = Object.entries(this.tables[table]).filter(([, document]) => matches(document[field], value));
    rows.sort(([a], [b]) => compare(a, b));
    if (sort !== undefined) {
      const direction = sort[0].order === 'desc' ? -1 : 1;
      rows.sort(([, a], [, b]) => direction * compare(a[sort[0].field], b[sort[0].field]) || compare(a.id, b.id));
    }
    return rows.slice(offset, limit === undefined ? undefined : offset + limit);
  }
}

const CONDITIONS = {
  '=': (found, value) => found === value,
  '!=': (found, value) => found !== value,
  '<': (found, value) => found < value,
  '<=': (found, value) => found <= value,
  '>': (found, value) => found > value,
  '>=': (found, value) => found >= value,
  between: (found, [low, high]) => found >= low && found <= high,
  in: (found, values) => values.includes(found),
  'not in': (found, values) => !values.includes(found),
  startsWith: (found, value) => found.startsWith(value),
  endsWith: (found, value) => found.endsWith(value),
  contains: (found, value) => found.includes(value),
};
