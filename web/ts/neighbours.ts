/** The other instances and tabs that have the same database open, as one instance knows them. */

import type { Database } from './engine.js';
import { Presence, type PresenceMessage, type Surroundings } from './presence.js';
import type { Poison } from './poison.js';

/** `null`: something may have been committed. */
type Message = PresenceMessage | null;

/**
 * Tells them that something may have been committed, takes in what they have committed while somebody watches, and knows whether
 * there are any. That something was committed is a hint: whoever misses it reads the same when it reads.
 */
export class Neighbours {
  /** From when on this instance may open the database. */
  readonly arrived: Promise<void>;
  private readonly presence: Presence;
  private takeIn: (() => Promise<void>) | null = null;
  private watching = 0;
  private closed = false;

  private constructor(
    name: string,
    private readonly channel: BroadcastChannel,
    locks: Surroundings['locks'],
  ) {
    const tell = (message: PresenceMessage): void => {
      if (!this.closed) channel.postMessage(message);
    };
    const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
    this.presence = new Presence(name, { locks, tell, now: () => performance.now(), wait });
    channel.onmessage = ({ data }: MessageEvent<Message>) => {
      if (data !== null) this.presence.hear(data);
      else if (this.watching > 0) void this.takeIn?.();
    };
    this.arrived = this.presence.arrive();
    // Whoever waits for it is told.
    this.arrived.catch(() => undefined);
  }

  /** Null where pages have no channels or locks. */
  static meet(name: string): Neighbours | null {
    if (typeof BroadcastChannel === 'undefined' || typeof navigator === 'undefined') return null;
    const locks = (navigator as { locks?: LockManager }).locks;
    return locks === undefined ? null : new Neighbours(name, new BroadcastChannel(`cu:${name}`), locks);
  }

  /** Whether a read that begins now can do without looking for commits of others. */
  isAlone(): boolean {
    return this.presence.isAlone();
  }

  /** From here on, the database's batches are told of, and what others commit is taken into it. */
  attend(database: Database, poison: Poison): void {
    const batch = database.batch.bind(database);
    database.batch = async (...request) => {
      const results = await batch(...request);
      this.tell();
      return results;
    };
    const takeIn = (): Promise<void> => poison.wait(() => database.refresh());
    // Who asks the database next is told what is wrong with it.
    this.takeIn = () => takeIn().catch(() => undefined);
    this.presence.attend(takeIn);
  }

  /** There may be something new. */
  tell(): void {
    if (!this.closed) this.channel.postMessage(null);
  }

  /** Somebody watches until then. */
  watch(ended: Promise<void>): void {
    this.watching += 1;
    const end = (): void => void (this.watching -= 1);
    ended.then(end, end);
    // What was committed before anybody listened.
    void this.takeIn?.();
  }

  /** Says nothing more; the database is closed behind that, and then {@link leave} called. */
  close(): void {
    this.closed = true;
    this.channel.close();
  }

  /** Behind the last commit. */
  leave(): void {
    this.close();
    this.presence.leave();
  }
}
