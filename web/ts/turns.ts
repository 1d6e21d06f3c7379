/** Turns of the event loop. */

/**
 * Lets the event loop take its turn. Node has `setImmediate`; in browsers a message is the one task that is neither
 * throttled in background tabs nor delayed as nested timers are.
 */
export function nextTurn(): Promise<void> {
  if (typeof setImmediate === 'function') return new Promise((resolve) => setImmediate(resolve));
  if (typeof MessageChannel !== 'function') return new Promise((resolve) => setTimeout(resolve, 0));
  turns ??= openTurns();
  return turns();
}

let turns: (() => Promise<void>) | null = null;

function openTurns(): () => Promise<void> {
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  port1.onmessage = () => waiting.shift()?.();
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      port2.postMessage(null);
    });
}
