//! `natter check`: says whether a start would succeed, and changes nothing.

use std::process::ExitCode;

use super::serve::store_options;
use super::{configure, refuse};
use crate::config::secrets;
use crate::store;

pub fn run() -> ExitCode {
    let (config, mut warnings) = match configure() {
        Ok(configured) => configured,
        Err(code) => return code,
    };
    match secrets::check(&config.data_dir, &config) {
        Ok(more) => warnings.extend(more),
        Err(faults) => return refuse(&faults),
    }
    for warning in &warnings {
        eprintln!("natter: {warning}");
    }
    let options = store_options(&config);
    if !options.path.exists() {
        println!("configuration good; no database yet at {}", options.path.display());
        return ExitCode::SUCCESS;
    }
    match store::check(&options) {
        Ok(()) => {
            println!("configuration and database good");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("natter: {fault}");
            ExitCode::FAILURE
        }
    }
}
