//! The memory of an idle server: resident after the start and with a thousand WebSockets, plain and over https, and the size of
//! the binary.
//!
//! The binary is stripped and includes everything.

use std::net::SocketAddr;
use std::time::Duration;

use super::support::TestDir;
use super::support::net::{Http, PATIENCE, Ws};
use super::support::process::{Launch, Natter};
use super::verdict;

const SOCKETS: usize = 1_000;
const IDLE_KIB_MAX: u64 = 8 * 1_024;
const SOCKET_BYTES_MAX: u64 = 3 * 1_024;
/// With the state and the keys of its TLS session.
#[cfg(feature = "tls")]
const SECURE_SOCKET_BYTES_MAX: u64 = 12 * 1_000;
const BINARY_BYTES_MAX: u64 = 7 * 1_024 * 1_024;

pub fn measure() -> bool {
    let dir = TestDir::new();
    let env = [("CONNECTIONS_PER_ADDRESS", "5000"), ("RATE_LIMIT", "off")];
    let launch = Launch::bare(dir.path()).with(&env);
    let size = launch.binary.metadata().expect("a binary").len();
    let mut held =
        verdict(size < BINARY_BYTES_MAX, format_args!("the binary has {} KiB, of 7 MiB", size / 1_024));

    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    assert_eq!(http.ask("GET", "/readyz", &[], None).expect("a response").status, 200);
    natter.wait_until_idle(PATIENCE);
    let Some(idle) = natter.memory_kib("VmRSS:") else {
        println!("  no /proc here: nothing measured");
        return false;
    };
    held &= verdict(idle < IDLE_KIB_MAX, format_args!("idle: {idle} KiB resident, of 8 MiB"));
    let ann = http.sign_up("ann");
    held &= each_socket(&natter, "WebSocket", SOCKET_BYTES_MAX, || open(natter.address, &ann.access));
    natter.stop();
    #[cfg(feature = "tls")]
    {
        held &= secure(&launch);
    }
    held
}

/// The same by https. The forwarder is in this process, so that it is not measured.
#[cfg(feature = "tls")]
fn secure(launch: &Launch) -> bool {
    use super::support::tls;
    let natter = tls::secure(launch.clone()).start();
    let forwarded = tls::forward_to(natter.address);
    let mut http = Http::connect(forwarded);
    assert_eq!(http.ask("GET", "/readyz", &[], None).expect("a response").status, 200);
    natter.wait_until_idle(PATIENCE);
    let idle = natter.memory_kib("VmRSS:").unwrap_or_default();
    let held = verdict(idle < IDLE_KIB_MAX, format_args!("idle with https: {idle} KiB resident, of 8 MiB"));
    let ben = http.sign_up("ben");
    let sockets = || open(forwarded, &ben.access);
    let held = each_socket(&natter, "WebSocket over https", SECURE_SOCKET_BYTES_MAX, sockets) && held;
    natter.stop();
    held
}

/// Measures what each of [`SOCKETS`] idle connections adds.
fn each_socket(natter: &Natter, what: &str, bytes_max: u64, open: impl Fn() -> Ws) -> bool {
    // The first sockets allocate what all of them share.
    let mut sockets: Vec<Ws> = (0..20).map(|_| open()).collect();
    let before = idle_kib(natter);
    sockets.extend((0..SOCKETS).map(|_| open()));
    let after = idle_kib(natter);
    let each = after.saturating_sub(before) * 1_024 / SOCKETS as u64;
    let held = verdict(
        each < bytes_max,
        format_args!(
            "an idle {what} adds {each} bytes, of {bytes_max} ({before} → {after} KiB for {SOCKETS})"
        ),
    );
    drop(sockets);
    println!("  and {} KiB when they have gone", idle_kib(natter));
    held
}

fn open(address: SocketAddr, access: &str) -> Ws {
    let (mut ws, _) = Ws::native(address, access, None).expect("a socket");
    ws.until("event", "caught_up");
    ws
}

/// Resident KiB after idle workers have released their memory, which takes them five seconds.
fn idle_kib(natter: &Natter) -> u64 {
    std::thread::sleep(Duration::from_secs(7));
    natter.memory_kib("VmRSS:").unwrap_or_default()
}
