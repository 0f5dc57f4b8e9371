//! Why a connection ended: one reason for each, in its log line and in `natter_connections_closed_total`.
//!
//! The last phases carry it ([`Phase::Linger`], [`Phase::Closed`]), so that no code that ends a connection can omit it.
//!
//! [`Phase::Linger`]: crate::server::conn::Phase::Linger
//! [`Phase::Closed`]: crate::server::conn::Phase::Closed

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum CloseReason {
            $($(#[$doc])* $reason,)*
        }

        impl CloseReason {
            pub const ALL: &[CloseReason] = &[$(CloseReason::$reason),*];

            /// As logs and metrics show it.
            pub fn name(self) -> &'static str {
                match self {
                    $(CloseReason::$reason => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// The last response asked for it: `Connection: close` from the client, HTTP/1.0, or a body that was not read.
    Answered = "answered";
    /// The peer closed first, or ended its WebSocket.
    PeerLeft = "peer_left";
    /// The socket broke.
    SocketFailed = "socket_failed";
    /// What came is not HTTP or not WebSocket, so nothing after it can be understood.
    ProtocolError = "protocol_error";
    /// A TLS handshake failed, or did not end in time.
    TlsHandshake = "tls_handshake";
    /// A request did not arrive in time.
    RequestTimeout = "request_timeout";
    /// No request came for as long as an unused connection is kept.
    Idle = "idle";
    /// The peer reads too slowly, or not at all.
    SlowReader = "slow_reader";
    /// The peer of a WebSocket answered no ping.
    Silent = "silent";
    /// The session of a stream ended, or its token expired.
    SessionOver = "session_over";
    /// A client sent too many frames that were refused.
    Flood = "flood";
    /// A request or the question of a stream failed here; the client is to try again on a new connection.
    Unavailable = "unavailable";
    /// A response that ends with its connection was sent to its end.
    Finished = "finished";
    /// The server stops.
    Draining = "draining";
    /// It gave way to another one: there were too many connections, or all incomplete requests together were too large.
    GaveWay = "gave_way";
    /// There was no room for it when it came.
    Refused = "refused";
    /// All send queues together held too much, and its own held the most.
    QueuesFull = "queues_full";
    /// A phase was left without a next one: a defect of the server.
    Internal = "internal";
}
