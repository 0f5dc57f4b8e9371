//! The commands of the command line, built from the layers below.
//!
//! Owns the order of a start and the exit codes.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic if nobody reads: see `output`")]

mod archive;
mod backup;
mod bot;
mod check;
#[cfg(feature = "cluster")]
mod cluster;
mod control;
#[cfg(feature = "cluster")]
mod copies;
mod https;
mod import;
mod invite;
mod keys;
mod member;
mod moderation;
mod output;
mod prepare;
mod restore;
mod restoring;
mod secret;
mod serve;
mod status;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::output::{Failure, Output, note};
use crate::cli::{self, Arguments, Invocation};
use crate::config::{Config, Warning};
use crate::runtime::look_up_without_plugins;

/// Runs the command of the arguments.
pub fn run(arguments: Arguments) -> ExitCode {
    look_up_without_plugins();
    let Arguments { invocation, data_dir, json } = arguments;
    let output = Output { json };
    let folder = DataFolder(data_dir);
    match invocation {
        Invocation::Serve => serve::run(&folder),
        Invocation::Check => check::run(&folder),
        Invocation::Member(command) => member::run(&folder, &command, output),
        Invocation::Group(command) => moderation::group(&folder, &command, output),
        Invocation::DeleteMessage { message } => moderation::delete_message(&folder, &message),
        Invocation::Audit => moderation::audit(&folder, output),
        Invocation::Invite(command) => invite::run(&folder, &command, output),
        Invocation::Bot(command) => bot::run(&folder, &command, output),
        Invocation::Backup { file } => backup::run(&folder, &file),
        Invocation::Status { json } => status::run(&folder, json),
        Invocation::VerifyBackup { file } => backup::run_verify(&file),
        Invocation::Restore { file, end_sessions } => restore::run(&folder, &file, end_sessions),
        Invocation::Import { files } => import::run(&folder, &files),
        Invocation::ResetSecret => secret::run(&folder),
        #[cfg(feature = "cluster")]
        Invocation::Cluster(command) => cluster::run(&folder, &command),
        #[cfg(not(feature = "cluster"))]
        Invocation::Cluster(_) => {
            note!("natter: this build is without the feature cluster");
            ExitCode::FAILURE
        }
        Invocation::Help(topic) => print(&cli::help(topic)),
        Invocation::Completions(shell) => print(&cli::completions(shell)),
        Invocation::Manual => print(&cli::manual()),
        Invocation::Version => print(&format!("{}\n", cli::version())),
    }
}

/// The folder of the server that a command is for: that of `--data`, or `None` for that of DATA_DIR.
struct DataFolder(Option<PathBuf>);

/// An absolute path, which an operator can use in any working directory.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// The refusal of a command that finds no server in its folder.
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

/// Prints to stdout.
fn print(text: &str) -> ExitCode {
    output::print(text).map_or_else(|failure| failure.end(), |()| ExitCode::SUCCESS)
}

/// Runs a command that needs only a valid configuration. Prints warnings and the problem to stderr.
fn with_config(folder: &DataFolder, run: impl FnOnce(&Config) -> Result<(), String>) -> ExitCode {
    for_server(folder, |config| run(config).map_err(Failure::from))
}

/// As [`with_config`], for a command whose exit status says what the server has answered.
fn for_server(folder: &DataFolder, run: impl FnOnce(&Config) -> Result<(), Failure>) -> ExitCode {
    let (config, warnings) = match configure(folder) {
        Ok(configured) => configured,
        Err(code) => return code,
    };
    for warning in &warnings {
        note!("natter: {warning}");
    }
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(),
    }
}

/// Reads the configuration. Prints all its faults at once to stderr.
fn configure(folder: &DataFolder) -> Result<(Config, Vec<Warning>), ExitCode> {
    Config::from_environment(folder.0.as_deref()).map_err(|faults| refuse(&faults))
}

fn refuse(faults: &[impl fmt::Display]) -> ExitCode {
    note!("natter: the configuration can't be used:");
    for fault in faults {
        note!("  {fault}");
    }
    ExitCode::from(cli::EXIT_USAGE)
}
