/**
 * A database in one file, for Node.
 *
 * ```text
 * file:  the 8 bytes "CUNODE\x01\n", then frames, each behind the one before
 * frame: u32le length of the body, the first 8 bytes of the body's SHA-256, the body
 * body:  1 append:     f64le sequence, the log record
 *        2 checkpoint: f64le checkpoint, f64le sequence, u32le length of the root record, the root record, pages
 *        3 pages:      pages; only at the beginning of a file that was written anew
 * pages: for each u32le number, u32le length, the bytes
 * ```
 *
 * Frames are only added, and what they say replaces what was said before, so a transaction is one frame: it is there as a whole, once it is
 * synced, or its checksum is wrong. Such a frame at the end of the file is what a crash left of the last transaction, and is cut off;
 * elsewhere it is damage, and the file is refused. When most of the file is outdated, what holds is written to a new one that takes its place.
 */

import { StorageError } from './errors.js';
import type { Store } from './store.js';

type FileHandle = import('node:fs/promises').FileHandle;
type Files = typeof import('node:fs/promises');

const MAGIC = Uint8Array.of(0x43, 0x55, 0x4e, 0x4f, 0x44, 0x45, 0x01, 0x0a);
const FRAME_HEAD = 12;
const enum Kind {
  Append = 1,
  Checkpoint = 2,
  Pages = 3,
}
/** The least bytes of a body by its kind, after which come a record or pages. */
const HEAD_LENGTHS: Readonly<Record<number, number>> = { [Kind.Append]: 9, [Kind.Checkpoint]: 21, [Kind.Pages]: 1 };
/** A file is written anew when it is so many times as long as what holds of it, and longer than this. */
const OUTDATED = 4;
const REWRITTEN_BYTES_MIN = 1024 * 1024;

/** Where bytes lie in the file. */
interface Place {
  at: number;
  length: number;
}

/** What the frames so far add up to. */
class Contents {
  root: Uint8Array | undefined;
  checkpoint = 0;
  sequence = 0;
  log: Place[] = [];
  pages = new Map<number, Place>();
  private pageBytes = 0;

  /** Takes in a frame's body, which lies at a place of the file. False when it makes no sense. */
  apply(body: DataView, at: number): boolean {
    // What is too short for its numbers makes no sense, whatever its checksum says.
    const kind = body.getUint8(0);
    if (body.byteLength < (HEAD_LENGTHS[kind] ?? 1)) return false;
    switch (kind) {
      case Kind.Append:
        this.sequence = body.getFloat64(1, true);
        this.log.push({ at: at + 9, length: body.byteLength - 9 });
        return true;
      case Kind.Checkpoint: {
        this.checkpoint = body.getFloat64(1, true);
        this.sequence = body.getFloat64(9, true);
        this.log = [];
        const length = body.getUint32(17, true);
        if (21 + length > body.byteLength) return false;
        this.root = new Uint8Array(body.buffer, body.byteOffset + 21, length).slice();
        return this.takePages(body, 21 + length, at);
      }
      case Kind.Pages:
        return this.takePages(body, 1, at);
      default:
        return false;
    }
  }

  /** Bytes that still hold. */
  get bytes(): number {
    return this.log.reduce((sum, { length }) => sum + length, this.pageBytes + (this.root?.length ?? 0));
  }

  private takePages(body: DataView, from: number, at: number): boolean {
    let position = from;
    while (position < body.byteLength) {
      if (position + 8 > body.byteLength) return false;
      const [number, length] = [body.getUint32(position, true), body.getUint32(position + 4, true)];
      this.pageBytes += length - (this.pages.get(number)?.length ?? 0);
      this.pages.set(number, { at: at + position + 8, length });
      position += 8 + length;
    }
    return position === body.byteLength;
  }
}

/** Opens the store in a file, which is made when it is not there. */
export async function openFile(path: string): Promise<Store> {
  const lock = await Lock.take(path);
  try {
    return await FileStore.open(path, lock);
  } catch (error) {
    lock.release();
    throw error;
  }
}

class FileStore implements Store {
  private contents = new Contents();
  private end = MAGIC.length;
  /** Why nothing more can be stored: nobody knows what a failed sync has left. */
  private broken: Error | null = null;
  private turn: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly fs: Files,
    private readonly path: string,
    private readonly lock: Lock,
    private file: FileHandle,
  ) {}

  static async open(path: string, lock: Lock): Promise<FileStore> {
    const fs = await importNode<Files>('node:fs/promises');
    const { constants } = await importNode<typeof import('node:fs')>('node:fs');
    // What a crash left of a file that was being written anew.
    await fs.rm(`${path}.new`, { force: true });
    const file = await fs.open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    const store = new FileStore(fs, path, lock, file);
    try {
      await store.read();
    } catch (error) {
      await file.close();
      throw error;
    }
    return store;
  }

  load(after: number): Promise<[Uint8Array | undefined, number, number, ...Uint8Array[]]> {
    return this.exclusive(async () => {
      const { root, checkpoint, sequence, log } = this.contents;
      const first = sequence - log.length;
      const records = await Promise.all(log.slice(Math.max(after - first, 0)).map((place) => this.bytesAt(place)));
      return [root, checkpoint, sequence, ...records];
    });
  }

  readPages(checkpoint: number, numbers: Uint32Array): Promise<(Uint8Array | undefined)[] | null> {
    return this.exclusive(async () => {
      if (this.contents.checkpoint !== checkpoint) return null;
      const read = (place: Place | undefined): Promise<Uint8Array> | undefined => (place === undefined ? undefined : this.bytesAt(place));
      return Promise.all(Array.from(numbers, (number) => read(this.contents.pages.get(number))));
    });
  }

  append(expectedSequence: number, record: Uint8Array): Promise<boolean> {
    return this.exclusive(async () => {
      if (this.contents.sequence !== expectedSequence) return false;
      const head = new DataView(new ArrayBuffer(9));
      head.setUint8(0, Kind.Append);
      head.setFloat64(1, expectedSequence + 1, true);
      await this.add(join([bytesOf(head), record]));
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
    return this.exclusive(async () => {
      const { checkpoint, sequence } = this.contents;
      if (checkpoint !== expectedCheckpoint || sequence !== expectedSequence) return false;
      await this.add(checkpointBody(expectedCheckpoint + 1, sequence, root, numbers, pages));
      if (this.end > REWRITTEN_BYTES_MIN && this.end > OUTDATED * this.contents.bytes) await this.rewrite();
      return true;
    });
  }

  close(): Promise<void> {
    return this.exclusive(async () => {
      if (this.broken?.message === CLOSED) return;
      this.broken ??= new Error(CLOSED);
      await this.file.close();
      this.lock.release();
    });
  }

  /** Calls have their turns one after the other. */
  private exclusive<T>(call: () => Promise<T>): Promise<T> {
    const result = this.turn.then(call);
    this.turn = result.catch(() => undefined);
    return result;
  }

  /** Reads all frames, and cuts off what a crash has left of the last one. */
  private async read(): Promise<void> {
    const { size } = await this.file.stat();
    if (size < MAGIC.length) return this.begin();
    const magic = await this.bytesAt({ at: 0, length: MAGIC.length });
    if (!magic.every((byte, index) => byte === MAGIC[index])) {
      throw new StorageError('corrupt', `${this.path} is no database, or one of another version`);
    }
    while (this.end < size) {
      const body = await this.frame(size);
      if (body === null) {
        await this.file.truncate(this.end);
        await this.file.datasync();
        return;
      }
      this.take(body);
    }
  }

  /** The body of the frame that begins at the end of what was read; null for what is left of one that was not finished. */
  private async frame(size: number): Promise<Uint8Array | null> {
    if (this.end + FRAME_HEAD > size) return null;
    const head = await this.bytesAt({ at: this.end, length: FRAME_HEAD });
    const length = viewOf(head).getUint32(0, true);
    const next = this.end + FRAME_HEAD + length;
    if (length === 0 || next > size) return null;
    const body = await this.bytesAt({ at: this.end + FRAME_HEAD, length });
    const sum = await checksum(body);
    if (sum.every((byte, index) => byte === head[4 + index])) return body;
    if (next === size) return null;
    throw new StorageError('corrupt', `${this.path} is damaged at byte ${this.end}`);
  }

  private take(body: Uint8Array): void {
    if (!this.contents.apply(viewOf(body), this.end + FRAME_HEAD)) {
      throw new StorageError('corrupt', `${this.path} has a frame at byte ${this.end} that makes no sense`);
    }
    this.end += FRAME_HEAD + body.length;
  }

  private async begin(): Promise<void> {
    await this.file.truncate(0);
    await this.file.write(MAGIC, 0, MAGIC.length, 0);
    await this.file.datasync();
    await this.syncFolder();
  }

  /** Adds a frame. Resolves when it is durable. */
  private async add(body: Uint8Array): Promise<void> {
    if (this.broken !== null) throw this.broken;
    const frame = await framed(body);
    try {
      await writeAll(this.file, frame, this.end);
    } catch (error) {
      // What was written of it would look like damage behind a shorter frame.
      await this.file.truncate(this.end).catch(() => (this.broken = error as Error));
      throw isFull(error) ? Object.assign(new Error(`no room for ${this.path}`), { name: 'QuotaExceededError' }) : error;
    }
    try {
      await this.file.datasync();
    } catch (error) {
      this.broken = error as Error;
      throw error;
    }
    this.take(body);
  }

  /** Writes what holds to a new file, which takes the place of this one. */
  private async rewrite(): Promise<void> {
    const { root, checkpoint, sequence, pages } = this.contents;
    const path = `${this.path}.new`;
    const file = await this.fs.open(path, 'w+', 0o600);
    try {
      let end = MAGIC.length;
      await writeAll(file, MAGIC, 0);
      const write = async (body: Uint8Array): Promise<void> => {
        const frame = await framed(body);
        await writeAll(file, frame, end);
        end += frame.length;
      };
      for (const [number, place] of pages) await write(join([Uint8Array.of(Kind.Pages), pageHead(number, place.length), await this.bytesAt(place)]));
      await write(checkpointBody(checkpoint, sequence, root ?? new Uint8Array(), new Uint32Array(), []));
      await file.datasync();
      await this.fs.rename(path, this.path);
    } catch {
      // The present file goes on; there will be another occasion.
      await file.close();
      await this.fs.rm(path, { force: true });
      return;
    }
    await this.syncFolder();
    await this.file.close();
    this.file = file;
    this.contents = new Contents();
    this.end = MAGIC.length;
    await this.read();
  }

  private async bytesAt({ at, length }: Place): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    const { bytesRead } = await this.file.read(bytes, 0, length, at);
    if (bytesRead !== length) throw new StorageError('corrupt', `${this.path} ends before byte ${at + length}`);
    return bytes;
  }

  /** Makes the file's name durable. Not every system can. */
  private async syncFolder(): Promise<void> {
    const { dirname } = await importNode<typeof import('node:path')>('node:path');
    try {
      const folder = await this.fs.open(dirname(this.path), 'r');
      await folder.sync().finally(() => folder.close());
    } catch {
      // Windows opens no folders.
    }
  }
}

const CLOSED = 'the file is closed';

/**
 * Keeps other processes, and other instances of this one, away from a file. It is a socket, which the system closes when its process is
 * gone, whatever way it went: one that nobody listens at is left from such a process. Processes on other machines do not see it.
 */
class Lock {
  private constructor(private readonly server: import('node:net').Server) {}

  static async take(path: string): Promise<Lock> {
    const net = await importNode<typeof import('node:net')>('node:net');
    const address = await Lock.address(path);
    for (let attempt = 0; attempt < 3; attempt++) {
      const server = net.createServer((socket) => socket.destroy());
      // Node is not to go on for it alone.
      server.unref();
      const problem = await new Promise<NodeJS.ErrnoException | null>((resolve) => {
        server.once('error', resolve);
        server.listen(address, () => resolve(null));
      });
      if (problem === null) return new Lock(server);
      if (problem.code !== 'EADDRINUSE') throw problem;
      const isHeld = await new Promise<boolean>((resolve) => {
        const socket = net.connect(address, () => resolve(true));
        socket.once('error', () => resolve(false));
        socket.unref();
      });
      if (isHeld) break;
      const fs = await importNode<Files>('node:fs/promises');
      await fs.rm(address, { force: true });
    }
    throw new StorageError('blocked', `another instance or process has ${path} open`);
  }

  release(): void {
    this.server.close();
  }

  /** A short one, as sockets need it, that all names of the file share. */
  private static async address(path: string): Promise<string> {
    const [fs, os, { basename, dirname, join, resolve }] = await Promise.all([
      importNode<Files>('node:fs/promises'),
      importNode<typeof import('node:os')>('node:os'),
      importNode<typeof import('node:path')>('node:path'),
    ]);
    const full = await fs.realpath(path).catch(async () => join(await fs.realpath(dirname(resolve(path))), basename(path)));
    const name = Array.from(await checksum(new TextEncoder().encode(full)), (byte) => byte.toString(16).padStart(2, '0')).join('');
    return process.platform === 'win32' ? `\\\\.\\pipe\\cu-${name}` : join(os.tmpdir(), `cu-${name}.lock`);
  }
}

function checkpointBody(checkpoint: number, sequence: number, root: Uint8Array, numbers: Uint32Array, pages: readonly Uint8Array[]): Uint8Array {
  const head = new DataView(new ArrayBuffer(21));
  head.setUint8(0, Kind.Checkpoint);
  head.setFloat64(1, checkpoint, true);
  head.setFloat64(9, sequence, true);
  head.setUint32(17, root.length, true);
  return join([bytesOf(head), root, ...pages.flatMap((page, index) => [pageHead(numbers[index] as number, page.length), page])]);
}

function pageHead(number: number, length: number): Uint8Array {
  const head = new DataView(new ArrayBuffer(8));
  head.setUint32(0, number, true);
  head.setUint32(4, length, true);
  return bytesOf(head);
}

async function framed(body: Uint8Array): Promise<Uint8Array> {
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, body.length, true);
  return join([bytesOf(length), await checksum(body), body]);
}

async function checksum(bytes: Uint8Array): Promise<Uint8Array> {
  const { createHash } = await importNode<typeof import('node:crypto')>('node:crypto');
  return createHash('sha256').update(bytes).digest().subarray(0, 8);
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += (await file.write(bytes, written, bytes.length - written, at + written)).bytesWritten;
  }
}

function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT', 'EFBIG'].includes((error as NodeJS.ErrnoException).code ?? '');
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function importNode<Module>(name: string): Promise<Module> {
  // Behind a variable, so that bundlers for browsers leave it alone.
  return import(/* @vite-ignore */ /* webpackIgnore: true */ name) as Promise<Module>;
}
