/** Programs to start from, and sample records to query. */

export const EXAMPLES: { readonly [name: string]: string } = {
  'A first look': `-- Lua 5.4, run by a virtual machine written in Rust.
-- Ctrl+Enter runs. What a program leaves behind is shown beside it.

local function greet(name)
  return string.format("Hello, %s!", name)
end

print(greet("world"))

local squares = {}
for i = 1, 10 do
  squares[i] = i * i
end
print(table.concat(squares, " "))

return #squares, _VERSION
`,
  Coroutines: `-- A generator: the primes, one at a time.

local function primes()
  return coroutine.wrap(function()
    local found = {}
    local n = 2
    while true do
      local prime = true
      for _, p in ipairs(found) do
        if p * p > n then break end
        if n % p == 0 then prime = false break end
      end
      if prime then
        found[#found + 1] = n
        coroutine.yield(n)
      end
      n = n + 1
    end
  end)
end

for p in primes() do
  if p > 100 then break end
  print(p)
end
`,
  'Objects and metatables': `-- A vector type with operators.

local Vector = {}
Vector.__index = Vector

function Vector.new(x, y)
  return setmetatable({x = x, y = y}, Vector)
end

function Vector.__add(a, b)
  return Vector.new(a.x + b.x, a.y + b.y)
end

function Vector.__eq(a, b)
  return a.x == b.x and a.y == b.y
end

function Vector:__tostring()
  return "(" .. self.x .. ", " .. self.y .. ")"
end

local sum = Vector.new(1, 2) + Vector.new(3, 4)
print(sum, sum == Vector.new(4, 6))
`,
  'A state that stays': `-- What is in _home is there again after a reload: try it, then run once more.
-- Functions keep their upvalues, coroutines the line they stand on.

if not _home.counter then
  local n = 0
  _home.counter = function()
    n = n + 1
    return n
  end
  _home.reset = function()
    n = 0
  end
  _home.story = coroutine.wrap(function()
    local lines = {"Once", "upon", "a", "time", "."}
    while true do
      for i, word in ipairs(lines) do
        coroutine.yield(word)
      end
    end
  end)
end

print("run number", _home.counter())
print("the next word", _home.story())
`,
  'A run to save half-way': `-- Press Save state (panel State) while this counts, then Stop.
-- Restore brings it back where it was; Resume goes on.

local function wait(fuel)
  for i = 1, fuel do end
end

for step = 1, 60 do
  print("step", step)
  wait(10000000)
end
return "arrived"
`,
  'An error with its traceback': `-- The line is marked, and the output says how it got there.

local function area(shape)
  return shape.width * shape.height
end

local function total(shapes)
  local sum = 0
  for _, shape in ipairs(shapes) do
    sum = sum + area(shape)
  end
  return sum
end

print(total {
  {width = 2, height = 3},
  {width = 4},
})
`,
  'A long run': `-- Runs until you press Stop; the page stays responsive.

local n = 0
while true do
  n = n + 1
  if n % 10000000 == 0 then
    print(n)
  end
end
`,
};

export const SAMPLE_USERS: readonly { readonly [field: string]: string | number }[] = [
  { name: 'Alice', age: 30, city: 'Lisbon' },
  { name: 'Bob', age: 25, city: 'Oslo' },
  { name: 'Carol', age: 41, city: 'Lisbon' },
  { name: 'Dave', age: 19, city: 'Turin' },
  { name: 'Erin', age: 35, city: 'Oslo' },
];
