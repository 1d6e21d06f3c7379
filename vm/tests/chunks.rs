//! Binary chunks that nobody's compiler wrote: the verifier refuses them, or they run without harm.

use cu_vm::bytecode::chunk::dump;
use cu_vm::bytecode::function::{Constant, FunctionParts, LocalVariable, UpvalueDescription};
use cu_vm::bytecode::opcode::Opcode;
use cu_vm::bytecode::verify::verify;
use cu_vm::{Options, RunError, Vm, compile};

const SOURCES: [&str; 8] = [
    "local t = { 1, 2, 3, x = 4 } for k, v in pairs(t) do t[k] = v + 1 end return #t, t.x, t[1] .. 'text'",
    "local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end return fib(10)",
    "local s = 0 for i = 1, 20 do for j = 10, 1, -3 do s = s + i * j // 2 % 7 end end return s & 15, ~s, -s, s << 2",
    "local function count() local n = 0 return function(...) n = n + select('#', ...) return n, ... end end
     local f, g = count(), count() f(1, 2) return f(g(3)), (f())",
    "local log = {} do local c <close> = setmetatable({}, { __close = function() log[#log + 1] = 'closed' end })
     log[1] = pcall(error, 'x') end goto done; log = nil ::done:: return table.concat(log, ',')",
    "local o = setmetatable({}, { __index = function(_, k) return k .. '!' end, __call = function(self, a) return a end })
     return o.name, o(5), o[1], o:sub(2), o == o, o ~= 1, not o",
    "local co = coroutine.wrap(function(...) local a = ... while a do a = coroutine.yield(a * 2) end return 'end' end)
     return co(1), co(2), co()",
    "return string.gsub('hello world', 'o', function(c) return c:upper() end), select(2, pcall(function() local x = nil + 1 end))",
];

/// A generator of numbers for tests: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        // Small numbers are registers and counts that exist.
        if self.below(2) == 0 { self.below(10) as u8 } else { self.below(256) as u8 }
    }

    fn pick<'a, T>(&mut self, list: &'a mut [T]) -> Option<&'a mut T> {
        let index = self.below(list.len());
        list.get_mut(index)
    }
}

/// Changes one thing in a function or in one inside it.
fn damage(parts: &mut FunctionParts, random: &mut Random) {
    if random.below(2) == 0
        && let Some(child) = random.pick(&mut parts.functions)
    {
        return damage(child, random);
    }
    if parts.code.is_empty() {
        return;
    }
    let at = random.below(parts.code.len());
    match random.below(16) {
        0 => parts.register_count = random.byte(),
        1 => parts.parameter_count = random.below(4) as u8,
        2 => parts.is_vararg = !parts.is_vararg,
        3 => {
            parts.code.remove(at);
        }
        4 => parts.code.insert(at, u32::from(random.byte()) | (random.below(1 << 16) as u32) << 8),
        5 => {
            let word = parts.code[random.below(parts.code.len())];
            parts.code[at] = word;
        }
        6 => {
            let other = random.below(parts.code.len());
            parts.code.swap(at, other);
        }
        7 => {
            if let Some(constant) = random.pick(&mut parts.constants) {
                *constant =
                    [Constant::Nil, Constant::Integer(-1), Constant::Float(0.5), Constant::String(b"x"[..].into())]
                        [random.below(4)]
                    .clone();
            }
        }
        8 => parts.upvalues.push(UpvalueDescription {
            in_stack: random.below(2) == 0,
            index: random.byte(),
            name: Default::default(),
        }),
        9 => {
            if let Some(upvalue) = random.pick(&mut parts.upvalues) {
                (upvalue.in_stack, upvalue.index) = (random.below(2) == 0, random.byte());
            }
        }
        10 => {
            if let Some(local) = random.pick(&mut parts.locals) {
                *local = LocalVariable { register: random.byte(), end_pc: local.end_pc / 2, ..local.clone() };
            }
        }
        11 => parts.code[at] = parts.code[at] & !0xff | random.below(Opcode::ALL.len()) as u32,
        12 => parts.code[at] = random.below(1 << 32) as u32,
        _ => {
            let shift = 8 * (1 + random.below(3));
            parts.code[at] = parts.code[at] & !(0xff << shift) | u32::from(random.byte()) << shift;
        }
    }
}

#[test]
fn damaged_functions_are_refused_or_run_without_harm() {
    const SEED: u64 = 0x2545_f491_4f6c_dd1d;
    let mut random = Random(SEED);
    let mut outcomes = [0usize; 4];
    let mut vm = Vm::new(Options::default());
    for round in 0..20_000 {
        if round % 100 == 0 {
            vm = Vm::new(Options { heap_limit: 1 << 20, ..Options::default() });
        }
        let mut parts = compile(SOURCES[round % SOURCES.len()].as_bytes(), b"=source").expect("a correct program");
        for _ in 0..=random.below(3) {
            damage(&mut parts, &mut random);
        }
        let chunk = dump(&parts);
        let is_verified = verify(parts).is_ok();
        let loaded = vm.load(&chunk, "=damaged");
        assert_eq!(loaded.is_ok(), is_verified, "round {round} of seed {SEED:#x}");
        let Ok(function) = loaded else {
            outcomes[0] += 1;
            continue;
        };
        let outcome = vm.run(&function, 20_000, |_, _| ());
        vm.collect();
        outcomes[match outcome {
            Ok(()) => 1,
            Err(RunError::OutOfFuel) => 2,
            Err(_) => 3,
        }] += 1;
        vm.enter(|context| context.release(function));
    }
    // Refused, finished, out of fuel, failed.
    assert!(outcomes.iter().all(|count| *count >= 10), "{outcomes:?}");
}
