//! The lowest layer: types and functions that any program could use.
//!
//! It imports no other module of natter but `limits`, and knows neither protocols nor chat.

pub mod crypto;
pub(crate) mod emoji;
pub(crate) mod fold;
pub mod id;
pub mod json;
pub(crate) mod mention;
pub mod network;
pub(crate) mod no_follow;
pub(crate) mod open_file;
pub mod percent;
pub mod secret;
pub mod send_queue;
pub mod slab;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod text;
pub mod time;
pub(crate) mod timers;
pub(crate) mod turns;
pub(crate) mod words;
