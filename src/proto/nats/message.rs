//! One message that a server delivered, and the status that its headers begin with.
//!
//! Owns how headers are read (`NATS/1.0`, then lines as in HTTP). Leaves the meaning of a status to the receiver.

/// The first line of all headers begins with it.
const VERSION: &[u8] = b"NATS/1.0";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The subscription that it belongs to.
    pub sid: u32,
    pub subject: String,
    /// Where an answer goes.
    pub reply: Option<String>,
    /// The headers, with their first line. Empty without headers.
    pub headers: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Message {
    /// No server or consumer listens on the subject of the request.
    pub const NO_RESPONDERS: u16 = 503;
    /// A heartbeat of a consumer, or its request for flow control.
    pub const CONTROL: u16 = 100;

    /// The status of a message that the server itself made.
    pub fn status(&self) -> Option<u16> {
        let line = self.lines().next()?.strip_prefix(VERSION)?.trim_ascii_start();
        let digits = line.split(|&byte| byte == b' ').next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The first value of a header; upper and lower case are the same.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.lines().skip(1).find_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let (key, value) = line.split_at(colon);
            let is_it = key.eq_ignore_ascii_case(name.as_bytes());
            is_it.then(|| std::str::from_utf8(value[1..].trim_ascii()).ok()).flatten()
        })
    }

    /// Whether the consumer waits for an answer before it sends more, and the subject that the answer goes to. A request for
    /// flow control names it as its reply subject, a heartbeat of a waiting consumer in a header.
    pub fn flow_control(&self) -> Option<&str> {
        if self.status() != Some(Message::CONTROL) {
            return None;
        }
        self.header("Nats-Consumer-Stalled").or(self.reply.as_deref())
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.headers.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &str) -> Message {
        Message { headers: headers.as_bytes().to_vec(), ..Message::default() }
    }

    #[test]
    fn the_status_and_the_headers_are_read() {
        let check = |headers: &str, status: Option<u16>, last: Option<&str>| {
            let message = message(headers);
            assert_eq!((message.status(), message.header("Nats-Last-Stream")), (status, last), "{headers:?}");
        };
        check("", None, None);
        check("NATS/1.0\r\n\r\n", None, None);
        check("NATS/1.0 503\r\nNats-Subject: a\r\n\r\n", Some(503), None);
        check("NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Stream: 4\r\n\r\n", Some(100), Some("4"));
        check(
            "NATS/1.0 404 No Messages\r\nnats-last-stream:5\r\nNats-Last-Stream: 6\r\n\r\n",
            Some(404),
            Some("5"),
        );
        check("NATS/1.0 99999\r\nNats-Last-Stream\r\n", None, None);
        check("HTTP/1.1 200 OK\r\nNats-Last-Stream: \r\n\r\n", None, Some(""));
        assert_eq!(message("NATS/1.0\r\nNats-Last-Stream: 7").header("nats-last-stream"), Some("7"));
    }

    #[test]
    fn flow_control_names_where_the_answer_goes() {
        let stalled = message("NATS/1.0 100 Idle Heartbeat\r\nNats-Consumer-Stalled: $JS.FC.a.b\r\n\r\n");
        assert_eq!(stalled.flow_control(), Some("$JS.FC.a.b"));
        assert_eq!(message("NATS/1.0 100 Idle Heartbeat\r\n\r\n").flow_control(), None);
        let asked =
            Message { reply: Some("r".to_owned()), ..message("NATS/1.0 100 FlowControl Request\r\n\r\n") };
        assert_eq!(asked.flow_control(), Some("r"));
        let delivery = Message { reply: Some("$JS.ACK.a".to_owned()), ..Message::default() };
        assert_eq!(delivery.flow_control(), None);
    }
}
