//! The command line: `cu [options] [script [args]]`, options as `lua` has them and those that limit a run.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use crate::error::Error;

pub const USAGE: &str = "\
usage: cu [options] [script [args]]
Available options are:
  -e code          execute string 'code'
  -i               enter interactive mode after executing 'script'
  -v, --version    show version information
  -W               turn warnings on
  --fuel N         stop after N units of work
  --heap SIZE      limit the heap (bytes, or with K, M or G)
  --deterministic  same seed every time; no clock, no environment
  --db FILE        open the database in FILE, creating it if need be
  -h, --help       show this text
  --               stop handling options
  -                stop handling options and execute stdin
";

/// The heap limit when the command line has none: all a 32-bit system can address, or 2 GiB.
const HEAP_LIMIT: usize = if usize::BITS > 32 { 1 << 31 } else { 1 << 30 };

/// What to run when all `-e` code has run.
#[derive(Debug, PartialEq, Eq)]
pub enum Program {
    None,
    Stdin,
    File(PathBuf),
}

/// A command line, read.
#[derive(Debug)]
pub struct Arguments {
    /// The chunks of `-e`, in order.
    pub code: Vec<Vec<u8>>,
    pub interactive: bool,
    pub help: bool,
    pub version: bool,
    pub warnings: bool,
    /// Fuel for the whole run; none for no limit.
    pub fuel: Option<u64>,
    /// In nominal bytes.
    pub heap_limit: usize,
    pub deterministic: bool,
    pub database: Option<PathBuf>,
    pub program: Program,
    pub script_arguments: Vec<Vec<u8>>,
    /// Every argument, the program's own name included.
    pub all: Vec<Vec<u8>>,
    /// Where in `all` the script is: 0 in the table `arg`.
    pub script_index: usize,
}

pub fn version() -> String {
    format!("Cu {}  (Lua 5.4)", env!("CARGO_PKG_VERSION"))
}

impl Arguments {
    /// Reads a command line, whose first argument is the program's own name. What follows `--help` is not read.
    pub fn parse(command_line: impl Iterator<Item = OsString>) -> Result<Arguments, Error> {
        let command_line: Vec<OsString> = command_line.collect();
        let bytes = |text: &OsString| text.as_encoded_bytes().to_vec();
        let mut arguments = Arguments {
            code: Vec::new(),
            interactive: false,
            help: false,
            version: false,
            warnings: false,
            fuel: None,
            heap_limit: HEAP_LIMIT,
            deterministic: false,
            database: None,
            program: Program::None,
            script_arguments: Vec::new(),
            all: command_line.iter().map(bytes).collect(),
            script_index: 0,
        };
        let mut parser = Parser::from_args(command_line.iter().skip(1));
        while let Some(argument) = parser.next().map_err(usage)? {
            match argument {
                Arg::Short('e') => arguments.code.push(bytes(&value(&mut parser, "-e")?)),
                Arg::Short('i') => arguments.interactive = true,
                Arg::Short('v') | Arg::Long("version") => arguments.version = true,
                Arg::Short('W') => arguments.warnings = true,
                Arg::Short('h') | Arg::Long("help") => {
                    arguments.help = true;
                    break;
                }
                Arg::Long("fuel") => {
                    arguments.fuel = Some(fuel(&value(&mut parser, "--fuel")?)?);
                }
                Arg::Long("heap") => {
                    arguments.heap_limit = heap_size(&value(&mut parser, "--heap")?)?;
                }
                Arg::Long("deterministic") => arguments.deterministic = true,
                Arg::Long("db") => arguments.database = Some(value(&mut parser, "--db")?.into()),
                Arg::Short(option) => {
                    return Err(Error::Usage(format!("unrecognized option '-{option}'")));
                }
                Arg::Long(option) => {
                    return Err(Error::Usage(format!("unrecognized option '--{option}'")));
                }
                Arg::Value(script) => {
                    let rest: Vec<OsString> = parser.raw_args().map_err(usage)?.collect();
                    arguments.script_arguments = rest.iter().map(bytes).collect();
                    arguments.script_index = command_line.len() - rest.len() - 1;
                    // `-- -` is a file of that name.
                    let is_stdin = script == "-" && command_line[arguments.script_index - 1] != "--";
                    arguments.program = if is_stdin { Program::Stdin } else { Program::File(script.into()) };
                    break;
                }
            }
        }
        Ok(arguments)
    }
}

fn usage(error: lexopt::Error) -> Error {
    Error::Usage(error.to_string())
}

fn value(parser: &mut Parser, option: &str) -> Result<OsString, Error> {
    parser.value().map_err(|_| Error::Usage(format!("'{option}' needs argument")))
}

fn fuel(text: &OsString) -> Result<u64, Error> {
    let parsed = text.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Error::OptionValue {
        option: "--fuel",
        problem: format!("'{}' is not a number of units", text.to_string_lossy()),
    })
}

fn heap_size(text: &OsString) -> Result<usize, Error> {
    parse_size(&text.to_string_lossy()).ok_or_else(|| Error::OptionValue {
        option: "--heap",
        problem: format!("'{}' is not a size (bytes, or with K, M or G)", text.to_string_lossy()),
    })
}

/// `512`, `512K`, `64M`, `1G`: bytes, in multiples of 1024.
fn parse_size(text: &str) -> Option<usize> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    // `parse` would take a sign.
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Arguments {
        Arguments::parse(["cu"].iter().chain(line).map(OsString::from)).expect("a good command line")
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("0", Some(0)),
            ("1000", Some(1000)),
            ("512K", Some(512 << 10)),
            ("64M", Some(64 << 20)),
            ("1g", Some(1 << 30)),
            ("", None),
            ("M", None),
            ("+1", None),
            ("1.5M", None),
            ("64MB", None),
            ("é", None),
            ("99999999999G", None),
        ] {
            assert_eq!(parse_size(text), size, "{text}");
        }
    }

    #[test]
    fn scripts() {
        for (line, program, index, script_arguments) in [
            (&[][..], Program::None, 0, &[][..]),
            (&["-i"], Program::None, 0, &[]),
            (&["-"], Program::Stdin, 1, &[]),
            (&["--", "-"], Program::File("-".into()), 2, &[]),
            (&["a.lua", "-v", "--", "x"], Program::File("a.lua".into()), 1, &["-v", "--", "x"]),
            (&["-e", "x=1", "--", "-b.lua", "-"], Program::File("-b.lua".into()), 4, &["-"]),
        ] {
            let arguments = parse(line);
            assert_eq!(arguments.program, program, "{line:?}");
            assert_eq!(arguments.script_index, index, "{line:?}");
            let expected: Vec<&[u8]> = script_arguments.iter().map(|text| text.as_bytes()).collect();
            assert_eq!(arguments.script_arguments, expected, "{line:?}");
        }
    }
}
