// Every error code that the older system's documentation names is thrown where it says so, with all the fields of the class.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cu, EnhancedLuaError, here } from './entry.mjs';

const open = (options) => Cu.open({ storage: 'memory', ...options });
const set = { type: 'set', table: 't', key: 1, value: 1 };

/** Freshly loaded, so that nothing is loaded yet. */
const loadedBasic = async () => {
  const basic = await import('../dist/basic.js?error-codes');
  await basic.load({ storage: 'memory' });
  return basic;
};

/** How each is brought about: with an open instance, or in some other way. */
const CAUSES = {
  INIT_FAILED: () => open({ functions: { get broken() { throw new Error('no'); } } }),
  WASM_LOAD_FAILED: () => open({ wasmPath: '/nowhere/cu.wasm' }),
  NOT_INITIALIZED: () => new Cu().eval('return 1'),
  LUA_EXECUTION_ERROR: (cu) => cu.eval('error("no")'),
  EVAL_FAILED: (cu) => cu.eval('x = = 1'),
  FUNCTION_COMPILATION_FAILED: (cu) => cu.persistFunction('f', 'f', 'error("no")'),
  PERSIST_FUNCTION_FAILED: (cu) => cu.persistFunction('f', 'f', 'local co = coroutine.running(); return function() return co end'),
  INVALID_FUNCTION_CODE: (cu) => cu.persistFunction('f', 'f', '42'),
  FUNCTION_TOO_LARGE: (cu) => cu.persistFunction('f', 'f', `function() return "${'abcdefgh'.repeat(60)}" end`),
  INVALID_FUNCTION_SYNTAX: (cu) => cu.persistFunction('f', 'f', 'function('),
  INVALID_INPUT: (cu) => cu.set('x', Symbol('s')),
  BATCH_SIZE_EXCEEDED: (cu) => cu.batchTableOperations(Array(1001).fill(set)),
  BATCH_OPERATION_FAILED: (cu) => {
    // Nothing that the engine says about an operation comes without a code of its own, so something else has to go wrong.
    cu.parts.database.batch = () => Promise.reject(new Error('unexpected'));
    return cu.batchTableOperations([set]);
  },
  INVALID_OPERATION_TYPE: (cu) => cu.batchTableOperations([{ table: 't', key: 1 }]),
  INVALID_TABLE_NAME: (cu) => cu.setValue('', 1, 1),
  INVALID_KEY: (cu) => cu.setValue('t', null, 1),
  UNKNOWN_OPERATION: (cu) => cu.batchTableOperations([{ type: 'put', table: 't', key: 1 }]),
  CREATE_INDEX_FAILED: (cu) => cu.createIndex('t', 'n', 'tree'),
  QUERY_FAILED: (cu) => {
    cu.parts.database.documents = () => Promise.reject(new Error('unexpected'));
    return cu.queryTable('t');
  },
  INVALID_QUERY_FIELD: (cu) => cu.queryTable('t', { operator: '=', value: 1 }),
  INVALID_QUERY_OPERATOR: (cu) => cu.queryTable('t', { field: 'n', value: 1 }),
  UNSUPPORTED_OPERATOR: (cu) => cu.queryTable('t', { field: 'n', operator: '~', value: 1 }),
  INVALID_QUERY_LIMIT: (cu) => cu.queryTable('t', { limit: -1 }),
  BUFFER_OVERFLOW: async () => (await loadedBasic()).writeBuffer(0, 'x'.repeat(65_537)),
  SAVE_STATE_FAILED: (cu) => cu.eval('_home.co = coroutine.running()'),
  COMPRESSION_FAILED: (cu) => cu.compressData(new Uint8Array(64 * 1024 * 1024 + 1)),
  DECOMPRESSION_FAILED: (cu) => cu.decompressData(new Uint8Array([255])),
};

for (const [code, cause] of Object.entries(CAUSES)) {
  const isBehind = ['BATCH_OPERATION_FAILED', 'QUERY_FAILED'].includes(code);
  test(`error code ${code}`, isBehind ? here : {}, async () => {
    const cu = await open({ home: code === 'SAVE_STATE_FAILED', maxFunctionBytes: 400 });
    let error = null;
    await Promise.resolve().then(() => cause(cu)).catch((thrown) => (error = thrown));
    assert.ok(error instanceof EnhancedLuaError && error instanceof Error, `${error}`);
    assert.equal(error.code, code, error.message);
    assert.ok(error.message.length > 0 && !Number.isNaN(Date.parse(error.timestamp)));
    const { name, message, timestamp, details, suggestion } = error;
    const json = JSON.parse(JSON.stringify(error));
    assert.deepEqual(json, JSON.parse(JSON.stringify({ name, code, message, timestamp, details, suggestion, originalError: json.originalError })));
    assert.ok('originalError' in json);
    await cu.close();
  });
}
