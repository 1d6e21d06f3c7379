/** The methods of the class that a page passes on to its worker. */

import type { Cu as Bare } from './cu.js';

/** The methods that are passed on as they are. */
export const METHODS = [
  'run',
  'snapshot',
  'resume',
  'eval',
  'computeBatch',
  'call',
  'commitHome',
  'rollBackHome',
  'saveState',
  'loadState',
  'getHomeTableId',
  'getMemoryTableId',
  'setMemoryAliasEnabled',
  'compressData',
  'decompressData',
  'get',
  'readFile',
  'writeFile',
  'listFiles',
  'persistFunction',
  'restoreFunction',
  'callFunction',
  'validateFunction',
  'batchTableOperations',
  'processBatch',
  'beginTransaction',
  'commitTransaction',
  'rollbackTransaction',
  'createExternalTable',
  'setValue',
  'getValue',
  'deleteValue',
  'queryTable',
  'queryEntries',
  'queryPage',
  'getQueryPlan',
  'createIndex',
  'dropIndex',
  'optimizeQuery',
  'rangeQuery',
  'setSchema',
  'beginMigration',
  'listTables',
  'enableAuditLog',
  'audit',
  'verifyAuditLog',
  'getMemoryStats',
  'stats',
] as const;

type Method = (typeof METHODS)[number];
type Asynchronous<Call> = Call extends (...args: infer Args) => infer Result
  ? Result extends Promise<unknown>
    ? Call
    : (...args: Args) => Promise<Result>
  : never;
/** As the page has them: all give promises. */
export type Remote = { [Name in Method]: Asynchronous<Bare[Name]> };

/** Those whose arguments are values, not options. */
export const TAKES_VALUES: ReadonlySet<string> = new Set(['call', 'set', 'callFunction', 'setValue', 'createExternalTable']);
/** Those that run Lua code. */
export const RUNS: ReadonlySet<string> = new Set(['run', 'eval', 'computeBatch', 'resume', 'call', 'useHandle', 'callFunction', 'persistFunction']);
