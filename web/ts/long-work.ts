/** Work of the database that takes long: told of, given up, and with turns for the page in between. */

import { abortReason, throwIfAborted } from './abort.js';
import type { Reporting } from './batch.js';
import { nextTurn } from './turns.js';

export interface WorkOptions extends Reporting {
  /** Gives the work up: nothing of it stays, and the call rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Milliseconds after which the page has its turn. */
const PART_MS = 8;

export class Work {
  private turn = performance.now();
  /** What the caller's own code has thrown. */
  private thrown: { error: unknown } | null = null;

  constructor(
    private readonly onProgress: WorkOptions['onProgress'],
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Does the work. What the signal or `onProgress` have to say goes before what the work itself does. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    throwIfAborted(this.signal);
    try {
      return await work();
    } catch (error) {
      throw this.thrown === null ? error : this.thrown.error;
    }
  }

  /** Told by the work how far it is. It goes on when the promise resolves, if there is one. */
  readonly report = (done: number, total: number): Promise<unknown> | undefined => {
    const look = (): void => {
      if (this.signal?.aborted !== true) return;
      this.thrown ??= { error: abortReason(this.signal) };
      throw this.thrown.error;
    };
    try {
      this.onProgress?.({ done, total });
    } catch (error) {
      this.thrown = { error };
      throw error;
    }
    look();
    if (performance.now() - this.turn < PART_MS) return undefined;
    return nextTurn().then(() => {
      this.turn = performance.now();
      look();
    });
  };
}
