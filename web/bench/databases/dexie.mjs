// Dexie with its default durability, which a power cut can take the last commit from.
import Dexie from 'dexie';

const FIELDS = 'id,cohort,score';

export async function open(name) {
  const path = `dexie ${name}`;
  let version = 1;
  let database;
  const openWith = async (fields) => {
    database?.close();
    database = new Dexie(path);
    database.version(version).stores({ records: fields });
    await database.open();
  };
  const known = (await Dexie.getDatabaseNames()).includes(path);
  if (known) {
    // Dexie counts versions in tenths of IndexedDB's.
    database = await new Dexie(path).open();
    version = database.verno;
  }
  await openWith(FIELDS);
  return {
    prepare: async () => undefined,
    write: (records) => database.transaction('rw', database.records, () => database.records.bulkPut(records)),
    get: (id) => database.records.get(id),
    equality: (cohort) => database.records.where('cohort').equals(cohort).toArray(),
    range: (low, limit) => database.records.where('score').aboveOrEqual(low).limit(limit).toArray(),
    between: (low, high) => database.records.where('score').between(low, high, true, true).toArray(),
    page: (offset, limit) => database.records.orderBy('score').offset(offset).limit(limit).toArray(),
    contains: (text) => database.records.filter((record) => record.text.includes(text)).toArray(),
    async createIndex() {
      version += 1;
      await openWith(`${FIELDS},city`);
    },
    async dropIndex() {
      version += 1;
      await openWith(FIELDS);
    },
    close: async () => database.close(),
  };
}
