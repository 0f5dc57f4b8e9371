//! The keys as a command needs them: found, made on a first start, or refused.
//!
//! Owns the rule that no PASSWORD_SECRET is made for a database with members: with another secret, no password would
//! match. A database stores a tag of its secret, so that another secret is refused too. `config::secrets` reads and
//! writes the keys.

use super::absolute;
use super::serve::store_options;
use crate::base::crypto::p256::{P256, SigningKey};
use crate::base::crypto::{Entropy, HmacKey, base64url, base64url_decode};
use crate::base::secret::Secret;
use crate::config::{Config, Fault, Secrets, Warning, secrets};
use crate::store::{self, Access, OpenFault, PasswordTag, StoreOptions};

/// The keys, for a command that may make missing ones. The caller holds the lock.
pub fn load_or_make(config: &Config, entropy: &mut dyn Entropy) -> Result<(Secrets, Vec<Warning>), String> {
    let missing = secrets::missing(&config.data_dir, config);
    let has_members = !missing.is_empty() && has_members(config, Access::Exclusive)?;
    if has_members && missing.contains(&secrets::PASSWORD) {
        return Err(lost_password_secret(config));
    }
    let (keys, mut warnings) =
        secrets::load_or_create(&config.data_dir, config, entropy).map_err(|faults| join(&faults))?;
    if has_members {
        for name in missing {
            let message = "was lost, and a new one is made: all members have to sign in again".to_owned();
            warnings.push(Warning { source: name.to_owned(), message });
        }
    }
    Ok((keys, warnings))
}

/// The keys, for a command that makes none. A missing key is replaced while the command runs, which signs nothing. If
/// `hashes`, the password secret must exist, because the command hashes passwords.
pub fn load(
    config: &Config,
    entropy: &mut dyn Entropy,
    hashes: bool,
) -> Result<(Secrets, Vec<Warning>), String> {
    let missing = secrets::missing(&config.data_dir, config);
    if hashes && missing.contains(&secrets::PASSWORD) {
        return Err(lost_password_secret(config));
    }
    secrets::load_or_replace(&config.data_dir, config, entropy).map_err(|faults| join(&faults))
}

/// The key that signs for push services, made on the first start. The caller holds the lock.
pub fn push(config: &Config, curve: &P256) -> Result<(SigningKey, Vec<Warning>), String> {
    let make = || Secret::new(base64url(curve.generate_signing_key().expose()));
    let (text, warnings) = secrets::push_key(&config.data_dir, make).map_err(|faults| join(&faults))?;
    Ok((signing_key(config, curve, &text)?, warnings))
}

/// The faults and warnings of [`load_or_make`] and [`push`] that need no database. Makes and changes no file.
pub fn check(config: &Config, curve: &P256) -> Result<Vec<Warning>, String> {
    let mut warnings = secrets::check(&config.data_dir, config).map_err(|faults| join(&faults))?;
    let (text, more) =
        secrets::stored(&config.data_dir, secrets::PUSH_KEY).map_err(|faults| join(&faults))?;
    warnings.extend(more);
    text.map(|text| signing_key(config, curve, &text)).transpose()?;
    Ok(warnings)
}

fn signing_key(config: &Config, curve: &P256, text: &Secret) -> Result<SigningKey, String> {
    let key = base64url_decode(text.expose()).and_then(|pkcs8| curve.signing_key(&pkcs8));
    key.ok_or_else(|| {
        format!(
            "{} is not a key. Restore the file (each backup made by `natter backup` has it), or remove it: then each device \
             has to turn its notifications on again",
            absolute(&config.data_dir.join(secrets::PUSH_KEY))
        )
    })
}

/// The fault that a start would report: the secret that the database's passwords need is missing, or another one is
/// set.
pub fn fault(config: &Config, access: Access) -> Result<Option<String>, String> {
    if secrets::missing(&config.data_dir, config).contains(&secrets::PASSWORD) {
        return Ok(has_members(config, access)?.then(|| lost_password_secret(config)));
    }
    let options = present(config)?;
    let is_other = store::needs_other_secret(&options, access).map_err(|fault| fault.to_string())?;
    Ok(is_other.then(|| OpenFault::OtherSecret { path: options.path }.to_string()))
}

/// The options of the database, with the tag of the password secret that is set or in DATA_DIR. Without a secret there
/// is no tag.
pub fn present(config: &Config) -> Result<StoreOptions, String> {
    let password = secrets::password(&config.data_dir, config).map_err(|faults| join(&faults))?;
    Ok(StoreOptions { password_tag: password.as_ref().map(tag), ..store_options(config) })
}

/// The tag that a database stores to recognize the password secret.
pub fn tag(password: &Secret) -> PasswordTag {
    // The first byte is in no UTF-8: no password and no code has the same HMAC.
    let hmac = HmacKey::new(password.expose().as_bytes()).sign(b"\xffthe password secret of a database");
    let mut tag = PasswordTag::default();
    let length = tag.len();
    tag.copy_from_slice(&hmac[..length]);
    tag
}

fn has_members(config: &Config, access: Access) -> Result<bool, String> {
    store::has_members(&store_options(config), access).map_err(|fault| fault.to_string())
}

fn lost_password_secret(config: &Config) -> String {
    format!(
        "the password secret is lost: {} holds members, but no password_secret, and PASSWORD_SECRET is not set. \
         With another secret, no password would match. Restore the file (each backup made by `natter backup` has it) \
         or set PASSWORD_SECRET to the old value. If it is lost, `natter secret reset` makes a new one, and members \
         choose new passwords with a code by e-mail",
        absolute(&config.data_dir)
    )
}

fn join(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
