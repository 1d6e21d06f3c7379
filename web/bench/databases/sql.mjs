// What both builds of SQLite are asked: the statements, and a database's operations over `run` and `rows`.
import { FIELDS } from './records.mjs';

/**
 * The files belong to this one connection, so the log needs no shared memory; with `full` a commit is flushed before it returns. The cache
 * is eight times the default.
 */
const SETUP = `
  PRAGMA locking_mode = exclusive; PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA cache_size = -16384;
  CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, name TEXT, email TEXT, city TEXT, cohort INTEGER, score INTEGER, version INTEGER, text TEXT);
  CREATE INDEX IF NOT EXISTS cohort ON records (cohort);
  CREATE INDEX IF NOT EXISTS score ON records (score);`;

const SELECT = `SELECT ${FIELDS.join(', ')} FROM records`;
const INSERT = `INSERT OR REPLACE INTO records (${FIELDS.join(', ')}) VALUES (${FIELDS.map(() => '?').join(', ')})`;

/**
 * @param sql `run(text)`; `runEach(text, lists)` runs a statement once for each list of values; `rows(text, values)` gives arrays;
 * `close()`. Statements are prepared once.
 */
export async function database(sql) {
  await sql.run(SETUP);
  const object = (row) => {
    const record = {};
    for (let index = 0; index < FIELDS.length; index += 1) record[FIELDS[index]] = row[index];
    return record;
  };
  const select = async (rest, ...values) => (await sql.rows(`${SELECT} ${rest}`, values)).map(object);
  // One connection has one transaction at a time.
  let turn = Promise.resolve();
  const inTurn = (body) => {
    const result = turn.then(body);
    turn = result.catch(() => undefined);
    return result;
  };
  return {
    prepare: async () => undefined,
    write: (records) =>
      inTurn(async () => {
        await sql.run('BEGIN IMMEDIATE');
        await sql.runEach(INSERT, records.map((record) => FIELDS.map((field) => record[field])));
        await sql.run('COMMIT');
      }),
    get: async (id) => (await select('WHERE id = ?', id))[0],
    equality: (cohort) => select('WHERE cohort = ?', cohort),
    range: (low, limit) => select('WHERE score >= ? ORDER BY score LIMIT ?', low, limit),
    between: (low, high) => select('WHERE score BETWEEN ? AND ? ORDER BY score', low, high),
    page: (offset, limit) => select('ORDER BY score LIMIT ? OFFSET ?', limit, offset),
    contains: (text) => select('WHERE instr(text, ?) > 0', text),
    createIndex: () => inTurn(() => sql.run('CREATE INDEX city ON records (city)')),
    dropIndex: () => inTurn(() => sql.run('DROP INDEX city')),
    close: () => sql.close(),
  };
}
