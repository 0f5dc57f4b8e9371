//! The natter program: argv in, an exit code out. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    match natter::cli::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => natter::commands::run(arguments),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(natter::cli::EXIT_USAGE)
        }
    }
}
