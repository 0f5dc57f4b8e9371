//! Layer 3: conversations and messages, as pure handlers.
//!
//! Imports nothing of passwords and tokens.

pub mod changes;
pub mod conversations;
pub mod events;
pub mod groups;
pub mod messages;
pub mod search;
pub mod streams;

/// A number in an opaque `next`: decimal digits and nothing else.
fn read_number(text: &str) -> Option<u64> {
    // Rust's `parse` accepts `+5`, the contract does not.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
