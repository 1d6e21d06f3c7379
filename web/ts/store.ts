/**
 * A place of one's own for a database's bytes: the option `store`. It keeps a root record, two counters, log records by number, and
 * pages by number. Every call is one atomic transaction: after a crash either all of it is there or nothing.
 *
 * A promise may reject with an error whose name is `QuotaExceededError`, which becomes the code `quota`; all else becomes `storage`.
 */
export interface Store {
  /**
   * Resolves to the root record (undefined in a new store), the counters `checkpoint` and `sequence` (0 in a new store), and the log records
   * with numbers above `after`, in order; the last one has the number `sequence`.
   */
  load(after: number): Promise<[root: Uint8Array | undefined, checkpoint: number, sequence: number, ...log: Uint8Array[]]>;
  /** Pages in the order asked for, undefined for one that is not stored; null when the stored `checkpoint` is another one. */
  readPages(checkpoint: number, pages: Uint32Array): Promise<(Uint8Array | undefined)[] | null>;
  /**
   * Stores a log record under `expectedSequence + 1`, which becomes the stored `sequence`. Resolves when it is durable; to false, with
   * nothing stored, when the stored `sequence` is another one.
   */
  append(expectedSequence: number, record: Uint8Array): Promise<boolean>;
  /** Stores root record and pages, counts `checkpoint` up by one, and removes all log records. Resolves as `append` does. */
  checkpoint(
    expectedCheckpoint: number,
    expectedSequence: number,
    root: Uint8Array,
    numbers: Uint32Array,
    pages: readonly Uint8Array[],
  ): Promise<boolean>;
  /** Gives the store up. */
  close(): Promise<void>;
}
