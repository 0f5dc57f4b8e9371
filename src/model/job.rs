//! Slow work and its outcome: what a worker thread does in blocking code, off the loop and outside every
//! transaction. Invariant: a job carries all it needs; a worker shares nothing with the loop but the queue.

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
}

#[derive(Debug)]
pub enum Done {
    PasswordHashed(Hidden),
    PasswordVerified {
        matches: bool,
        /// A new PHC string where the parameters have changed since.
        rehash: Option<Hidden>,
    },
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
        }
    }
}
