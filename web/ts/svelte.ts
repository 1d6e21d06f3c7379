/** The package `cu-wasm/svelte`: the rows of a query as a Svelte store. */

import type { LuaValue } from './codec.js';
import { LiveQuery, type LiveRows, type Watchable } from './live-rows.js';
import type { Query } from './query.js';

export type { LiveRows, Watchable } from './live-rows.js';

/** A store as Svelte's `Readable`, whose types are not needed for it. */
export interface LiveStore<Row> {
  subscribe(this: void, run: (value: LiveRows<Row>) => void): () => void;
}

/**
 * The rows that a query has, kept up by every commit of whatever instance or tab while the store has subscribers: `$store.rows` in a
 * component.
 */
export function liveQuery<Row = LuaValue>(cu: Watchable, table: string, query: Query = {}): LiveStore<Row> {
  const live = new LiveQuery(cu, table, query);
  return {
    subscribe(run) {
      const tell = (): void => run(live.state as LiveRows<Row>);
      const end = live.listen(tell);
      tell();
      return end;
    },
  };
}
