//! `cargo xtask …`: one command per thing a developer does with this repository.
//!
//! Each command does its own set-up, so it works on a fresh clone with only rustup, Node and Python:
//! [`setup`] checks the machine and installs npm packages, [`package`] makes the npm package and the
//! playground, [`server`] serves them, [`suites`] runs the tests, [`conformance`] those that come with Lua, [`bench`] measures.
//! Nothing in here ships.

mod bench;
mod browser;
mod conformance;
mod debian;
mod error;
mod fuzz;
mod mutants;
mod package;
mod process;
mod programs;
mod quality;
mod reference;
mod server;
mod setup;
mod source_package;
mod suites;

use std::path::PathBuf;
use std::process::ExitCode;

use error::{Error, Result};
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;
use suites::Suite;

const HELP: &str = "\
cargo xtask COMMAND

  build [vm | compile | home | storage]...
                                   make the npm package (web/dist) and the playground; with names, only those wasm modules anew
  serve [--port N]                 build, then serve the playground on 127.0.0.1 (default port 8080; 0 takes a free one)
  test [native | web | browsers]   build what the suite needs and run it; without a name, all three
  conformance [FILE...]            run the official test suite of Lua 5.4, or some of its files, with the program cu
    --browser                      in a page in Chromium instead
    --against PROGRAM              compare time and memory with another Lua, such as lua5.4
    --heavy                        run heavy.lua too: many minutes, and all the memory there is
    --stops                        stop each file several times, and go on with its image in another process
    --stops --crossing             by turns in Node and natively
  bench vm                         compare speed, start, memory and size with other Luas, in Chromium, Node and natively
    --peers NAME,...               only these (see docs/PERFORMANCE.md)
    --programs NAME,...            only these programs of fixtures/bench
    --rounds N                     counted runs of each (default 5)
    --quick                        few rounds, for a first look
  bench report                     make the tables and the chart of docs/PERFORMANCE.md anew from their record
  bench fuel                       measure what a unit of fuel stands for in time, over all kinds of work
  bench hostile                    see whether the hostile corpus ends as stated, natively and in Node, and how long its slowest case takes
  bench limits [--rounds N]        measure what fuel and limits cost, against a build without them; instructions and time
    --programs NAME,...            only these programs of fixtures/bench
  bench persist                    measure saving and restoring natively, in Node beside v8.serialize, and in Chromium, against the goals
  bench storage [--quick] [--rounds N]
                                   compare the database with IndexedDB, Dexie, SQLite and LokiJS in Chromium
    --peers NAME,...               only these databases, such as cu,sqlite
    --programs ROW,...             only these rows
    --against DIST                 with an earlier build of the package, its folder web/dist
    --built                        measure what was built last
  differential [--programs N] [--seed S]
                                   compare N generated programs (default 10000) with lua5.4, and show those that differ
  determinism [--programs N]       run fixtures and N generated programs (default 1000) natively, in Node and in browsers, interpreted and
                                   compiled, and compare output, errors, fuel and final images
  fuzz [--seconds N] [TARGET...]   run the fuzz targets, all for N seconds together (default 120), and count executions
  coverage                         run the native tests and print the share of lines they run
  mutants [--shard K/N] [FILE...]  change verifier, limits, fuel and codecs in one place at a time, and list what no test notices; with
                                   names, only files whose paths contain one
  miri [NAME...]                   run tests of the VM and its allocator that are short enough in Miri
  kills [--rounds N]               kill Chromium and cu N times (default 100) after commits and N times during them, and count what is lost
  tabs [--seconds N] [--rounds N]  have two and four tabs of Chromium write at once for N seconds (default 30), then kill one of them N times (default 10)
                                   in the middle of a commit, and count what is lost, and how long the others wait
  cycles [--rounds N]              open and close N instances (default 1000) in a page of Chromium, and measure what memory stays
  simulate [--seconds N] [--seed S]
                                   use the package in pages of Chromium as a day would, in about N seconds (default 300), compared with a model;
                                   errors, and what memory stays
  model [--rounds N] [--seed S]    compare the database with a model, N times as long as in the tests (default 20)
  crash [--cuts N] [--seed S]      cut the power N times (default 100000) at the writes of a simulated disk under the database, and compare what is
                                   left with a model
  schemas                          run the official JSON Schema test suite against the schemas of tables
  programs                         run Debian's packages of Lua modules with cu and with lua5.4, and compare

  -h, --help                       print this";

enum Command {
    Help,
    Build { modules: Vec<String> },
    Serve { port: u16 },
    Test(Vec<Suite>),
    Conformance(conformance::Options),
    BenchVm(bench::Options),
    BenchLimits { programs: Vec<String>, rounds: Option<usize> },
    BenchReport,
    BenchFuel,
    Determinism { programs: u64 },
    BenchHostile,
    BenchPersist,
    BenchStorage(bench::storage::Options),
    Differential { programs: u64, seed: u64 },
    Programs,
    Schemas,
    Fuzz(fuzz::Options),
    Coverage,
    Mutants { files: Vec<String>, shard: Option<String> },
    Miri { names: Vec<String> },
    Kills { rounds: usize },
    Tabs { seconds: u64, kills: usize },
    Cycles { rounds: usize },
    Simulate { seconds: u64, seed: Option<u64> },
    Model { times: u64, seed: u64 },
    Crash { cuts: u64, seed: u64 },
}

fn main() -> ExitCode {
    match parse(lexopt::Parser::from_env()).and_then(execute) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<()> {
    let root = root();
    match command {
        Command::Help => {
            println!("{HELP}");
            Ok(())
        }
        Command::Build { modules } => package::build_modules(&root, &modules),
        Command::Serve { port } => {
            // Before the build, so that a port that is taken is reported at once.
            let listener = server::bind(port)?;
            package::build(&root)?;
            println!("{}", server::address(&listener)?);
            server::serve(&listener, &package::playground(&root));
            Ok(())
        }
        Command::Test(suites) => suites::run(&root, &suites),
        Command::Conformance(options) => conformance::run(&root, &options),
        Command::BenchVm(options) => bench::vm(&root, &options),
        Command::BenchLimits { programs, rounds } => bench::limits::run(&root, &programs, rounds),
        Command::BenchReport => bench::report(&root),
        Command::BenchFuel => {
            process::run(process::cargo(&root).args(["run", "--release", "-p", "cu-tests", "--bin", "fuel"]))
        }
        Command::Determinism { programs } => reference::determinism(&root, programs),
        Command::BenchHostile => bench::hostile::run(&root),
        Command::BenchPersist => bench::persist::run(&root),
        Command::BenchStorage(options) => bench::storage::run(&root, &options),
        Command::Programs => programs::run(&root),
        Command::Schemas => reference::schemas(&root),
        Command::Model { times, seed } => reference::model(&root, times, seed),
        Command::Crash { cuts, seed } => reference::crash(&root, cuts, seed),
        Command::Coverage => quality::coverage(&root),
        Command::Mutants { files, shard } => mutants::run(&root, &files, shard.as_deref()),
        Command::Miri { names } => quality::miri(&root, &names),
        Command::Fuzz(options) => fuzz::run(&root, &options),
        Command::Kills { rounds } => {
            let mut native = process::cargo(&root);
            native.args(["test", "--release", "-p", "cu-cli", "--test", "kills", "--", "--nocapture"]);
            process::run(native.env("CU_KILL_ROUNDS", rounds.to_string()))?;
            package::build(&root)?;
            let mut node = process::node(&root.join("web"));
            node.arg("test/browser/kills.mjs").env("CU_KILL_ROUNDS", rounds.to_string());
            browser::run(&root, &mut node)
        }
        Command::Tabs { seconds, kills } => {
            package::build(&root)?;
            let mut node = process::node(&root.join("web"));
            node.arg("test/browser/tabs.mjs").env("CU_TAB_SECONDS", seconds.to_string());
            browser::run(&root, node.env("CU_TAB_KILLS", kills.to_string()))
        }
        Command::Cycles { rounds } => {
            package::build(&root)?;
            let mut node = process::node(&root.join("web"));
            node.arg("test/browser/cycles.mjs").env("CU_CYCLES", rounds.to_string());
            browser::run(&root, &mut node)
        }
        Command::Simulate { seconds, seed } => {
            package::build(&root)?;
            browser::simulate(&root, seconds, seed)
        }
        Command::Differential { programs, seed } => reference::differential(&root, programs, seed),
    }
}

fn parse(mut arguments: lexopt::Parser) -> Result<Command> {
    let mut words: Vec<String> = Vec::new();
    let mut given = Given::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("port") => given.port = Some(arguments.value()?.parse()?),
            Long("programs") => given.programs = Some(arguments.value()?.string()?),
            Long("peers") => given.peers = Some(arguments.value()?.string()?),
            Long("rounds") => given.rounds = Some(arguments.value()?.parse()?),
            Long("seconds") => given.seconds = Some(arguments.value()?.parse()?),
            Long("cuts") => given.cuts = Some(arguments.value()?.parse()?),
            Long("shard") => given.shard = Some(arguments.value()?.string()?),
            Long("quick") => given.quick = true,
            Long("built") => given.built = true,
            Long("seed") => given.seed = Some(arguments.value()?.parse()?),
            Long("browser") => given.browser = true,
            Long("heavy") => given.heavy = true,
            Long("stops") => given.stops = true,
            Long("crossing") => given.crossing = true,
            Long("against") => given.against = Some(arguments.value()?.into()),
            Value(word) => words.push(word.string()?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = match words.as_slice() {
        [] => Command::Help,
        ["build", modules @ ..] => Command::Build { modules: modules.iter().map(|&name| name.to_owned()).collect() },
        ["serve"] => Command::Serve { port: given.port.take().unwrap_or(8080) },
        ["test"] => Command::Test(Suite::ALL.to_vec()),
        ["test", name] => Command::Test(vec![Suite::from_name(name)?]),
        ["conformance", files @ ..] => Command::Conformance(conformance::Options {
            files: files.iter().map(|file| (*file).to_owned()).collect(),
            browser: std::mem::take(&mut given.browser),
            heavy: std::mem::take(&mut given.heavy),
            crossing: given.stops && std::mem::take(&mut given.crossing),
            stops: std::mem::take(&mut given.stops),
            against: given.against.take(),
        }),
        ["bench", "vm"] => Command::BenchVm(bench::Options {
            peers: given.peers.take().map(names).unwrap_or_default(),
            programs: given.programs.take().map(names).unwrap_or_default(),
            rounds: given.rounds.take(),
            quick: std::mem::take(&mut given.quick),
        }),
        ["bench", "limits"] => Command::BenchLimits {
            programs: given.programs.take().map(names).unwrap_or_default(),
            rounds: given.rounds.take(),
        },
        ["bench", "report"] => Command::BenchReport,
        ["bench", "fuel"] => Command::BenchFuel,
        ["determinism"] => {
            Command::Determinism { programs: given.programs.take().map_or(Ok(1_000), |text| number(&text))? }
        }
        ["bench", "hostile"] => Command::BenchHostile,
        ["bench", "persist"] => Command::BenchPersist,
        ["bench", "storage"] => Command::BenchStorage(bench::storage::Options {
            rounds: given.rounds.take(),
            quick: std::mem::take(&mut given.quick),
            peers: given.peers.take().map(names).unwrap_or_default(),
            rows: given.programs.take().map(names).unwrap_or_default(),
            against: given.against.take(),
            built: std::mem::take(&mut given.built),
        }),
        ["kills"] => Command::Kills { rounds: given.rounds.take().unwrap_or(100) },
        ["tabs"] => {
            Command::Tabs { seconds: given.seconds.take().unwrap_or(30), kills: given.rounds.take().unwrap_or(10) }
        }
        ["cycles"] => Command::Cycles { rounds: given.rounds.take().unwrap_or(1000) },
        ["simulate"] => Command::Simulate { seconds: given.seconds.take().unwrap_or(300), seed: given.seed.take() },
        ["programs"] => Command::Programs,
        ["schemas"] => Command::Schemas,
        ["model"] => Command::Model {
            times: given.rounds.take().map_or(20, |rounds| rounds as u64),
            seed: given.seed.take().unwrap_or(2),
        },
        ["crash"] => {
            Command::Crash { cuts: given.cuts.take().unwrap_or(100_000), seed: given.seed.take().unwrap_or(51) }
        }
        ["coverage"] => Command::Coverage,
        ["mutants", files @ ..] => {
            Command::Mutants { files: files.iter().map(|&name| name.to_owned()).collect(), shard: given.shard.take() }
        }
        ["miri", names @ ..] => Command::Miri { names: names.iter().map(|&name| name.to_owned()).collect() },
        ["fuzz", targets @ ..] => Command::Fuzz(fuzz::Options {
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
            seconds: given.seconds.take().unwrap_or(fuzz::SECONDS),
        }),
        ["differential"] => Command::Differential {
            programs: given.programs.take().map_or(Ok(10_000), |text| number(&text))?,
            seed: given.seed.take().unwrap_or(1),
        },
        _ => {
            let words = words.join(" ");
            return Err(Error::Usage(format!("no command '{words}'\n\n{HELP}")));
        }
    };
    given.check_taken()?;
    Ok(command)
}

/// The options of all commands; each takes its own.
#[derive(Default)]
struct Given {
    port: Option<u16>,
    /// A number for `differential` and `determinism`, names for `bench`.
    programs: Option<String>,
    peers: Option<String>,
    rounds: Option<usize>,
    quick: bool,
    built: bool,
    seed: Option<u64>,
    seconds: Option<u64>,
    cuts: Option<u64>,
    shard: Option<String>,
    browser: bool,
    heavy: bool,
    stops: bool,
    crossing: bool,
    against: Option<PathBuf>,
}

impl Given {
    /// What a command has not taken does not belong to it.
    fn check_taken(&self) -> Result<()> {
        let left = [
            (self.port.is_some(), "--port belongs to serve"),
            (self.programs.is_some(), "--programs belongs to determinism, differential and, as names, to bench"),
            (self.built, "--built belongs to bench storage"),
            (self.seed.is_some(), "--seed belongs to crash, differential, model and simulate"),
            (self.cuts.is_some(), "--cuts belongs to crash"),
            (self.seconds.is_some(), "--seconds belongs to fuzz, simulate and tabs"),
            (self.shard.is_some(), "--shard belongs to mutants"),
            (
                self.peers.is_some() || self.rounds.is_some() || self.quick,
                "--peers, --rounds and --quick belong to bench vm and bench storage, --rounds to bench limits, cycles, kills, model and tabs",
            ),
            (self.crossing, "--crossing belongs to conformance --stops"),
            (
                self.browser || self.heavy || self.stops || self.against.is_some(),
                "--browser, --heavy, --stops and --against belong to conformance, the last to bench storage",
            ),
        ];
        match left.iter().find(|(given, _)| *given) {
            Some((_, message)) => Err(Error::Usage((*message).into())),
            None => Ok(()),
        }
    }
}

fn names(list: String) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| Error::Usage(format!("'{text}' is no number of programs")))
}

/// The folder of the workspace. Cargo names this package's folder at run time too, so a moved checkout works.
fn root() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map(PathBuf::from).unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str]) -> Result<Command> {
        parse(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn commands() {
        assert!(matches!(check(&[]), Ok(Command::Help)));
        assert!(matches!(check(&["build", "storage"]), Ok(Command::Build { modules }) if modules == ["storage"]));
        assert!(matches!(check(&["serve"]), Ok(Command::Serve { port: 8080 })));
        assert!(matches!(check(&["serve", "--port", "0"]), Ok(Command::Serve { port: 0 })));
        assert!(matches!(check(&["test"]), Ok(Command::Test(suites)) if suites.len() == 3));
        assert!(matches!(check(&["differential"]), Ok(Command::Differential { programs: 10_000, seed: 1 })));
        let fuzz = check(&["fuzz", "--seconds", "8", "page"]);
        assert!(matches!(fuzz, Ok(Command::Fuzz(options)) if options.seconds == 8 && options.targets == ["page"]));
        assert!(matches!(check(&["mutants", "--shard", "1/8"]), Ok(Command::Mutants { shard: Some(_), .. })));
        let one = check(&["differential", "--programs", "1", "--seed", "7"]);
        assert!(matches!(one, Ok(Command::Differential { programs: 1, seed: 7 })));
        assert!(matches!(check(&["test", "web"]), Ok(Command::Test(suites)) if suites.len() == 1));
        assert!(matches!(check(&["conformance"]), Ok(Command::Conformance(options)) if options.files.is_empty()));
        let bench = check(&["bench", "vm", "--peers", "cu, wasmoon", "--programs", "fib", "--rounds", "3", "--quick"]);
        assert!(matches!(bench, Ok(Command::BenchVm(options))
            if options.peers == ["cu", "wasmoon"] && options.programs == ["fib"] && options.rounds == Some(3) && options.quick));
        assert!(matches!(check(&["kills", "--rounds", "3"]), Ok(Command::Kills { rounds: 3 })));
        assert!(matches!(check(&["crash", "--cuts", "9"]), Ok(Command::Crash { cuts: 9, seed: 51 })));
        assert!(matches!(check(&["tabs", "--seconds", "5"]), Ok(Command::Tabs { seconds: 5, kills: 10 })));
        assert!(matches!(check(&["cycles"]), Ok(Command::Cycles { rounds: 1000 })));
        let storage = check(&["bench", "storage", "--quick"]);
        assert!(matches!(storage, Ok(Command::BenchStorage(options)) if options.quick && options.rounds.is_none()));
        let crossing = check(&["conformance", "--stops", "--crossing"]);
        assert!(matches!(crossing, Ok(Command::Conformance(options)) if options.stops && options.crossing));
        let command = check(&["conformance", "pm.lua", "--against", "lua5.4"]);
        assert!(
            matches!(command, Ok(Command::Conformance(options)) if options.files == ["pm.lua"] && options.against.is_some())
        );
    }

    #[test]
    fn mistakes_are_named() {
        for wrong in [
            &["bild"][..],
            &["test", "nothing"],
            &["serve", "--port", "70000"],
            &["test", "--seed", "1"],
            &["build", "--port", "1"],
            &["--fast"],
            &["build", "--heavy"],
            &["conformance", "--crossing"],
            &["build", "--quick"],
            &["differential", "--programs", "fib"],
            &["determinism", "--programs", "-1"],
            &["determinism", "--seed", "1"],
            &["bench"],
            &["fuzz", "--shard", "1/2"],
            &["miri", "--seconds", "1"],
            &["model", "--cuts", "1"],
        ] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
