/** Aborting. The oldest browsers' signals have no reasons; there the reason is the error that newer ones make for it. */

const ABORTED = 'the operation was aborted';

/** @throws the signal's reason once it is aborted */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortReason(signal);
}

/** What an aborted call rejects with. */
export function abortReason(signal: AbortSignal | undefined): unknown {
  return (signal as { reason?: unknown } | undefined)?.reason ?? new DOMException(ABORTED, 'AbortError');
}
