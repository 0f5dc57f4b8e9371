//! A client with a real socket: HTTP/1.1 and WebSocket, blocking, on one thread.
//!
//! Owns the bytes in both directions, which it holds against the documents. It never retries and hides nothing: a test gets each
//! response, frame and end as it arrives. Invariant: no wait is longer than [`PATIENCE`], so that a server that hangs is a failed test.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use natter::base::json;
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Error, Message, WebSocket};

use super::http::{Person, Response, next_response, request, series, text_at};
use super::observer::Observer;

/// How long a client waits before the test fails: far longer than any delay on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A socket whose bytes are held against the documents.
pub struct Watched {
    stream: TcpStream,
    observer: Observer,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.observer.received(&buffer[..count]);
        Ok(count)
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(bytes)?;
        self.observer.sent(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl std::ops::Deref for Watched {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

/// One HTTP connection, kept alive.
pub struct Http {
    pub stream: Watched,
    received: Vec<u8>,
}

impl Http {
    pub fn connect(address: SocketAddr) -> Http {
        Http::try_connect(address).expect("a connection")
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Http> {
        Http::try_connect_within(address, PATIENCE)
    }

    pub fn try_connect_within(address: SocketAddr, time: Duration) -> io::Result<Http> {
        let stream = TcpStream::connect_timeout(&address, time)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Http { stream: Watched { stream, observer: Observer::default() }, received: Vec::new() })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next response; `None` if the connection ended in order instead.
    pub fn response(&mut self, is_head: bool) -> io::Result<Option<Response>> {
        loop {
            if let Some(response) = next_response(&mut self.received, is_head) {
                return Ok(Some(response));
            }
            if self.fill()? == 0 {
                return match self.received.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16_384];
        loop {
            match self.stream.read(&mut buffer) {
                // The kernel does not restart a read with a time limit after a signal (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    let count = result?;
                    self.received.extend_from_slice(&buffer[..count]);
                    return Ok(count);
                }
            }
        }
    }

    /// One request, one response.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<&str>,
    ) -> io::Result<Response> {
        self.send(&request(method, path, fields, body))?;
        self.response(method == "HEAD")?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub fn ask_as(
        &mut self,
        person: &Person,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> io::Result<Response> {
        let bearer = format!("Bearer {}", person.access);
        self.ask(method, path, &[("Authorization", &bearer)], body)
    }

    /// The value of one series of `/metrics`.
    pub fn metric(&mut self, name: &str) -> u64 {
        series(self.ask("GET", "/metrics", &[], None).expect("a response").text(), name)
    }

    pub fn sign_up(&mut self, name: &str) -> Person {
        let body = format!(
            r#"{{"display_name":"{name}","email":"{name}@example.org","password":"correct horse {name}'s"}}"#
        );
        let response = self.ask("POST", "/api/v1/user/sign-up", &[], Some(&body)).expect("a response");
        assert_eq!(response.status, 201, "{}", response.text());
        Person::from_response(&response)
    }

    /// Another session of a member who signed up.
    pub fn sign_in(&mut self, name: &str) -> Person {
        let body = format!(r#"{{"email":"{name}@example.org","password":"correct horse {name}'s"}}"#);
        let response = self.ask("POST", "/api/v1/user/sign-in", &[], Some(&body)).expect("a response");
        assert_eq!(response.status, 200, "{}", response.text());
        Person::from_response(&response)
    }

    /// The remaining bytes until the server ends the connection.
    pub fn rest(mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(self.received)
    }
}

/// The input from a WebSocket.
#[derive(Debug)]
pub enum Received {
    Text(String),
    /// A close frame, with its code (1005 for none) and reason.
    Close(u16, String),
    /// The connection ended without a close frame.
    End,
}

/// One WebSocket of a client. The test writes the handshake, so that a refusal is a plain response.
pub struct Ws {
    socket: WebSocket<Watched>,
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

impl Ws {
    /// Opens `target` (path and query) with the token `access`, or returns the response that refuses the upgrade.
    pub fn open(address: SocketAddr, target: &str, access: &str) -> io::Result<Result<Ws, Response>> {
        Ws::open_within(address, target, access, PATIENCE)
    }

    /// The same, where no step takes longer than `time`.
    pub fn open_within(
        address: SocketAddr,
        target: &str,
        access: &str,
        time: Duration,
    ) -> io::Result<Result<Ws, Response>> {
        let mut http = Http::try_connect_within(address, time)?;
        http.stream.set_read_timeout(Some(time))?;
        let bearer = format!("Bearer {access}");
        let fields = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
            ("Authorization", &bearer),
        ];
        let response = http.ask("GET", target, &fields, None)?;
        if response.status != 101 {
            return Ok(Err(response));
        }
        assert_eq!(response.field("sec-websocket-accept"), Some(ACCEPT));
        // Bytes after the 101 belong to the socket.
        let socket = WebSocket::from_partially_read(http.stream, http.received, Role::Client, None);
        Ok(Ok(Ws { socket }))
    }

    /// Opens the native socket, which must succeed, and reads `hello`; returns its epoch too.
    pub fn native(address: SocketAddr, access: &str, cursor: Option<&str>) -> io::Result<(Ws, String)> {
        let target = match cursor {
            Some(cursor) => format!("/api/v1/ws?cursor={cursor}"),
            None => "/api/v1/ws".to_owned(),
        };
        let mut ws = match Ws::open(address, &target, access)? {
            Ok(ws) => ws,
            Err(response) => panic!("no upgrade: {} {}", response.status, response.text()),
        };
        match ws.receive()? {
            Received::Text(hello) => {
                assert_eq!(at(&hello, "event"), "hello", "{hello}");
                Ok((ws, at(&hello, "epoch")))
            }
            Received::Close(..) | Received::End => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    pub fn send(&mut self, text: &str) -> io::Result<()> {
        self.socket.send(Message::text(text)).map_err(io_error)
    }

    /// The next text or end. Pings are answered.
    pub fn receive(&mut self) -> io::Result<Received> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(Received::Text(text.to_string())),
                Ok(Message::Close(frame)) => {
                    let (code, reason) = frame
                        .map_or((1005, String::new()), |CloseFrame { code, reason }| {
                            (code.into(), reason.to_string())
                        });
                    // Answers the close, and waits for the server to end the connection.
                    while self.socket.read().is_ok() {}
                    return Ok(Received::Close(code, reason));
                }
                Ok(Message::Binary(_)) => panic!("natter sends no binary frames"),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(Received::End),
                Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                    return Ok(Received::End);
                }
                Err(error) => return Err(io_error(error)),
            }
        }
    }

    /// The next text; any other input fails the test.
    pub fn text(&mut self) -> String {
        match self.receive().expect("a frame") {
            Received::Text(text) => text,
            other => panic!("expected a text, got {other:?}"),
        }
    }

    /// Texts up to and including the first with this text at `path`.
    pub fn until(&mut self, path: &str, value: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            all.push(self.text());
            if all.last().is_some_and(|text| at(text, path) == value) {
                return all;
            }
        }
    }

    pub fn stream(&self) -> &TcpStream {
        self.socket.get_ref()
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// The text at a path of member names and list indices of a JSON text.
pub fn at(text: &str, path: &str) -> String {
    let value = json::parse(text.as_bytes()).unwrap_or_else(|_| panic!("not JSON: {text}"));
    text_at(&value, path)
}
