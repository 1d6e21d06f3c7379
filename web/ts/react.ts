/** The package `cu-wasm/react`: the rows of a query in a React component (18 or newer). */

import { useMemo, useSyncExternalStore } from 'react';
import type { LuaValue } from './codec.js';
import { LiveQuery, LOADING, queryId, type LiveRows, type Watchable } from './live-rows.js';
import type { Query } from './query.js';

export type { LiveRows, Watchable } from './live-rows.js';

/**
 * The rows that a query has, kept up by every commit of whatever instance or tab while the component is there. The query may be a new
 * object in each render: it is watched anew when it asks for something else. On a server it is loading.
 *
 * @param cu null as long as there is none: it is loading then
 */
export function useLiveQuery<Row = LuaValue>(cu: Watchable | null | undefined, table: string, query: Query = {}): LiveRows<Row> {
  const id = queryId(table, query);
  // The id stands for table and query.
  const live = useMemo(() => new LiveQuery(cu, table, query), [cu, id]);
  return useSyncExternalStore<LiveRows>(live.listen, () => live.state, () => LOADING) as LiveRows<Row>;
}
