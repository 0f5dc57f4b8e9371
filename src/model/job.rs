//! Slow work and its outcome: what a worker thread does in blocking code, off the loop and outside every
//! transaction. Invariant: a job carries all it needs; a worker shares nothing with the loop but the queue.

use std::net::IpAddr;
use std::sync::Arc;

use super::mail::Letter;
use super::upload::{FilePlace, InspectedFile, Inspection};
use crate::base::id::Id;
use crate::base::open_file::OpenFile;
use crate::proto::image::Refused;

/// A text that must not be printed.
#[derive(Clone)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// A password to be compared with `hash`, or with a dummy of the same cost where there is none, so that an unknown address
/// takes the same time.
#[derive(Debug)]
pub struct VerifyPassword {
    pub password: Hidden,
    pub hash: Option<Hidden>,
    /// For the new hash, should the parameters have changed.
    pub salt: [u8; 16],
    /// The device that asks had a session of this account, or has one.
    pub device_known: bool,
}

#[derive(Debug)]
pub enum Job {
    /// A new PHC string for this password; `salt` is drawn by the asker, so that a worker needs no entropy.
    HashPassword { password: Hidden, salt: [u8; 16] },
    /// Compares a password with a hash.
    VerifyPassword(Box<VerifyPassword>),
    /// Brings a mail to the mail server, or into its file. Nobody waits for it.
    SendMail(Box<Letter>),
    /// "City, Region, Country" of an address that is public. Nobody waits for it.
    FindPlace { address: IpAddr },
    /// Makes a received file durable and gives it its place: `UPLOADS/tmp/<id>` becomes `UPLOADS/<aa>/<id>`.
    /// One of a kind that is judged by the whole file is inspected, and cleaned, first.
    PublishUpload { file: Id, inspect: Option<Inspection> },
    /// Removes published files; one that is gone already is as good.
    RemoveFiles { files: Vec<Id> },
    /// Opens a file to be sent, and looks at its length: a cold disk must not stall the loop.
    OpenFile { place: FilePlace },
}

/// What became of one try to send a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Sent,
    /// To be tried again.
    Failed,
    /// To be tried again, and in vain until an operator mends the configuration.
    Blocked,
    /// Never to be taken: trying again is of no use.
    Refused,
}

#[derive(Debug)]
pub enum Done {
    PasswordHashed(Hidden),
    PasswordVerified {
        matches: bool,
        /// A new PHC string where the parameters have changed since.
        rehash: Option<Hidden>,
    },
    Mail(Delivery),
    /// `None` where the place of this address is not known.
    Place(Option<String>),
    UploadPublished {
        inspected: Option<InspectedFile>,
    },
    /// The whole file is not what its first bytes said; it is gone.
    UploadRefused(Refused),
    FilesRemoved,
    FileOpened(OpenedFile),
    /// There is no such file.
    NoFile,
    /// The disk is full: 507 `storage_full`.
    DiskFull,
    /// The queue of this kind of job was full: 503 `busy`.
    Busy,
    /// The worker failed; already logged and counted on the background channel.
    Failed,
}

/// A file to be sent, as it was when it was opened.
#[derive(Clone, Debug)]
pub struct OpenedFile {
    pub file: Arc<OpenFile>,
    pub len: u64,
    /// Unix seconds.
    pub modified_s: u64,
    /// The nanoseconds behind them, as far as the file system keeps any: a file may be replaced within a second.
    pub modified_ns: u64,
}

impl Job {
    /// The temporary file this job owns: it must go should the job never be done.
    pub fn received_file(&self) -> Option<Id> {
        match self {
            Job::PublishUpload { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// Whether it costs what a password hash costs.
    pub fn is_password(&self) -> bool {
        matches!(self, Job::HashPassword { .. } | Job::VerifyPassword(_))
    }

    pub fn name(&self) -> &'static str {
        match self {
            Job::HashPassword { .. } => "hash_password",
            Job::VerifyPassword(_) => "verify_password",
            Job::SendMail(_) => "send_mail",
            Job::FindPlace { .. } => "find_place",
            Job::PublishUpload { .. } => "publish_upload",
            Job::RemoveFiles { .. } => "remove_files",
            Job::OpenFile { .. } => "open_file",
        }
    }
}
