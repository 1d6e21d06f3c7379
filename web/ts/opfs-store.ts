/**
 * A database in two files of the origin's private file system, for workers: their access handles write and flush without the detours of
 * IndexedDB, but belong to one worker at a time.
 *
 * ```text
 * file:   "CUOPFS\x01\n", f64le generation, u32le sum of these 16 bytes, u32le 0, then frames, each behind the one before
 * frame:  u32le length of the body, u32le sum, u32le another sum, the body
 * body:   u32le kind, f64le checkpoint, f64le sequence, u32le length of the record, u32le number of pages, u32le length of a page,
 *         the record, u32le number of each page, the pages
 *         kind 1 append: the record is one of the log
 *         kind 2 checkpoint: the record is the root record; the log before is gone
 * ```
 *
 * A frame is flushed before the next one is written, so only the last one of a file can be unfinished after a crash; its sums tell.
 * When most of a file is outdated, what holds is written to the other one, whose header is written last: the file with the higher
 * generation is the database.
 */

import { StorageError } from './errors.js';
import type { Store } from './store.js';

/** What the store needs of a `FileSystemSyncAccessHandle`. */
export interface SyncFile {
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  flush(): void;
  truncate(size: number): void;
  getSize(): number;
  close(): void;
}

const MAGIC = Uint8Array.of(0x43, 0x55, 0x4f, 0x50, 0x46, 0x53, 0x01, 0x0a);
const HEADER = 24;
const FRAME_HEAD = 12;
const BODY_HEAD = 32;
const enum Kind {
  Append = 1,
  Checkpoint = 2,
}
/** A file is written anew when it is so many times as long as what holds of it, and longer than this. */
const OUTDATED = 4;
const REWRITTEN_BYTES_MIN = 4 * 1024 * 1024;

/** Where bytes lie in the file. */
interface Place {
  at: number;
  length: number;
}

/** What a frame says, but for its bytes. */
interface Head {
  kind: number;
  checkpoint: number;
  sequence: number;
  recordBytes: number;
  pages: number;
  pageBytes: number;
}

/** Opens the store of a name, or makes it. Rejects with `unavailable` where there are no access handles, and with `blocked` when they are taken. */
export async function openOpfs(name: string): Promise<Store> {
  const files: SyncFile[] = [];
  try {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle('cu', { create: true });
    for (const part of [0, 1]) {
      const file = await folder.getFileHandle(`${encodeURIComponent(name)}.${part}`, { create: true });
      files.push(await (file as unknown as { createSyncAccessHandle(): Promise<SyncFile> }).createSyncAccessHandle());
    }
    return new OpfsStore(files as [SyncFile, SyncFile]);
  } catch (error) {
    for (const file of files) file.close();
    if (error instanceof StorageError) throw error;
    const { name: kind = '', message = '' } = (error ?? {}) as Partial<Error>;
    if (kind === 'NoModificationAllowedError') throw new StorageError('blocked', `another worker has the database '${name}' open`);
    throw new StorageError('unavailable', `there is no private file system here: ${kind} ${message}`);
  }
}

export class OpfsStore implements Store {
  private file: SyncFile;
  private spare: SyncFile;
  private generation = 0;
  private end = HEADER;
  private root: Uint8Array | undefined;
  private counters = { checkpoint: 0, sequence: 0 };
  private log: Place[] = [];
  private pages = new Map<number, number>();
  private pageBytes = 0;
  /** Why nothing more can be stored. */
  private broken: Error | null = null;

  /** Takes both files over. */
  constructor(
    files: readonly [SyncFile, SyncFile],
    private readonly rewrittenBytesMin = REWRITTEN_BYTES_MIN,
  ) {
    const [first, second] = [generationOf(files[0]), generationOf(files[1])];
    [this.file, this.spare] = first >= second ? files : [files[1], files[0]];
    this.generation = Math.max(first, second);
    if (this.generation === 0) this.begin(this.file);
    else this.read();
  }

  load(after: number): Promise<[Uint8Array | undefined, number, number, ...Uint8Array[]]> {
    return answer(() => {
      const { checkpoint, sequence } = this.counters;
      const first = sequence - this.log.length;
      const records = this.log.slice(Math.max(after - first, 0)).map(({ at, length }) => readAt(this.file, at, length));
      return [this.root, checkpoint, sequence, ...records];
    });
  }

  readPages(checkpoint: number, numbers: Uint32Array): Promise<(Uint8Array | undefined)[] | null> {
    return answer(() => {
      if (this.counters.checkpoint !== checkpoint) return null;
      return Array.from(numbers, (number) => {
        const at = this.pages.get(number);
        return at === undefined ? undefined : readAt(this.file, at, this.pageBytes);
      });
    });
  }

  append(expectedSequence: number, record: Uint8Array): Promise<boolean> {
    return answer(() => {
      const { checkpoint, sequence } = this.counters;
      if (sequence !== expectedSequence) return false;
      this.add({ kind: Kind.Append, checkpoint, sequence: sequence + 1, recordBytes: record.length, pages: 0, pageBytes: 0 }, [record]);
      return true;
    });
  }

  checkpoint(
    expectedCheckpoint: number,
    expectedSequence: number,
    root: Uint8Array,
    numbers: Uint32Array,
    pages: readonly Uint8Array[],
  ): Promise<boolean> {
    return answer(() => {
      const { checkpoint, sequence } = this.counters;
      if (checkpoint !== expectedCheckpoint || sequence !== expectedSequence) return false;
      const pageBytes = pages[0]?.length ?? this.pageBytes;
      if (pages.some((page) => page.length !== pageBytes)) throw new Error('the pages of a database have one length');
      const head = { kind: Kind.Checkpoint, checkpoint: checkpoint + 1, sequence, recordBytes: root.length, pages: pages.length, pageBytes };
      this.add(head, [root, bytesOf(numbers), ...pages]);
      const live = this.pages.size * this.pageBytes;
      if (this.end > this.rewrittenBytesMin && this.end > OUTDATED * live) this.rewrite();
      return true;
    });
  }

  close(): Promise<void> {
    return answer(() => {
      if (this.broken?.message === CLOSED) return;
      this.broken = new Error(CLOSED);
      this.file.close();
      this.spare.close();
    });
  }

  /** Takes in all frames, and cuts off what a crash has left of the last one. */
  private read(): void {
    const size = this.file.getSize();
    while (this.end + FRAME_HEAD + BODY_HEAD <= size) {
      const start = this.end;
      const length = new DataView(readAt(this.file, start, FRAME_HEAD).buffer).getUint32(0, true);
      const next = start + FRAME_HEAD + length;
      if (length < BODY_HEAD || next > size) break;
      // The last one may be there in part.
      if (next + FRAME_HEAD + BODY_HEAD > size && !holds(readAt(this.file, start, FRAME_HEAD + length))) break;
      this.take(headOf(readAt(this.file, start + FRAME_HEAD, BODY_HEAD)), start + FRAME_HEAD, length);
      this.end = next;
    }
    if (this.end < size) {
      this.file.truncate(this.end);
      this.file.flush();
    }
  }

  /** Takes in what a frame says, whose body lies at a place of the file. */
  private take(head: Head, at: number, length: number): void {
    const record = at + BODY_HEAD;
    const numbersAt = record + head.recordBytes;
    const pagesAt = numbersAt + 4 * head.pages;
    if (pagesAt + head.pages * head.pageBytes !== at + length) throw new StorageError('corrupt', `the file is damaged at byte ${at}`);
    this.counters = { checkpoint: head.checkpoint, sequence: head.sequence };
    if (head.kind === Kind.Append) {
      this.log.push({ at: record, length: head.recordBytes });
      return;
    }
    if (head.kind !== Kind.Checkpoint) throw new StorageError('corrupt', `the file has a frame at byte ${at} that makes no sense`);
    this.log = [];
    this.root = readAt(this.file, record, head.recordBytes);
    this.pageBytes = head.pageBytes;
    const numbers = new DataView(readAt(this.file, numbersAt, 4 * head.pages).buffer);
    for (let index = 0; index < head.pages; index++) {
      this.pages.set(numbers.getUint32(4 * index, true), pagesAt + index * head.pageBytes);
    }
  }

  /** Adds a frame. It is durable then. */
  private add(head: Head, parts: readonly Uint8Array[]): void {
    if (this.broken !== null) throw this.broken;
    const frame = framed(head, parts);
    try {
      writeAll(this.file, frame, this.end);
    } catch (error) {
      // What was written of it would lie behind a shorter frame.
      try {
        this.file.truncate(this.end);
      } catch (failure) {
        this.broken = failure as Error;
      }
      throw error;
    }
    try {
      this.file.flush();
    } catch (error) {
      // Nobody knows what is stored.
      this.broken = error as Error;
      throw error;
    }
    this.take(head, this.end + FRAME_HEAD, frame.length - FRAME_HEAD);
    this.end += frame.length;
  }

  /** Writes what holds to the other file, which is the database then. */
  private rewrite(): void {
    const { checkpoint, sequence } = this.counters;
    const root = this.root ?? new Uint8Array();
    const places = [...this.pages];
    let end = HEADER;
    try {
      this.spare.truncate(0);
      // Some at a time, so that they do not lie in memory together.
      for (let start = 0; start < places.length || start === 0; start += REWRITTEN_PAGES) {
        const some = places.slice(start, start + REWRITTEN_PAGES);
        const head = { kind: Kind.Checkpoint, checkpoint, sequence, recordBytes: root.length, pages: some.length, pageBytes: this.pageBytes };
        const pages = some.map(([, at]) => readAt(this.file, at, this.pageBytes));
        const frame = framed(head, [root, bytesOf(Uint32Array.from(some, ([number]) => number)), ...pages]);
        writeAll(this.spare, frame, end);
        end += frame.length;
      }
      this.spare.flush();
      this.begin(this.spare);
    } catch {
      // The present file goes on; there will be another occasion.
      this.discard();
      return;
    }
    [this.file, this.spare] = [this.spare, this.file];
    this.pages = new Map();
    this.end = HEADER;
    this.read();
    try {
      this.spare.truncate(0);
    } catch {
      // It takes room, and is not the database in any case.
    }
  }

  /** Makes sure that a file whose header may be there does not become the database, now that the other one goes on. */
  private discard(): void {
    try {
      this.spare.truncate(0);
      this.spare.flush();
    } catch (error) {
      this.broken = error as Error;
    }
  }

  /** Makes a file the database by its header. */
  private begin(file: SyncFile): void {
    const header = new DataView(new ArrayBuffer(HEADER));
    bytesOf(header).set(MAGIC);
    header.setFloat64(8, this.generation + 1, true);
    header.setUint32(16, sumsOf(bytesOf(header).subarray(0, 16))[0], true);
    writeAll(file, bytesOf(header), 0);
    file.flush();
    this.generation++;
  }
}

const CLOSED = 'the database is closed';
const REWRITTEN_PAGES = 128;

/** 0 where there is no database. */
function generationOf(file: SyncFile): number {
  if (file.getSize() < HEADER) return 0;
  const header = readAt(file, 0, HEADER);
  const view = new DataView(header.buffer);
  if (!MAGIC.every((byte, index) => header[index] === byte)) return 0;
  return view.getUint32(16, true) === sumsOf(header.subarray(0, 16))[0] ? view.getFloat64(8, true) : 0;
}

function headOf(bytes: Uint8Array): Head {
  const view = new DataView(bytes.buffer);
  const [kind, checkpoint, sequence] = [view.getUint32(0, true), view.getFloat64(4, true), view.getFloat64(12, true)];
  return { kind, checkpoint, sequence, recordBytes: view.getUint32(20, true), pages: view.getUint32(24, true), pageBytes: view.getUint32(28, true) };
}

function framed(head: Head, parts: readonly Uint8Array[]): Uint8Array {
  const length = BODY_HEAD + parts.reduce((sum, part) => sum + part.length, 0);
  const frame = new Uint8Array(FRAME_HEAD + length);
  const view = new DataView(frame.buffer);
  view.setUint32(FRAME_HEAD, head.kind, true);
  view.setFloat64(FRAME_HEAD + 4, head.checkpoint, true);
  view.setFloat64(FRAME_HEAD + 12, head.sequence, true);
  view.setUint32(FRAME_HEAD + 20, head.recordBytes, true);
  view.setUint32(FRAME_HEAD + 24, head.pages, true);
  view.setUint32(FRAME_HEAD + 28, head.pageBytes, true);
  let at = FRAME_HEAD + BODY_HEAD;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  const [low, high] = sumsOf(frame.subarray(FRAME_HEAD));
  view.setUint32(0, length, true);
  view.setUint32(4, low, true);
  view.setUint32(8, high, true);
  return frame;
}

/** Whether a frame has the sums that it says it has. */
function holds(frame: Uint8Array): boolean {
  const view = new DataView(frame.buffer);
  const [low, high] = sumsOf(frame.subarray(FRAME_HEAD));
  return view.getUint32(4, true) === low && view.getUint32(8, true) === high;
}

/**
 * Two sums of 32 bits that tell an unfinished frame: what is damaged otherwise, the checksums of the engine's records and pages tell. The
 * bytes begin at a multiple of four in their buffer.
 */
function sumsOf(bytes: Uint8Array): [number, number] {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  let low = bytes.length | 0;
  let high = 0x2545f491;
  for (let index = 0; index < words.length; index++) {
    low = Math.imul(low ^ (words[index] as number), 0x01000193);
    high = (Math.imul(high, 0x5bd1e995) + (low ^ (low >>> 15))) | 0;
  }
  for (let index = words.length << 2; index < bytes.length; index++) {
    low = Math.imul(low ^ (bytes[index] as number), 0x01000193);
    high = (Math.imul(high, 0x5bd1e995) + (low ^ (low >>> 15))) | 0;
  }
  return [low >>> 0, high >>> 0];
}

function readAt(file: SyncFile, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  if (file.read(bytes, { at }) !== length) throw new StorageError('corrupt', `the file ends before byte ${at + length}`);
  return bytes;
}

function writeAll(file: SyncFile, bytes: Uint8Array, at: number): void {
  // A full disk shows as an exception or as fewer bytes.
  if (file.write(bytes, { at }) !== bytes.length) throw Object.assign(new Error('no room for the database'), { name: 'QuotaExceededError' });
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** What a call gives, as the interface has it. */
async function answer<T>(call: () => T): Promise<T> {
  return call();
}
