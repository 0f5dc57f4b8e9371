//! Floor 0: words any program could use. Knows nothing of protocols or chat.

pub mod crypto;
pub mod emoji;
pub mod fold;
pub mod id;
pub mod json;
pub mod network;
pub mod no_follow;
pub mod percent;
pub mod send_queue;
pub mod slab;
#[cfg(test)]
pub mod testing;
pub mod text;
pub mod time;
pub mod timers;
pub mod words;
