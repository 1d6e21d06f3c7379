-- Runs many programs in one process of the reference interpreter, one after the other, each with the standard library as it was.
--
-- Input: for each program a line "MODE LENGTH", then that many bytes; MODE is "run" or "load". Output: what the program prints, a line
-- end, the mark that is this script's argument and a space, then "ok" or "error LENGTH", a line end, and the message with a line end.

local mark = ...
local load, pairs, pcall, rawget, type, tostring = load, pairs, pcall, rawget, type, tostring
local read, write, flush, format, match = io.read, io.write, io.flush, string.format, string.match
local collect, getmetatable, hook = collectgarbage, debug.getmetatable, debug.sethook
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

local function too_long()
  fail("the program does not end", 0)
end

while true do
  local line = read("l")
  if not line then break end
  local mode, length = match(line, "^(%a+) (%d+)$")
  local source = read(length // 1) or ""
  local chunk, message = load(source, "@p", "t")
  local ok = chunk ~= nil
  if chunk and mode == "run" then
    hook(too_long, "", 3000000)
    -- The calls in between keep error levels from reaching this script.
    local _, _, _, result, error_value = pcall(pcall, pcall, pcall, chunk)
    hook()
    ok, message = result, error_value
    restore()
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
