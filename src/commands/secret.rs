//! `natter secret reset`: a new PASSWORD_SECRET for a database whose own is lost.
//!
//! Without it no password and no code can be judged, and a start refuses. After the reset people ask for a reset code,
//! which is kept as an HMAC under the new secret. The other two keys sign tokens and stay as they are: sessions go on.
//! Invariant: a secret that is there is never replaced.

use std::process::ExitCode;

use super::serve::store_options;
use super::{Place, absolute, no_server, with_config};
use crate::base::crypto::SystemEntropy;
use crate::config::{Config, Mail, secrets};
use crate::runtime::data_dir::{DataDir, DataDirFault};
use crate::store;

pub fn run(place: &Place) -> ExitCode {
    with_config(place, |config| {
        reset(config)?;
        println!("{} has a new password_secret", absolute(&config.data_dir));
        println!("no old password is right any more: people ask for a reset code and choose a new one");
        if matches!(config.mail, Mail::Mbox { .. }) {
            println!("EMAIL_HOST is not set: the codes are written to mail.mbox in that folder");
        }
        Ok(())
    })
}

fn reset(config: &Config) -> Result<(), String> {
    let options = store_options(config);
    if !store::exists(&options) {
        return Err(no_server(config));
    }
    let data_dir =
        DataDir::open_existing(&config.data_dir, &config.uploads).map_err(|fault| match fault {
            DataDirFault::Held { .. } => format!("{fault}: stop the server first"),
            fault => fault.to_string(),
        })?;
    if !secrets::missing(data_dir.path(), config).contains(&secrets::PASSWORD) {
        return Err(
            "the password secret is there, and a new one would make every password wrong: nothing was changed"
                .to_owned(),
        );
    }
    // The codes first: what is sealed or signed under the old secret must not meet the new one.
    store::forget_codes(&options).map_err(|fault| fault.to_string())?;
    let made = secrets::load_or_create(data_dir.path(), config, &mut SystemEntropy::new());
    made.map(drop).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
