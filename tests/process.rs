//! The promises that only a real kernel can break: the real binary, real sockets, real signals, real files.

mod support;

#[cfg(feature = "acme")]
#[path = "process/acme.rs"]
mod acme;
#[path = "process/backup.rs"]
mod backup;
#[path = "process/backup_asked.rs"]
mod backup_asked;
#[path = "process/bots.rs"]
mod bots;
#[path = "process/clients.rs"]
mod clients;
#[path = "process/commands.rs"]
mod commands;
#[path = "process/conformance.rs"]
mod conformance;
#[path = "process/crash.rs"]
mod crash;
#[path = "process/damage.rs"]
mod damage;
#[path = "process/disk.rs"]
mod disk;
#[path = "process/hooks.rs"]
mod hooks;
#[cfg(feature = "tls")]
#[path = "process/https.rs"]
mod https;
#[path = "process/import.rs"]
mod import;
#[path = "process/listening.rs"]
mod listening;
#[path = "../benches/load/mod.rs"]
#[allow(dead_code, reason = "the tests use parts of the tool")]
mod load;
#[path = "process/load.rs"]
mod load_tool;
#[path = "process/mail.rs"]
mod mail;
#[path = "process/member.rs"]
mod member;
#[cfg(feature = "acme")]
#[path = "process/pebble.rs"]
mod pebble;
#[path = "process/proxies.rs"]
mod proxies;
#[cfg(feature = "tls")]
#[path = "process/push.rs"]
mod push;
#[path = "process/quota.rs"]
mod quota;
#[path = "process/readme.rs"]
mod readme;
#[path = "process/recipes.rs"]
mod recipes;
#[path = "process/refusals.rs"]
mod refusals;
#[path = "process/reload.rs"]
mod reload;
#[path = "process/restore.rs"]
mod restore;
#[path = "process/secret.rs"]
mod secret;
#[path = "process/shutdown.rs"]
mod shutdown;
#[path = "process/sockets.rs"]
mod sockets;
#[path = "process/stalls.rs"]
mod stalls;
#[path = "process/start.rs"]
mod start;
#[path = "process/status.rs"]
mod status;
#[path = "process/syncs.rs"]
mod syncs;
#[path = "process/thin.rs"]
mod thin;
#[path = "process/uploads.rs"]
mod uploads;

use std::process::Output;
use std::time::Instant;

use load::shims;
use support::net::PATIENCE;

/// A ULID that no other call of this process returns, as a client makes it for a post.
fn client_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    <natter::base::id::Id>::from_u128(1 << 100 | u128::from(NEXT.fetch_add(1, Ordering::Relaxed))).to_string()
}

/// Posts a text in a conversation.
fn post_in(http: &mut support::net::Http, sender: &support::http::Person, conversation: &str, text: &str) {
    let body =
        format!(r#"{{"conversation":"{conversation}","client_id":"{}","body":"{text}"}}"#, client_id());
    let posted = http.ask_as(sender, "POST", "/api/v1/messages", Some(&body)).expect("a response");
    assert_eq!(posted.status, 201, "{}", posted.text());
}

/// A post of `body` as JSON params, for HTTP and, with an `op`, for the WebSocket.
fn post_to(profile: &str, client_id: &str, body: &str) -> String {
    format!(
        r#"{{"op":"message.post","id":"{client_id}","to":"{profile}","client_id":"{client_id}","body":"{body}"}}"#
    )
}

/// The stdout of a command that succeeded.
#[track_caller]
fn stdout_of(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// The stderr of a command that failed. Its stdout must be empty.
#[track_caller]
fn stderr_of(output: &Output) -> String {
    failed_with(1, output)
}

/// The same of one that failed with this exit status.
#[track_caller]
fn failed_with(exit: i32, output: &Output) -> String {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(exit), 0));
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Waits until `holds` returns true; fails after a time limit.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}
