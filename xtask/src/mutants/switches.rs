//! A source file in which each small change of its code stands beside the code, behind a switch.
//!
//! `a < b` becomes a `match` on the number of the change that is on, with `a <= b` and the like in its arms, and with the code as it was when
//! none of its own is on. So one build holds all changes, and trying one is running a program. In the arms of changes the operands
//! are as they were written, since only one change is on at a time.
//!
//! What is changed is what `cargo-mutants` changes: operators of two operands, negations, results of whole functions, guards, and arms of matches
//! that have another arm for everything. Constants, macros' arguments and patterns are left alone, as are functions whose result is no number,
//! flag, option, list or `Result` of these.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, ReturnType, Type, UnOp};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub line: usize,
    /// The function it is in.
    pub function: String,
    /// What is done: `- replaces + in a + b`.
    pub what: String,
}

/// A file with its changes, and the text that has them all.
pub struct Switched {
    pub changes: Vec<Change>,
    pub text: String,
}

type Bytes = std::ops::Range<usize>;

/// A place with changes.
enum Site {
    /// Two operands and the operators instead of the one between them.
    Binary { left: Bytes, right: Bytes, operators: Vec<&'static str> },
    /// A sign that is left out.
    Sign { operand: Bytes },
    /// The beginning of a function's body, and the results that it gives instead.
    Body { results: Vec<String> },
    /// A guard that always or never holds.
    Guard,
    /// The end of a pattern without guard, whose arm is left out.
    Arm,
    /// A word that must go: functions with switches are no `const fn`.
    Word,
}

struct Place {
    range: Bytes,
    /// The number of its first change.
    first: usize,
    site: Site,
}

/// Puts the changes of a file behind switches, numbered from `first` on; those for which `is_left_out` holds are not in the text. Functions
/// named in `constant` are needed while compiling and stay as they are.
pub fn switch(
    source: &str,
    first: usize,
    constant: &[&str],
    is_left_out: &dyn Fn(usize) -> bool,
) -> Result<Switched, syn::Error> {
    let file = syn::parse_file(source)?;
    let mut finder = Finder { source, constant, functions: Vec::new(), changes: Vec::new(), places: Vec::new(), first };
    finder.visit_file(&file);
    let Finder { changes, mut places, .. } = finder;
    // Outer places come before those in them.
    places.sort_by_key(|place| (place.range.start, std::cmp::Reverse(place.range.end)));
    let items = file.items.first().map_or(source.len(), |item| bytes(item.span()).start);
    let mut text = source[..items].to_owned();
    text += "#![allow(warnings, arithmetic_overflow, unconditional_panic, unconditional_recursion)]\n";
    render(source, items..source.len(), &places, is_left_out, &mut text);
    text += CHOICE;
    Ok(Switched { changes, text })
}

/// Which change is on, as the environment says: its place among `count` from `first` on, from 1 on, or 0.
const CHOICE: &str = r#"
#[inline]
fn cu_mutant(first: u32, count: u32) -> u32 {
    static CHOSEN: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let read = || std::env::var("CU_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(u32::MAX);
    let chosen = *CHOSEN.get_or_init(read);
    if chosen >= first && chosen - first < count { chosen - first + 1 } else { 0 }
}
"#;

/// The change in whose arm a byte of the text lies.
pub fn change_at(text: &str, byte: usize) -> Option<usize> {
    let start = text.get(..byte)?.rfind("/*M")?;
    let number = text[start + 3..].split_once("*/")?.0;
    number.parse().ok()
}

fn bytes(span: Span) -> Bytes {
    span.byte_range()
}

fn render(source: &str, range: Bytes, places: &[Place], is_left_out: &dyn Fn(usize) -> bool, out: &mut String) {
    let mut at = range.start;
    let mut rest = places;
    while let Some((place, behind)) = rest.split_first() {
        if place.range.start < at || place.range.end > range.end {
            rest = behind;
            continue;
        }
        *out += &source[at..place.range.start];
        at = place.range.end;
        let count = behind.iter().take_while(|inner| inner.range.start < at && inner.range.end <= at).count();
        let (inner, behind) = behind.split_at(count);
        render_place(source, place, inner, is_left_out, out);
        rest = behind;
    }
    *out += &source[at..range.end];
}

fn render_place(source: &str, place: &Place, inner: &[Place], is_left_out: &dyn Fn(usize) -> bool, out: &mut String) {
    let first = place.first;
    let arms = |codes: &[String], out: &mut String| {
        *out += &format!("match cu_mutant({first}, {}) {{\n", codes.len());
        for (index, code) in codes.iter().enumerate().filter(|(index, _)| !is_left_out(first + index)) {
            *out += &format!("{} => {{ /*M{}*/ {code} /*M*/ }}\n", index + 1, first + index);
        }
    };
    let whole = |range: &Bytes, out: &mut String| {
        *out += "(";
        let start = inner.partition_point(|place| place.range.start < range.start);
        render(source, range.clone(), &inner[start..], is_left_out, out);
        *out += ")";
    };
    match &place.site {
        Site::Binary { left, right, operators } => {
            let code = |operator: &&str| format!("({}) {operator} ({})", &source[left.clone()], &source[right.clone()]);
            *out += "(";
            arms(&operators.iter().map(code).collect::<Vec<_>>(), out);
            *out += "_ => ";
            whole(left, out);
            *out += &source[left.end..right.start];
            whole(right, out);
            *out += "\n})";
        }
        Site::Sign { operand } => {
            *out += "(";
            arms(&[format!("({})", &source[operand.clone()])], out);
            *out += "_ => ";
            *out += &source[place.range.start..operand.start];
            whole(operand, out);
            *out += "\n})";
        }
        Site::Body { results } => {
            arms(&results.iter().map(|result| format!("return {result};")).collect::<Vec<_>>(), out);
            *out += "_ => {}\n}\n";
        }
        Site::Guard => {
            *out += "(";
            arms(&["true".to_owned(), "false".to_owned()], out);
            *out += "_ => ";
            whole(&place.range, out);
            *out += "\n})";
        }
        Site::Arm if is_left_out(first) => {}
        Site::Arm => *out += &format!(" if cu_mutant({first}, 1) == 0"),
        Site::Word => {}
    }
}

struct Finder<'a> {
    source: &'a str,
    constant: &'a [&'a str],
    /// The functions around what is looked at.
    functions: Vec<String>,
    changes: Vec<Change>,
    places: Vec<Place>,
    first: usize,
}

impl Finder<'_> {
    fn add(&mut self, range: Bytes, site: Site, whats: impl IntoIterator<Item = String>) {
        let first = self.first + self.changes.len();
        let line = self.source[..range.start].matches('\n').count() + 1;
        let function = self.functions.last().cloned().unwrap_or_default();
        let change = |what| Change { line, function: function.clone(), what };
        self.changes.extend(whats.into_iter().map(change));
        self.places.push(Place { range, first, site });
    }

    /// Code in one line, shortened.
    fn shown(&self, range: Bytes) -> String {
        let words: Vec<&str> = self.source[range].split_whitespace().collect();
        let text = words.join(" ").replace('|', "¦");
        if text.chars().count() <= 60 { text } else { text.chars().take(59).chain(['…']).collect() }
    }

    fn function(&mut self, attributes: &[syn::Attribute], signature: &syn::Signature, block: &syn::Block) {
        let name = signature.ident.to_string();
        if is_test(attributes) || self.constant.contains(&name.as_str()) {
            return;
        }
        if let Some(word) = &signature.constness {
            self.add(bytes(word.span()), Site::Word, []);
        }
        self.functions.push(name);
        let results = results(&signature.output);
        let start = bytes(block.brace_token.span.open()).end;
        let is_empty = block.stmts.is_empty();
        if !results.is_empty() && !is_empty {
            let whats: Vec<String> = results.iter().map(|result| format!("gives {result}")).collect();
            self.add(start..start, Site::Body { results }, whats);
        }
        visit::visit_block(self, block);
        self.functions.pop();
    }
}

/// Whether code is built only for tests or for the build without limits.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || matches!(&attribute.meta, syn::Meta::List(list)
                if list.path.is_ident("cfg") && matches!(list.tokens.to_string().as_str(), "test" | "cu_unlimited"))
    })
}

fn results(output: &ReturnType) -> Vec<String> {
    match output {
        ReturnType::Default => vec!["()".into()],
        ReturnType::Type(_, kind) => values(kind),
    }
}

/// Values of a type that code can be written for without knowing more.
fn values(kind: &Type) -> Vec<String> {
    let strings = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let path = match kind {
        Type::Tuple(tuple) if tuple.elems.is_empty() => return vec!["()".into()],
        Type::Path(path) => path,
        _ => return Vec::new(),
    };
    let Some(last) = path.path.segments.last() else { return Vec::new() };
    let inner = match &last.arguments {
        syn::PathArguments::AngleBracketed(arguments) => arguments.args.iter().find_map(|argument| match argument {
            syn::GenericArgument::Type(kind) => Some(values(kind)),
            _ => None,
        }),
        _ => None,
    };
    let inner = inner.unwrap_or_default();
    match last.ident.to_string().as_str() {
        "bool" => strings(&["true", "false"]),
        "u8" | "u16" | "u32" | "u64" | "usize" => strings(&["0", "1"]),
        "i8" | "i16" | "i32" | "i64" | "isize" => strings(&["0", "1", "-1"]),
        "f64" => strings(&["0.0", "1.0", "-1.0"]),
        "Vec" => strings(&["Vec::new()"]),
        "String" => strings(&["String::new()", "\"xyzzy\".into()"]),
        "Option" => {
            std::iter::once("None".to_owned()).chain(inner.iter().map(|value| format!("Some({value})"))).collect()
        }
        "Result" => inner.iter().map(|value| format!("Ok({value})")).collect(),
        _ => Vec::new(),
    }
}

fn replacements(operator: &BinOp) -> (&'static str, &'static [&'static str]) {
    match operator {
        BinOp::Eq(_) => ("==", &["!="]),
        BinOp::Ne(_) => ("!=", &["=="]),
        BinOp::Lt(_) => ("<", &["==", ">", "<="]),
        BinOp::Gt(_) => (">", &["==", "<", ">="]),
        BinOp::Le(_) => ("<=", &[">", "<"]),
        BinOp::Ge(_) => (">=", &["<", ">"]),
        BinOp::And(_) => ("&&", &["||"]),
        BinOp::Or(_) => ("||", &["&&"]),
        BinOp::Add(_) => ("+", &["-", "*"]),
        BinOp::Sub(_) => ("-", &["+", "/"]),
        BinOp::Mul(_) => ("*", &["+", "/"]),
        BinOp::Div(_) => ("/", &["%", "*"]),
        BinOp::Rem(_) => ("%", &["/", "+"]),
        BinOp::Shl(_) => ("<<", &[">>"]),
        BinOp::Shr(_) => (">>", &["<<"]),
        BinOp::BitAnd(_) => ("&", &["|", "^"]),
        BinOp::BitOr(_) => ("|", &["&", "^"]),
        BinOp::BitXor(_) => ("^", &["|", "&"]),
        BinOp::AddAssign(_) => ("+=", &["-=", "*="]),
        BinOp::SubAssign(_) => ("-=", &["+=", "/="]),
        BinOp::MulAssign(_) => ("*=", &["+=", "/="]),
        BinOp::DivAssign(_) => ("/=", &["%=", "*="]),
        BinOp::ShlAssign(_) => ("<<=", &[">>="]),
        BinOp::ShrAssign(_) => (">>=", &["<<="]),
        BinOp::BitAndAssign(_) => ("&=", &["|=", "^="]),
        BinOp::BitOrAssign(_) => ("|=", &["&=", "^="]),
        BinOp::BitXorAssign(_) => ("^=", &["|=", "&="]),
        _ => ("", &[]),
    }
}

/// Whether a condition binds variables: its parts cannot be put into other expressions.
fn binds(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(binary) => binds(&binary.left) || binds(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_item_enum(&mut self, _: &'ast syn::ItemEnum) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let (written, operators) = replacements(&binary.op);
        if !operators.is_empty() && !binds(&binary.left) && !binds(&binary.right) {
            let (left, right) = (bytes(binary.left.span()), bytes(binary.right.span()));
            let range = left.start..right.end;
            let shown = self.shown(range.clone());
            let what = |operator: &&str| format!("{operator} replaces {written} in {shown}").replace('|', "¦");
            let whats: Vec<String> = operators.iter().map(what).collect();
            self.add(range, Site::Binary { left, right, operators: operators.to_vec() }, whats);
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        if matches!(unary.op, UnOp::Not(_) | UnOp::Neg(_)) && !matches!(*unary.expr, Expr::Lit(_)) {
            let range = bytes(unary.span());
            let what = format!("no sign in {}", self.shown(range.clone()));
            self.add(range, Site::Sign { operand: bytes(unary.expr.span()) }, [what]);
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_match(&mut self, expression: &'ast syn::ExprMatch) {
        let is_rest = |arm: &syn::Arm| arm.guard.is_none() && matches!(arm.pat, syn::Pat::Wild(_));
        let has_rest = expression.arms.iter().any(is_rest);
        for arm in &expression.arms {
            let pattern = bytes(arm.pat.span());
            match &arm.guard {
                Some((_, guard)) if !binds(guard) => {
                    let range = bytes(guard.span());
                    let shown = self.shown(range.clone());
                    self.add(range, Site::Guard, ["true", "false"].map(|value| format!("guard {shown} is {value}")));
                }
                None if has_rest && !is_rest(arm) => {
                    let what = format!("no arm {}", self.shown(pattern.clone()));
                    self.add(pattern.end..pattern.end, Site::Arm, [what]);
                }
                _ => {}
            }
        }
        visit::visit_expr_match(self, expression);
    }
}

#[cfg(test)]
mod tests;
