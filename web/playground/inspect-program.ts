/**
 * The Lua program behind the state inspector: it walks what a state holds with the functions of `debug`, and gives it as a tree of plain
 * tables. It calls no metamethod and changes nothing.
 *
 * Its arguments are the names of the library's globals, and the saved functions as an array of `{label, function}`; it returns an array of
 * sections `{title, children}` and whether there was more than it shows.
 */

export interface StateNode {
  kind: string;
  /** Text of Lua strings is bytes when it is no UTF-8. */
  text: string | Uint8Array;
  /** Where a function begins, or a coroutine stands. */
  chunk?: string;
  line?: number;
  children?: StateChild[];
}

export interface StateChild {
  label: string | Uint8Array;
  /** An upvalue that another function shown above has too. */
  shared?: boolean;
  node: StateNode;
}

export interface StateSection {
  title: string;
  children?: StateChild[];
}

/** Fuel that one look may take. */
export const INSPECT_FUEL = 20_000_000;

export const INSPECT = `
local library, saved = ...
local NODES, DEPTH, FIELDS, BYTES = 600, 7, 60, 160
local getinfo, getlocal, getupvalue = debug.getinfo, debug.getlocal, debug.getupvalue
local getmetatable, upvalueid = debug.getmetatable, debug.upvalueid
local status, format, sub, sort, isinteger = coroutine.status, string.format, string.sub, table.sort, math.type
local globals = _G

local known = {}
for name in next, library do
  local value = rawget(globals, name)
  local kind = type(value)
  if kind == 'function' then known[value] = name end
  if kind == 'table' and value ~= globals and name ~= '_home' and name ~= 'Memory' then
    for field, inner in next, value do
      if type(inner) == 'function' and type(field) == 'string' then known[inner] = name .. '.' .. field end
    end
  end
end

local left, seen, shared = NODES, {}, {}
local show

local function scalar(value, kind)
  if kind == 'string' then return #value > BYTES and sub(value, 1, BYTES) .. '…' or value end
  if kind == 'number' then return isinteger(value) == 'integer' and format('%d', value) or format('%.14g', value) end
  return kind == 'boolean' and (value and 'true' or 'false') or kind
end

local function label(key)
  local kind = type(key)
  if kind == 'string' then return scalar(key, kind) end
  return '[' .. scalar(key, kind) .. ']'
end

local function before(a, b)
  local first, second = type(a), type(b)
  if first ~= second then return first < second end
  return (first == 'number' or first == 'string') and a < b
end

local function fields(value, depth, skip)
  local children, keys, count = {}, {}, 0
  for key in next, value do
    if not (skip and skip[key]) then
      count = count + 1
      if count <= 1000 then keys[count] = key end
    end
  end
  -- Keys that have no order stay as they come.
  pcall(sort, keys, before)
  for index = 1, #keys do
    if index > FIELDS or left <= 0 then
      children[index] = { label = '…', node = { kind = 'more', text = format('%d more', count - index + 1) } }
      break
    end
    children[index] = { label = label(keys[index]), node = show(rawget(value, keys[index]), depth) }
  end
  return children, count
end

local function upvalues(value, depth)
  local children = {}
  for index = 1, 255 do
    local name, held = getupvalue(value, index)
    if not name then break end
    if held ~= globals then
      local id = upvalueid(value, index)
      children[#children + 1] = { label = name == '' and '(held)' or name, shared = shared[id], node = show(held, depth) }
      shared[id] = true
    end
  end
  return children
end

local function frames(value, depth)
  local children, chunk, line = {}
  for level = 0, 40 do
    local info = getinfo(value, level, 'Sln')
    if not info then break end
    if info.what ~= 'C' then
      local held = {}
      for index = 1, 60 do
        local name, inner = getlocal(value, level, index)
        if not name then break end
        if sub(name, 1, 1) ~= '(' then held[#held + 1] = { label = name, node = show(inner, depth) } end
      end
      chunk, line = chunk or info.short_src, line or info.currentline
      local at = format('%s:%d', info.short_src, info.currentline)
      local name = info.name or (info.what == 'main' and 'program' or 'function')
      children[#children + 1] = { label = name, node = { kind = 'frame', text = at, chunk = info.short_src, line = info.currentline, children = held } }
    end
  end
  return children, chunk, line
end

local function coroutineNode(value, depth)
  local state = status(value)
  local children, chunk, line = frames(value, depth)
  local text = state
  if state == 'suspended' then text = line and format('suspended at %s:%d', chunk, line) or 'not started' end
  return { kind = 'coroutine', text = text, chunk = chunk, line = line, children = children }
end

local function functionNode(value, depth)
  local info = getinfo(value, 'S')
  if info.what == 'C' then
    local _, held = getupvalue(value, 1)
    if type(held) == 'thread' then return show(held, depth) end
    return { kind = 'function', text = known[value] or 'native', children = upvalues(value, depth) }
  end
  local first, last = info.linedefined, info.lastlinedefined
  local at = first == last and format('%s:%d', info.short_src, first) or format('%s:%d–%d', info.short_src, first, last)
  return { kind = 'function', text = at, chunk = info.short_src, line = first, children = upvalues(value, depth) }
end

local function tableNode(value, depth)
  local children, count = fields(value, depth)
  local meta = getmetatable(value)
  if meta ~= nil then children[#children + 1] = { label = 'metatable', node = show(meta, depth) } end
  return { kind = 'table', text = count == 1 and '1 field' or format('%d fields', count), children = children }
end

local makers = { table = tableNode, ['function'] = functionNode, thread = coroutineNode }

function show(value, depth)
  left = left - 1
  local kind = type(value)
  local make = makers[kind]
  if not make then return { kind = kind, text = scalar(value, kind) } end
  if value == globals then return { kind = kind, text = 'the global variables' } end
  local name = kind == 'thread' and 'coroutine' or kind
  if seen[value] then return { kind = name, text = 'the one above' } end
  if left <= 0 or depth >= DEPTH then return { kind = name, text = '…' } end
  seen[value] = true
  return make(value, depth + 1)
end

local sections = {}
local home = rawget(globals, '_home')
if type(home) == 'table' then
  seen[home] = true
  sections[1] = { title = '_home', children = (fields(home, 0)) }
end
local functions = {}
for index, entry in ipairs(saved) do
  functions[index] = { label = entry[1], node = show(entry[2], 0) }
end
sections[#sections + 1] = { title = 'saved', children = functions }
sections[#sections + 1] = { title = 'globals', children = (fields(globals, 0, library)) }
return sections, left <= 0
`;
