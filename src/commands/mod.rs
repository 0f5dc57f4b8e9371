//! What the command line can ask for, put together from the rooms below. Owns the order of a start and the exit codes.

mod archive;
mod backup;
mod check;
mod control;
mod member;
mod restore;
mod serve;

use std::process::ExitCode;

use crate::cli::{self, Invocation};
use crate::config::{Config, Fault, Warning};

/// Runs what argv asks for.
pub fn run(invocation: Invocation) -> ExitCode {
    match invocation {
        Invocation::Serve => serve::run(),
        Invocation::Check => check::run(),
        Invocation::Member(command) => member::run(&command),
        Invocation::Backup { file } => backup::run(&file),
        Invocation::Restore { file } => restore::run(&file),
        Invocation::Help(topic) => say(&cli::help(topic)),
        Invocation::Version => say(&format!("{}\n", cli::version())),
    }
}

/// Prints to stdout; a reader that has gone is not our fault.
fn say(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A command that needs nothing but a good configuration: warnings and what went wrong are told on stderr.
fn with_config(run: impl FnOnce(&Config) -> Result<(), String>) -> ExitCode {
    let (config, warnings) = match configure() {
        Ok(configured) => configured,
        Err(code) => return code,
    };
    for warning in &warnings {
        eprintln!("natter: {warning}");
    }
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("natter: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// The configuration, or every fault of it at once on stderr.
fn configure() -> Result<(Config, Vec<Warning>), ExitCode> {
    Config::from_environment().map_err(|faults| refuse(&faults))
}

fn refuse(faults: &[Fault]) -> ExitCode {
    eprintln!("natter: the configuration can't be used:");
    for fault in faults {
        eprintln!("  {fault}");
    }
    ExitCode::from(cli::EXIT_USAGE)
}
