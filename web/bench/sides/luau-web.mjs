// luau-web: the interpreter of Luau compiled by emscripten. Calls into it return promises where the engine can suspend wasm.
import { LuauState } from 'luau-web';
import { ADD, CALLS_OF_HOST, check, COLLECTING_PRINT, NUMBERS, NUMBERS_SUM, SUM, sum, TABLE } from '../programs.mjs';

export async function open() {
  const state = await LuauState.createAsync({ host: (a) => a + 1 });
  const run = async (source) => (await state.loadstring(source, 'script', true)())?.[0];
  await run(COLLECTING_PRINT);
  const [add, summed, callHost, table] = [ADD, SUM, CALLS_OF_HOST, `function() ${TABLE} end`].map((text) => `return ${text}`);
  return {
    run,
    takeOutput: () => run('return take_output()'),
    first: () => run('return 6 * 7'),
    async callLua(count) {
      const call = await run(add);
      let n = 0;
      for (let index = 0; index < count; index++) [n] = await call(n, 1);
      check(n, count);
    },
    async callHost(count) {
      const call = await run(callHost);
      check((await call(count))[0], count);
    },
    async tableIn(count) {
      const call = await run(summed);
      for (let index = 0; index < count; index++) check((await call(NUMBERS))[0], NUMBERS_SUM);
    },
    async tableOut(count) {
      const call = await run(table);
      for (let index = 0; index < count; index++) check(sum((await call())[0]), NUMBERS_SUM);
    },
  };
}
