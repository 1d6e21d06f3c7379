/** Live queries: a query's rows, and what later commits change about them. */

import { throwIfAborted } from './abort.js';
import { decode, type LuaValue } from './codec.js';
import type { Database } from './engine.js';
import { engineError } from './errors.js';
import { encodeQuery, type Entry, type Query } from './query.js';
import type { Poison } from './poison.js';

/** What has changed about the rows of a query. */
export interface LiveChange {
  /** Rows that are new; in the first report, all there are. */
  added: Entry[];
  /** Rows whose documents are others now. */
  changed: Entry[];
  /** Keys of rows that are gone. */
  removed: LuaValue[];
  /** The keys of all rows in order, when the query has a sort, limit, offset, position or aggregates; otherwise null. */
  order: LuaValue[] | null;
}

export interface SubscribeOptions {
  /** Ends the subscription. */
  signal?: AbortSignal | undefined;
}

/**
 * Reports to `callback` until `signal` says so or the database is closed. Resolves when the first report was made; what fails
 * later, the callback itself included, rejects `ended`.
 */
export async function subscribe(
  database: Pick<Database, 'subscribe' | 'refresh'>,
  poison: Poison,
  table: string,
  query: Query,
  callback: (change: LiveChange) => void,
  { signal }: SubscribeOptions,
): Promise<Subscription> {
  throwIfAborted(signal);
  const bytes = encodeQuery(table, query, false);
  const live = poison.call(() => database.subscribe(bytes));
  const end = (): void => live.end();
  const next = async (): Promise<LiveChange | null> =>
    decode(await poison.wait(() => live.next())) as unknown as LiveChange | null;
  const report = (change: LiveChange | null): boolean => {
    if (change === null || signal?.aborted === true) return false;
    callback(change);
    return true;
  };
  signal?.addEventListener('abort', end, { once: true });
  const finish = (): void => {
    signal?.removeEventListener('abort', end);
    live.end();
  };
  try {
    await poison.wait(() => database.refresh());
    report(await next());
  } catch (error) {
    finish();
    throw engineError(error, 'QUERY_FAILED');
  }
  const ended = (async () => {
    try {
      while (report(await next()));
    } catch (error) {
      throw engineError(error, 'QUERY_FAILED');
    } finally {
      finish();
    }
  })();
  // Who does not look at it is not told by an unhandled rejection.
  ended.catch(() => undefined);
  return { end, ended };
}

/** A query that is being watched. */
export interface Subscription {
  /** Ends it: nothing is reported any more. */
  end(): void;
  /** Resolves when it was ended; rejects when it cannot go on, or the callback threw. */
  readonly ended: Promise<void>;
}
