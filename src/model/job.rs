//! The job contract: slow work for a worker thread, and its result.
//!
//! A worker runs blocking code, off the event loop and outside of transactions.
//! Invariant: a job contains all that it needs; a worker shares only the queue with the loop.

#![warn(missing_docs)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::certificate::{CertificateRow, SharedCertificate};
use super::hook::{HookCall, HookFailure};
use super::id::{MemberId, ProfileId, UploadId};
use super::mail::Letter;
use super::push::{Notification, Pushed};
use super::upload::{FileSource, InspectedFile, Inspection, KeptFile};
use crate::base::open_file::OpenFile;
use crate::base::secret::Secret;
use crate::base::time::{Now, UnixMs};
use crate::proto::image::Refused;
use crate::proto::tls::server::Acceptor;

/// A password to be compared with `hash`, or without one with a dummy of the same cost, so that an unknown address takes the
/// same time.
#[derive(Debug)]
pub struct VerifyPassword {
    /// The password to check.
    pub password: Secret,
    /// The stored PHC string; `None` for an unknown address.
    pub hash: Option<Secret>,
    /// For a new hash, if the parameters have changed.
    pub salt: [u8; 16],
    /// The member of whom the device that asks had a session, or has one.
    pub known_to: Option<MemberId>,
}

/// Work for a worker.
#[derive(Debug)]
pub enum Job {
    /// A new PHC string for this password; the handler draws the salt, so that a worker needs no entropy.
    HashPassword {
        /// The new password.
        password: Secret,
        /// Sixteen random bytes.
        salt: [u8; 16],
    },
    /// Compares a password with a hash.
    VerifyPassword(Box<VerifyPassword>),
    /// Gives a mail to the mail server, or writes it to its file. No client waits for it.
    SendMail(Box<Letter>),
    /// Gives a notification to its push service. No client waits for it.
    Push(Box<Notification>),
    /// Calls an outgoing hook once.
    CallHook(Box<HookCall>),
    /// Looks up the place of a public address: "City, Region, Country". No client waits for it.
    FindPlace {
        /// The address.
        address: IpAddr,
    },
    /// Makes a received file durable and moves it: `UPLOADS/tmp/<id>` becomes `UPLOADS/<aa>/<id>`. A node of a cluster gives it to
    /// another one, too.
    PublishUpload {
        /// The id of the file.
        file: UploadId,
        /// For the types that only the complete file shows: how it is inspected and cleaned first.
        inspect: Option<Inspection>,
        /// Whose it is, and what came. In a box, so that no job is wider than a post.
        received: Box<Received>,
    },
    /// Removes published files. A file that does not exist counts as removed.
    RemoveFiles {
        /// Their ids.
        files: Vec<UploadId>,
    },
    /// Finds published files that were written before a time, in one of the 256 folders of `UPLOADS`, in the order of their ids.
    FindOldFiles {
        /// The folder: the last byte of the ids.
        folder: u8,
        /// Those with greater ids.
        after: UploadId,
        /// The time.
        before: UnixMs,
    },
    /// Fetches a published file that this node of a cluster does not have from another one.
    FetchFile {
        /// Its id.
        file: UploadId,
        /// Its length in bytes.
        size: u64,
        /// SHA-256 of its bytes.
        sha256: [u8; 32],
    },
    /// Gives files of which no other node of a cluster has a copy to one, as far as the bytes of one such job reach.
    KeepCopies {
        /// Files that have a row, in the order of their ids.
        files: Vec<KeptFile>,
    },
    /// Looks after the certificate of https: reads its files again if they changed, or goes on with the order of a new one.
    RenewCertificate {
        /// An operator asks: also if the files did not change, and without the wait after a failed order.
        always: bool,
        /// The time.
        at: Now,
        /// What the nodes of a cluster have; `None` for a natter alone. In a box, as it is rare.
        shared: Option<Box<SharedCertificate>>,
    },
    /// Makes a backup, verifies it and removes the oldest ones.
    MakeBackup,
    /// Opens a file to be sent, and reads its length: a cold disk must not stall the loop.
    OpenFile {
        /// Which file.
        source: FileSource,
    },
}

/// The result of one try to send a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The mail server took it.
    Sent,
    /// To be tried again.
    Failed,
    /// To be tried again; it fails until an operator corrects the configuration.
    Blocked,
    /// Refused for good: it is not tried again.
    Refused,
}

/// The result of a job.
#[derive(Debug)]
pub enum Done {
    /// The PHC string of [`Job::HashPassword`].
    PasswordHashed(Secret),
    /// Of [`Job::VerifyPassword`].
    PasswordVerified {
        /// Whether the password is right.
        matches: bool,
        /// A new PHC string, if the parameters have changed.
        rehash: Option<Secret>,
    },
    /// Of [`Job::SendMail`].
    Mail(Delivery),
    /// Of [`Job::Push`].
    Pushed(Pushed),
    /// Of [`Job::CallHook`]. In a box, so that no result is wider than a post.
    HookCalled(Result<(), Box<HookFailure>>),
    /// The place of the address; `None` if it is not known.
    Place(Option<String>),
    /// Of [`Job::PublishUpload`]: the file is durable and has its final path.
    UploadPublished {
        /// What the inspection of the complete file found.
        inspected: Option<Box<InspectedFile>>,
        /// In a cluster: how many bytes another node has taken.
        given: u64,
    },
    /// The complete file is not what its first bytes said; it was removed.
    UploadRefused(Refused),
    /// Of [`Job::RemoveFiles`].
    FilesRemoved,
    /// Of [`Job::FindOldFiles`].
    FilesFound(Vec<UploadId>),
    /// Of [`Job::FetchFile`]: it is published here.
    FileFetched {
        /// How many bytes came; 0 if another job has fetched it meanwhile.
        bytes: u64,
    },
    /// Of [`Job::PublishUpload`]: no other node has taken the file: 503 `unavailable`.
    NotGiven,
    /// Of [`Job::FetchFile`]: no other node has given the file: 503 `unavailable`.
    NotFetched,
    /// Of [`Job::KeepCopies`].
    CopiesKept(KeptCopies),
    /// Of [`Job::MakeBackup`]. What came of it is in the gauges, and a failure is a background error.
    BackupEnded,
    /// Of [`Job::OpenFile`].
    FileOpened(OpenedFile),
    /// Of [`Job::RenewCertificate`].
    Certificate(Box<CertificateReport>),
    /// There is no such file.
    NoFile,
    /// The disk is full: 507 `storage_full`.
    DiskFull,
    /// The queue of this kind of job was full: 503 `busy`.
    Busy,
    /// The worker failed; already logged and counted on the background channel.
    Failed,
}

/// What became of the certificate of https.
#[derive(Debug, Default)]
pub struct CertificateReport {
    /// What new connections are accepted with from now on, if that has changed.
    pub acceptor: Option<Acceptor>,
    /// What an authority is answered on the port of plain requests; earlier ones are over.
    pub challenges: Vec<HttpChallenge>,
    /// Why there is no certificate, or no newer one. It is already logged.
    pub problem: Option<String>,
    /// A try has failed now: files that can't be used, or an order.
    pub failed: bool,
    /// An order has given a certificate now.
    pub issued: bool,
    /// When there is more to do, if that is sooner than usual.
    pub next_in: Option<Duration>,
    /// What this node of a cluster has changed, and all nodes shall have. The worker goes on when they are written.
    pub rows: Vec<CertificateRow>,
}

/// What a plain request with this token is answered (RFC 8555 §8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpChallenge {
    /// The last part of the path.
    pub token: String,
    /// The body of the response.
    pub content: String,
}

/// A file to be sent, as it was when it was opened.
#[derive(Clone, Debug)]
pub struct OpenedFile {
    /// Read by the loop a piece at a time.
    pub file: Arc<OpenFile>,
    /// Its length in bytes.
    pub len: u64,
    /// Unix seconds.
    pub modified_s: u64,
    /// Differs for each file that ever had this name: one may be replaced within a tick of the file system's clock.
    pub tag: String,
}

/// What one [`Job::KeepCopies`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptCopies {
    /// Files that another node took, and their bytes.
    pub files: u64,
    /// See `files`.
    pub bytes: u64,
    /// The last file that it has looked after; `None` after all of them, or if it cannot be done now.
    pub through: Option<UploadId>,
}

/// What is known of a received file.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// The account that uploads it.
    pub owner: ProfileId,
    /// SHA-256 of the received bytes.
    pub sha256: [u8; 32],
}

impl Job {
    /// The temporary file this job owns: it must be removed if the job is never done.
    pub fn received_file(&self) -> Option<UploadId> {
        match self {
            Job::PublishUpload { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// Whether it costs what a password hash costs.
    pub fn is_password(&self) -> bool {
        matches!(self, Job::HashPassword { .. } | Job::VerifyPassword(_))
    }

    /// For logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Job::HashPassword { .. } => "hash_password",
            Job::VerifyPassword(_) => "verify_password",
            Job::SendMail(_) => "send_mail",
            Job::Push(_) => "push",
            Job::CallHook(_) => "call_hook",
            Job::FindPlace { .. } => "find_place",
            Job::PublishUpload { .. } => "publish_upload",
            Job::RemoveFiles { .. } => "remove_files",
            Job::FindOldFiles { .. } => "find_old_files",
            Job::FetchFile { .. } => "fetch_file",
            Job::KeepCopies { .. } => "keep_copies",
            Job::RenewCertificate { .. } => "renew_certificate",
            Job::MakeBackup => "make_backup",
            Job::OpenFile { .. } => "open_file",
        }
    }
}
