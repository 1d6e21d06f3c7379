/**
 * Who has a database open, so that a read need not look into the store for commits that nobody can have made.
 *
 * What is promised: a read that begins after another tab's commit has resolved sees that commit. Looking each time (one IndexedDB
 * transaction) keeps it, and takes longer than most reads. It can be left out by who is alone, by this scheme:
 *
 * - Every connection holds a Web Lock of its own while it is open, from before its first commit to behind its last one. The browser
 *   takes the lock away when the tab ends, however it ends.
 * - A connection that asks the browser for the list of locks and finds no other one is *alone* for {@link LEASE_MS} from when it
 *   asked. Before that time is over it asks again, in the background; so a busy reader stays alone without ever waiting.
 * - A newcomer takes its lock and then the list. When others are there, it tells them that it has arrived, and may commit only when
 *   each has answered that it has heard this, is gone from the list, or had its time: {@link LEASE_MS} after the newcomer had its lock.
 * - Who hears of a newcomer is not alone from then on, and forgets what it has asked before.
 *
 * Why that is enough: let A be alone until some time, because it asked at `t` and the list, made at `s ≥ t`, had no other lock. Whoever
 * commits has its lock since a time `g`. If `g` were before `s`, the list would have had it, unless it was closed by then; then all of
 * its commits are before `s`, and A has read the store after `s` (or was alone without a gap until `s`). If `g` is after `s`, the
 * newcomer's list has A, so it commits after A has heard of it, or after `g + LEASE_MS`, when A's time from `t` is over. So nothing
 * is committed while A leaves the looking out. A tab that is frozen, or never answers, delays a newcomer by no more than that time, and has
 * to look when it goes on. Time is that of `performance.now`, which differs between tabs in its origin only; {@link MARGIN_MS}
 * covers its rounding.
 *
 * Where there are no Web Locks, nobody is ever alone. IndexedDB and Web Locks are both there in secure contexts, and shared by
 * the same pages and workers.
 */

/** How long an answer of the browser holds, and how long a newcomer waits for those who do not answer. */
const LEASE_MS = 500;
const MARGIN_MS = 50;
/** How often a newcomer looks whether those who have not answered are still there. */
const PATIENCE_MS = 100;

/** What the scheme needs of the browser; a test has its own. */
export interface Surroundings {
  readonly locks: Pick<LockManager, 'query'> & {
    request(name: string, held: () => Promise<void>): Promise<unknown>;
  };
  /** Reaches all others that have the same database open, in the order of calls. */
  tell(message: PresenceMessage): void;
  /** Milliseconds. */
  now(): number;
  wait(ms: number): Promise<void>;
}

/** `arrived`: a newcomer's name. `heard`: whose message was heard, and by whom. */
export type PresenceMessage = { arrived: string } | { heard: string; by: string };

export class Presence {
  private readonly name: string;
  private readonly prefix: string;
  /** Nobody else commits before. */
  private aloneUntil = -Infinity;
  /** Newcomers heard of: what was asked before the last of them says nothing. */
  private arrivals = 0;
  private lookedAt = -Infinity;
  private looking = false;
  private release: () => void = () => undefined;
  /** Names of those who have answered this newcomer, and who waits for them. */
  private readonly heardBy = new Set<string>();
  private onHeard: () => void = () => undefined;
  /** Takes in what others have committed. */
  private takeIn: (() => Promise<void>) | null = null;

  constructor(
    database: string,
    private readonly surroundings: Surroundings,
    id: string = crypto.randomUUID(),
  ) {
    this.prefix = `cu-open:${database}:`;
    this.name = this.prefix + id;
  }

  /** Resolves when this connection may read the store and commit. Messages must reach {@link hear} from before that. */
  async arrive(): Promise<void> {
    const { surroundings } = this;
    const { locks } = surroundings;
    await new Promise<void>((resolve, reject) => {
      const held = (): Promise<void> =>
        new Promise((release) => {
          this.release = release;
          resolve();
        });
      locks.request(this.name, held).catch(reject);
    });
    const arrived = surroundings.now();
    let others = await this.others();
    // The store is read after this, so from here on as if it had just been taken in.
    if (others.length === 0) {
      if (this.arrivals === 0) this.aloneUntil = arrived + LEASE_MS;
      return;
    }
    surroundings.tell({ arrived: this.name });
    for (;;) {
      others = others.filter((other) => !this.heardBy.has(other));
      const left = arrived + LEASE_MS + MARGIN_MS - surroundings.now();
      if (others.length === 0 || left <= 0) return;
      const heard = new Promise<void>((resolve) => (this.onHeard = resolve));
      await Promise.race([heard, surroundings.wait(Math.min(left, PATIENCE_MS))]);
      if (!others.every((other) => this.heardBy.has(other))) others = await this.others();
    }
  }

  /** Says how to take in what others have committed, which makes it possible to be alone again after having had company. */
  attend(takeIn: () => Promise<void>): void {
    this.takeIn = takeIn;
  }

  hear(message: PresenceMessage): void {
    if ('arrived' in message) {
      this.arrivals += 1;
      this.aloneUntil = -Infinity;
      this.surroundings.tell({ heard: message.arrived, by: this.name });
    } else if (message.heard === this.name) {
      this.heardBy.add(message.by);
      this.onHeard();
    }
  }

  /** Whether a read that begins now can do without looking for commits of others. */
  isAlone(): boolean {
    const now = this.surroundings.now();
    const isOld = now > this.aloneUntil - LEASE_MS / 2 && now > this.lookedAt + LEASE_MS / 2;
    if (isOld && !this.looking && this.takeIn !== null) void this.look(now, this.takeIn);
    return now < this.aloneUntil;
  }

  /** Behind the last commit. */
  leave(): void {
    this.takeIn = null;
    this.aloneUntil = -Infinity;
    this.arrivals += 1;
    this.release();
  }

  private async look(asked: number, takeIn: () => Promise<void>): Promise<void> {
    const { arrivals } = this;
    this.looking = true;
    this.lookedAt = asked;
    try {
      const others = await this.others();
      if (others.length > 0 || this.arrivals !== arrivals) return;
      // While it was alone all the time, there is nothing to take in.
      if (this.surroundings.now() >= this.aloneUntil) await takeIn();
      if (this.arrivals === arrivals) this.aloneUntil = asked + LEASE_MS;
    } catch {
      // Then it is not alone; who asks the database next is told what is wrong with it.
    } finally {
      this.looking = false;
    }
  }

  /** The names of all others that hold their lock. */
  private async others(): Promise<string[]> {
    const { held = [] } = await this.surroundings.locks.query();
    const names = held.map(({ name = '' }) => name);
    return names.filter((name) => name.startsWith(this.prefix) && name !== this.name);
  }
}
