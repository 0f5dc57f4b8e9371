//! The natter program: argv in, an exit code out. Everything else is in the library.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match natter::cli::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => natter::commands::run(arguments),
        Err(error) => {
            // If nobody reads it, there is nobody to tell.
            _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(natter::cli::EXIT_USAGE)
        }
    }
}
