//! Calls: what the server waits for.

/// One question under way.
pub struct Call;
