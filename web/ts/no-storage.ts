/** The database of an instance that has none: nothing is loaded for it, and whatever needs it is refused. */

import type { Database } from './engine.js';
import { StorageError } from './errors.js';

export const NO_STORAGE: Database = {
  batch: refuse,
  get: refuse,
  query: refuse,
  begin: refuse,
  subscribe: refused,
  refresh: refuse,
  createIndex: refuse,
  dropIndex: refuse,
  setSchema: refuse,
  knowVersion: refuse,
  collections: refuse,
  logBytes: () => 0,
  checkpoint: refuse,
  memory: refused,
  cellsPlace: refused,
  cellsShape: refused,
  cellsCursor: refused,
  releaseCells: refused,
  wasmBytes: () => 0,
  close: () => Promise.resolve(),
};

function refused(): never {
  throw refusal();
}

function refuse(): Promise<never> {
  return Promise.reject(refusal());
}

function refusal(): StorageError {
  return new StorageError('unavailable', "this instance was opened without storage (storage: 'none')");
}
