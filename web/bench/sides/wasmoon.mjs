// wasmoon: PUC Lua 5.4 compiled by emscripten.
import { decorate, LuaFactory } from 'wasmoon';
import { ADD, CALLS_OF_HOST, check, COLLECTING_PRINT, NUMBERS, NUMBERS_SUM, sum, SUM, TABLE } from '../programs.mjs';

export async function open() {
  const inNode = typeof process === 'object';
  const wasm = new URL('glue.wasm', import.meta.url);
  const factory = new LuaFactory(inNode ? decodeURIComponent(wasm.pathname) : wasm.href);
  const engine = await factory.createEngine({ injectObjects: false, traceAllocations: false });
  // Not doString, which runs the program inside a coroutine and through promises.
  const run = (source) => engine.doStringSync(source);
  run(COLLECTING_PRINT);
  engine.global.set('host', (a) => a + 1);
  run(`add = ${ADD} summed = ${SUM} call_host = ${CALLS_OF_HOST} t = (function() ${TABLE} end)()`);
  const [add, summed, callHost] = ['add', 'summed', 'call_host'].map((name) => engine.global.get(name));
  return {
    run,
    takeOutput: () => run('return take_output()'),
    first: () => run('return 6 * 7'),
    callLua(count) {
      let n = 0;
      for (let index = 0; index < count; index++) n = add(n, 1);
      check(n, count);
    },
    callHost: (count) => check(callHost(count), count),
    tableIn(count) {
      for (let index = 0; index < count; index++) check(summed(NUMBERS), NUMBERS_SUM);
    },
    tableInCopied(count) {
      for (let index = 0; index < count; index++) check(summed(decorate(NUMBERS, { proxy: false })), NUMBERS_SUM);
    },
    tableOut(count) {
      for (let index = 0; index < count; index++) check(sum(engine.global.get('t')), NUMBERS_SUM);
    },
  };
}
