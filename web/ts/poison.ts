/**
 * What becomes of an instance whose wasm has trapped.
 *
 * Its memory is then in no known state, so nothing is called in it any more. Whoever calls into wasm (an event handler as well as this package) has what
 * that throws looked at.
 */

import { UsageError } from './errors.js';

/** Has whatever is pending reject once wasm has trapped, also what wasm itself would leave unsettled. */
export class Poison {
  private error: UsageError | null = null;
  private readonly pending = new Set<(error: UsageError) => void>();
  /**
   * What a call into wasm has just thrown, for {@link look}. Where the stack is exhausted there may be no room even for that; then it stays here
   * and is looked at before the next call.
   */
  thrown: unknown = null;

  /** Looks whether what a call has thrown was a trap. */
  look(): void {
    const { thrown } = this;
    if (thrown instanceof Error && isTrap(thrown)) this.trap(thrown);
    this.thrown = null;
  }

  trap(trap: Error): void {
    if (this.error !== null) return;
    const message = `wasm trapped (${trap.message}); this instance cannot go on`;
    this.error = new UsageError('poisoned', message, { originalError: trap });
    for (const reject of this.pending) reject(this.error);
    this.pending.clear();
  }

  /** @throws UsageError `poisoned` after a trap */
  check(): void {
    if (this.thrown !== null) this.look();
    if (this.error !== null) throw this.error;
  }

  /** Calls into wasm. A trap on the way is thrown as `poisoned`, not as the engine's own error. */
  call<T>(call: () => T): T {
    this.check();
    try {
      return call();
    } catch (error) {
      this.check();
      throw error;
    }
  }

  async wait<T>(start: () => T | Promise<T>): Promise<T> {
    const promise = this.call(start);
    if (!(promise instanceof Promise)) return promise;
    let rejectPending: (error: UsageError) => void = () => undefined;
    const poisoned = new Promise<never>((_, reject) => {
      rejectPending = reject;
      this.pending.add(reject);
    });
    try {
      return await Promise.race([promise, poisoned]);
    } finally {
      this.pending.delete(rejectPending);
    }
  }
}

/** Also an exhausted native stack, which engines report with errors of their own: frames were lost either way. */
function isTrap(error: Error): boolean {
  return error instanceof WebAssembly.RuntimeError || error instanceof RangeError || error.name === 'InternalError';
}
