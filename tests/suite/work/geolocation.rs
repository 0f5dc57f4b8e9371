//! Geolocations: from a service on a real socket, and from a database in a file.

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use natter::model::job::{Done, Job};
use natter::proto::http::client::Endpoint;
use natter::work::Trust;
use natter::work::geolocation::{Geolocator, PlaceSource};

#[cfg(feature = "geoip")]
use super::mmdb::{Value, database};
use super::script::Script;
#[cfg(feature = "geoip")]
use crate::support::TestDir;

fn service(port: u16) -> Geolocator {
    let endpoint = Endpoint::parse(&format!("http://127.0.0.1:{port}/v1")).expect("an endpoint");
    let trust = Trust::new(None).expect("the built-in roots");
    let source = PlaceSource::Service { endpoint, token: "t0ken".to_owned(), trust };
    Geolocator::new(source, Arc::default())
}

/// `Err` for a failed job.
fn find(geolocator: &mut Geolocator, address: &str) -> Result<Option<String>, ()> {
    let address: IpAddr = address.parse().expect("an address");
    match geolocator.run(Job::FindPlace { address }) {
        Done::Place(place) => Ok(place),
        Done::Failed => Err(()),
        done => panic!("{done:?}"),
    }
}

fn answer(status: &str, body: &str) -> Script {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    Script::play(vec![("\r\n\r\n", format!("{head}{body}"))])
}

/// The geolocation is that of the client's address. The predecessor asked for that of its own address.
#[test]
fn a_service_is_asked_for_the_client_s_address_once() {
    let server =
        answer("200 OK", r#"{"ip":"8.8.4.4","city":"Cairo","region":"Cairo","country":"EG","loc":"30,31"}"#);
    let mut geolocator = service(server.address.port());
    for _ in 0..3 {
        assert_eq!(find(&mut geolocator, "8.8.4.4"), Ok(Some("Cairo, EG".to_owned())));
    }
    // The same address as a dual-stack socket shows it.
    assert_eq!(find(&mut geolocator, "::ffff:8.8.4.4"), Ok(Some("Cairo, EG".to_owned())));
    let received = server.received();
    assert!(received.starts_with("GET /v1/8.8.4.4 HTTP/1.1\r\nHost: 127.0.0.1:"), "{received}");
    assert!(received.contains("\r\nAuthorization: Bearer t0ken\r\n"), "{received}");
}

#[test]
fn private_addresses_are_never_looked_up() {
    // Nothing listens on this port, so a request would fail.
    let mut geolocator = service(1);
    for address in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.7",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
    ] {
        assert_eq!(find(&mut geolocator, address), Ok(None), "{address}");
    }
    for address in ["8.8.4.4", "100.63.0.1", "172.32.0.1", "2a00:1450::1"] {
        assert_eq!(find(&mut geolocator, address), Err(()), "{address}");
    }
}

#[test]
fn a_service_that_fails_costs_one_try() {
    for server in [
        answer("403 Forbidden", "{}"),
        answer("200 OK", "not JSON"),
        Script::play(vec![("\r\n\r\n", "220 mx ready\r\n".to_owned())]),
        Script::play(vec![("\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_owned())]),
    ] {
        let mut geolocator = service(server.address.port());
        assert_eq!(find(&mut geolocator, "8.8.4.4"), Err(()));
        // The failure is cached for a while: the closed port is not tried again.
        assert_eq!(find(&mut geolocator, "8.8.4.4"), Ok(None));
        server.received();
    }
    let nowhere = answer("200 OK", r#"{"ip":"8.8.4.4","city":5,"bogon":true}"#);
    assert_eq!(find(&mut service(nowhere.address.port()), "8.8.4.4"), Ok(None));
    nowhere.received();
}

/// A look-up has a limit. The predecessor's had none.
#[test]
fn a_service_that_sends_nothing_has_two_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut geolocator = service(listener.local_addr().expect("an address").port());
    let start = Instant::now();
    assert_eq!(find(&mut geolocator, "8.8.4.4"), Err(()));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(1_900) && took < Duration::from_secs(20), "{took:?}");
}

#[cfg(feature = "geoip")]
#[test]
fn a_database_answers_without_a_request() {
    let names = |name| Value::Map(vec![("names", Value::Map(vec![("en", Value::Text(name))]))]);
    let maxmind = Value::Map(vec![
        ("city", names("Munich")),
        ("country", names("Germany")),
        ("subdivisions", Value::List(vec![names("Bavaria")])),
    ]);
    let plain = Value::Map(vec![("city", Value::Text("Munich")), ("country", Value::Text("DE"))]);
    let country_only = Value::Map(vec![("country", Value::Map(vec![("iso_code", Value::Text("DE"))]))]);
    for (record, expect) in
        [(maxmind, "Munich, Bavaria, Germany"), (plain, "Munich, DE"), (country_only, "DE")]
    {
        let dir = TestDir::new();
        let path = dir.path().join("places.mmdb");
        std::fs::write(&path, database(8, &record)).expect("a file");
        let source = PlaceSource::database(&path).expect("a database");
        let mut geolocator = Geolocator::new(source, Arc::default());
        assert_eq!(find(&mut geolocator, "8.8.4.4"), Ok(Some(expect.to_owned())));
        assert_eq!(find(&mut geolocator, "9.9.9.9"), Ok(None));
        assert_eq!(find(&mut geolocator, "127.0.0.1"), Ok(None));
    }
    // A file that replaces it is used at once, for cached addresses too; a file that is not a database is ignored.
    let dir = TestDir::new();
    let path = dir.path().join("places.mmdb");
    let put = |bytes: &[u8]| {
        std::fs::write(dir.path().join("new"), bytes).expect("a file");
        std::fs::rename(dir.path().join("new"), &path).expect("replaced");
    };
    let city = |name| database(8, &Value::Map(vec![("city", Value::Text(name))]));
    put(&city("Munich"));
    let source = PlaceSource::database(&path).expect("a database");
    let known = Arc::default();
    let mut threads = [0, 1].map(|_| Geolocator::new(source.clone(), Arc::clone(&known)));
    for (bytes, expect) in [
        (None, "Munich"),
        (Some(city("Augsburg")), "Augsburg"),
        (Some(b"nonsense".to_vec()), "Augsburg"),
        (Some(city("Passau")), "Passau"),
    ] {
        if let Some(bytes) = bytes {
            put(&bytes);
        }
        for geolocator in &mut threads {
            assert_eq!(find(geolocator, "8.8.4.4"), Ok(Some(expect.to_owned())));
        }
    }
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(find(&mut threads[0], "8.8.4.4"), Ok(Some("Passau".to_owned())));

    let dir = TestDir::new();
    let path = dir.path().join("nonsense.mmdb");
    std::fs::write(&path, b"nonsense").expect("a file");
    assert!(PlaceSource::database(&path).is_err());
}
