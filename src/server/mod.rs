//! Floor 4: the sans-IO server.

pub mod calls;
pub mod contract;
