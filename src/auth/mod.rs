//! Layer 3: accounts, sessions and their tokens, as pure handlers.
//!
//! Imports nothing of messages.

pub(crate) mod accounts;
pub(crate) mod admin;
pub(crate) mod bots;
pub(crate) mod codes;
mod common_passwords;
pub(crate) mod deletion;
pub(crate) mod export;
pub(crate) mod hooks;
pub(crate) mod invites;
pub(crate) mod password;
pub(crate) mod profiles;
pub(crate) mod push;
pub(crate) mod reports;
pub(crate) mod rules;
pub(crate) mod second_factor;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod sign_up;
pub(crate) mod tickets;
pub(crate) mod token;
