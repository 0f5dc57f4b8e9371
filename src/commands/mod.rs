//! What the command line can ask for, put together from the rooms below. Owns the order of a start and the exit codes.

mod archive;
mod backup;
mod check;
mod control;
mod keys;
mod member;
mod restore;
mod restoring;
mod secret;
mod serve;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::{self, Arguments, Invocation};
use crate::config::{Config, Fault, Warning};

/// Runs what argv asks for.
pub fn run(arguments: Arguments) -> ExitCode {
    let Arguments { invocation, data_dir } = arguments;
    let folder = DataFolder(data_dir);
    match invocation {
        Invocation::Serve => serve::run(&folder),
        Invocation::Check => check::run(&folder),
        Invocation::Member(command) => member::run(&folder, &command),
        Invocation::Backup { file } => backup::run(&folder, &file),
        Invocation::Restore { file, end_sessions } => restore::run(&folder, &file, end_sessions),
        Invocation::ResetSecret => secret::run(&folder),
        Invocation::Help(topic) => say(&cli::help(topic)),
        Invocation::Version => say(&format!("{}\n", cli::version())),
    }
}

/// Which server a command is for: the folder of `--data`, else that of DATA_DIR.
struct DataFolder(Option<PathBuf>);

/// A path as an operator finds it from anywhere.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// The refusal of a command that finds no server where it was told to look.
fn no_server(config: &Config) -> String {
    let database = serve::store_options(config).path;
    if let Err(error) = database.metadata()
        && !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
    {
        return format!("cannot look for the database {}: {error}", absolute(&database));
    }
    format!(
        "there is no natter server in {}: the folder holds no database (natter.db). Name the server's folder with \
         --data DIR, or by DATA_DIR",
        absolute(&config.data_dir)
    )
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
fn with_config(folder: &DataFolder, run: impl FnOnce(&Config) -> Result<(), String>) -> ExitCode {
    let (config, warnings) = match configure(folder) {
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
fn configure(folder: &DataFolder) -> Result<(Config, Vec<Warning>), ExitCode> {
    Config::from_environment(folder.0.as_deref()).map_err(|faults| refuse(&faults))
}

fn refuse(faults: &[Fault]) -> ExitCode {
    eprintln!("natter: the configuration can't be used:");
    for fault in faults {
        eprintln!("  {fault}");
    }
    ExitCode::from(cli::EXIT_USAGE)
}
