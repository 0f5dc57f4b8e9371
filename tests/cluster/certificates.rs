//! The certificate of a cluster on real processes: one node orders it, every node shows the challenge and serves the certificate.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::life::Machine;
use super::servers::{Servers, Wish};
use super::support::authority::{Authority, Conduct, Look, ca_file};
use super::support::net::PATIENCE;
use super::support::process::{Natter, address_in};
use super::support::tls;

const DAY: u64 = 86_400;

/// A node, and the address of its port of plain requests.
fn start(machine: &Machine) -> (Natter, SocketAddr) {
    let mut natter = machine.launch.start();
    let plain = address_in(&natter.wait_for_line("are redirected"));
    (natter, plain)
}

/// Whether a client that trusts the authority gets an answer.
fn is_served(natter: &Natter, authority: &Authority) -> bool {
    let Ok(mut stream) = tls::connect(natter.address, &tls::trusting(&authority.root)) else { return false };
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", tls::NAME);
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response.starts_with("HTTP/1.1 200 ")
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20)); // between two polls
    }
}

#[test]
fn one_node_orders_the_certificate_and_all_serve_it() {
    let Some(servers) = Servers::start(Wish::default()) else { return };
    for kind in ["http-01", "tls-alpn-01"] {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let authority = Authority::start(Conduct {
            look: Look::Later,
            offers: vec![kind],
            refused_nonces: 0,
            limited_s: None,
            slow_polls: 1,
            forgets_orders: false,
            validity: (now - DAY, now + 89 * DAY),
            window: None,
        });
        let ca_file = ca_file().display().to_string();
        let machine = |node: &str| {
            let mut machine = Machine::new(&servers, node);
            machine.launch = machine.launch.with(&[
                ("CLUSTER_NAME", kind),
                ("TLS_DOMAIN", tls::NAME),
                ("ACME_DIRECTORY", &authority.directory),
                ("TLS_CA_FILE", &ca_file),
                ("HOST", "127.0.0.1"),
                ("HTTP_PORT", "0"),
            ]);
            machine
        };
        let [first, second, third] = ["a", "b", "c"].map(machine);
        first.good(&["cluster", "init"]);
        let (mut a, _) = start(&first);
        let copy = first.copy_to(&second);
        second.good(&["cluster", "join", &copy]);
        third.good(&["cluster", "join", &copy]);
        let (mut b, plain) = start(&second);
        let (mut c, _) = start(&third);
        // The authority asks the node that has not ordered.
        until("a challenge is chosen", || authority.chosen() == [kind]);
        assert!(!is_served(&a, &authority) && !is_served(&b, &authority));
        if kind == "tls-alpn-01" {
            assert!(tls::challenge(b.address, tls::NAME).is_ok());
        }
        authority.conduct(|it| it.look = Look::At { http: plain.port(), tls: b.address.port() });
        for natter in [&a, &b, &c] {
            until("https", || is_served(natter, &authority));
        }
        let orders = [&mut a, &mut b, &mut c].map(|natter| {
            natter.log().iter().filter(|line| line.contains("ordering a certificate for")).count()
        });
        assert_eq!(orders, [1, 0, 0], "the node with the duty orders");
        // The one that has ordered dies; the other one starts again, and has it.
        a.kill();
        assert!(is_served(&b, &authority) && is_served(&c, &authority));
        b.stop();
        let (b, _) = start(&second);
        until("https again", || is_served(&b, &authority));
        assert_eq!((authority.asked("POST /new-order"), authority.asked("POST /new-account")), (1, 1));
        authority.judge();
    }
}
