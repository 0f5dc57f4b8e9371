//! The log of a cluster on real nats-servers, and its uploaded files on real nodes: processes, sockets and kills.
//!
//! Without a `nats-server` (in PATH or in GOPATH/bin) the tests print that and pass; with NATTER_REQUIRE_NATS=1 they fail.

#![cfg(feature = "cluster")]

mod support;

#[path = "cluster/appends.rs"]
mod appends;
#[cfg(feature = "acme")]
#[path = "cluster/certificates.rs"]
mod certificates;
#[path = "cluster/files.rs"]
mod files;
#[path = "cluster/life.rs"]
mod life;
#[path = "cluster/nodes.rs"]
mod nodes;
#[cfg(feature = "next-level")]
#[path = "endurance/cluster/rows.rs"]
mod rows;
#[path = "cluster/servers.rs"]
mod servers;
#[path = "endurance/cluster/stage.rs"]
mod stage;
#[cfg(feature = "next-level")]
#[path = "cluster/upgrade.rs"]
mod upgrade;
