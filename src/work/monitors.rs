//! The servers of a cluster's log, asked at their monitoring ports what they are.
//!
//! Owns the requests. Leaves to `proto::nats::safety` what is demanded of a server, and to the runtime when they are asked.
//! Invariant: each URL takes [`ANSWER_MAX`] at most, apart from the system's resolver.

use std::time::Duration;

use super::exchange::exchange;
use super::wire::Trust;
use crate::proto::http::client::{Ask, Endpoint, ResponseReader};
use crate::proto::nats::jetstream::{self, ServerFacts};

/// The time limit of one server, connection included. A server that is paused delays the others by it.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Asks one URL after another. Returns what the servers have answered, and why others have not, in words for an operator.
pub fn ask(urls: &[String], trust: &Trust) -> (Vec<ServerFacts>, Option<String>) {
    let (mut facts, mut faults) = (Vec::new(), Vec::new());
    for url in urls {
        match ask_one(url, trust) {
            Ok(server) => facts.push(server),
            Err(fault) => faults.push([url, ": ", &fault].concat()),
        }
    }
    (facts, (!faults.is_empty()).then(|| faults.join(", ")))
}

fn ask_one(url: &str, trust: &Trust) -> Result<ServerFacts, String> {
    let endpoint = Endpoint::resource(url).map_err(|_| "it is no URL".to_owned())?;
    let request = endpoint.request(Ask::Get);
    let response = exchange(&endpoint, &request, ResponseReader::new(), trust, ANSWER_MAX)
        .map_err(|fault| fault.reason().to_owned())?;
    if response.status != 200 {
        return Err(format!("it answers with status {}", response.status));
    }
    let server = jetstream::read_server(&response.body).filter(|server| !server.name.is_empty());
    server.ok_or_else(|| "it is no monitoring port of a nats-server with JetStream".to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A port whose one answer this is.
    fn port(answer: impl FnOnce(&mut TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/varz", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a connection");
            let mut request = [0; 1_024];
            let count = socket.read(&mut request).expect("a request");
            assert!(request[..count].starts_with(b"GET /varz HTTP/1.1\r\n"));
            answer(&mut socket);
        });
        url
    }

    fn answering(status: &str, body: String) -> String {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        port(move |socket| {
            // Of what is too large, the reader takes only a part.
            let _ = socket.write_all((head + &body).as_bytes());
        })
    }

    #[test]
    fn what_answers_is_told_from_what_does_not() {
        let good = r#"{"server_name":"n1","version":"2.15.3","jetstream":{"config":{"sync_always":true}}}"#;
        let gone =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let urls = [
            answering("200 OK", good.to_owned()),
            answering("404 Not Found", String::new()),
            answering("200 OK", r#"{"server_name":"n2"}"#.to_owned()),
            answering("200 OK", " ".repeat(65_537)),
            format!("http://{gone}/varz"),
            port(|socket| drop(socket.read(&mut [0]))),
        ];
        let (facts, faults) = ask(&urls, &Trust::new(None).expect("the built-in roots"));
        let names: Vec<(&str, bool)> =
            facts.iter().map(|server| (server.name.as_str(), server.sync_always)).collect();
        assert_eq!(names, [("n1", true)]);
        let faults = faults.expect("faults");
        for (url, expect) in urls[1..].iter().zip([
            "it answers with status 404",
            "it is no monitoring port",
            "the service's response is not HTTP",
            "refused",
            "it took too long",
        ]) {
            let (_, fault) = faults.split_once(&format!("{url}: ")).expect("its fault");
            assert!(fault.split(", http").next().expect("a part").contains(expect), "{expect:?}: {faults}");
        }
    }
}
