//! Where the server listens: the sockets that a service manager passes, and what a refused address is answered with.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::support::TestDir;
use super::support::net::Http;
use super::support::process::{Launch, Natter};

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// The descriptor that a service manager passes. It keeps its own.
fn passed(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().expect("a descriptor").into()
}

fn health(address: SocketAddr) -> u16 {
    Http::connect(address).ask("GET", "/healthz", &[], None).expect("a response").status
}

#[test]
fn a_passed_socket_is_served_and_loses_no_connection_at_a_restart() {
    let dir = TestDir::new();
    let (listener, address) = listener();
    let launch = Launch::new(dir.path());
    for names in ["", "LISTEN_FDNAMES=http", "LISTEN_FDNAMES=natter.socket"] {
        // Nobody serves the socket, and the connection waits.
        let mut early = Http::connect(address);
        early.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        let natter = launch.spawn_with_sockets(vec![passed(&listener)], names).started();
        assert_eq!(natter.address, address);
        assert_eq!(early.response(false).expect("a connection").expect("a response").status, 200);
        assert_eq!(health(address), 200);
        natter.stop();
    }
    // A port that has no socket is bound as always; without PORT's socket both are.
    let natter = launch.spawn_with_sockets(Vec::new(), "").started();
    assert_ne!(natter.address, address);
    assert_eq!(health(natter.address), 200);
    natter.stop();
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let dir = TestDir::new();
    let (listener, address) = listener();
    let mut natter = Launch::new(dir.path()).spawn_with_sockets(vec![passed(&listener)], "LISTEN_PID=1");
    natter.wait_for_line("LISTEN_FDS is not used: its sockets are for process 1");
    let natter = natter.started();
    assert_ne!(natter.address, address);
    assert_eq!(health(natter.address), 200);
    natter.stop();
}

#[test]
fn a_socket_that_can_not_be_served_stops_the_start() {
    let dir = TestDir::new();
    let (tcp, address) = listener();
    let unix = UnixListener::bind(dir.path().join("s")).expect("a listener");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let stream = TcpStream::connect(address).expect("a connection");
    let tcp = || passed(&tcp);
    for (sockets, variables, expect) in [
        (vec![unix.into()], "", "descriptor 3 is not a TCP socket"),
        (vec![udp.into()], "", "descriptor 3 is not a stream socket"),
        (vec![stream.into()], "", "descriptor 3 does not listen"),
        (vec![tcp()], "LISTEN_FDNAMES=web", "has the name \"web\""),
        (vec![tcp()], "LISTEN_FDNAMES=https", "has the name https, and this server has no certificate"),
        (vec![tcp()], "LISTEN_FDNAMES=http:https", "names 2 sockets, and LISTEN_FDS is 1"),
        (vec![tcp(), tcp()], "LISTEN_FDNAMES=http:http", "two sockets have the same use"),
        (vec![tcp(), tcp()], "", "two sockets have the same use"),
        (vec![tcp()], "LISTEN_FDS=9", "LISTEN_FDS: is \"9\""),
        (vec![tcp()], "LISTEN_FDS=some", "LISTEN_FDS: is \"some\""),
    ] {
        let mut natter = Launch::new(dir.path()).spawn_with_sockets(sockets, variables);
        assert_eq!(natter.wait().code(), Some(1), "{variables}");
        let log = natter.log().join("\n");
        assert!(log.contains(expect), "{variables}: {log}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn two_sockets_are_told_apart_by_their_names() {
    use std::io::{Read, Write};

    use super::support::tls;

    let dir = TestDir::new();
    let ((secure, secure_address), (plain, plain_address)) = (listener(), listener());
    let launch = tls::secure(Launch::new(dir.path()));
    for is_first in [true, false] {
        let (sockets, names) = match is_first {
            true => ([&secure, &plain], "LISTEN_FDNAMES=https:http"),
            false => ([&plain, &secure], "LISTEN_FDNAMES=http:https"),
        };
        let natter = launch.spawn_with_sockets(sockets.map(passed).into(), names).started();
        assert_eq!(natter.address, secure_address);
        let mut stream = tls::connect(secure_address, &tls::config()).expect("a handshake");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("a response");
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        // HTTP_PORT is not set: the socket is enough.
        assert_eq!(health(plain_address), 308);
        natter.stop();
    }
    // Each one alone: the other port is bound as always.
    let natter = launch.spawn_with_sockets(vec![passed(&plain)], "LISTEN_FDNAMES=http").started();
    assert_ne!(natter.address, secure_address);
    assert!(tls::connect(natter.address, &tls::config()).is_ok());
    assert_eq!(health(plain_address), 308);
    natter.stop();
}

/// The log of a server that can't listen.
fn refused(launch: &Launch) -> String {
    let output = launch.run(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[test]
fn a_refused_address_names_the_ways_out() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let (_listener, address) = listener();
    let errors = refused(&launch.clone().with(&[("PORT", &address.port().to_string())]));
    assert!(errors.contains(&format!("can't listen on {address}: ")), "{errors}");
    assert!(errors.contains("ss -ltnp") && errors.contains("PORT or HTTP_PORT"), "{errors}");
    // An address of a network for documents (RFC 5737).
    if TcpListener::bind("192.0.2.1:0").is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable) {
        let errors = refused(&launch.with(&[("HOST", "192.0.2.1")]));
        assert!(errors.contains("set HOST to one that `ip address` shows, or to 0.0.0.0 or ::"), "{errors}");
    } else {
        println!("SKIPPED: this machine lets a program listen on an address that it does not have");
    }
}

/// A program that runs another without the capability; for a user who does not have it, none is needed.
fn without_the_capability() -> Option<&'static [&'static str]> {
    let id = Command::new("id").arg("-u").output().expect("id(1)");
    if id.stdout != b"0\n" {
        return Some(&[]);
    }
    const SETPRIV: &[&str] =
        &["setpriv", "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service"];
    let found = Command::new(SETPRIV[0]).args(&SETPRIV[1..]).arg("true").status();
    found.is_ok_and(|status| status.success()).then_some(SETPRIV)
}

#[test]
fn a_port_that_needs_a_capability_names_three_ways() {
    let ports = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if ports.is_ok_and(|first| first.trim().parse::<u16>().is_ok_and(|first| first < 1_024)) {
        println!("SKIPPED: every user may listen on every port here");
        return;
    }
    let Some(wrapper) = without_the_capability() else {
        println!("SKIPPED: root, and setpriv can't drop a capability here");
        return;
    };
    let dir = TestDir::new();
    let mut launch = Launch::new(dir.path());
    if !wrapper.is_empty() {
        launch = launch.by(wrapper);
    }
    let launches = [
        launch.clone().with(&[("PORT", "443")]),
        #[cfg(feature = "tls")]
        super::support::tls::secure(launch).with(&[("HTTP_PORT", "80")]),
    ];
    for launch in launches {
        let errors = refused(&launch);
        for way in ["AmbientCapabilities=CAP_NET_BIND_SERVICE", "socket activation", "PORT and HTTP_PORT"] {
            assert!(errors.contains(way), "{errors}");
        }
    }
}

/// Its start-up line comes after that of the port that is passed.
#[test]
fn the_log_says_which_sockets_were_passed() {
    let dir = TestDir::new();
    let (listener, address) = listener();
    let mut natter: Natter = Launch::new(dir.path()).spawn_with_sockets(vec![passed(&listener)], "");
    natter.wait_for_line(&format!("the service manager opened {address}"));
    natter.started().stop();
}
