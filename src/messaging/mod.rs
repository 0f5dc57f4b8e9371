//! Layer 3: conversations and messages, as pure handlers.
//!
//! Imports nothing of passwords and tokens.

pub(crate) mod changes;
pub(crate) mod conversations;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod groups;
pub(crate) mod hook_lines;
pub(crate) mod hooks;
pub(crate) mod messages;
pub(crate) mod preferences;
pub(crate) mod search;
pub(crate) mod streams;

/// A number in an opaque `next`: decimal digits and nothing else.
fn read_number(text: &str) -> Option<u64> {
    // Rust's `parse` accepts `+5`, the contract does not.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
