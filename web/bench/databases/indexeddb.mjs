// IndexedDB as the browser has it: a record per value, indexes by name, durability `strict`.

const STORE = 'records';
const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

function opened(name, version, upgrade) {
  const request = indexedDB.open(name, version);
  request.onupgradeneeded = () => upgrade(request.transaction);
  return settled(request);
}

export async function open(name) {
  const path = `raw ${name}`;
  let database = await opened(path, undefined, ({ db }) => {
    const store = db.createObjectStore(STORE, { keyPath: 'id' });
    store.createIndex('cohort', 'cohort');
    store.createIndex('score', 'score');
  });
  const store = () => database.transaction(STORE, 'readonly').objectStore(STORE);
  const index = (field) => store().index(field);
  /** Adding or removing an index takes a newer version of the database. */
  const upgrade = async (change) => {
    const version = database.version + 1;
    database.close();
    database = await opened(path, version, (transaction) => change(transaction.objectStore(STORE)));
  };
  const walk = (request, visit) =>
    new Promise((resolve, reject) => {
      request.onerror = () => reject(request.error);
      request.onsuccess = () => (visit(request.result) ? undefined : resolve());
    });
  return {
    prepare: async () => undefined,
    write: (records) =>
      new Promise((resolve, reject) => {
        const transaction = database.transaction(STORE, 'readwrite', { durability: 'strict' });
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
        const into = transaction.objectStore(STORE);
        for (const record of records) into.put(record);
      }),
    get: (id) => settled(store().get(id)),
    equality: (cohort) => settled(index('cohort').getAll(cohort)),
    range: (low, limit) => settled(index('score').getAll(IDBKeyRange.lowerBound(low), limit)),
    between: (low, high) => settled(index('score').getAll(IDBKeyRange.bound(low, high))),
    async page(offset, limit) {
      const rows = [];
      let skip = offset;
      await walk(index('score').openCursor(), (cursor) => {
        if (cursor === null) return false;
        if (skip > 0) {
          cursor.advance(skip);
          skip = 0;
          return true;
        }
        rows.push(cursor.value);
        if (rows.length < limit) cursor.continue();
        return rows.length < limit;
      });
      return rows;
    },
    contains: async (text) => (await settled(store().getAll())).filter((record) => record.text.includes(text)),
    createIndex: () => upgrade((records) => records.createIndex('city', 'city')),
    dropIndex: () => upgrade((records) => records.deleteIndex('city')),
    close: async () => database.close(),
  };
}
