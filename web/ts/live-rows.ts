/** The rows of a live query as one value that is replaced with every change: what the React hook, the Vue composable and the Svelte store share. */

import { encode, type LuaValue } from './codec.js';
import type { Cu } from './cu.js';
import { engineError, type EnhancedLuaError } from './errors.js';
import type { LiveChange, Subscription } from './live.js';
import type { Entry, Query } from './query.js';

/** An instance, of `cu-wasm` or of `cu-wasm/worker`. */
export type Watchable = Pick<Cu, 'subscribe'>;

/** What a component sees of a live query. It is never changed, only replaced. */
export interface LiveRows<Row = LuaValue> {
  /** The documents, in the query's order; without one, by key. */
  readonly rows: readonly Row[];
  /** The same with their keys. */
  readonly entries: readonly (Entry & { value: Row })[];
  /** Whether the first report has not come yet. */
  readonly isLoading: boolean;
  /** Why there is nothing, or nothing more, to report. */
  readonly error: EnhancedLuaError | null;
}

export const LOADING: LiveRows<never> = { rows: [], entries: [], isLoading: true, error: null };

/** Watches a query while somebody listens. */
export class LiveQuery {
  /** What was reported last. */
  state: LiveRows = LOADING;
  private readonly listeners = new Set<() => void>();
  /** Ends the present watch. */
  private end: (() => void) | null = null;

  constructor(
    private readonly cu: Watchable | null | undefined,
    private readonly table: string,
    private readonly query: Query,
  ) {}

  /** Calls back when {@link state} is another one. What it returns ends that. */
  readonly listen = (listener: () => void): (() => void) => {
    const entry = (): void => listener();
    this.listeners.add(entry);
    if (this.listeners.size === 1) this.begin();
    return () => {
      this.listeners.delete(entry);
      if (this.listeners.size > 0 || this.end === null) return;
      this.end();
      this.end = null;
    };
  };

  private begin(): void {
    const { cu } = this;
    if (cu === null || cu === undefined) return;
    let isOver = false;
    let subscription: Subscription | null = null;
    const rows = new Rows();
    const tell = (state: LiveRows): void => {
      if (isOver) return;
      this.state = state;
      for (const listener of this.listeners) listener();
    };
    const fail = (error: unknown): void => tell({ ...this.state, isLoading: false, error: engineError(error, 'QUERY_FAILED') });
    this.end = () => {
      isOver = true;
      subscription?.end();
    };
    cu.subscribe(this.table, this.query, (change) => tell(rows.take(change))).then((begun) => {
      subscription = begun;
      if (isOver) begun.end();
      begun.ended.catch(fail);
    }, fail);
  }
}

/** A text that two queries share when they ask for the same. */
export function queryId(table: string, query: Query): string {
  try {
    return idOf([table, query]);
  } catch (error) {
    // Whoever watches it is told what is wrong with it.
    return `${table}: ${String(error)}`;
  }
}

/** Rows in order, by the reports of a subscription. */
class Rows {
  private entries: Entry[] = [];

  take({ added, changed, removed, order }: LiveChange): LiveRows {
    const byId = new Map(this.entries.map((entry) => [idOf(entry.key), entry]));
    for (const key of removed) byId.delete(idOf(key));
    for (const entry of changed) byId.set(idOf(entry.key), entry);
    for (const entry of added) byId.set(idOf(entry.key), entry);
    if (order !== null) this.entries = order.flatMap((key) => byId.get(idOf(key)) ?? []);
    else {
      this.entries = [...byId.values()];
      // Rows that were there stand in order, and so do those behind them: sorting takes little more than looking.
      if (added.length > 0) this.entries.sort((left, right) => compareKeys(left.key, right.key));
    }
    return { rows: this.entries.map(({ value }) => value), entries: this.entries, isLoading: false, error: null };
  }
}

function idOf(value: unknown): string {
  let id = '';
  for (const byte of encode(value)) id += String.fromCharCode(byte);
  return id;
}

/** The order of keys in a table: false, true, numbers, strings by their bytes. */
export function compareKeys(left: LuaValue, right: LuaValue): number {
  const [leftKind, rightKind] = [kindOf(left), kindOf(right)];
  if (leftKind !== rightKind) return leftKind - rightKind;
  if (leftKind === Kind.Number) return (left as number) < (right as number) ? -1 : Number((left as number) > (right as number));
  if (leftKind === Kind.String) return compareBytes(bytesOf(left), bytesOf(right));
  return 0;
}

const enum Kind {
  False,
  True,
  Number,
  String,
  Other,
}

function kindOf(key: LuaValue): Kind {
  if (typeof key === 'boolean') return key ? Kind.True : Kind.False;
  if (typeof key === 'number' || typeof key === 'bigint') return Kind.Number;
  return typeof key === 'string' || key instanceof Uint8Array ? Kind.String : Kind.Other;
}

const encoder = new TextEncoder();

function bytesOf(key: LuaValue): Uint8Array {
  return typeof key === 'string' ? encoder.encode(key) : (key as Uint8Array);
}

function compareBytes(left: Uint8Array, right: Uint8Array): number {
  const length = Math.min(left.length, right.length);
  for (let index = 0; index < length; index++) {
    const difference = left[index]! - right[index]!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
