//! The log of a cluster on real nats-servers: three processes, real sockets, real kills.
//!
//! Without a `nats-server` (in PATH or in GOPATH/bin) the tests print that and pass; with NATTER_REQUIRE_NATS=1 they fail.

#![cfg(feature = "cluster")]

#[path = "cluster/appends.rs"]
mod appends;
#[path = "cluster/nodes.rs"]
mod nodes;
#[path = "cluster/servers.rs"]
mod servers;
