// Everything that the older system's interface consists of, by name, with the test that shows it: that test is there, and it speaks of it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as basic from '../dist/basic.js';
import { EnhancedCuWASM } from '../dist/index.js';

const BASIC = 'basic.test.mjs';
const PAGE = 'browser/basic.test.mjs';
const BUFFER = 'basic-buffer.test.mjs';
const IMPORT = 'basic-import.test.mjs';
const API = 'api.test.mjs';
const CLASS = 'enhanced.test.mjs';
const HOME = 'home.test.mjs';

/** What there is of the basic API: the name, the file of the test, the beginning of its title. */
const BASIC_FUNCTIONS = [
  ['load', BASIC, 'load resolves to true'],
  ['loadLuaWasm', BASIC, 'load resolves to true'],
  ['init', BASIC, 'init gives 0'],
  ['compute', BASIC, 'compute resolves to the length'],
  ['readResult', BASIC, 'compute resolves to the length'],
  ['readBuffer', BASIC, 'getBufferPtr, getBufferSize'],
  ['writeBuffer', BASIC, 'getBufferPtr, getBufferSize'],
  ['getBufferPtr', BASIC, 'getBufferPtr, getBufferSize'],
  ['getBufferSize', BASIC, 'getBufferPtr, getBufferSize'],
  ['getMemoryStats', BASIC, 'getMemoryStats is true'],
  ['runGc', BASIC, 'runGc collects'],
  ['saveState', BASIC, 'saveState, loadState and'],
  ['loadState', BASIC, 'saveState, loadState and'],
  ['clearPersistedState', BASIC, 'clearPersistedState leaves memory alone'],
  ['getTableInfo', BASIC, 'getTableInfo, getMemoryTableId'],
  ['getMemoryTableId', BASIC, 'getTableInfo, getMemoryTableId'],
  ['getHomeTableId', BASIC, 'getTableInfo, getMemoryTableId'],
  ['getIoTableId', BASIC, 'getTableInfo, getMemoryTableId'],
  ['setInput', BASIC, 'setInput and getOutput'],
  ['getOutput', BASIC, 'setInput and getOutput'],
  ['setInputField', BASIC, 'setInputField and getOutputField'],
  ['getOutputField', BASIC, 'setInputField and getOutputField'],
  ['setMetadata', BASIC, 'setMetadata and clearIo'],
  ['clearIo', BASIC, 'setMetadata and clearIo'],
  ['setMemoryAliasEnabled', BASIC, 'setMemoryAliasEnabled decides'],
];

const BASIC_FACTS = [
  ['autoRestore', PAGE, 'autoRestore: false begins empty'],
  ['wasmPath', BASIC, 'load takes wasmPath'],
  ['WASM not loaded', BASIC, 'before load'],
  ['Code must be a non-empty string', BASIC, 'compute resolves to the length'],
  ['Buffer overflow', BASIC, 'getBufferPtr, getBufferSize'],
  ['value', BASIC, 'compute resolves to the length'],
  ['65_536', BASIC, 'getBufferPtr, getBufferSize'],
  ['64_512', BASIC, 'output is cut at 64,512 bytes'],
  ['_home', BASIC, 'saveState, loadState and'],
  ['Memory', BASIC, 'setMemoryAliasEnabled decides'],
  ['_io.input', BASIC, 'setInput and getOutput'],
  ['_io.output', BASIC, 'setInput and getOutput'],
  ['_io.meta', BASIC, 'setMetadata and clearIo'],
  ['ext.table()', BASIC, 'ext.table gives a table'],
  ["require 'bigint'", BASIC, 'bigint and the standard libraries'],
  ['operator', 'bigint.test.mjs', 'arithmetic and comparison agree'],
  ["'//'", 'bigint.test.mjs', 'arithmetic and comparison agree', 'whole file'],
  ['unm', 'bigint.test.mjs', 'arithmetic and comparison agree'],
  ['tostring(case.base)', 'bigint.test.mjs', 'arithmetic and comparison agree'],
  ['^', 'bigint.test.mjs', 'powers agree'],
  ['big + 1', 'bigint.test.mjs', 'plain numbers mix in'],
];

/** Encodings in the buffer, and in what the older system saved. */
const ENCODINGS = [
  ["'nil', null, '00'", BUFFER, 'golden bytes', 'whole file'],
  ["'true', true, '01 01'", BUFFER, 'golden bytes', 'whole file'],
  ["'02 feffffffffffffff'", BUFFER, 'golden bytes', 'whole file'],
  ["'03 000000000000f83f'", BUFFER, 'golden bytes', 'whole file'],
  ["'04 00000000'", BUFFER, 'golden bytes', 'whole file'],
  ['7', BUFFER, 'a table comes with its contents'],
  ['255', BUFFER, 'tag 255'],
  ['BigInt', BUFFER, 'an integer that JavaScript holds'],
  ['LuaPersistentDB', PAGE, 'without data of the older system', 'whole file'],
  ['externalTables', PAGE, 'a page of the older system', 'whole file'],
  ['_type', 'old-records.mjs', 'Records as the older system wrote them'],
  ['homeTableId', IMPORT, 'the home is the one that the metadata name'],
  ['bytecode of PUC Lua', IMPORT, 'values of every kind'],
  ['function of the older system', IMPORT, 'values of every kind'],
  ['the table 99 is missing', IMPORT, 'values of every kind'],
  ['readOldDatabase', PAGE, 'old data is taken over once'],
];

/** What was broken in the older system, and the test that shows that it works. */
const BROKEN = [
  ['a Lua error killed the instance', BASIC, 'a Lua error resolves to a negative length'],
  ['memory figures were invented', BASIC, 'getMemoryStats is true'],
  ['runGc did nothing', BASIC, 'runGc collects'],
  ['floats were floored, NaN threw, {} became []', BASIC, 'setInput and getOutput keep every value'],
  ['setMemoryAliasEnabled had no effect', BASIC, 'setMemoryAliasEnabled decides'],
  ['the empty string came back as null', BASIC, 'results of every kind'],
  ['tables came as text', BUFFER, 'a table comes with its contents under tag 7'],
  ['keys of external tables became strings, no pairs, no removal, copies', BASIC, 'ext.table gives a table that is like any other'],
  ['__ext_table_id made a table another one', BASIC, 'no field makes a table another one'],
  ['getHomeTableId, setInputField, getOutputField were only documented', BASIC, 'all 21 functions, and those that were only documented'],
  ['the example of the class never ran', 'browser/cu.test.mjs', 'the example runs verbatim'],
  ['functions were saved without upvalues', API, 'a saved function keeps its upvalues'],
  ['functions were limited to 16 KB', CLASS, 'functions of 100 KiB of bytecode'],
];

const METHODS = [
  ['init', API, 'both names are one class'],
  ['eval', API, 'run gives all values'],
  ['persistFunction', API, 'a saved function keeps its upvalues'],
  ['restoreFunction', CLASS, 'restoreFunction loads a function'],
  ['callFunction', API, 'a saved function keeps its upvalues'],
  ['validateFunction', API, 'functions that cannot be saved'],
  ['batchTableOperations', CLASS, 'batches of every type'],
  ['beginTransaction', CLASS, 'beginTransaction, commitTransaction'],
  ['commitTransaction', CLASS, 'beginTransaction, commitTransaction'],
  ['rollbackTransaction', CLASS, 'rollbackTransaction drops everything'],
  ['computeBatch', CLASS, 'computeBatch runs programs'],
  ['processBatch', CLASS, 'processBatch takes any number'],
  ['createIndex', API, 'queries use indexes'],
  ['dropIndex', API, 'queries filter, sort'],
  ['rangeQuery', API, 'queries use indexes'],
  ['queryTable', API, 'queries filter, sort'],
  ['getQueryPlan', API, 'queries use indexes'],
  ['optimizeQuery', CLASS, 'optimizeQuery names an index'],
  ['setValue', CLASS, 'beginTransaction, commitTransaction'],
  ['getValue', CLASS, 'beginTransaction, commitTransaction'],
  ['deleteValue', CLASS, 'rollbackTransaction drops everything'],
  ['createExternalTable', CLASS, 'createExternalTable'],
  ['setSchema', API, 'a schema is checked'],
  ['compressData', CLASS, 'compressData is deflate'],
  ['saveState', CLASS, 'saveState and loadState: _home'],
  ['loadState', CLASS, 'saveState and loadState: _home'],
  ['getMemoryStats', API, 'memory after start'],
  ['enableAuditLog', 'audit.test.mjs', 'operations leave records'],
  ['getMemoryTableId', CLASS, 'getMemoryTableId, getHomeTableId'],
  ['getHomeTableId', CLASS, 'getMemoryTableId, getHomeTableId'],
  ['setMemoryAliasEnabled', CLASS, 'getMemoryTableId, getHomeTableId'],
];

const OPTIONS = [
  ['auditLog', 'audit.test.mjs', 'operations leave records'],
  ['maxBatchSize', CLASS, 'processBatch takes any number'],
  ['maxBatchBytes', CLASS, 'maxBatchBytes limits a batch'],
  ['compressionThreshold', CLASS, 'the threshold of compression'],
  ['cacheTimeout', CLASS, 'functions that were not called for cacheTimeout'],
  ['queryTimeout', CLASS, 'a query that waits longer'],
  ['autoRestore', HOME, 'without autoRestore it begins empty'],
  ['wasmPath', API, 'the wasm may be given'],
  ['compress', CLASS, 'persistFunction compresses'],
  ['atomic', CLASS, 'a batch that fails in a transaction'],
  ['onProgress', CLASS, 'batchTableOperations: onProgress'],
  ['signal', CLASS, 'batchTableOperations: onProgress'],
  ['sort', API, 'queries filter, sort'],
  ['limit', API, 'queries filter, sort'],
  ['offset', API, 'queries filter, sort'],
  ['btree', CLASS, 'optimizeQuery names an index'],
  ['hash', CLASS, 'optimizeQuery names an index'],
  ...['type', 'required', 'min', 'max', 'pattern'].map((rule) => [rule, API, 'a schema is checked']),
  ...['set', 'get', 'delete', 'query', 'update', 'increment'].map((type) => [type, CLASS, 'batches of every type']),
];

const OPERATORS = ['=', '!=', '<', '<=', '>', '>=', 'between', 'startsWith', 'endsWith', 'contains', 'in', 'not in'];

const CODES = `INIT_FAILED WASM_LOAD_FAILED NOT_INITIALIZED LUA_EXECUTION_ERROR EVAL_FAILED FUNCTION_COMPILATION_FAILED PERSIST_FUNCTION_FAILED
  INVALID_FUNCTION_CODE FUNCTION_TOO_LARGE INVALID_FUNCTION_SYNTAX INVALID_INPUT BATCH_SIZE_EXCEEDED BATCH_OPERATION_FAILED INVALID_OPERATION_TYPE
  INVALID_TABLE_NAME INVALID_KEY UNKNOWN_OPERATION CREATE_INDEX_FAILED QUERY_FAILED INVALID_QUERY_FIELD INVALID_QUERY_OPERATOR
  UNSUPPORTED_OPERATOR INVALID_QUERY_LIMIT BUFFER_OVERFLOW SAVE_STATE_FAILED COMPRESSION_FAILED DECOMPRESSION_FAILED`.split(/\s+/);

const sources = new Map();
function source(file) {
  if (!sources.has(file)) sources.set(file, readFileSync(new URL(file, import.meta.url), 'utf8'));
  return sources.get(file);
}

/** The text of a test, from its title to the next test. */
function testText(file, title) {
  const text = source(file);
  const starts = ['', "test('", "opened('", "inPage('", 'test(`'].map((call) => text.indexOf(call + title)).filter((at) => at >= 0);
  assert.ok(starts.length > 0, `${file} has no test '${title}'`);
  const rest = text.slice(starts.at(-1));
  const next = /\n(test|opened|inPage|for) ?\(/.exec(rest.slice(1));
  return next === null ? rest : rest.slice(0, next.index + 1);
}

function isShown([name, file, title, where]) {
  const text = testText(file, title);
  assert.ok((where === undefined ? text : source(file)).includes(name), `${file}: the test '${title}' does not speak of ${name}`);
}

test('every function of the basic API has a test', () => {
  for (const entry of BASIC_FUNCTIONS) {
    assert.equal(typeof basic[entry[0]], 'function', entry[0]);
    isShown(entry);
  }
});

test('every other fact of the basic API has a test', () => BASIC_FACTS.forEach(isShown));

test('every encoding has a test', () => ENCODINGS.forEach(isShown));

test('what was broken there has a test that shows that it works', () => {
  for (const [, file, title] of BROKEN) assert.ok(testText(file, title).length > 0);
});

test('every method of the class has a test', () => {
  for (const entry of METHODS) {
    const [name] = entry;
    assert.equal(typeof (EnhancedCuWASM.prototype[name] ?? EnhancedCuWASM[name]), 'function', name);
    isShown(entry);
  }
});

test('every option has a test', () => OPTIONS.forEach(isShown));

test('every operator has a test', () => {
  const listed = testText('operators.test.mjs', 'Every operator');
  for (const operator of OPERATORS) assert.match(listed, new RegExp(`^  '?${operator}'?: \\[`, 'm'), operator);
});

test('every error code has a test', () => {
  const listed = testText('error-codes.test.mjs', 'Every error code');
  for (const code of CODES) assert.match(listed, new RegExp(`^  ${code}: `, 'm'), code);
});
