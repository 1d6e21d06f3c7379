//! The instruction set: the one list that everything else derives from.
//!
//! Code is a sequence of 32-bit words. An instruction is one word: the opcode in the low byte, then `A`, `B`, `C`
//! (a byte each), or `A` and a 16-bit `Bx`/`sBx` in place of `B` and `C`. Some instructions are followed by one more
//! word, which is never executed: an inline cache (zero in a compiled or saved function; written by the
//! interpreter), a jump offset (signed, relative to the word after it), or a wide argument.
//!
//! ```text
//!   31      24 23      16 15       8 7        0
//!  ┌──────────┬──────────┬──────────┬──────────┐
//!  │    C     │    B     │    A     │  opcode  │
//!  ├──────────┴──────────┼──────────┼──────────┤
//!  │      Bx / sBx       │    A     │  opcode  │
//!  └─────────────────────┴──────────┴──────────┘
//! ```
//!
//! Notation: `R[x]` register, `K[x]` constant, `U[x]` upvalue, `F[x]` child function, `sB`/`sC`/`sBx` signed operand,
//! `word` the following word, `top` the end of an open list of values (the last operand of an open call, return
//! or list is missing because its length is only known at run time).

/// What an operand means; the verifier checks its range by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// Not used; must be zero.
    None,
    /// A register that is read.
    Read,
    /// A register that is written.
    Write,
    /// The first of a group of registers whose extent has a rule of its own in the verifier.
    Group,
    /// An index into the constants.
    Constant,
    /// An index into the upvalues.
    Upvalue,
    /// An unsigned number.
    Unsigned,
    /// A signed number.
    Signed,
    /// 0 or 1.
    Flag,
}

impl Operand {
    /// How many kinds there are.
    pub const COUNT: usize = Operand::Flag as usize + 1;
}

/// What the word after an instruction holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailing {
    /// There is none.
    None,
    /// An inline cache.
    Cache,
    /// A jump offset relative to the word after it.
    Jump,
    /// An unsigned argument.
    Argument,
}

/// The layout of an instruction: its operands and the word that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub a: Operand,
    pub b: Operand,
    pub c: Operand,
    /// `b` describes the 16-bit operand `Bx`/`sBx`; `c` is `None`.
    pub wide: bool,
    pub trailing: Trailing,
}

macro_rules! layout {
    (@wide ABx) => {
        true
    };
    (@wide ABC) => {
        false
    };
}

macro_rules! opcodes {
    ($( $name:ident $form:ident $a:ident $b:ident $c:ident $trailing:ident $doc:literal; )*) => {
        /// An operation of the virtual machine. Each variant's text is its register transfer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Opcode {
            $( #[doc = concat!("`", $doc, "`")] $name, )*
        }

        impl Opcode {
            /// Every opcode, in numeric order.
            pub const ALL: &'static [Opcode] = &[ $( Opcode::$name, )* ];

            /// The opcode's name as the disassembler prints it.
            pub const fn name(self) -> &'static str {
                match self { $( Opcode::$name => stringify!($name), )* }
            }

            /// The register transfer in the notation of this module.
            pub const fn transfer(self) -> &'static str {
                match self { $( Opcode::$name => $doc, )* }
            }

            /// The operands and the trailing word.
            pub const fn layout(self) -> Layout {
                const LAYOUTS: &[Layout] = &[ $( Layout {
                    a: Operand::$a,
                    b: Operand::$b,
                    c: Operand::$c,
                    wide: layout!(@wide $form),
                    trailing: Trailing::$trailing,
                }, )* ];
                LAYOUTS[self as usize]
            }
        }
    };
}

opcodes! {
    Move          ABC Write Read     None     None     "R[A] := R[B]";
    LoadInteger   ABx Write Signed   None     None     "R[A] := sBx (integer)";
    LoadFloat     ABx Write Signed   None     None     "R[A] := sBx (float)";
    LoadConstant  ABx Write Constant None     None     "R[A] := K[Bx]";
    LoadConstantWide ABC Write None  None     Argument "R[A] := K[word]";
    LoadNil       ABC Group Unsigned None     None     "R[A], ..., R[A+B] := nil";
    LoadFalse     ABC Write None     None     None     "R[A] := false";
    LoadFalseSkip ABC Write None     None     None     "R[A] := false; skip the next (one-word) instruction";
    LoadTrue      ABC Write None     None     None     "R[A] := true";
    GetUpvalue    ABC Write Upvalue  None     None     "R[A] := U[B]";
    SetUpvalue    ABC Read  Upvalue  None     None     "U[B] := R[A]";

    GetTabUp      ABC Write Upvalue  Constant Cache    "R[A] := U[B][K[C]], K[C] a short string";
    GetTable      ABC Write Read     Read     None     "R[A] := R[B][R[C]]";
    GetInteger    ABC Write Read     Unsigned None     "R[A] := R[B][C]";
    GetField      ABC Write Read     Constant Cache    "R[A] := R[B][K[C]], K[C] a short string";
    SetTabUp      ABC Upvalue Constant Read   Cache    "U[A][K[B]] := R[C], K[B] a short string";
    SetTabUpK     ABC Upvalue Constant Constant Cache  "U[A][K[B]] := K[C], K[B] a short string";
    SetTable      ABC Read  Read     Read     None     "R[A][R[B]] := R[C]";
    SetTableK     ABC Read  Read     Constant None     "R[A][R[B]] := K[C]";
    SetInteger    ABC Read  Unsigned Read     None     "R[A][B] := R[C]";
    SetIntegerK   ABC Read  Unsigned Constant None     "R[A][B] := K[C]";
    SetField      ABC Read  Constant Read     Cache    "R[A][K[B]] := R[C], K[B] a short string";
    SetFieldK     ABC Read  Constant Constant Cache    "R[A][K[B]] := K[C], K[B] a short string";
    NewTable      ABx Write Unsigned None     Argument "R[A] := {} with room for Bx fields and word array items";
    SelfField     ABC Group Read     Constant Cache    "R[A+1] := R[B]; R[A] := R[B][K[C]], K[C] a short string";

    Add           ABC Write Read     Read     None     "R[A] := R[B] + R[C]";
    Sub           ABC Write Read     Read     None     "R[A] := R[B] - R[C]";
    Mul           ABC Write Read     Read     None     "R[A] := R[B] * R[C]";
    Div           ABC Write Read     Read     None     "R[A] := R[B] / R[C]";
    Mod           ABC Write Read     Read     None     "R[A] := R[B] % R[C]";
    Pow           ABC Write Read     Read     None     "R[A] := R[B] ^ R[C]";
    IDiv          ABC Write Read     Read     None     "R[A] := R[B] // R[C]";
    BAnd          ABC Write Read     Read     None     "R[A] := R[B] & R[C]";
    BOr           ABC Write Read     Read     None     "R[A] := R[B] | R[C]";
    BXor          ABC Write Read     Read     None     "R[A] := R[B] ~ R[C]";
    Shl           ABC Write Read     Read     None     "R[A] := R[B] << R[C]";
    Shr           ABC Write Read     Read     None     "R[A] := R[B] >> R[C]";
    AddI          ABC Write Read     Unsigned None     "R[A] := R[B] + C";
    SubI          ABC Write Read     Unsigned None     "R[A] := R[B] - C";
    ShlI          ABC Write Read     Unsigned None     "R[A] := R[B] << C";
    ShrI          ABC Write Read     Unsigned None     "R[A] := R[B] >> C";
    AddK          ABC Write Read     Constant None     "R[A] := R[B] + K[C], K[C] a number";
    SubK          ABC Write Read     Constant None     "R[A] := R[B] - K[C], K[C] a number";
    MulK          ABC Write Read     Constant None     "R[A] := R[B] * K[C], K[C] a number";
    DivK          ABC Write Read     Constant None     "R[A] := R[B] / K[C], K[C] a number";
    ModK          ABC Write Read     Constant None     "R[A] := R[B] % K[C], K[C] a number";
    PowK          ABC Write Read     Constant None     "R[A] := R[B] ^ K[C], K[C] a number";
    IDivK         ABC Write Read     Constant None     "R[A] := R[B] // K[C], K[C] a number";
    BAndK         ABC Write Read     Constant None     "R[A] := R[B] & K[C], K[C] an integer";
    BOrK          ABC Write Read     Constant None     "R[A] := R[B] | K[C], K[C] an integer";
    BXorK         ABC Write Read     Constant None     "R[A] := R[B] ~ K[C], K[C] an integer";
    Neg           ABC Write Read     None     None     "R[A] := -R[B]";
    BNot          ABC Write Read     None     None     "R[A] := ~R[B]";
    Not           ABC Write Read     None     None     "R[A] := not R[B]";
    Len           ABC Write Read     None     None     "R[A] := #R[B]";
    Concat        ABC Group Unsigned None     None     "R[A] := R[A] .. ... .. R[A+B-1], B >= 2";

    Close         ABC Read  None     None     None     "close all upvalues and to-be-closed variables >= R[A]";
    ToBeClosed    ABC Read  None     None     None     "mark R[A] to be closed";
    Jump          ABC None  None     None     Jump     "pc += word";
    Test          ABC Read  None     Flag     Jump     "if truthy(R[A]) == C then pc += word";
    TestSet       ABC Write Read     Flag     Jump     "if truthy(R[B]) == C then R[A] := R[B]; pc += word";
    Eq            ABC Read  Read     Flag     Jump     "if (R[A] == R[B]) == C then pc += word";
    Lt            ABC Read  Read     Flag     Jump     "if (R[A] < R[B]) == C then pc += word";
    Le            ABC Read  Read     Flag     Jump     "if (R[A] <= R[B]) == C then pc += word";
    EqK           ABC Read  Constant Flag     Jump     "if (R[A] == K[B]) == C then pc += word (never a metamethod)";
    EqI           ABC Read  Signed   Flag     Jump     "if (R[A] == sB) == C then pc += word";
    LtI           ABC Read  Signed   Flag     Jump     "if (R[A] < sB) == C then pc += word";
    LeI           ABC Read  Signed   Flag     Jump     "if (R[A] <= sB) == C then pc += word";
    GtI           ABC Read  Signed   Flag     Jump     "if (R[A] > sB) == C then pc += word (metamethod: sB < R[A])";
    GeI           ABC Read  Signed   Flag     Jump     "if (R[A] >= sB) == C then pc += word (metamethod: sB <= R[A])";

    Call          ABC Group Unsigned Unsigned None     "R[A], ..., R[A+C-2] := R[A](R[A+1], ..., R[A+B-1]); B = 0: to top; C = 0: open, sets top";
    TailCall      ABC Group Unsigned Flag     None     "return R[A](R[A+1], ..., R[A+B-1]); B = 0: to top; C: close upvalues first";
    Return        ABC Group Unsigned Flag     None     "return R[A], ..., R[A+B-2]; B = 0: to top; C: close upvalues and to-be-closed variables first";
    Return0       ABC None  None     None     None     "return";
    Return1       ABC Read  None     None     None     "return R[A]";
    ForPrep       ABC Group None     None     Jump     "prepare the counters R[A..A+2], R[A+3] := start; if the loop does not run, pc += word";
    ForLoop       ABC Group None     None     Jump     "step the counters; if the loop goes on, R[A+3] := index; pc += word";
    TForPrep      ABC Group None     None     Jump     "mark R[A+3] to be closed; pc += word";
    TForCall      ABC Group None     Unsigned None     "R[A+4], ..., R[A+3+C] := R[A](R[A+1], R[A+2]), C >= 1; a TForLoop with the same A follows";
    TForLoop      ABC Group None     None     Jump     "if R[A+4] ~= nil then R[A+2] := R[A+4]; pc += word";
    SetList       ABC Group Unsigned None     Argument "R[A][word+i] := R[A+i], 1 <= i <= B; B = 0: to top";
    Closure       ABC Write Flag     None     Argument "R[A] := closure(F[word]); B: no register above A is in use";
    VarArg        ABC Group None     Unsigned None     "R[A], ..., R[A+C-2] := varargs; C = 0: all, sets top";
    VarArgPrep    ABC Unsigned None  None     None     "move the A fixed parameters above the variable arguments; first instruction of a vararg function";
}

impl Opcode {
    /// The opcode with number `byte`, if there is one.
    pub const fn from_byte(byte: u8) -> Option<Opcode> {
        if (byte as usize) < Opcode::ALL.len() { Some(Opcode::ALL[byte as usize]) } else { None }
    }

    /// The words an instruction takes: one, or two with a trailing word.
    pub const fn words(self) -> usize {
        match self.layout().trailing {
            Trailing::None => 1,
            _ => 2,
        }
    }
}
