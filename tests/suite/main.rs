//! The tests that need no separate process: the complete server in memory, storage on real files, workers.
//!
//! One binary, so that SQLite and TLS are linked once. A module is a suite: `cargo test --test suite http`.

#[path = "../store_kit/mod.rs"]
mod store_kit;
#[path = "../support/mod.rs"]
mod support;

use support::seed;

mod api;
#[cfg(feature = "cluster")]
mod cluster;
mod fuzz;
mod http;
mod media;
mod migrations;
mod storage;
mod streams;
mod websocket;
mod work;
