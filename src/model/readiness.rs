//! What the database can do at the moment: the writer says so, `/readyz` shows it, and streams open by it.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why no write is answered, if none is.
    pub unready: Option<&'static str>,
    /// What is read may not be on disk: no stream opens and no answer carries a cursor, since a cursor of what a power cut
    /// takes away would name other events afterwards.
    pub unproven: bool,
    /// A reader outside of this process keeps the log from being cut off.
    pub wal_held: Option<WalHeld>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalHeld {
    /// Who it is, where the system tells.
    pub pid: Option<u32>,
}

impl Readiness {
    pub fn unready(reason: &'static str) -> Readiness {
        Readiness { unready: Some(reason), ..Readiness::default() }
    }

    pub fn is_ready(&self) -> bool {
        self.unready.is_none()
    }

    /// What an operator should know though writes are taken.
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
        f.write_str(" keeps the log of the database (natter.db-wal) from being cut off: at WAL_MAX no more is written")
    }
}
