//! `natter check`: reports whether a start would succeed. Changes nothing.

use std::process::ExitCode;

use super::serve::store_options;
use super::{DataFolder, absolute, configure, keys, refuse};
use crate::config::secrets;
use crate::runtime::data_dir;
use crate::store::{self, Access};

pub fn run(folder: &DataFolder) -> ExitCode {
    let (config, mut warnings) = match configure(folder) {
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
    if !store::exists(&options) {
        println!(
            "the configuration is valid; no database yet at {}: the first start creates it",
            absolute(&options.path)
        );
        return ExitCode::SUCCESS;
    }
    let lock = data_dir::hold(&config.data_dir);
    let access = if lock.is_some() { Access::Exclusive } else { Access::Shared };
    let checked = store::check(&options, access).map_err(|fault| fault.to_string());
    match checked.and_then(|()| keys::fault(&config, access)) {
        Ok(None) => {
            println!("the configuration and the database are valid: {}", absolute(&options.path));
            ExitCode::SUCCESS
        }
        Ok(Some(fault)) | Err(fault) => {
            eprintln!("natter: {fault}");
            ExitCode::FAILURE
        }
    }
}
