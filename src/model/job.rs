//! Slow work and its outcome: what a worker thread does in blocking code, off the loop and outside every
//! transaction. Invariant: a job carries all it needs; a worker shares nothing with the loop but the queue.

use std::net::IpAddr;

use super::mail::Letter;

/// A text that must not be printed.
#[derive(Clone)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden(..)")
    }
}

#[derive(Debug)]
pub enum Job {
    /// A new PHC string for this password; `salt` is drawn by the asker, so that a worker needs no entropy.
    HashPassword { password: Hidden, salt: [u8; 16] },
    /// Compares with `hash`, or with a dummy of the same cost where there is none, so that an unknown address
    /// takes the same time. `salt` is for the new hash, should the parameters have changed.
    VerifyPassword { password: Hidden, hash: Option<Hidden>, salt: [u8; 16] },
    /// Brings a mail to the mail server, or into its file. Nobody waits for it.
    SendMail(Box<Letter>),
    /// "City, Region, Country" of an address that is public. Nobody waits for it.
    FindPlace { address: IpAddr },
}

/// What became of one try to send a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Sent,
    /// To be tried again.
    Failed,
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
    /// The queue of this kind of job was full: 503 `busy`.
    Busy,
    /// The worker failed; already logged and counted on the background channel.
    Failed,
}

impl Job {
    pub fn name(&self) -> &'static str {
        match self {
            Job::HashPassword { .. } => "hash_password",
            Job::VerifyPassword { .. } => "verify_password",
            Job::SendMail(_) => "send_mail",
            Job::FindPlace { .. } => "find_place",
        }
    }
}
