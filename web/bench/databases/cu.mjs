// This package: documents in a table of its database, durability `strict`. Its Lua VM is loaded too, one that does not compile.
import { Cu } from '../../dist/index.js';

const TABLE = 'records';
const write = (record) => ({ type: 'set', table: TABLE, key: record.id, value: record });

export const open = (name) => openWith({ name, storage: 'indexeddb', durability: 'strict' });

export async function openWith(options) {
  const cu = await Cu.open({ ...options, compile: 'never' });
  const query = (query) => cu.queryTable(TABLE, query);
  return {
    async prepare() {
      await cu.createIndex(TABLE, 'cohort');
      await cu.createIndex(TABLE, 'score');
    },
    write: (records) => cu.batchTableOperations(records.map(write)),
    get: (id) => cu.getValue(TABLE, id),
    equality: (cohort) => query({ field: 'cohort', operator: '=', value: cohort }),
    range: (low, limit) => query({ field: 'score', operator: '>=', value: low, sort: 'score', limit }),
    between: (low, high) => query({ field: 'score', operator: 'between', value: [low, high], sort: 'score' }),
    page: (offset, limit) => query({ sort: 'score', offset, limit }),
    contains: (text) => query({ field: 'text', operator: 'contains', value: text }),
    createIndex: () => cu.createIndex(TABLE, 'city'),
    dropIndex: () => cu.dropIndex(TABLE, 'city'),
    close: () => cu.close(),
  };
}
