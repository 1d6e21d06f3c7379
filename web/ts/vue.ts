/** The package `cu-wasm/vue`: the rows of a query in a Vue component (3.3 or newer). */

import { computed, shallowRef, toValue, watch, type ComputedRef, type MaybeRefOrGetter } from 'vue';
import type { LuaValue } from './codec.js';
import { LiveQuery, LOADING, queryId, type LiveRows, type Watchable } from './live-rows.js';
import type { Query } from './query.js';

export type { LiveRows, Watchable } from './live-rows.js';

/** Each part of {@link LiveRows} as a ref. */
export type LiveRefs<Row> = { readonly [Part in keyof LiveRows<Row>]: ComputedRef<LiveRows<Row>[Part]> };

/**
 * The rows that a query has, kept up by every commit of whatever instance or tab until the component is gone, or the effect scope. It is
 * watched anew when one of the arguments, a ref or getter, gives something else. Call it in `setup`.
 *
 * @param cu null as long as there is none: it is loading then. Keep an instance in a `shallowRef`; a `ref` would wrap it
 */
export function useLiveQuery<Row = LuaValue>(
  cu: MaybeRefOrGetter<Watchable | null | undefined>,
  table: MaybeRefOrGetter<string>,
  query: MaybeRefOrGetter<Query> = {},
): LiveRefs<Row> {
  const state = shallowRef<LiveRows>(LOADING);
  // Reads all of the query, so that a change within it counts, and another object that asks for the same does not.
  const id = (): string => queryId(toValue(table), toValue(query));
  const begin = (cu: Watchable | null | undefined, onCleanup: (end: () => void) => void): void => {
    const live = new LiveQuery(cu, toValue(table), toValue(query));
    state.value = LOADING;
    onCleanup(live.listen(() => (state.value = live.state)));
  };
  watch([() => toValue(cu), id] as const, ([cu], _, onCleanup) => begin(cu, onCleanup), { immediate: true });
  return {
    rows: computed(() => state.value.rows as readonly Row[]),
    entries: computed(() => state.value.entries as LiveRows<Row>['entries']),
    isLoading: computed(() => state.value.isLoading),
    error: computed(() => state.value.error),
  };
}
