//! Sandboxes: what they have, and that none reaches another one or changes what all share.

use cu_vm::bytecode::chunk::dump;
use cu_vm::bytecode::instruction::Instruction;
use cu_vm::bytecode::opcode::Opcode;
use cu_vm::{Options, RunError, Value, Vm};

/// What a script in a sandbox has. New functions of the library are not in it by themselves.
const PROFILE: &str = "\
_G _VERSION assert error getmetatable ipairs load next pairs pcall print rawequal rawget rawlen rawset select setmetatable tonumber \
tostring type xpcall \
coroutine.close coroutine.create coroutine.isyieldable coroutine.resume coroutine.running coroutine.status coroutine.wrap coroutine.yield \
debug.traceback \
math.abs math.acos math.asin math.atan math.ceil math.cos math.deg math.exp math.floor math.fmod math.huge math.log math.max \
math.maxinteger math.min math.mininteger math.modf math.pi math.rad math.random math.sin math.sqrt math.tan math.tointeger math.type \
math.ult \
os.clock os.date os.difftime os.time \
string.byte string.char string.find string.format string.gmatch string.gsub string.len string.lower string.match string.pack \
string.packsize string.rep string.reverse string.sub string.unpack string.upper \
table.concat table.insert table.move table.pack table.remove table.sort table.unpack \
utf8.char utf8.charpattern utf8.codepoint utf8.codes utf8.len utf8.offset";

/// Sets `list` to what a script has.
const LIST: &str = "
local names = {}
for name, value in pairs(_G) do
  if type(value) == 'table' and value ~= _G then
    for field in pairs(value) do names[#names + 1] = name .. '.' .. field end
  else
    names[#names + 1] = name
  end
end
table.sort(names)
return table.concat(names, ' ')";

fn vm(sandboxed: bool) -> Vm {
    Vm::new(Options { heap_limit: 8 << 20, sandboxed, ..Options::default() })
}

fn text(vm: &mut Vm, chunk: &cu_vm::Handle) -> Result<String, RunError> {
    vm.run(chunk, 50_000_000, |_, values| match values {
        [Value::String(text), ..] => text.to_string_lossy().into_owned(),
        _ => String::new(),
    })
}

fn run(vm: &mut Vm, sandbox: &str, source: &str) -> Result<String, RunError> {
    let chunk = vm.load_in(sandbox, source.as_bytes(), "=script")?;
    let result = text(vm, &chunk);
    vm.enter(|context| context.release(chunk));
    result
}

fn sorted(list: &str) -> Vec<&str> {
    let mut names: Vec<&str> = list.split_whitespace().collect();
    names.sort_unstable();
    names
}

#[test]
fn a_sandbox_has_the_documented_functions_and_no_others() {
    let mut vms = [vm(false), vm(true)];
    for vm in &mut vms {
        let list = run(vm, "a", LIST).expect("listing works");
        assert_eq!(sorted(&list), sorted(PROFILE));
    }
    let chunk = vms[1].load(LIST.as_bytes(), "=script").expect("it compiles");
    let list = text(&mut vms[1], &chunk).expect("listing works");
    assert_eq!(sorted(&list), sorted(PROFILE), "the globals of a sandboxed VM");
    let documented =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SANDBOX.md")).expect("the list is there");
    for name in sorted(PROFILE) {
        assert!(documented.contains(name.rsplit('.').next().expect("a name")), "{name} is not in docs/SANDBOX.md");
    }
}

#[test]
fn sandboxes_have_their_own_globals_and_common_libraries() {
    let mut vm = vm(false);
    run(&mut vm, "a", "x = 1; function f() return x end").expect("it runs");
    run(&mut vm, "b", "assert(x == nil and f == nil); x = 2").expect("b does not see a");
    run(&mut vm, "a", "assert(x == 1 and f() == 1 and _G.x == 1 and _ENV == _G)").expect("a is as it was");
    let chunk = vm.load(b"return tostring(x)", "=host").expect("it compiles");
    assert_eq!(text(&mut vm, &chunk).as_deref(), Ok("nil"));
    let identity =
        |vm: &mut Vm, sandbox: &str| run(vm, sandbox, "return tostring(string) .. tostring(print)").expect("it runs");
    assert_eq!(identity(&mut vm, "a"), identity(&mut vm, "b"));
}

#[test]
fn refusals_name_the_field() {
    let mut vm = vm(true);
    let message = |vm: &mut Vm, source: &str| match run(vm, "a", source) {
        Err(RunError::Lua { message, .. }) => message,
        other => panic!("{source}: {other:?}"),
    };
    assert_eq!(message(&mut vm, "string.rep = 1"), "script:1: attempt to change field 'rep' of a read-only table");
    assert_eq!(message(&mut vm, "rawset(string, 'rep', 1)"), "script:1: attempt to change a read-only table");
    assert_eq!(message(&mut vm, "table[1] = 1"), "script:1: attempt to change a read-only table");
    let finalizer = "script:1: bad argument #2 to 'setmetatable' ('__gc' is not allowed in a sandbox)";
    assert_eq!(message(&mut vm, "setmetatable({}, {__gc = print})"), finalizer);
    assert!(matches!(vm.load_in("a", b"\x1bLua", "=x"), Err(RunError::Syntax { .. })), "a binary chunk");
}

/// Describes everything that can be reached in any way, whoever may, from what belongs to others than the attacker: other
/// sandboxes, the host's globals, shared libraries, metatables of basic types. `_SEEN` is then what that was.
const DESCRIBE: &str = "
local others = ...
local lines, numbers, queue = {}, {}, {}
local function name(value)
  local kind = type(value)
  if kind == 'table' or kind == 'function' or kind == 'thread' or kind == 'userdata' then
    if not numbers[value] then
      queue[#queue + 1] = value
      numbers[value] = kind .. #queue
    end
    return numbers[value]
  end
  return kind .. ' ' .. tostring(value)
end
name(others) name(debug.getmetatable('')) name(debug.getmetatable(1)) name(debug.getmetatable(print)) name(debug.getmetatable(nil))
name(debug.getmetatable(true)) name(debug.getmetatable(coroutine.running()))
local at = 0
while at < #queue do
  at = at + 1
  local value = queue[at]
  local line = { numbers[value], name(debug.getmetatable(value)) }
  if type(value) == 'table' then
    for key, item in next, value do line[#line + 1] = name(key) .. '=' .. name(item) end
  elseif type(value) == 'function' then
    for index = 1, 255 do
      local upvalue, item = debug.getupvalue(value, index)
      if not upvalue then break end
      line[#line + 1] = name(item)
    end
  end
  lines[#lines + 1] = table.concat(line, ' ')
end
_SEEN = numbers
return table.concat(lines, '\\n')";

/// What of others the attacker can get at by open means: fields, metatables that are shown, upvalues of its functions.
const REACH: &str = "
local globals, shared = ...
local allowed, found, done, queue = {}, {}, {}, { globals }
for _, library in next, shared do allowed[library] = true end
while #queue > 0 do
  local value = table.remove(queue)
  local kind = type(value)
  if (kind == 'table' or kind == 'function') and not done[value] then
    done[value] = true
    -- Functions of the library are common and hold nothing that can be changed; of Lua functions the variables count.
    local is_native = kind == 'function' and debug.getinfo(value, 'S').what == 'C'
    if _SEEN[value] and not allowed[value] and not is_native then found[#found + 1] = tostring(value) .. ' ' .. _SEEN[value] end
    if kind == 'table' then
      for key, item in next, value do queue[#queue + 1] = key queue[#queue + 1] = item end
      local metatable = debug.getmetatable(value)
      if metatable and rawget(metatable, '__metatable') == nil then queue[#queue + 1] = metatable end
    elseif not is_native then
      for index = 1, 255 do
        local upvalue, item = debug.getupvalue(value, index)
        if not upvalue then break end
        queue[#queue + 1] = item
      end
    end
  end
end
return table.concat(found, ', ')";

/// Runs one of the two chunks above in the host's globals.
fn inspect(vm: &mut Vm, source: &str, attacker: Option<&str>) -> String {
    let chunk = vm.load(source.as_bytes(), "=inspector").expect("it compiles");
    vm.start(|context| {
        let list = context.table();
        let set =
            |key: &str, value| list.set(context, Value::String(context.string(key.as_bytes())), value).expect("room");
        let args = match attacker {
            None => {
                set("victim", Value::Table(context.sandbox("victim").expect("room")));
                set("host", Value::Table(context.globals()));
                vec![Value::Table(list)]
            }
            Some(name) => {
                let globals = context.sandbox(name).expect("room");
                for library in ["coroutine", "debug", "math", "os", "string", "table", "utf8"] {
                    set(library, context.permanent(format!("shared.{library}").as_bytes()));
                }
                vec![Value::Table(globals), Value::Table(list)]
            }
        };
        (context.fetch(&chunk), args)
    })
    .expect("nothing runs");
    match vm.step(500_000_000).expect("it was started") {
        cu_vm::Step::Finished => {}
        other => panic!("{other:?}: {}", vm.take_error()),
    }
    let result = vm.take_results(|_, values| match values {
        [Value::String(text)] => text.to_string_lossy().into_owned(),
        _ => panic!("the inspector returns text"),
    });
    vm.abort();
    vm.enter(|context| context.release(chunk));
    result
}

/// The attempts of the fixture: names and sources.
fn attempts() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/sandbox/escapes.lua"))
        .expect("the fixture");
    let blocks = text.split("\n--@ ").skip(1);
    let attempts = blocks.map(|block| block.split_once('\n').expect("a name and a source"));
    attempts.map(|(name, source)| (name.to_owned(), source.to_owned())).collect()
}

#[test]
fn no_attempt_reaches_others_or_changes_what_is_shared() {
    let attempts = attempts();
    assert!(attempts.len() >= 100, "{} attempts", attempts.len());
    for (name, source) in attempts {
        let mut vm = Vm::new(Options { heap_limit: 32 << 20, ..Options::default() });
        run(&mut vm, "victim", "secret = { 'of the victim' }; function show() return secret end").expect("it runs");
        run(&mut vm, "attacker", "").expect("the sandbox is there");
        // The first look leaves the list `_SEEN`, which belongs to the host's globals and is as large at the second look.
        inspect(&mut vm, DESCRIBE, None);
        inspect(&mut vm, "_SEEN = nil return ''", None);
        let before = inspect(&mut vm, DESCRIBE, None);
        let _ = run(&mut vm, "attacker", &source);
        vm.abort();
        let reach = inspect(&mut vm, REACH, Some("attacker"));
        assert_eq!(reach, "", "{name}: objects of others are within reach");
        inspect(&mut vm, "_SEEN = nil return ''", None);
        let after = inspect(&mut vm, DESCRIBE, None);
        assert!(before == after, "{name}: something of others has changed\n{}", difference(&before, &after));
        run(
            &mut vm,
            "victim",
            "assert(('x'):rep(2) == 'xx' and string.rep('x', 2) == 'xx' and math.floor(1.5) == 1 and show()[1])",
        )
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

fn difference(before: &str, after: &str) -> String {
    let lines = before.lines().zip(after.lines()).filter(|(before, after)| before != after);
    lines.map(|(before, after)| format!("- {before}\n+ {after}\n")).collect()
}

/// The inspector sees what there is to see: without a sandbox, attempts succeed and are found.
#[test]
fn the_inspector_notices_what_is_not_contained() {
    let mut vm = Vm::new(Options { heap_limit: 32 << 20, ..Options::default() });
    run(&mut vm, "victim", "secret = {}").expect("it runs");
    inspect(&mut vm, "_SEEN = nil return ''", None);
    let before = inspect(&mut vm, DESCRIBE, None);
    let chunk = vm.load(b"_SEEN = nil getmetatable('').__index.rep = print", "=host").expect("it compiles");
    text(&mut vm, &chunk).expect("it runs");
    assert_ne!(before, inspect(&mut vm, DESCRIBE, None));
    vm.enter(|context| {
        let (attacker, victim) = (context.sandbox("attacker").expect("room"), context.sandbox("victim").expect("room"));
        let name = Value::String(context.string(b"loot"));
        attacker.set(context, name, victim.get(Value::String(context.string(b"secret")))).expect("room");
    });
    assert_ne!(inspect(&mut vm, REACH, Some("attacker")), "");
}

/// A binary chunk whose instructions fill a table that it did not make; a host may load such a one, a sandbox cannot.
#[test]
fn a_binary_chunk_cannot_fill_a_shared_table() {
    let mut vm = vm(true);
    let mut parts = cu_vm::compile(b"local library = string; local list = {7}", b"=list").expect("it compiles");
    let opcode = |word: &u32| Instruction(*word).opcode();
    let made = parts.code.iter().position(|word| opcode(word) == Some(Opcode::NewTable)).expect("a list is made");
    // Instead of being made (an instruction of two words), the list is the library.
    let copy = Instruction::abc(Opcode::Move, Instruction(parts.code[made]).a() as u8, 0, 0).0;
    parts.code[made..made + 2].fill(copy);
    let chunk = vm.load(&dump(&parts), "=list").expect("the verifier has nothing against it");
    let message = match text(&mut vm, &chunk) {
        Err(RunError::Lua { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(message, "list:1: attempt to change a read-only table");
}
