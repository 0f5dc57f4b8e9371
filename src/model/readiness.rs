//! What the database can do now: the writer reports it, `/readyz` shows it, and streams open by it.

/// What the database can do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// The reason if no write is answered.
    pub unready: Option<&'static str>,
    /// Whether stored data may not be on disk: then no stream opens and no answer has a cursor, since a power cut could remove
    /// events, and the cursor would name other events afterwards.
    pub unproven: bool,
    /// A reader outside of this process that prevents the WAL from being truncated.
    pub wal_held: Option<WalHeld>,
}

/// A process that reads the database for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalHeld {
    /// Its process id, if the system shows it.
    pub pid: Option<u32>,
}

impl Readiness {
    /// A database that answers no write.
    pub fn unready(reason: &'static str) -> Readiness {
        Readiness { unready: Some(reason), ..Readiness::default() }
    }

    /// Whether writes are answered.
    pub fn is_ready(&self) -> bool {
        self.unready.is_none()
    }

    /// What an operator should know although writes are answered.
    pub fn warnings(&self) -> Vec<String> {
        self.wal_held.iter().map(WalHeld::to_string).collect()
    }
}

impl std::fmt::Display for WalHeld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a reader outside of this process")?;
        if let Some(pid) = self.pid {
            write!(f, " (pid {pid})")?;
        }
        f.write_str(
    " prevents the write-ahead log (natter.db-wal) from being truncated: at WAL_MAX writes are refused",
)
    }
}
