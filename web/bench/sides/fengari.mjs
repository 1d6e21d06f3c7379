// fengari: a port of PUC Lua 5.3 to JavaScript, as its package for browsers has it.
import * as fengari from 'fengari-web';
import { ADD, CALLS_OF_HOST, check, COLLECTING_PRINT, NUMBERS, NUMBERS_SUM, sum, SUM, TABLE } from '../programs.mjs';

const { L, interop, lua, to_luastring: bytes } = fengari;

export function open() {
  const run = (source) => fengari.load(source, '@script')();
  run(COLLECTING_PRINT);
  interop.push(L, (a) => a + 1);
  lua.lua_setglobal(L, bytes('host'));
  // Copies are made through its C API: arrays of JavaScript are otherwise seen through a proxy.
  const copyIn = (numbers) => {
    lua.lua_createtable(L, numbers.length, 0);
    for (let index = 0; index < numbers.length; index++) {
      lua.lua_pushnumber(L, numbers[index]);
      lua.lua_rawseti(L, -2, index + 1);
    }
  };
  const copyOut = (name) => {
    lua.lua_getglobal(L, bytes(name));
    const numbers = [];
    for (let index = 1; index <= lua.lua_rawlen(L, -1); index++) {
      lua.lua_rawgeti(L, -1, index);
      numbers.push(lua.lua_tonumber(L, -1));
      lua.lua_pop(L, 1);
    }
    lua.lua_pop(L, 1);
    return numbers;
  };
  run(`add = ${ADD} summed = ${SUM} t = (function() ${TABLE} end)()`);
  const add = run('return add');
  // Functions get their `this` as the first argument, both ways.
  const callHost = run(`return ${CALLS_OF_HOST.replace('host(n)', 'host(nil, n)')}`);
  const summed = run('return function(t) local n = 0 for i = 0, t.length - 1 do n = n + t[i] end return n end');
  const table = run('return t');
  return {
    run,
    takeOutput: () => run('return take_output()'),
    first: () => run('return 6 * 7'),
    callLua(count) {
      let n = 0;
      for (let index = 0; index < count; index++) n = add.call(n, 1);
      check(n, count);
    },
    callHost: (count) => check(callHost.call(count), count),
    tableIn(count) {
      for (let index = 0; index < count; index++) check(summed.call(NUMBERS), NUMBERS_SUM);
    },
    tableInCopied(count) {
      for (let index = 0; index < count; index++) {
        lua.lua_getglobal(L, bytes('summed'));
        copyIn(NUMBERS);
        lua.lua_call(L, 1, 1);
        check(lua.lua_tonumber(L, -1), NUMBERS_SUM);
        lua.lua_pop(L, 1);
      }
    },
    tableOut(count) {
      for (let index = 0; index < count; index++) {
        let total = 0;
        for (let place = 1; place <= 1000; place++) total += table.get(place);
        check(total, NUMBERS_SUM);
      }
    },
    tableOutCopied(count) {
      for (let index = 0; index < count; index++) check(sum(copyOut('t')), NUMBERS_SUM);
    },
  };
}
