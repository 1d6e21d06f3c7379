//! `cargo xtask …`: one command per thing a developer does with this repository.
//!
//! Each command does its own set-up, so it works on a fresh clone with only rustup, Node and Python:
//! [`setup`] checks the machine and installs npm packages, [`package`] makes the npm package and the
//! playground, [`server`] serves them, [`suites`] runs the tests. Nothing in here ships.

mod browser;
mod debian;
mod error;
mod package;
mod process;
mod reference;
mod server;
mod setup;
mod suites;

use std::path::PathBuf;
use std::process::ExitCode;

use error::{Error, Result};
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;
use suites::Suite;

const HELP: &str = "\
cargo xtask COMMAND

  build                            make the npm package (web/dist) and the playground
  serve [--port N]                 build, then serve the playground on 127.0.0.1 (default port 8080; 0 takes a free one)
  test [native | web | browsers]   build what the suite needs and run it; without a name, all three
  bench vm                         compare speed with wasmoon under Node
  differential [--programs N] [--seed S]
                                   compare N generated programs (default 10000) with lua5.4, and show those that differ

  -h, --help                       print this";

enum Command {
    Help,
    Build,
    Serve { port: u16 },
    Test(Vec<Suite>),
    BenchVm,
    Differential { programs: u64, seed: u64 },
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
        Command::Build => package::build(&root),
        Command::Serve { port } => {
            // Before the build, so that a port that is taken is reported at once.
            let listener = server::bind(port)?;
            package::build(&root)?;
            println!("{}", server::address(&listener)?);
            server::serve(&listener, &package::playground(&root));
            Ok(())
        }
        Command::Test(suites) => suites::run(&root, &suites),
        Command::BenchVm => {
            package::build(&root)?;
            process::run(process::node(&root.join("web")).args(["--expose-gc", "bench/vm.mjs"]))
        }
        Command::Differential { programs, seed } => reference::differential(&root, programs, seed),
    }
}

fn parse(mut arguments: lexopt::Parser) -> Result<Command> {
    let mut words: Vec<String> = Vec::new();
    let mut port = None;
    let (mut programs, mut seed) = (None, None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("port") => port = Some(arguments.value()?.parse()?),
            Long("programs") => programs = Some(arguments.value()?.parse()?),
            Long("seed") => seed = Some(arguments.value()?.parse()?),
            Value(word) => words.push(word.string()?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = match words.as_slice() {
        [] => Command::Help,
        ["build"] => Command::Build,
        ["serve"] => {
            let port = port.take().unwrap_or(8080);
            Command::Serve { port }
        }
        ["test"] => Command::Test(Suite::ALL.to_vec()),
        ["test", name] => Command::Test(vec![Suite::from_name(name)?]),
        ["bench", "vm"] => Command::BenchVm,
        ["differential"] => {
            Command::Differential { programs: programs.take().unwrap_or(10_000), seed: seed.take().unwrap_or(1) }
        }
        _ => {
            let words = words.join(" ");
            return Err(Error::Usage(format!("no command '{words}'\n\n{HELP}")));
        }
    };
    // What a command has not taken does not belong to it.
    match (port, programs, seed) {
        (Some(_), _, _) => Err(Error::Usage("--port belongs to serve".into())),
        (None, None, None) => Ok(command),
        _ => Err(Error::Usage("--programs and --seed belong to differential".into())),
    }
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
        assert!(matches!(check(&["serve"]), Ok(Command::Serve { port: 8080 })));
        assert!(matches!(check(&["serve", "--port", "0"]), Ok(Command::Serve { port: 0 })));
        assert!(matches!(check(&["test"]), Ok(Command::Test(suites)) if suites.len() == 3));
        assert!(matches!(check(&["differential"]), Ok(Command::Differential { programs: 10_000, seed: 1 })));
        let one = check(&["differential", "--programs", "1", "--seed", "7"]);
        assert!(matches!(one, Ok(Command::Differential { programs: 1, seed: 7 })));
        assert!(matches!(check(&["test", "web"]), Ok(Command::Test(suites)) if suites.len() == 1));
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
        ] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
