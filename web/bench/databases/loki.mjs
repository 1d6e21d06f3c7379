// LokiJS with its incremental IndexedDB adapter: all records in memory, chunks of a hundred stored. Its batches are not atomic.
import Loki from 'lokijs';
import IncrementalAdapter from 'lokijs/src/incremental-indexeddb-adapter.js';

const done = (start) => new Promise((resolve, reject) => start((error) => (error ? reject(error) : resolve())));

export async function open(name) {
  const database = new Loki(`loki ${name}`, { adapter: new IncrementalAdapter() });
  await done((callback) => database.loadDatabase({}, callback));
  const records =
    database.getCollection('records') ??
    database.addCollection('records', { unique: ['id'], indices: ['cohort', 'score'], disableMeta: true });
  const save = () => done((callback) => database.saveDatabase(callback));
  // Saves take turns, each of all that was written before.
  let waiting = null;
  let saving = Promise.resolve();
  const saved = () => {
    waiting ??= saving.then(() => {
      waiting = null;
      return (saving = save());
    });
    return waiting;
  };
  return {
    prepare: async () => undefined,
    write(list) {
      for (const record of list) {
        const old = records.by('id', record.id);
        if (old === undefined) records.insert({ ...record });
        else records.update(Object.assign(old, record));
      }
      return saved();
    },
    get: async (id) => records.by('id', id),
    equality: async (cohort) => records.chain().find({ cohort }).simplesort('id').data(),
    range: async (low, limit) => records.chain().find({ score: { $gte: low } }).simplesort('score').limit(limit).data(),
    between: async (low, high) => records.chain().find({ score: { $between: [low, high] } }).simplesort('score').data(),
    page: async (offset, limit) => records.chain().simplesort('score').offset(offset).limit(limit).data(),
    contains: async (text) => records.chain().find({ text: { $contains: text } }).simplesort('id').data(),
    async createIndex() {
      records.ensureIndex('city', true);
      await saved();
    },
    async dropIndex() {
      delete records.binaryIndices.city;
      await saved();
    },
    close: () => done((callback) => database.close(callback)),
  };
}
