/**
 * The Lua module `bigint`: integers of any size, as Lua source for the option `modules`.
 *
 * A number is a table of limbs of seven decimal digits, least first, without leading zeros, and a field `sign`, 1 or -1 (zero: 1). It is
 * known by its metatable's `__name`, not by the metatable itself: numbers that come back from `_home` bring the metatable with them that
 * they were saved with, and work together with new ones. So this form must stay as it is.
 *
 * `//` and `%` round down, as those of Lua's integers do; `/` is `//`. `==` between a bigint and a plain number is false, as Lua asks no
 * metamethod then.
 */
export const bigint = String.raw`
local BASE, DIGITS = 10000000, 7
local methods = {}
local meta = { __name = "bigint", __index = methods }

local function is_big(value)
  if type(value) ~= "table" then return false end
  local own = getmetatable(value)
  return type(own) == "table" and rawget(own, "__name") == "bigint"
end

local function make(sign, limbs)
  local count = #limbs
  while count > 0 and limbs[count] == 0 do
    limbs[count] = nil
    count = count - 1
  end
  limbs.sign = count == 0 and 1 or sign
  return setmetatable(limbs, meta)
end

local function from_integer(value)
  local limbs, sign = {}, value < 0 and -1 or 1
  while value ~= 0 do
    -- The remainder has the sign of the value, so that the least integer need not be negated.
    local remainder = math.fmod(value, BASE)
    limbs[#limbs + 1] = math.abs(remainder)
    value = (value - remainder) // BASE
  end
  return make(sign, limbs)
end

-- limbs := limbs * factor + summand; both are below BASE.
local function scale(limbs, factor, summand)
  for at = 1, #limbs do
    local value = limbs[at] * factor + summand
    limbs[at] = value % BASE
    summand = value // BASE
  end
  if summand > 0 then limbs[#limbs + 1] = summand end
end

-- limbs := limbs // divisor, which is below BASE; gives the remainder.
local function shrink(limbs, divisor)
  local remainder = 0
  for at = #limbs, 1, -1 do
    local value = remainder * BASE + limbs[at]
    limbs[at] = value // divisor
    remainder = value % divisor
  end
  while limbs[#limbs] == 0 do limbs[#limbs] = nil end
  return remainder
end

-- nil when the text is no number in this base
local function from_text(text, base)
  local minus, digits = text:lower():match("^%s*([+-]?)(%w+)%s*$")
  if not digits then return nil end
  local limbs = {}
  if base == 10 then
    if digits:find("%D") then return nil end
    for last = #digits, 1, -DIGITS do
      limbs[#limbs + 1] = math.tointeger(tonumber(digits:sub(math.max(1, last - DIGITS + 1), last), 10))
    end
  else
    for digit in digits:gmatch(".") do
      local value = tonumber(digit, 36)
      if not value or value >= base then return nil end
      scale(limbs, base, value)
    end
  end
  return make(minus == "-" and -1 or 1, limbs)
end

-- nil when a float is no integer
local function from_number(value)
  local integer = math.tointeger(value)
  if integer then return from_integer(integer) end
  if value ~= value or value % 1 ~= 0 then return nil end
  return from_text(string.format("%.0f", value), 10)
end

local function operand(value, purpose)
  if is_big(value) then return value end
  if math.type(value) then return from_number(value) or error("number has no integer representation", 3) end
  error("attempt to " .. purpose .. " a bigint and a " .. type(value) .. " value", 3)
end

-- -1, 0 or 1
local function compare_limbs(a, b)
  if #a ~= #b then return #a < #b and -1 or 1 end
  for at = #a, 1, -1 do
    if a[at] ~= b[at] then return a[at] < b[at] and -1 or 1 end
  end
  return 0
end

local function compare(a, b)
  if a.sign ~= b.sign then return a.sign end
  return a.sign * compare_limbs(a, b)
end

local function add_limbs(a, b)
  local sum, carry = {}, 0
  for at = 1, math.max(#a, #b) do
    local value = (a[at] or 0) + (b[at] or 0) + carry
    carry = value >= BASE and 1 or 0
    sum[at] = value - carry * BASE
  end
  if carry > 0 then sum[#sum + 1] = carry end
  return sum
end

-- a is not below b
local function subtract_limbs(a, b)
  local difference, borrow = {}, 0
  for at = 1, #a do
    local value = a[at] - (b[at] or 0) - borrow
    borrow = value < 0 and 1 or 0
    difference[at] = value + borrow * BASE
  end
  return difference
end

local function add(a, b, sign_of_b)
  if a.sign == sign_of_b then return make(a.sign, add_limbs(a, b)) end
  if compare_limbs(a, b) >= 0 then return make(a.sign, subtract_limbs(a, b)) end
  return make(sign_of_b, subtract_limbs(b, a))
end

local function multiply(a, b)
  local product = {}
  for at = 1, #a + #b do product[at] = 0 end
  for i = 1, #a do
    local factor, carry = a[i], 0
    for j = 1, #b do
      local value = factor * b[j] + product[i + j - 1] + carry
      product[i + j - 1] = value % BASE
      carry = value // BASE
    end
    product[i + #b] = carry
  end
  return make(a.sign * b.sign, product)
end

local function copy(limbs)
  return table.move(limbs, 1, #limbs, 1, {})
end

-- Quotient and remainder of the limbs (Knuth, The Art of Computer Programming, volume 2, 4.3.1, algorithm D).
local function divide_limbs(a, b)
  if compare_limbs(a, b) < 0 then return {}, copy(a) end
  if #b == 1 then
    local quotient = copy(a)
    local remainder = shrink(quotient, b[1])
    return quotient, { remainder }
  end
  -- So that the first limb of the divisor is at least half of BASE.
  local scaling = BASE // (b[#b] + 1)
  local rest, divisor = copy(a), copy(b)
  scale(rest, scaling, 0)
  scale(divisor, scaling, 0)
  local length = #divisor
  local first, second = divisor[length], divisor[length - 1]
  if #rest == #a then rest[#rest + 1] = 0 end
  local quotient = {}
  for shift = #rest - length - 1, 0, -1 do
    local top = rest[shift + length + 1] * BASE + rest[shift + length]
    local digit, remainder = top // first, top % first
    while digit >= BASE or digit * second > remainder * BASE + rest[shift + length - 1] do
      digit, remainder = digit - 1, remainder + first
      if remainder >= BASE then break end
    end
    local borrow = 0
    for at = 1, length do
      local value = rest[shift + at] - digit * divisor[at] - borrow
      rest[shift + at] = value % BASE
      borrow = -(value // BASE)
    end
    local last = rest[shift + length + 1] - borrow
    if last < 0 then
      digit = digit - 1
      local carry = 0
      for at = 1, length do
        local value = rest[shift + at] + divisor[at] + carry
        carry = value >= BASE and 1 or 0
        rest[shift + at] = value - carry * BASE
      end
      last = last + carry
    end
    rest[shift + length + 1] = last
    quotient[shift + 1] = digit
  end
  while rest[#rest] == 0 do rest[#rest] = nil end
  shrink(rest, scaling)
  return quotient, rest
end

-- Rounds down.
local function divide(a, b)
  if #b == 0 then error("attempt to divide a bigint by zero", 3) end
  local quotient, remainder = divide_limbs(a, b)
  quotient, remainder = make(a.sign * b.sign, quotient), make(a.sign, remainder)
  if #remainder == 0 or a.sign == b.sign then return quotient, remainder end
  return add(quotient, { 1 }, -1), add(remainder, b, b.sign)
end

local function arithmetic(work)
  return function(a, b)
    return work(operand(a, "perform arithmetic on"), operand(b, "perform arithmetic on"))
  end
end

meta.__add = arithmetic(function(a, b) return add(a, b, b.sign) end)
meta.__sub = arithmetic(function(a, b) return add(a, b, -b.sign) end)
meta.__mul = arithmetic(multiply)
meta.__idiv = function(a, b)
  return (divide(operand(a, "perform arithmetic on"), operand(b, "perform arithmetic on")))
end
meta.__div = meta.__idiv
meta.__mod = function(a, b)
  local _, remainder = divide(operand(a, "perform arithmetic on"), operand(b, "perform arithmetic on"))
  return remainder
end
meta.__unm = function(a) return make(-a.sign, copy(a)) end

meta.__pow = function(a, b)
  local base, exponent = operand(a, "perform arithmetic on"), operand(b, "perform arithmetic on")
  if exponent.sign < 0 then error("the exponent of a bigint is negative", 2) end
  exponent = copy(exponent)
  local power = from_integer(1)
  while #exponent > 0 do
    if shrink(exponent, 2) == 1 then power = multiply(power, base) end
    if #exponent > 0 then base = multiply(base, base) end
  end
  return power
end

meta.__eq = function(a, b) return is_big(a) and is_big(b) and compare(a, b) == 0 end
meta.__lt = function(a, b) return compare(operand(a, "compare"), operand(b, "compare")) < 0 end
meta.__le = function(a, b) return compare(operand(a, "compare"), operand(b, "compare")) <= 0 end

local NUMERALS = "0123456789abcdefghijklmnopqrstuvwxyz"

local function check_base(base, argument, name)
  base = base == nil and 10 or math.tointeger(base)
  if base and base >= 2 and base <= 36 then return base end
  error("bad argument #" .. argument .. " to '" .. name .. "' (base is a whole number from 2 to 36)", 3)
end

local function to_text(a, base)
  if #a == 0 then return "0" end
  local parts = {}
  if base == 10 then
    for at = #a, 1, -1 do parts[#parts + 1] = string.format("%07d", a[at]) end
    parts[1] = tostring(a[#a])
  else
    local limbs, reversed = copy(a), {}
    while #limbs > 0 do
      local digit = shrink(limbs, base)
      reversed[#reversed + 1] = NUMERALS:sub(digit + 1, digit + 1)
    end
    parts[1] = table.concat(reversed):reverse()
  end
  return (a.sign < 0 and "-" or "") .. table.concat(parts)
end

function methods.tostring(self, base)
  if not is_big(self) then error("bad argument #1 to 'tostring' (bigint expected, got " .. type(self) .. ")", 2) end
  return to_text(self, check_base(base, 2, "tostring"))
end

meta.__tostring = function(a) return to_text(a, 10) end

local function text(value)
  if is_big(value) then return to_text(value, 10) end
  if type(value) == "string" or type(value) == "number" then return value end
  error("attempt to concatenate a bigint and a " .. type(value) .. " value", 3)
end

meta.__concat = function(a, b) return text(a) .. text(b) end

local function new(value, base)
  if is_big(value) then return make(value.sign, copy(value)) end
  local number
  if type(value) == "string" then
    number = from_text(value, check_base(base, 2, "new"))
  elseif type(value) == "number" then
    number = from_number(value)
  else
    error("bad argument #1 to 'new' (number, text or bigint expected, got " .. type(value) .. ")", 2)
  end
  return number or error("bad argument #1 to 'new' ('" .. tostring(value) .. "' is no whole number)", 2)
end

return { new = new }
`;
