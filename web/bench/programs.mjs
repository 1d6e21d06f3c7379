// Lua code that the sides share.

/**
 * Collects what is printed. In Lua, because a number that crosses to JavaScript loses whether it was a float.
 */
export const COLLECTING_PRINT = `
  local lines = {}
  function print(...)
    local values = table.pack(...)
    for i = 1, values.n do values[i] = tostring(values[i]) end
    lines[#lines + 1] = table.concat(values, '\\t') .. '\\n'
  end
  function take_output()
    local text = table.concat(lines)
    lines = {}
    return text
  end`;

export const ADD = 'function(a, b) return a + b end';
export const SUM = 'function(t) local n = 0 for i = 1, #t do n = n + t[i] end return n end';
export const TABLE = 'local t = {} for i = 1, 1000 do t[i] = i * 1.5 end return t';

/** Calls the host's function \`host\` this often. */
export const CALLS_OF_HOST = 'function(count) local n = 0 for i = 1, count do n = host(n) end return n end';

/** The 1,000 numbers of the transfers, and their sum. */
export const NUMBERS = Array.from({ length: 1000 }, (_, index) => (index + 1) * 1.5);
export const NUMBERS_SUM = 750750;

/** Whoever transfers a table must have it whole on the other side. */
export function check(actual, expected) {
  if (actual !== expected) throw new Error(`${actual} instead of ${expected}`);
}

export function sum(numbers) {
  let total = 0;
  for (let index = 0; index < numbers.length; index++) total += numbers[index];
  return total;
}
