//! `natter secret reset`: a new PASSWORD_SECRET for a database whose own is lost.
//!
//! If another secret is already present, the database accepts that one instead. Without its secret no password and no
//! code can be checked, and a start is refused. After the reset, members request a reset code, which is stored as an
//! HMAC under the new secret. The other two keys sign tokens and stay unchanged: sessions continue.
//! Invariant: an existing secret is never replaced.

use std::process::ExitCode;

use super::output::say;
use super::serve::{clock, store_options};
use super::{DataFolder, absolute, keys, no_server, with_config};
use crate::base::crypto::SystemEntropy;
use crate::config::{Config, Mail, secrets};
use crate::runtime::data_dir::{DataDir, DataDirFault};
use crate::store::{self, Access};

pub fn run(folder: &DataFolder) -> ExitCode {
    with_config(folder, |config| {
        match reset(config)? {
            true => say!("{} has a new password_secret", absolute(&config.data_dir)),
            false => say!("{} now uses the present password secret", absolute(&config.data_dir)),
        }
        say!("old passwords are invalid now: members request a reset code and choose a new password");
        say!("and so are second factors: `natter member second-factor off NAME` for each member who has one");
        if matches!(config.mail, Mail::Mbox { .. }) {
            say!("EMAIL_HOST is not set: the codes are written to mail.mbox in that folder");
        }
        Ok(())
    })
}

/// Resets the secret. Returns whether a new one was made; otherwise the database accepts the present one.
fn reset(config: &Config) -> Result<bool, String> {
    let options = store_options(config);
    if !store::exists(&options) {
        return Err(no_server(config));
    }
    let data_dir = DataDir::open_existing(&config.data_dir).map_err(|fault| match fault {
        DataDirFault::Locked { .. } => format!("{fault}: stop the server first"),
        fault => fault.to_string(),
    })?;
    let is_missing = secrets::missing(data_dir.path(), config).contains(&secrets::PASSWORD);
    // A secret that the database does not know is not replaced, because it may still be needed elsewhere.
    if !is_missing
        && !store::needs_other_secret(&keys::present(config)?, Access::Exclusive)
            .map_err(|fault| fault.to_string())?
    {
        return Err(
            "the password secret exists, and a new one would make every password invalid: nothing was changed"
                .to_owned(),
        );
    }
    // The codes first: codes that are sealed or signed under the old secret must not be used with the new one.
    store::forget_codes(&options).map_err(|fault| fault.to_string())?;
    let made = secrets::load_or_create(data_dir.path(), config, &mut SystemEntropy::new());
    made.map(drop).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    store::adopt_secret(&keys::present(config)?, clock().unix_ms).map_err(|fault| fault.to_string())?;
    Ok(is_missing)
}
