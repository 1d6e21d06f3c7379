/** What callers may write, and what they may not. Checked by the compiler, never run. */

import { Cu, EnhancedCuWASM, LuaError, type EnhancedLuaError, type HandleType, type LuaHandle, type LuaValue } from 'cu-wasm';

interface User {
  name: string;
  age: number;
}

export async function accepted(user: User): Promise<void> {
  const lua: Cu = await EnhancedCuWASM.init();
  await lua.persistFunction('Memory', 'calculate', 'function(x, y) return x * y + 100 end');
  await lua.batchTableOperations([
    { type: 'set', table: 'users', key: 'user1', value: user },
    { type: 'increment', table: 'users', key: 1, by: 2n },
  ]);
  await lua.createIndex('users', 'age', 'btree');
  const users: LuaValue[] = await lua.queryTable('users', { field: 'age', operator: '>=', value: 25, limit: 10 });
  const { values, output, fuelUsed } = await lua.run('return ...', { args: users, onOutput: (text) => void text.length });
  const texts: [LuaValue[], string, number] = [values, output, fuelUsed];
  await using other = await Cu.open({ name: 'other', heapLimit: 2 ** 20, now: new Date(0) });
  await other.set('texts', texts);
  await using library = await Cu.open({ files: { 'library.lua': 'return {}', 'data/bytes': new Uint8Array(3) }, filesLimit: 2 ** 20 });
  const [paths, bytes]: [string[], Uint8Array | null] = [await library.listFiles(), await library.readFile('data/bytes')];
  await library.writeFile('copy', bytes ?? paths.join());
  await using resumed = await Cu.restore(await library.snapshot(), { fuel: 1000 });
  if (resumed.running) await resumed.resume({ onOutput: (text) => void text.length });
}

export async function acceptedOfHandles(lua: Cu): Promise<void> {
  const table: LuaHandle = await lua.handle('return ...', { args: [{}], fuel: 1000 });
  const kind: HandleType = table.type;
  await table.set(kind, await table.at('f'));
  const [value, copy]: LuaValue[] = [await table.call(table, 1), await table.toJS()];
  await lua.set('t', table);
  for await (const item of lua.iterate(table, { args: [value, copy], signal: AbortSignal.timeout(1) })) await lua.set('item', item);
  const steps: AsyncGenerator<LuaValue, LuaValue, unknown> = lua.iterate('return 1');
  await steps.next(table);
  table.release();
  // @ts-expect-error handles are made by an instance
  lua.iterate(5);
}

export async function acceptedOfTheOlderSystem(lua: EnhancedCuWASM): Promise<void> {
  const [people]: LuaValue[] = await lua.batchTableOperations([{ type: 'query', table: 'users', field: 'age', operator: '>', value: 1 }]);
  await lua.processBatch([{ type: 'get', table: 'users', key: 1 }], { batchSize: 10, onProgress: ({ done, total }) => void (done / total) });
  const sum: number = await lua.transaction(async () => 1);
  await lua.createIndex('users', 'age', { unique: true, signal: new AbortController().signal, onProgress: ({ done, total }) => void (done / total) });
  const before: number = await lua.migrate(2, { 1: (cu) => cu.setValue('users', 1, 1), 2: 'return 1' }, { onProgress: () => undefined });
  const { storage: { usage }, tables } = await lua.stats();
  const figures: [number, number, number | null] = [before, tables.length, usage];
  void figures;
  const { plan, indexes } = await lua.optimizeQuery('users', { sort: 'age' });
  for (const { field, kind } of indexes) await lua.createIndex('users', field, kind);
  await lua.persistFunction('f', 'f', 'function() end', { compress: true });
  const bytes: Uint8Array = await lua.compressData(String([people, sum, plan]));
  await lua.decompressData(bytes, 100);
}

export async function refused(lua: Cu): Promise<void> {
  // @ts-expect-error there is no such type of operation
  await lua.batchTableOperations([{ type: 'put', table: 'users', key: 1, value: 1 }]);
  // @ts-expect-error there is no such operator
  await lua.queryTable('users', { field: 'age', operator: '~', value: 1 });
  // @ts-expect-error nor such an option
  await Cu.open({ heap: 1 });
  // @ts-expect-error nor such a file
  await Cu.open({ files: { a: 1 } });
}

export function errors(error: EnhancedLuaError): number | null {
  return error instanceof LuaError ? error.line : null;
}
