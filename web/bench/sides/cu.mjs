// This package. Fuel is counted in every run: there is no build without.
import { Cu } from '../../dist/index.js';
import { ADD, CALLS_OF_HOST, check, NUMBERS, NUMBERS_SUM, sum, SUM, TABLE } from '../programs.mjs';

const HEAP_LIMIT = 1024 * 1024 * 1024;

export async function open() {
  const cu = await Cu.open({ storage: 'none', heapLimit: HEAP_LIMIT });
  await cu.set('host', (a) => a + 1);
  await cu.run(`add = ${ADD} call_host = ${CALLS_OF_HOST} sum = ${SUM} t = (function() ${TABLE} end)()`);
  let output = '';
  return {
    async run(source) {
      ({ output } = await cu.run(source));
    },
    takeOutput: () => output,
    first: () => cu.eval('return 6 * 7'),
    callLua(count) {
      let n = 0;
      for (let index = 0; index < count; index++) n = cu.callSync('add', n, 1);
      check(n, count);
    },
    async callLuaAwaited(count) {
      let n = 0;
      for (let index = 0; index < count; index++) n = await cu.call('add', n, 1);
      check(n, count);
    },
    callHost: (count) => check(cu.callSync('call_host', count), count),
    tableIn(count) {
      for (let index = 0; index < count; index++) check(cu.callSync('sum', NUMBERS), NUMBERS_SUM);
    },
    async tableOut(count) {
      for (let index = 0; index < count; index++) check(sum(await cu.get('t')), NUMBERS_SUM);
    },
  };
}
