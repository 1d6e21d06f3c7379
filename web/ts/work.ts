/** Work inside a transaction, for any class that has transactions. */

interface Transacting {
  beginTransaction(): Promise<true>;
  commitTransaction(): Promise<true>;
  rollbackTransaction(): Promise<true>;
}

/** Does work inside a transaction, which is committed when it resolves and rolled back when it rejects. */
export async function inTransaction<T>(owner: Transacting, work: () => Promise<T>): Promise<T> {
  await owner.beginTransaction();
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await owner.rollbackTransaction();
    throw error;
  }
  await owner.commitTransaction();
  return result;
}
