-- Runs many programs in one process of the reference interpreter, one after the other, each with the standard library as it was.
--
-- Input: for each program a line "MODE LENGTH", then that many bytes. Output: what the program prints, a line end, the mark that is this
-- script's argument and a space, then "ok" or "error LENGTH", a line end, and the message with a line end.
--
-- MODE is "run", "load" (the program is only compiled), "without_lt_for_le" (run as by a Lua that was built without the compatibility
-- in which __lt stands in for __le) or "probe" (run with a look at every value that it computes; the last line of the output says
-- which of "nan" and "holes", a table with nils between its values, there were).

local mark = ...
local load, pairs, pcall, rawget, type, tostring = load, pairs, pcall, rawget, type, tostring
local read, write, flush, format, match = io.read, io.write, io.flush, string.format, string.match
local collect, getmetatable, getlocal, hook = collectgarbage, debug.getmetatable, debug.getlocal, debug.sethook
local next, rawequal, rawlen, select, setmetatable, math_type = next, rawequal, rawlen, select, setmetatable, math.type
local fail, globals = error, _G

-- What programs for a comparison do not use, since not every host has it.
for _, name in pairs {"debug", "io", "package", "require", "dofile", "loadfile", "arg"} do
  globals[name] = nil
end

-- The compatibility with 5.3 that Debian's build has.
for _, name in pairs {"cosh", "sinh", "tanh", "pow", "frexp", "ldexp", "log10", "atan2"} do
  math[name] = nil
end

-- The tables that a program may have changed, with what was in them.
local originals = {}
for _, library in pairs {globals, coroutine, table, string, math, utf8, os, getmetatable("")} do
  local fields = {}
  for name, value in pairs(library) do
    fields[name] = value
  end
  originals[library] = fields
end

local function restore()
  for library, fields in pairs(originals) do
    for name in pairs(library) do
      library[name] = nil
    end
    for name, value in pairs(fields) do
      library[name] = value
    end
  end
end

local function text(value)
  if type(value) == "string" then
    return value
  end
  local metatable = getmetatable(value)
  if type(metatable) == "table" and rawget(metatable, "__tostring") then
    local ok, result = pcall(tostring, value)
    return ok and result or tostring(result)
  end
  return format("(error object is a %s value)", type(value))
end

local function type_name(value)
  local metatable = getmetatable(value)
  local name = type(metatable) == "table" and rawget(metatable, "__name")
  return type(name) == "string" and name or type(value)
end

-- What __le does where there is none; a name ends at a zero byte in the message.
local function no_order(first, second)
  local first_name, second_name = match(type_name(first), "^[^\0]*"), match(type_name(second), "^[^\0]*")
  if first_name == second_name then
    fail(format("attempt to compare two %s values", first_name), 2)
  else
    fail(format("attempt to compare %s with %s", first_name, second_name), 2)
  end
end

-- The messages are those of the function that this one takes the place of.
local function without_lt_for_le()
  local set = setmetatable
  globals.setmetatable = function(...)
    local value, metatable = ...
    if type(value) ~= "table" then
      local name = select("#", ...) == 0 and "no value" or type_name(value)
      fail("bad argument #1 to 'setmetatable' (table expected, got " .. name .. ")", 2)
    end
    if metatable ~= nil and type(metatable) ~= "table" or select("#", ...) == 1 then
      local name = select("#", ...) == 1 and "no value" or type_name(metatable)
      fail("bad argument #2 to 'setmetatable' (nil or table expected, got " .. name .. ")", 2)
    end
    if type(metatable) == "table" and rawget(metatable, "__lt") ~= nil and rawget(metatable, "__le") == nil then
      metatable.__le = no_order
    end
    return set(...)
  end
end

-- What the values of the running function show; each instruction is one call.
local seen, calls

local function look()
  calls = calls + 1
  if calls > 300000 then
    fail("the program does not end", 0)
  end
  local index = 1
  local name, value = getlocal(2, index)
  while name do
    if value ~= value then
      seen.nan = true
    elseif rawequal(type(value), "table") and not seen.holes then
      local count = 0
      for key in next, value do
        if math_type(key) == "integer" and key > 0 then
          count = count + 1
        end
      end
      seen.holes = count ~= rawlen(value)
    end
    index = index + 1
    name, value = getlocal(2, index)
  end
end

local function too_long()
  fail("the program does not end", 0)
end

while true do
  local line = read("l")
  if not line then break end
  local mode, length = match(line, "^([%a_]+) (%d+)$")
  local source = read(length // 1) or ""
  local chunk, message = load(source, "@p", "t")
  local ok = chunk ~= nil
  if chunk and mode ~= "load" then
    if mode == "probe" then
      seen, calls = {}, 0
      hook(look, "", 1)
    else
      hook(too_long, "", 3000000)
    end
    if mode == "without_lt_for_le" then
      without_lt_for_le()
    end
    -- The calls in between keep error levels from reaching this script.
    local _, _, _, result, error_value = pcall(pcall, pcall, pcall, chunk)
    hook()
    ok, message = result, error_value
    restore()
    if mode == "probe" then
      write("\n", seen.nan and "nan " or "", seen.holes and "holes" or "")
    end
  end
  write("\n", mark, " ")
  if ok then
    write("ok\n")
  else
    message = text(message)
    write(format("error %d\n", #message), message, "\n")
  end
  flush()
  collect("step")
end
