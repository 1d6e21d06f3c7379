/** The class of `cu-wasm/worker` has all that the other one has, and its calls take what those take. */

import type { Cu as Here } from 'cu-wasm';
import { Cu } from 'cu-wasm/worker';

type Missing = Exclude<keyof Here, keyof Cu>;
export const missing: [Missing] extends [never] ? true : Missing = true;

export async function accepted(): Promise<void> {
  await using cu = await Cu.open({ name: 'other', worker: new URL('worker.js', 'https://example.org'), functions: { now: Date.now } });
  const { values } = await cu.run('return ...', { args: [1], signal: AbortSignal.timeout(1000) });
  const { used } = await cu.getMemoryStats();
  await cu.setValue('t', used, values);
  const subscription = await cu.subscribe('t', {}, ({ added }) => void added.length);
  subscription.end();
  // @ts-expect-error there is no such option
  await Cu.open({ heap: 1 });
}
