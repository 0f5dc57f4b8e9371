//! The scenarios by their names: who takes part, and what they do.
//!
//! Owns the table of names and usual sizes. Leaves the doing to the files of this folder.

mod groups;
pub mod pages;
#[cfg(feature = "tls")]
pub mod push;
pub mod requests;
pub mod storm;
pub mod talk;

use std::io;

use super::options::Options;
use super::place::Place;
use super::scenario::Prepared;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Relay,
    Fanout,
    Groups,
    Idle,
    History,
    Search,
    SignIn,
    Upload,
    Download,
    Storm,
    Push,
}

/// A scenario, its name in commands, its usual number of clients and unanswered requests of each, and what it is.
pub type Row = (Name, &'static str, usize, usize, &'static str);

pub const ALL: [Row; 11] = [
    (Name::Relay, "relay", 64, 16, "posts between pairs of people"),
    (Name::Fanout, "fanout", 1_000, 16, "posts of one person to a group of --clients"),
    (Name::Groups, "groups", 200, 1, "groups of 3 to 100: posts, reads, typing, focus, lists, histories"),
    (Name::Idle, "idle", 1_000, 1, "sockets that only exist: memory and CPU time of the server"),
    (Name::History, "history", 32, 1, "pages of 50 at random places of --messages"),
    (Name::Search, "search", 32, 1, "searches for a word in --messages"),
    (Name::SignIn, "signin", 8, 1, "sign-ins with passwords"),
    (Name::Upload, "upload", 8, 1, "files of --size bytes"),
    (Name::Download, "download", 8, 1, "the same the other way"),
    (Name::Storm, "storm", 1_000, 1, "all come back at once and have missed --missed messages"),
    (Name::Push, "push", 128, 16, "posts to people with --devices that are notified"),
];

impl Name {
    pub fn parse(text: &str) -> Option<Name> {
        ALL.iter().find(|row| row.1 == text).map(|row| row.0)
    }

    pub fn row(self) -> &'static Row {
        ALL.iter().find(|row| row.0 == self).expect("each has a row")
    }

    pub fn text(self) -> &'static str {
        self.row().1
    }

    /// What a server of our own needs for it.
    pub fn env(self) -> Vec<(&'static str, String)> {
        match self {
            // What a password costs is what is measured.
            Name::SignIn => vec![("ARGON2", String::new())],
            #[cfg(feature = "tls")]
            Name::Push => push::env().to_vec(),
            _ => Vec::new(),
        }
    }
}

/// Prepares a scenario that the engine drives; the others have programs of their own.
pub fn prepare(place: &mut Place, options: &Options) -> io::Result<Prepared> {
    let clients = options.clients();
    match options.scenario {
        Name::Relay => talk::relay(place, clients),
        Name::Fanout => talk::fanout(place, clients),
        Name::Groups => groups::prepare(place, clients),
        Name::Idle => {
            let members = place.members(clients)?;
            pages::idle(place, members)
        }
        Name::History => pages::history(place, clients, options.messages),
        Name::Search => pages::search(place, clients, options.messages),
        Name::SignIn => requests::signin(place, clients),
        Name::Upload => requests::upload(place, clients, options.size),
        Name::Download => requests::download(place, clients, options.size),
        Name::Storm | Name::Push => Err(io::Error::other("it has a program of its own")),
    }
}
