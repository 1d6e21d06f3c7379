// The store over sync access handles: what a crash leaves of it, at any write, and what a full disk does. The handles are made up here: they
// keep what was flushed, and of what was not, a crash keeps any part. Real ones are tried in Chromium (browser/opfs.test.mjs).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu } from '../dist/index.js';
import { OpfsStore } from '../dist/opfs-store.js';

/** A small generator with a fixed seed (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A disk with two files; it stops at the write of a number, as a killed process does. */
class Disk {
  constructor(images = [new Uint8Array(), new Uint8Array()], stopsAt = Infinity) {
    this.writes = 0;
    this.stopsAt = stopsAt;
    /** The one write, truncation or flush that does not work. */
    this.failsAt = 0;
    this.room = Infinity;
    this.files = images.map((image) => new MadeUpFile(this, image));
  }

  /** Counts what changes a file. */
  count() {
    this.writes += 1;
    if (this.writes >= this.stopsAt) throw new Error('stopped');
    if (this.writes === this.failsAt) throw new Error('failed');
  }

  /** What is there after a crash: each change since the last flush is there, in part, or not, in this order up to some point. */
  images(next) {
    return this.files.map((file) => {
      const kept = file.pending.slice(0, Math.floor(next() * (file.pending.length + 1)));
      let image = file.stored;
      kept.forEach((change, index) => {
        const part = index === kept.length - 1 && change.bytes !== undefined && next() < 0.5 ? Math.floor(next() * (change.bytes.length + 1)) : Infinity;
        image = changed(image, change, part);
      });
      return image;
    });
  }
}

function changed(image, { size, bytes, at }, part = Infinity) {
  if (bytes === undefined) {
    const cut = new Uint8Array(size);
    cut.set(image.subarray(0, size));
    return cut;
  }
  const kept = bytes.subarray(0, part);
  // A file may be made longer before its bytes are there.
  const grown = new Uint8Array(Math.max(image.length, at + (part % 2 === 0 ? bytes.length : kept.length)));
  grown.set(image);
  grown.set(kept, at);
  return grown;
}

class MadeUpFile {
  constructor(disk, image) {
    this.disk = disk;
    this.stored = image;
    this.seen = image;
    this.pending = [];
  }
  change(change) {
    this.disk.count();
    this.pending.push(change);
    this.seen = changed(this.seen, change);
  }
  read(into, { at }) {
    const found = this.seen.subarray(at, at + into.length);
    into.set(found);
    return found.length;
  }
  write(bytes, { at }) {
    const fits = bytes.subarray(0, Math.max(this.disk.room - at, 0));
    this.change({ bytes: fits.slice(), at });
    return fits.length;
  }
  flush() {
    this.disk.count();
    this.stored = this.seen;
    this.pending = [];
  }
  truncate(size) {
    this.change({ size });
  }
  getSize() {
    return this.seen.length;
  }
  close() {}
}

const PAGE = 128;
const page = (seed) => Uint8Array.from({ length: PAGE }, (_, index) => (seed * 31 + index * 7) & 0xff);

/** What a store is to hold, beside its operations. */
class Model {
  constructor() {
    this.state = { root: undefined, checkpoint: 0, sequence: 0, log: [], pages: new Map() };
  }
  next(pick, big) {
    const { checkpoint, sequence, log, pages } = this.state;
    if (pick < 0.6) {
      const record = Uint8Array.from({ length: Math.floor(pick * 900) }, (_, index) => (index * 3 + sequence) & 0xff);
      const after = { ...this.state, sequence: sequence + 1, log: [...log, record] };
      return { run: (store) => store.append(sequence, record), after };
    }
    const numbers = Array.from({ length: big ? 700 : 1 + Math.floor(pick * 8) }, (_, index) => 1 + ((index * 7 + sequence) % 800));
    const bytes = numbers.map((number) => page(number + checkpoint));
    const root = Uint8Array.of(checkpoint & 0xff, 2, 3);
    const after = { root, checkpoint: checkpoint + 1, sequence, log: [], pages: new Map([...pages, ...numbers.map((number, index) => [number, bytes[index]])]) };
    return { run: (store) => store.checkpoint(checkpoint, sequence, root, Uint32Array.from(numbers), bytes), after };
  }
}

async function assertHolds(store, state, what) {
  const [root, checkpoint, sequence, ...log] = await store.load(state.sequence - state.log.length);
  assert.deepEqual({ root, checkpoint, sequence, log }, { root: state.root, checkpoint: state.checkpoint, sequence: state.sequence, log: state.log }, what);
  const numbers = [...state.pages.keys(), 5000];
  assert.deepEqual(await store.readPages(checkpoint, Uint32Array.from(numbers)), [...state.pages.values(), undefined], what);
}

test('a crash at any write leaves what was resolved, and no half of what was not', async () => {
  const next = random(11);
  const picks = Array.from({ length: 40 }, () => next());
  let crashes = 0;
  for (let stopsAt = 1; ; stopsAt += 1) {
    const disk = new Disk(undefined, stopsAt);
    const model = new Model();
    let pending = null;
    try {
      const store = new OpfsStore(disk.files, 100_000);
      for (const [number, pick] of picks.entries()) {
        // Some are so large that the file is written anew.
        pending = number % 5 === 4 ? model.next(0.9, true) : model.next(pick, false);
        assert.equal(await pending.run(store), true);
        model.state = pending.after;
        pending = null;
      }
    } catch (error) {
      assert.equal(error.message, 'stopped');
    }
    if (disk.stopsAt > disk.writes) break;
    crashes += 1;
    const store = new OpfsStore(new Disk(disk.images(next)).files);
    const [, checkpoint, sequence] = await store.load(Infinity);
    const isAfter = pending !== null && pending.after.checkpoint === checkpoint && pending.after.sequence === sequence;
    await assertHolds(store, isAfter ? pending.after : model.state, `stopped at write ${stopsAt}`);
    // It goes on from there.
    assert.equal(await store.append(sequence, page(1)), true);
  }
  // 82 without writing the file anew.
  assert.ok(crashes > 90, `${crashes} crashes`);
});

test('a write, truncation or flush that fails loses nothing that was resolved before it or after', async () => {
  const next = random(12);
  const picks = Array.from({ length: 30 }, () => next());
  for (let failsAt = 1, hasFailed = true; hasFailed; failsAt += 1) {
    const disk = new Disk();
    const store = new OpfsStore(disk.files, 100_000);
    disk.failsAt = failsAt + disk.writes;
    const model = new Model();
    const refused = [];
    let crashes = 0;
    hasFailed = false;
    for (const [number, pick] of picks.entries()) {
      const operation = number % 5 === 4 ? model.next(0.9, true) : model.next(pick, false);
      try {
        assert.equal(await operation.run(store), true, `write ${failsAt} failed`);
        model.state = operation.after;
      } catch (error) {
        assert.equal(error.message, 'failed');
        refused.push(operation.after);
      }
      hasFailed ||= disk.writes >= disk.failsAt;
      // Crashes soon after.
      if (!hasFailed || (crashes += 1) > 8) continue;
      const again = new OpfsStore(new Disk(disk.images(next)).files);
      const [, checkpoint, sequence] = await again.load(Infinity);
      // What was refused may be there nevertheless, as its caller does not know.
      const held = [model.state, ...refused].find((state) => state.checkpoint === checkpoint && state.sequence === sequence);
      assert.ok(held !== undefined, `write ${failsAt} failed, and then there was checkpoint ${checkpoint} with ${sequence}`);
      await assertHolds(again, held, `write ${failsAt} failed`);
    }
  }
});

test('other counters than the stored ones store nothing', async () => {
  const disk = new Disk();
  const store = new OpfsStore(disk.files);
  assert.equal(await store.append(0, page(1)), true);
  const { writes } = disk;
  assert.equal(await store.append(0, page(2)), false);
  assert.equal(await store.checkpoint(1, 1, page(1), Uint32Array.of(1), [page(3)]), false);
  assert.equal(await store.checkpoint(0, 0, page(1), Uint32Array.of(1), [page(3)]), false);
  assert.equal(await store.readPages(1, Uint32Array.of(1)), null);
  assert.equal(disk.writes, writes);
});

test('a full disk refuses a commit with its code, and takes the next one that fits', async () => {
  const disk = new Disk();
  const cu = await Cu.open({ store: new OpfsStore(disk.files) });
  await cu.setValue('t', 'a', 1);
  disk.room = disk.files[0].seen.length + 200;
  await assert.rejects(cu.setValue('t', 'b', 'x'.repeat(1000)), { code: 'quota' });
  await cu.setValue('t', 'c', 2);
  disk.room = Infinity;
  await cu.close();
  const again = await Cu.open({ store: new OpfsStore(new Disk(disk.images(() => 0)).files) });
  assert.deepEqual((await again.queryEntries('t')).map(({ key, value }) => [key, value]), [['a', 1], ['c', 2]]);
  await again.close();
});

test('damage is told', async () => {
  const disk = new Disk();
  const store = new OpfsStore(disk.files);
  await store.checkpoint(0, 0, page(1), Uint32Array.of(1, 2), [page(1), page(2)]);
  await store.append(0, page(1));
  const image = disk.files[0].seen.slice();
  // The number of pages of the first frame.
  image[24 + 12 + 24] = 9;
  assert.throws(() => new OpfsStore(new Disk([image, new Uint8Array()]).files), { code: 'corrupt' });
});
