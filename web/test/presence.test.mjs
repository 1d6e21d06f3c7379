// Who is alone with a database need not look for commits of others. In a made-up world, where time passes as events say, tabs open, read,
// commit, freeze, end and are killed at random, and everything between them takes a random while: no read may miss a commit that had
// resolved when it began, and nobody may wait long for a tab that does not answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Presence } from '../dist/presence.js';

/** What a newcomer may wait for those who do not answer, with what the messages take. */
const WAIT_MAX = 900;

/** Numbers that look random and are the same each time. */
function random(seed) {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

class World {
  now = 0;
  events = [];
  /** Commits that the store holds, and that somebody knows to have resolved. */
  stored = 0;
  resolved = 0;
  held = new Map();
  tabs = new Set();
  reads = { alone: 0, looked: 0 };

  constructor(seed) {
    this.random = random(seed);
  }

  at(delay, run) {
    this.events.push({ time: this.now + delay, order: this.events.length, run });
  }

  async run(until) {
    while (this.events.length > 0) {
      const next = this.events.reduce((first, event) => (event.time < first.time ? event : first));
      if (next.time > until) break;
      this.events.splice(this.events.indexOf(next), 1);
      this.now = next.time;
      next.run();
      // All that follows at once does.
      await new Promise(setImmediate);
    }
    this.now = Math.max(this.now, until);
  }
}

class Tab {
  frozen = false;
  killed = false;
  known = 0;
  /** What reaches it while it is frozen. */
  waiting = [];

  constructor(world, number) {
    this.world = world;
    this.number = number;
  }

  /** Runs in the tab after a while: messages in order, as `least` says. */
  later(run, least = 0, most = 8) {
    const { world } = this;
    // A tab is busy now and then.
    const busy = world.random(8) === 0 ? 80 : 0;
    world.at(least + world.random(most + busy), () => {
      if (this.killed) return;
      if (this.frozen) this.waiting.push(run);
      else run();
    });
  }

  answer(value, ...delay) {
    return new Promise((resolve) => this.later(() => resolve(value()), ...delay));
  }

  surroundings() {
    const { world } = this;
    return {
      now: () => world.now,
      wait: (ms) => this.answer(() => undefined, ms, 1),
      tell: (message) => {
        for (const tab of world.tabs) if (tab !== this) tab.later(() => tab.presence.hear(message));
      },
      locks: {
        request: (name, held) => {
          world.at(world.random(5), () => {
            if (this.killed) return;
            world.held.set(name, this);
            this.later(() => void held().then(() => world.held.delete(name)));
          });
          return new Promise(() => undefined);
        },
        // The list is as it was at some time between question and answer.
        query: () => {
          let list;
          world.at(world.random(5), () => (list = [...world.held.keys()].map((name) => ({ name }))));
          return this.answer(() => ({ held: list }), 5);
        },
      },
    };
  }

  /** The store as it is when a transaction of the tab has its turn. */
  async look() {
    let stored;
    this.world.at(this.world.random(5), () => (stored = this.world.stored));
    await this.answer(() => undefined, 5);
    this.known = Math.max(this.known, stored);
  }

  async open() {
    const { world } = this;
    this.presence = new Presence('db', this.surroundings(), String(this.number));
    world.tabs.add(this);
    const asked = world.now;
    await this.presence.arrive();
    if (!this.wasFrozen) assert.ok(world.now - asked < WAIT_MAX, `tab ${this.number} waited ${world.now - asked}`);
    await this.look();
    this.presence.attend(() => this.look());
    if (world.random(2) === 0) await this.commit();
    this.act();
  }

  act() {
    this.later(() => void this.step(), 0, [3, 30, 900][this.world.random(3)] + 1);
  }

  async step() {
    const { world } = this;
    switch (world.random(12)) {
      case 0:
        await this.commit();
        break;
      case 1:
        if (world.random(4) > 0) break;
        this.presence.leave();
        world.tabs.delete(this);
        return;
      default: {
        const { resolved } = world;
        const alone = this.presence.isAlone();
        if (!alone) await this.look();
        world.reads[alone ? 'alone' : 'looked'] += 1;
        assert.ok(this.known >= resolved, `tab ${this.number} at ${world.now} read ${this.known} of ${resolved}`);
      }
    }
    this.act();
  }

  async commit() {
    const { world } = this;
    let number;
    world.at(world.random(5), () => {
      if (!this.killed) number = world.stored += 1;
    });
    await this.answer(() => undefined, 5);
    this.known = Math.max(this.known, number);
    world.resolved = Math.max(world.resolved, number);
  }

  freeze() {
    this.frozen = this.wasFrozen = true;
    this.world.at(this.world.random([400, 800, 3000][this.world.random(3)]), () => {
      this.frozen = false;
      // What it does next may come before the messages.
      const { waiting } = this;
      this.waiting = [];
      for (const run of waiting) this.world.at(this.world.random(4), () => (this.killed ? undefined : run()));
    });
  }

  kill() {
    const { world } = this;
    this.killed = true;
    world.tabs.delete(this);
    world.at(world.random(20), () => {
      for (const [name, tab] of world.held) if (tab === this) world.held.delete(name);
    });
  }
}

async function simulate(seed) {
  const world = new World(seed);
  const failures = [];
  let opened = 0;
  const meddle = () => {
    const tabs = [...world.tabs];
    const tab = tabs[world.random(tabs.length)];
    const kind = world.random(8);
    const open = () => new Tab(world, (opened += 1)).open().catch((error) => failures.push(error));
    if (tabs.length === 0 || (kind < 2 && tabs.length < 1 + world.random(3))) void open();
    else if (kind === 2) tab.kill();
    else if (kind > 4 && !tab.frozen) {
      tab.freeze();
      if (tabs.length === 1) world.at(world.random(300), open);
    }
    world.at(world.random(600), meddle);
  };
  world.at(0, meddle);
  const onUnhandled = (error) => failures.push(error);
  process.on('unhandledRejection', onUnhandled);
  await world.run(15_000);
  process.off('unhandledRejection', onUnhandled);
  if (failures.length > 0) throw new Error(`seed ${seed}: ${failures[0].message}`, { cause: failures[0] });
  return world;
}

test('no read misses a commit that had resolved when it began', async () => {
  const reads = { alone: 0, looked: 0 };
  let commits = 0;
  for (let seed = 1; seed <= 60; seed += 1) {
    const world = await simulate(seed);
    reads.alone += world.reads.alone;
    reads.looked += world.reads.looked;
    commits += world.resolved;
  }
  // Otherwise nothing was tried.
  assert.ok(reads.alone > 500 && reads.looked > 500 && commits > 500, JSON.stringify({ ...reads, commits }));
});

test('who is alone stays so while it reads, without taking in anything', async () => {
  const world = new World(1);
  const tab = new Tab(world, 1);
  let taken = 0;
  const states = [];
  const read = () => {
    states.push(tab.presence.isAlone());
    world.at(40, read);
  };
  tab.act = () => {
    tab.presence.attend(async () => void (taken += 1));
    read();
  };
  await Promise.all([tab.open(), world.run(5000)]);
  assert.deepEqual([...new Set(states)], [true]);
  assert.equal(taken, 0);
});

test('a frozen tab delays a newcomer, and looks before anything else when it goes on', async () => {
  const world = new World(1);
  const [frozen, newcomer] = [new Tab(world, 1), new Tab(world, 2)];
  frozen.act = newcomer.act = () => undefined;
  const opening = frozen.open();
  await world.run(200);
  await opening;
  assert.ok(frozen.presence.isAlone());
  // Its lease is as new as can be.
  await world.run(450);
  frozen.presence.isAlone();
  await world.run(500);
  frozen.frozen = true;
  const asked = world.now;
  let committed = Infinity;
  const open = newcomer.open().then(() => newcomer.commit()).then(() => (committed = world.now));
  while (committed === Infinity) await world.run(world.now + 1);
  await open;
  assert.ok(committed - asked < WAIT_MAX, String(committed - asked));
  // Before any message is heard.
  assert.equal(frozen.presence.isAlone(), false);
});
