//! Mail, sans-IO: composes it, formats it for a file, and sends it to a server.
//!
//! Owns [`compose`], [`mbox_entry`] and the client side of SMTP ([`Dialogue`], RFC 5321). Leaves to others when a mail is tried
//! again, and its text.

mod dialogue;
mod mail;
mod reply;

pub use dialogue::{Action, Dialogue, Outcome, SmtpOptions, Tls};
pub use mail::{Address, BadAddress, Mail, Mailbox, Transport, compose, mbox_entry};
