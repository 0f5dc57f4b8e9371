//! Floor 5: the only code that touches the world.

pub mod data_dir;
pub mod signals;
