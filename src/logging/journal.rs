//! The priority that the journal of systemd reads at the beginning of a line (sd-daemon(3)).
//!
//! Invariant: a line has a priority only where the journal takes it away again.

use log::Level;

/// `<3>` to `<7>` (syslog(3)).
pub fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_priorities_of_syslog() {
        assert_eq!([Level::Error, Level::Warn, Level::Info].map(priority), ["<3>", "<4>", "<6>"]);
    }
}
