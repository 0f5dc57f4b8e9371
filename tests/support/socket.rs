//! A WebSocket client for tests: opens a socket, sends masked texts, reads complete frames.

use natter::server::contract::ConnId;

use super::World;
use super::http::{Person, Response, request, responses};

/// The content of a frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping,
    Pong,
    /// Code and reason; 0 for a close without one.
    Close(u16, String),
}

pub const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

impl World {
    /// Requests an upgrade; a refusal is the plain response.
    pub fn upgrade(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<ConnId, Response> {
        let conn = self.connect();
        let fields = [&UPGRADE, fields].concat();
        self.send(conn, &request("GET", path, &fields, None));
        let mut bytes = self.take(conn);
        if !bytes.starts_with(b"HTTP/1.1 101 ") {
            let refusal = responses(&mut bytes, false).remove(0);
            self.reset(conn);
            return Err(refusal);
        }
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head") + 4;
        let first = bytes.split_off(end);
        self.peers.get_mut(&conn).expect("a peer").received = first;
        Ok(conn)
    }

    /// A socket of a member, opened with the bearer token.
    pub fn open_socket(&mut self, person: &Person, path: &str) -> ConnId {
        let bearer = format!("Bearer {}", person.access);
        match self.upgrade(path, &[("Authorization", &bearer)]) {
            Ok(conn) => conn,
            Err(refusal) => panic!("refused: {}", refusal.text()),
        }
    }

    /// Sends one text frame.
    pub fn say(&mut self, conn: ConnId, text: &str) {
        let mut frame = vec![0x81];
        match text.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&u16::try_from(len).expect("a short text").to_be_bytes());
            }
        }
        // A mask of zeros changes no byte.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.send(conn, &frame);
    }

    /// The frames that arrived since the last call.
    pub fn frames(&mut self, conn: ConnId) -> Vec<Frame> {
        let bytes = self.take(conn);
        let mut rest = bytes.as_slice();
        let mut frames = Vec::new();
        while let [first, second, behind @ ..] = rest {
            let (len, behind) = match second {
                126 => (usize::from(u16::from_be_bytes([behind[0], behind[1]])), &behind[2..]),
                127 => (u64::from_be_bytes(behind[..8].try_into().expect("8 bytes")) as usize, &behind[8..]),
                len => (usize::from(*len), behind),
            };
            let (payload, behind) = behind.split_at(len);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
            frames.push(match first {
                0x81 => Frame::Text(text(payload)),
                0x82 => Frame::Binary(payload.to_vec()),
                0x89 => Frame::Ping,
                0x8a => Frame::Pong,
                0x88 if payload.is_empty() => Frame::Close(0, String::new()),
                0x88 => Frame::Close(u16::from_be_bytes([payload[0], payload[1]]), text(&payload[2..])),
                other => panic!("an unexpected frame {other:#x}"),
            });
            rest = behind;
        }
        frames
    }

    /// The texts that arrived since the last call.
    pub fn texts(&mut self, conn: ConnId) -> Vec<String> {
        let text = |frame| match frame {
            Frame::Text(text) => Some(text),
            _ => None,
        };
        self.frames(conn).into_iter().filter_map(text).collect()
    }

    /// The code the server closed a socket with.
    pub fn close_code(&mut self, conn: ConnId) -> Option<u16> {
        let code = |frame| match frame {
            Frame::Close(code, _) => Some(code),
            _ => None,
        };
        self.frames(conn).into_iter().find_map(code)
    }
}
