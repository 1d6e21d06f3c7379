// The official wasm build of SQLite, its files in the origin's private file system behind a pool of sync access handles.
import initialize from '@sqlite.org/sqlite-wasm';
import { database } from './sql.mjs';

export async function open(name) {
  const sqlite = await initialize({ print: () => undefined, printErr: () => undefined });
  const pool = await sqlite.installOpfsSAHPoolVfs({ name: `official ${name}`, directory: `official-${name}`, initialCapacity: 6 });
  const connection = new pool.OpfsSAHPoolDb('/bench.db');
  const statements = new Map();
  const prepared = (text) => {
    if (!statements.has(text)) statements.set(text, connection.prepare(text));
    return statements.get(text);
  };
  return database({
    run: (text) => void connection.exec(text),
    runEach(text, lists) {
      const statement = prepared(text);
      for (const values of lists) statement.bind(values).stepReset();
    },
    rows(text, values) {
      const statement = prepared(text);
      const rows = [];
      if (values.length > 0) statement.bind(values);
      while (statement.step()) rows.push(statement.get([]));
      statement.reset();
      return rows;
    },
    async close() {
      for (const statement of statements.values()) statement.finalize();
      connection.close();
      pool.pauseVfs?.();
    },
  });
}
