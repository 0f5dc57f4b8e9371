//! `natter check`: reports whether a start would succeed. Changes nothing.
//!
//! Asks what `natter serve` asks, in the same order and by the same functions. Owns none of these rules. Leaves out what only a try
//! can tell: whether the port is free, and whether the log of a cluster can be reached.
//! Invariant: what it refuses, a start refuses with the same words and the same exit status.

use std::process::ExitCode;

use super::output::{note, say};
use super::prepare::Prepared;
use super::restoring::Restoring;
use super::serve::store_options;
use super::{DataFolder, absolute, configure, https, keys, refuse};
use crate::base::crypto::SystemEntropy;
use crate::base::crypto::p256::P256;
use crate::config::{Config, Warning};
use crate::runtime::data_dir;
use crate::store::{self, Access};
use crate::work::Trust;

pub fn run(folder: &DataFolder) -> ExitCode {
    let (config, mut warnings) = match configure(folder) {
        Ok(configured) => configured,
        Err(code) => return code,
    };
    let curve = P256::new(&SystemEntropy::new());
    let trust = match Prepared::of(&config, &curve) {
        Ok(prepared) => {
            warnings.extend(prepared.warnings);
            prepared.trust
        }
        Err(faults) => return refuse(&faults),
    };
    let faults = folder_faults(&config, &curve, &trust, &mut warnings);
    for warning in &warnings {
        note!("natter: {warning}");
    }
    for fault in &faults {
        note!("natter: {fault}");
    }
    if !faults.is_empty() {
        return ExitCode::FAILURE;
    }
    let options = store_options(&config);
    if !store::exists(&options) {
        say!(
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
            say!("the configuration and the database are valid: {}", absolute(&options.path));
            ExitCode::SUCCESS
        }
        Ok(Some(fault)) | Err(fault) => {
            note!("natter: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// What is wrong with the host and with what is in DATA_DIR, but for the database.
fn folder_faults(config: &Config, curve: &P256, trust: &Trust, warnings: &mut Vec<Warning>) -> Vec<String> {
    #[cfg(feature = "cluster")]
    let cluster = super::cluster::check(config, trust);
    #[cfg(not(feature = "cluster"))]
    let (_, cluster) = (trust, Ok(()));
    let checks = [
        https::listen_address(config, config.port).map(drop),
        data_dir::check(&config.data_dir, &config.uploads).map_err(|fault| fault.to_string()),
        Restoring::new(config).complete().map(drop),
        cluster,
        keys::check(config, curve).map(|more| warnings.extend(more)),
    ];
    checks.into_iter().filter_map(Result::err).collect()
}
