//! The lowest layer: types and functions that any program could use.
//!
//! It imports no other module of natter but `limits`, and knows neither protocols nor chat.

#[cfg(feature = "cluster")]
pub mod channel;
pub mod crypto;
pub(crate) mod emoji;
pub mod fields;
pub(crate) mod fold;
pub mod id;
pub mod json;
pub(crate) mod mention;
pub mod network;
pub(crate) mod no_follow;
pub(crate) mod open_file;
pub mod percent;
#[cfg(feature = "cluster")]
pub mod seal;
pub mod secret;
pub mod send_queue;
pub mod slab;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod text;
pub mod time;
pub(crate) mod timers;
pub mod totp;
pub(crate) mod turns;
pub(crate) mod words;
