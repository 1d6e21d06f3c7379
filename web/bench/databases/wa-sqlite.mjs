// wa-sqlite, its synchronous build over its pool of sync access handles.
import load from 'wa-sqlite/dist/wa-sqlite.mjs';
import * as SQLite from 'wa-sqlite';
import { AccessHandlePoolVFS } from 'wa-sqlite/src/examples/AccessHandlePoolVFS.js';
import { database } from './sql.mjs';

export async function open(name) {
  const sqlite = SQLite.Factory(await load());
  const files = new AccessHandlePoolVFS(`wa-sqlite-${name}`);
  await files.isReady;
  sqlite.vfs_register(files, true);
  const connection = await sqlite.open_v2('bench.db');
  const statements = new Map();
  const prepared = async (text) => {
    if (!statements.has(text)) {
      const string = sqlite.str_new(connection, text);
      statements.set(text, (await sqlite.prepare_v2(connection, sqlite.str_value(string))).stmt);
      sqlite.str_finish(string);
    }
    return statements.get(text);
  };
  return database({
    run: (text) => sqlite.exec(connection, text),
    async runEach(text, lists) {
      const statement = await prepared(text);
      for (const values of lists) {
        sqlite.bind_collection(statement, values);
        await sqlite.step(statement);
        await sqlite.reset(statement);
      }
    },
    async rows(text, values) {
      const statement = await prepared(text);
      const rows = [];
      if (values.length > 0) sqlite.bind_collection(statement, values);
      while ((await sqlite.step(statement)) === SQLite.SQLITE_ROW) rows.push(sqlite.row(statement));
      await sqlite.reset(statement);
      return rows;
    },
    async close() {
      for (const statement of statements.values()) await sqlite.finalize(statement);
      await sqlite.close(connection);
      await files.close();
    },
  });
}
