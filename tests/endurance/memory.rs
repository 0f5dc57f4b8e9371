//! The memory of an idle server: resident after the start and with a thousand WebSockets, and the size of the binary.
//!
//! The binary is stripped and includes everything.

use std::time::Duration;

use super::support::TestDir;
use super::support::net::{Http, Ws};
use super::support::process::{Launch, Natter};
use super::verdict;

const SOCKETS: usize = 1_000;
const IDLE_KIB_MAX: u64 = 8 * 1_024;
const SOCKET_BYTES_MAX: u64 = 3 * 1_024;
const BINARY_BYTES_MAX: u64 = 6 * 1_024 * 1_024;

pub fn measure() -> bool {
    let dir = TestDir::new();
    let env = [("CONNECTIONS_PER_ADDRESS", "5000"), ("RATE_LIMIT", "off")];
    let launch = Launch::bare(dir.path()).with(&env);
    let size = launch.binary.metadata().expect("a binary").len();
    let mut held =
        verdict(size < BINARY_BYTES_MAX, format_args!("the binary has {} KiB, of 6 MiB", size / 1_024));

    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    assert_eq!(http.ask("GET", "/readyz", &[], None).expect("a response").status, 200);
    let Some(idle) = natter.memory_kib("VmRSS:") else {
        println!("  no /proc here: nothing measured");
        return false;
    };
    held &= verdict(idle < IDLE_KIB_MAX, format_args!("idle: {idle} KiB resident, of 8 MiB"));

    let ann = http.sign_up("ann");
    // The first sockets allocate what all of them share.
    let mut sockets: Vec<Ws> = (0..20).map(|_| open(&natter, &ann.access)).collect();
    let before = idle_kib(&natter);
    sockets.extend((0..SOCKETS).map(|_| open(&natter, &ann.access)));
    let after = idle_kib(&natter);
    let each = after.saturating_sub(before) * 1_024 / SOCKETS as u64;
    held &= verdict(
        each < SOCKET_BYTES_MAX,
        format_args!("an idle WebSocket adds {each} bytes, of 3 KiB ({before} → {after} KiB for {SOCKETS})"),
    );
    drop(sockets);
    let closed = idle_kib(&natter);
    println!("  and {closed} KiB when they have gone");
    natter.stop();
    held
}

fn open(natter: &Natter, access: &str) -> Ws {
    let (mut ws, _) = Ws::native(natter.address, access, None).expect("a socket");
    ws.until("event", "caught_up");
    ws
}

/// Resident KiB after idle workers have released their memory, which takes them five seconds.
fn idle_kib(natter: &Natter) -> u64 {
    std::thread::sleep(Duration::from_secs(7));
    natter.memory_kib("VmRSS:").unwrap_or_default()
}
