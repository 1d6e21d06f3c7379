/** What all entries of the package export beside the class {@link Cu}. */

export type { BatchRunOptions, EvalOptions, FunctionOptions, GlobalOptions, MemoryStats, PersistOptions, RunChunkOptions } from './cu.js';
export type { ProcessOptions, TableInfo } from './tables.js';
export type { IndexAdvice, QueryAdvice } from './advice.js';
export type { FunctionLimits } from './functions.js';
export type { Contents, CuOptions, StorageKind } from './options.js';
export type { Stats, StorageStats } from './space.js';
export type { Store } from './store.js';
export type { RunOptions, RunResult } from './vm.js';
export type { AuditedOperation, AuditHead, AuditOptions, AuditRecord } from './audit.js';
export type { Permissions, TableAccess } from './permissions.js';
export type { BatchOperation, BatchOptions, Key, Progress, Reporting } from './batch.js';
export type { AggregateFunction, Condition, Entry, Operator, Query, QueryPlan, SortField, Where } from './query.js';
export type { LiveChange, SubscribeOptions, Subscription } from './live.js';
export type { FieldRule, IndexKind, IndexOptions, Schema } from './definitions.js';
export { FunctionBlob, HomeRecord } from './codec.js';
export { LuaHandle } from './handles.js';
export type { HandleType } from './handles.js';
export type { HomeOptions } from './home.js';
export { expose, Exposed } from './expose.js';
export type { ExposeOptions } from './expose.js';
export type { LuaModules } from './lua-modules.js';
export { Values } from './host.js';
export type { HostFunction, HostFunctions } from './host.js';
export type { LuaKey, LuaValue } from './codec.js';
export { EnhancedLuaError, LimitError, LuaError, StorageError, UsageError } from './errors.js';
export type { CallCode, ErrorCode, ErrorOptions, LimitCode, LuaErrorPosition, StorageCode, UsageCode } from './errors.js';
export type { WasmSource } from './loader.js';
