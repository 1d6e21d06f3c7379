/** What one run may take. */

import { LimitError, type LimitCode } from './errors.js';

export interface RunLimits {
  /** Fuel that a run may take; over it, it fails with `LimitError` code `fuel`. Default: that of the instance, which has no limit by default. */
  fuel?: number | undefined;
  /**
   * Milliseconds that a run may last from the beginning of its turn, waiting for promises included; over them, it fails with `LimitError` code
   * `time`. It is looked at between slices, every few milliseconds. Default: as for `fuel`.
   */
  timeLimit?: number | undefined;
}

/** Timers count in 31 bits. */
const TIMER_MAX = 2 ** 31 - 1;

/** What is left to a run, whose time begins here. */
export class Allowance {
  private readonly fuel: number;
  private readonly timeLimit: number;
  private readonly started = performance.now();
  private fuelUsed = 0;

  /** @param defaults for what `limits` do not state */
  constructor(limits: RunLimits, defaults: RunLimits) {
    this.fuel = limits.fuel ?? defaults.fuel ?? Infinity;
    this.timeLimit = limits.timeLimit ?? defaults.timeLimit ?? Infinity;
  }

  /**
   * The fuel that is left after so much.
   *
   * @throws {LimitError} `fuel` or `time` when one of them is used up
   */
  fuelAfter(used: number): number {
    this.fuelUsed = used;
    const left = this.fuel - used;
    if (left <= 0) throw this.exceeded('fuel', `the run has used up its fuel of ${this.fuel}`);
    if (this.timeLeft <= 0) throw this.late();
    return left;
  }

  /** Waits for `answer`. When the time is up by then, `giveUp` has to make it reject with what it is given. */
  async wait(answer: Promise<void>, giveUp: (error: LimitError) => void): Promise<void> {
    const { timeLeft } = this;
    if (timeLeft > TIMER_MAX) return answer;
    const timer = setTimeout(() => giveUp(this.late()), timeLeft);
    try {
      await answer;
    } finally {
      clearTimeout(timer);
    }
  }

  private get timeLeft(): number {
    return this.timeLimit === Infinity ? Infinity : this.timeLimit - (performance.now() - this.started);
  }

  private late(): LimitError {
    return this.exceeded('time', `the run has taken longer than its timeLimit of ${this.timeLimit} ms`);
  }

  private exceeded(code: LimitCode, message: string): LimitError {
    return new LimitError(code, message, { details: { fuelUsed: this.fuelUsed } });
  }
}
