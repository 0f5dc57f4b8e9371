//! The lowest layer: types and functions that any program could use.
//!
//! It imports no other module of natter but `limits`, and knows neither protocols nor chat.

pub mod crypto;
pub mod emoji;
pub mod fold;
pub mod id;
pub mod json;
pub mod network;
pub mod no_follow;
pub mod open_file;
pub mod percent;
pub mod secret;
pub mod send_queue;
pub mod slab;
#[cfg(test)]
pub mod testing;
pub mod text;
pub mod time;
pub mod timers;
pub mod turns;
pub mod words;
