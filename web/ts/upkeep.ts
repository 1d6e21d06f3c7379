/**
 * What the database does when nobody writes: a checkpoint, so that opening it has little to read.
 *
 * A commit is durable by its record in the log alone. The pages that it changed are written by a checkpoint, which takes several times as
 * long and would make one commit of many late. So a commit writes one only when much has gathered, and mostly it is written here.
 */

import type { Database } from './engine.js';
import type { Poison } from './poison.js';

/** Nobody has written for so long. */
const QUIET_MS = 250;
/** A log up to this size is read in a few milliseconds. */
const LOG_BYTES_MAX = 256 * 1024;

export class Upkeep {
  private writes = 0;
  private isWaiting = false;
  private hasEnded = false;

  constructor(
    private readonly database: Pick<Database, 'logBytes' | 'checkpoint'>,
    private readonly poison: Pick<Poison, 'wait' | 'call'>,
    private readonly quiet: () => Promise<void> = pause,
  ) {}

  /** Something is being written. */
  written(): void {
    this.writes++;
    if (!this.isWaiting && !this.hasEnded) void this.wait();
  }

  /** The database is closed, which writes a checkpoint of its own. */
  end(): void {
    this.hasEnded = true;
  }

  private async wait(): Promise<void> {
    this.isWaiting = true;
    let seen = -1;
    while (seen !== this.writes) {
      seen = this.writes;
      await this.quiet();
      if (this.hasEnded) return;
      if (seen === this.writes) await this.checkpoint();
    }
    this.isWaiting = false;
  }

  private async checkpoint(): Promise<void> {
    try {
      const isShort = this.poison.call(() => this.database.logBytes()) <= LOG_BYTES_MAX;
      if (!isShort) await this.poison.wait(() => this.database.checkpoint());
    } catch {
      // Everything is in the log; whoever writes or closes tries again.
    }
  }
}

/** Does not keep a process alive. */
function pause(): Promise<void> {
  return new Promise((resolve) => {
    const timer: unknown = setTimeout(resolve, QUIET_MS);
    (timer as { unref?: () => void }).unref?.();
  });
}
