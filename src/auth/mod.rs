//! Layer 3: accounts, sessions and their tokens, as pure handlers.
//!
//! Imports nothing of messages.

pub mod accounts;
pub mod admin;
pub mod codes;
mod common_passwords;
pub mod deletion;
pub mod export;
pub mod password;
pub mod profiles;
pub mod push;
pub mod rules;
pub mod sessions;
pub mod sign_in;
pub mod sign_up;
pub mod tickets;
pub mod token;
