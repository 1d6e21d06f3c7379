/** What callers of the basic API may write, and what they may not. Checked by the compiler, never run. */

import cu, { compute, load, readResult, type BasicTableInfo, type ComputeResult, type ImportReport } from 'cu-wasm/basic';

export async function accepted(): Promise<string> {
  const done: true = await load({ autoRestore: false, wasmPath: './cu-home.wasm', name: 'notes', modules: { mine: 'return 1' } });
  const zero: 0 = cu.init();
  const length: number = await compute('return 1');
  const { output, result, value }: ComputeResult = readResult(cu.getBufferPtr(), length);
  cu.setInput({ name: 'Ann', list: [1, 2n, new Uint8Array(1)] });
  cu.setInputField('name', null);
  const { tables, nextTableId }: BasicTableInfo = cu.getTableInfo();
  const report: ImportReport | null = cu.getImportReport();
  const saved: boolean[] = [await cu.saveState(), await cu.loadState(), await cu.clearPersistedState()];
  return [done, zero, output, result, value, tables[0]?.keys.join(), nextTableId, report?.skipped[0]?.path, ...saved].join();
}

export async function refused(): Promise<void> {
  // @ts-expect-error a program is text
  await compute(5);
  // @ts-expect-error there is no such option
  await load({ autorestore: true });
  // @ts-expect-error it is on or off
  cu.setMemoryAliasEnabled('on');
}
