//! What ACME keeps in DATA_DIR: the key of the account, the certificate with its key, and when orders were made.
//!
//! Owns the folder `acme` (0700) and its files (0600). The certificate and its key are one file, so that no crash leaves one of
//! them without the other. Invariant: a name is that of a complete file that is on disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use serde::Serialize;

use crate::base::json::{self, Value};
use crate::base::no_follow::NO_FOLLOW;
use crate::base::time::UnixS;
use crate::proto::acme::schedule::Record;

/// Bytes of one of the files; a chain has a few kilobytes. Beyond: not read.
const FILE_BYTES_MAX: u64 = 262_144;

pub const ACCOUNT_KEY: &str = "account.pem";
pub const CERTIFICATE: &str = "certificate.pem";
pub const STATE: &str = "state.json";
/// What an authority is shown. A natter alone keeps it in memory.
pub const CHALLENGES: &str = "challenges";

/// What is known of the account and of earlier orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct State {
    /// Whose account it is.
    pub directory: String,
    /// Its URL.
    pub account: Option<String>,
    /// The address that the authority knows.
    pub contact: Option<String>,
    /// The directory of the authority that gave the certificate.
    pub issued_by: Option<String>,
    #[serde(flatten)]
    pub record: Record,
}

#[derive(Clone, Debug)]
pub struct Storage {
    folder: PathBuf,
}

impl State {
    /// `None` if the text is not one of [`State::to_text`].
    pub fn read(text: &str) -> Option<State> {
        let value = json::parse_text(text).ok()?;
        let text = |name| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let time = |value: &Value<'_>| u64::try_from(value.as_i64()?).ok().map(UnixS);
        Some(State {
            directory: text("directory").unwrap_or_default(),
            account: text("account"),
            contact: text("contact"),
            issued_by: text("issued_by"),
            record: Record {
                orders: value
                    .get("orders")
                    .and_then(Value::as_list)
                    .map(|list| list.iter().filter_map(time).collect())
                    .unwrap_or_default(),
                held_until: value.get("held_until").and_then(time).unwrap_or_default(),
            },
        })
    }

    pub fn to_text(&self) -> String {
        json::to_string(self)
    }
}

impl Storage {
    /// A folder that is only read, and may not exist.
    pub fn of(folder: PathBuf) -> Storage {
        Storage { folder }
    }

    pub fn open(folder: PathBuf) -> io::Result<Storage> {
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        Ok(Storage { folder })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `None` if there is no such file.
    pub fn read(&self, name: &str) -> io::Result<Option<String>> {
        let file = match OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        Ok(Some(text))
    }

    /// Replaces a file: the new one is on disk before it has the name, and the name before this returns.
    pub fn write(&self, name: &str, content: &str) -> io::Result<()> {
        let fresh = self.path(&format!("{name}.new"));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        out.write_all(content.as_bytes())?;
        out.sync_all()?;
        fs::rename(&fresh, self.path(name))?;
        File::open(&self.folder)?.sync_all()
    }

    /// What is stored; nothing if it can't be read, since all of it can be found again.
    pub fn state(&self) -> State {
        let state = match self.read(STATE) {
            Ok(Some(text)) => State::read(&text),
            Ok(None) => return State::default(),
            Err(_) => None,
        };
        state.unwrap_or_else(|| {
            log::warn!(target: "natter::acme", "{} can't be read, and begins anew", self.path(STATE).display());
            State::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::testing::Folder;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_stored_comes_back_and_is_private() {
        let folder = Folder::new();
        let storage = Storage::open(folder.join("acme")).expect("a folder");
        let again = Storage::open(folder.join("acme")).expect("the same folder");
        assert_eq!((again.state(), again.read(CERTIFICATE).expect("no fault")), (State::default(), None));
        let state = State {
            directory: "https://a/dir".to_owned(),
            account: Some("https://a/1".to_owned()),
            contact: None,
            issued_by: Some("https://a/dir".to_owned()),
            record: Record { orders: vec![UnixS(1), UnixS(2)], held_until: UnixS(3) },
        };
        storage.write(STATE, &state.to_text()).expect("written");
        // A crash left this.
        fs::write(storage.path("certificate.pem.new"), "half").expect("a file");
        storage.write(CERTIFICATE, "pem").expect("written");
        assert_eq!(again.state(), state);
        assert_eq!(again.read(CERTIFICATE).expect("no fault").as_deref(), Some("pem"));
        let mode = |path: PathBuf| path.metadata().expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(folder.join("acme")), 0o700);
        assert_eq!((mode(storage.path(STATE)), mode(storage.path(CERTIFICATE))), (0o600, 0o600));
        fs::write(storage.path(STATE), "{").expect("a file");
        assert_eq!(storage.state(), State::default());
    }
}
