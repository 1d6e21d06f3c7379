//! The metamethods and their names (manual §2.4).

macro_rules! metamethods {
    ($($variant:ident $name:literal;)*) => {
        /// An event that a metatable can handle.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Metamethod { $( $variant, )* }

        impl Metamethod {
            pub(crate) const ALL: &'static [Metamethod] = &[ $( Metamethod::$variant, )* ];

            /// The field's name, such as `__index`.
            pub const fn name(self) -> &'static str {
                match self { $( Metamethod::$variant => $name, )* }
            }
        }
    };
}

metamethods! {
    Index "__index";
    NewIndex "__newindex";
    Call "__call";
    Eq "__eq";
    Lt "__lt";
    Le "__le";
    Len "__len";
    Concat "__concat";
    Add "__add";
    Sub "__sub";
    Mul "__mul";
    Div "__div";
    Mod "__mod";
    Pow "__pow";
    IDiv "__idiv";
    BAnd "__band";
    BOr "__bor";
    BXor "__bxor";
    Shl "__shl";
    Shr "__shr";
    Unm "__unm";
    BNot "__bnot";
    Close "__close";
    Gc "__gc";
    Mode "__mode";
    Name "__name";
    ToString "__tostring";
    Pairs "__pairs";
    Metatable "__metatable";
}

const _: () = assert!(Metamethod::ALL.len() <= 32, "the absence bits of a table are 32");
