//! The command line: `cu [options] [script [args]]`, options as `lua` reads them and, in long form, those that limit a run.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::Error;
use crate::files::path;

/// What `--help` shows after a line with the program's name.
pub const OPTIONS: &str = "\
Available options are:
  -e stat          execute string 'stat'
  -i               enter interactive mode after executing 'script'
  -l mod           require library 'mod' into global 'mod'
  -l g=mod         require library 'mod' into global 'g'
  -v, --version    show version information
  -E               ignore environment variables
  -W               turn warnings on
  --fuel N         stop after N units of work
  --heap SIZE      limit the heap (bytes, or with K, M or G); by default 16G
  --deterministic  same seed every time; no clock, no files, no environment
  --sandbox        give the script no more than the sandbox profile
  --db FILE        keep the table '_home' in the database in FILE
  --read TABLES    tables of the database that the script may read, and
  --write TABLES   read and change; names with commas, '_home' is one;
                   without both, all
  --audit WHO      note the run and its end in the database's audit log
  --atomic         undo what a run that failed has done to '_home'
  --help           show this text
  --               stop handling options
  -                stop handling options and execute stdin
Images of a run:
  cu snapshot [options] script [args] --after N -o FILE
                   run for N units of work, then save the whole VM
  cu resume FILE [--fuel N] [--after N -o FILE]
                   go on with a saved run
                   with --db FILE both have the tables of 'ext', not '_home';
                   --read and --write as above
  cu image FILE    show what is in an image
";

/// The heap limit when the command line has none, in nominal bytes: more than most machines have, less than what would make the
/// whole machine fail before the program. A 32-bit system cannot address that much.
pub const HEAP_LIMIT: usize = if usize::BITS > 32 { 1 << 34 } else { 1 << 30 };

/// What an option asks to do before the script runs.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// `-e`.
    Execute(Vec<u8>),
    /// `-l`: what `require` gives for `module` becomes the global variable.
    Require { global: Vec<u8>, module: Vec<u8> },
    /// `-W`.
    WarningsOn,
}

/// What to run when all that options ask for is done.
#[derive(Debug, PartialEq, Eq)]
pub enum Program {
    None,
    Stdin,
    File(PathBuf),
}

/// Names of tables that a script may use.
#[derive(Debug, Default, Clone)]
pub struct Tables {
    pub read: Vec<String>,
    /// These may be read too.
    pub write: Vec<String>,
}

impl Tables {
    pub fn may_change(&self, name: &str) -> bool {
        self.write.iter().any(|listed| listed == name)
    }

    pub fn may_read(&self, name: &str) -> bool {
        self.may_change(name) || self.read.iter().any(|listed| listed == name)
    }
}

/// A command line, read.
#[derive(Debug)]
pub struct Arguments {
    /// In the order of the command line.
    pub tasks: Vec<Task>,
    pub interactive: bool,
    pub help: bool,
    pub version: bool,
    pub ignores_environment: bool,
    /// Fuel for the whole run; none for no limit.
    pub fuel: Option<u64>,
    /// In nominal bytes.
    pub heap_limit: usize,
    pub deterministic: bool,
    /// Whether the script gets the sandbox profile instead of the whole library.
    pub sandboxed: bool,
    pub database: Option<PathBuf>,
    /// On whose behalf the run is noted in the audit log; it is not, without.
    pub audit: Option<String>,
    /// Which tables of the database the script may use; all, without.
    pub tables: Option<Tables>,
    /// Whether a failed run leaves `_home` as it was.
    pub atomic: bool,
    pub program: Program,
    /// Every argument, the program's own name included.
    pub all: Vec<Vec<u8>>,
    /// Where in `all` the script is: 0 in the table `arg`.
    pub script_index: usize,
}

/// Ends as the line of `lua -v` does, by which programs know whose language it is.
pub fn version() -> String {
    format!("Cu {}  Lua 5.4, a language by Lua.org, PUC-Rio", env!("CARGO_PKG_VERSION"))
}

/// The words of a command line and how far they were read.
struct Words {
    words: Vec<Vec<u8>>,
    position: usize,
}

impl Words {
    fn next(&mut self) -> Option<Vec<u8>> {
        let word = self.words.get(self.position).cloned();
        self.position += 1;
        word
    }
}

impl Arguments {
    /// Reads a command line, whose first argument is the program's own name. What follows `--help` is not read.
    pub fn parse(command_line: impl Iterator<Item = OsString>) -> Result<Arguments, Error> {
        let all: Vec<Vec<u8>> = command_line.map(OsString::into_encoded_bytes).collect();
        let mut words = Words { words: all.clone(), position: 1 };
        let mut arguments = Arguments {
            tasks: Vec::new(),
            interactive: false,
            help: false,
            version: false,
            ignores_environment: false,
            fuel: None,
            heap_limit: HEAP_LIMIT,
            deterministic: false,
            sandboxed: false,
            database: None,
            audit: None,
            tables: None,
            atomic: false,
            program: Program::None,
            all,
            script_index: 0,
        };
        while let Some(word) = words.next() {
            match &word[..] {
                b"-" => arguments.program = Program::Stdin,
                // After `--`, also `-` names a file.
                b"--" => match words.next() {
                    Some(script) => arguments.program = Program::File(path(&script)),
                    None => break,
                },
                [b'-', b'-', ..] => arguments.long_option(&word, &mut words)?,
                [b'-', ..] => arguments.short_option(&word, &mut words)?,
                _ => arguments.program = Program::File(path(&word)),
            }
            if arguments.help {
                break;
            }
            if arguments.program != Program::None {
                arguments.script_index = words.position - 1;
                break;
            }
        }
        Ok(arguments)
    }

    /// An option of `lua`. Only those with a value take more than their letter.
    fn short_option(&mut self, word: &[u8], words: &mut Words) -> Result<(), Error> {
        match word {
            b"-i" => {
                self.interactive = true;
                self.version = true;
            }
            b"-v" => self.version = true,
            b"-E" => self.ignores_environment = true,
            b"-W" => self.tasks.push(Task::WarningsOn),
            [b'-', letter @ (b'e' | b'l'), attached @ ..] => {
                let value = match attached {
                    [] => words.next().filter(|value| value.first() != Some(&b'-')).ok_or_else(|| needs_value(word))?,
                    attached => attached.to_vec(),
                };
                self.tasks.push(if *letter == b'e' { Task::Execute(value) } else { library(&value) });
            }
            _ => return Err(unrecognized(word)),
        }
        Ok(())
    }

    /// An option of `cu`, its value after `=` or in the next word.
    fn long_option(&mut self, word: &[u8], words: &mut Words) -> Result<(), Error> {
        let (name, attached) = match word.iter().position(|byte| *byte == b'=') {
            Some(end) => (&word[..end], Some(word[end + 1..].to_vec())),
            None => (word, None),
        };
        let has_value = attached.is_some();
        let mut value = || attached.clone().or_else(|| words.next()).ok_or_else(|| needs_value(name));
        match name {
            b"--fuel" => self.fuel = Some(fuel(&value()?)?),
            b"--heap" => self.heap_limit = heap_size(&value()?)?,
            b"--db" => self.database = Some(path(&value()?)),
            b"--audit" => self.audit = Some(String::from_utf8_lossy(&value()?).into_owned()),
            b"--read" => self.tables.get_or_insert_default().read.extend(names(&value()?)),
            b"--write" => self.tables.get_or_insert_default().write.extend(names(&value()?)),
            _ if has_value => return Err(unrecognized(word)),
            b"--atomic" => self.atomic = true,
            b"--deterministic" => self.deterministic = true,
            b"--sandbox" => self.sandboxed = true,
            b"--version" => self.version = true,
            b"--help" => self.help = true,
            _ => return Err(unrecognized(word)),
        }
        Ok(())
    }
}

/// `g=mod`, or `mod`, which is also the variable's name; that ends at a `-`, which begins a version.
fn library(value: &[u8]) -> Task {
    let cut = |mark: u8| value.iter().position(|byte| *byte == mark);
    match (cut(b'='), cut(b'-')) {
        (Some(end), _) => Task::Require { global: value[..end].to_vec(), module: value[end + 1..].to_vec() },
        (None, Some(end)) => Task::Require { global: value[..end].to_vec(), module: value.to_vec() },
        (None, None) => Task::Require { global: value.to_vec(), module: value.to_vec() },
    }
}

pub fn names(list: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(list).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn needs_value(option: &[u8]) -> Error {
    Error::Usage(format!("'{}' needs argument", String::from_utf8_lossy(option)))
}

pub fn unrecognized(word: &[u8]) -> Error {
    Error::Usage(format!("unrecognized option '{}'", String::from_utf8_lossy(word)))
}

fn fuel(text: &[u8]) -> Result<u64, Error> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Error::OptionValue {
        option: "--fuel",
        problem: format!("'{}' is not a number of units", String::from_utf8_lossy(text)),
    })
}

fn heap_size(text: &[u8]) -> Result<usize, Error> {
    let text = String::from_utf8_lossy(text);
    parse_size(&text).ok_or_else(|| Error::OptionValue {
        option: "--heap",
        problem: format!("'{text}' is not a size (bytes, or with K, M or G)"),
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
        for (line, program, index) in [
            (&[][..], Program::None, 0),
            (&["-i"], Program::None, 0),
            (&["--"], Program::None, 0),
            (&["-"], Program::Stdin, 1),
            (&["--", "-"], Program::File("-".into()), 2),
            (&["a.lua", "-v", "--", "x"], Program::File("a.lua".into()), 1),
            (&["-e", "x=1", "--", "-b.lua", "-"], Program::File("-b.lua".into()), 4),
            (&["--heap=1M", "--fuel", "7", "a.lua", "--help"], Program::File("a.lua".into()), 4),
        ] {
            let arguments = parse(line);
            assert_eq!(arguments.program, program, "{line:?}");
            assert_eq!(arguments.script_index, index, "{line:?}");
            assert!(!arguments.help, "{line:?}");
        }
    }

    #[test]
    fn tasks_keep_their_order() {
        let require = |global: &str, module: &str| Task::Require { global: global.into(), module: module.into() };
        let tasks = parse(&["-lm=math", "-W", "-ex = 1", "-l", "a-v2", "-l", "b"]).tasks;
        let expected = [
            require("m", "math"),
            Task::WarningsOn,
            Task::Execute(b"x = 1".to_vec()),
            require("a", "a-v2"),
            require("b", "b"),
        ];
        assert_eq!(tasks, expected);
    }
}
