/**
 * The Lua side of the basic API: `_io`, `ext.table`, the alias `Memory`, and the numbers that tables are known by.
 *
 * It is one function that Lua code cannot reach, which takes the name of an operation and its arguments. `_home` has the number 1, `_io` 2,
 * and each table that `ext.table` makes the next one, as long as the instance and the table last. Such a table is an ordinary one: it is
 * saved when `_home` reaches it.
 */
export const BASIC = String.raw`
local next, pairs, type, tostring, error, select = next, pairs, type, tostring, error, select
local ipairs, rawget, rawset, sort, globals = ipairs, rawget, rawset, table.sort, _G
local getmetatable, getupvalue = debug.getmetatable, debug.getupvalue
local numbers, next_number = setmetatable({}, { __mode = "k" }), 3
local operations, home, exchanged = {}, nil, nil

local function exchange()
  local io = rawget(globals, "_io")
  if type(io) ~= "table" then
    io = {}
    rawset(globals, "_io", io)
  end
  if io ~= exchanged then
    if exchanged ~= nil then numbers[exchanged] = nil end
    exchanged, numbers[io] = io, 2
  end
  return io
end

rawset(globals, "ext", {
  table = function(...)
    if select("#", ...) > 0 then error("bad argument #1 to 'table' (none is taken: a table is kept by being in _home)", 2) end
    local made = {}
    numbers[made], next_number = next_number, next_number + 1
    return made
  end,
})
exchange()

-- To be called when _home is another table than before.
function operations.attach(has_alias)
  if home ~= nil and rawget(globals, "Memory") == home then rawset(globals, "Memory", nil) end
  if home ~= nil then numbers[home] = nil end
  home = rawget(globals, "_home")
  numbers[home] = 1
  operations.alias(has_alias)
end

-- Reads all that _home reaches, as far as it was not used yet: once _home is another table, it could not be read any more.
function operations.read_all()
  local waiting, seen = { home }, { [home] = true }
  local function add(value)
    if (type(value) == "table" or type(value) == "function") and not seen[value] then
      seen[value] = true
      waiting[#waiting + 1] = value
    end
  end
  while #waiting > 0 do
    local value = waiting[#waiting]
    waiting[#waiting] = nil
    if type(value) == "table" then
      for key, entry in next, value do
        add(key)
        add(entry)
      end
      add(getmetatable(value))
    else
      local index = 1
      while true do
        local name, upvalue = getupvalue(value, index)
        if name == nil then break end
        -- Not the globals, which lead everywhere.
        if upvalue ~= globals then add(upvalue) end
        index = index + 1
      end
    end
  end
end

function operations.alias(is_enabled)
  if is_enabled then
    rawset(globals, "Memory", home)
  elseif rawget(globals, "Memory") == home then
    rawset(globals, "Memory", nil)
  end
end

function operations.set(name, value)
  rawset(exchange(), name, value)
end

function operations.get(name)
  return rawget(exchange(), name)
end

function operations.set_field(field, value)
  local io = exchange()
  local input = rawget(io, "input")
  if input == nil then
    input = {}
    rawset(io, "input", input)
  end
  if type(input) ~= "table" then error("_io.input is a " .. type(input) .. ", which has no field '" .. tostring(field) .. "'", 0) end
  input[field] = value
end

function operations.get_field(field)
  local output = rawget(exchange(), "output")
  if output == nil then return nil end
  if type(output) ~= "table" then error("_io.output is a " .. type(output) .. ", which has no field '" .. tostring(field) .. "'", 0) end
  return output[field]
end

function operations.clear()
  local io = exchange()
  for _, name in ipairs { "input", "output", "meta" } do rawset(io, name, nil) end
end

function operations.info()
  local tables = {}
  exchange()
  for made, number in pairs(numbers) do
    local keys = {}
    for key in next, made do keys[#keys + 1] = tostring(key) end
    tables[#tables + 1] = { id = number, size = #keys, keys = keys }
  end
  sort(tables, function(a, b) return a.id < b.id end)
  return { next = next_number, tables = tables }
end

-- Puts saved tables of the older system into _home, which is the table with the number root. They come in pieces, a table in several too;
-- without one they are done. What _home has already stays.
local made
function operations.adopt(root, piece)
  if piece == nil then
    made = nil
    return
  end
  made = made or { [root] = home }
  local function table_of(number)
    made[number] = made[number] or {}
    return made[number]
  end
  for _, part in ipairs(piece) do
    local target = table_of(part.id)
    for _, entry in ipairs(part.entries) do
      local key, value = entry.key, entry.value
      if entry.reference then value = table_of(entry.reference) end
      if entry.float then value = value + 0.0 end
      if target[key] == nil then target[key] = value end
    end
  end
end

return function(operation, ...)
  return operations[operation](...)
end`;
