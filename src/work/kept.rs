//! Requests to addresses that somebody else has chosen, over connections that are kept for the next one.
//!
//! Such an address must not lead into this host's network: each IP address that its name resolves to is checked before the
//! connection, and redirects are not followed. A TLS handshake costs ten times what the rest does, so that a connection is kept.
//! Invariant: an exchange takes at most [`EXCHANGE_DEADLINE`] plus the name resolution. A response is not waited for after its head.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::wire::{Trust, Wire, WireFault};
use crate::base::network::is_public;
use crate::proto::http::client::{Ask, Authority, ResponseHead, ResponseReader};

/// Time limit of one exchange, connection included.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(10);
/// For how long after its start a connection is used: then the name of the service is resolved again.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// A connection that was not used for this long is not used again: the service may have closed it.
const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(10);

/// An open connection whose last response is complete.
pub struct Kept {
    wire: Wire,
    opened: Instant,
    used: Instant,
}

impl Kept {
    fn is_usable(&self, now: Instant) -> bool {
        now - self.opened < CONNECTION_LIFE && now - self.used < CONNECTION_IDLE_MAX
    }

    pub fn close(self) {
        self.wire.close();
    }
}

/// Which addresses are connected to, and which certificates are trusted.
#[derive(Clone, Copy)]
pub struct Reach<'a> {
    /// Also addresses that are not public.
    pub private: bool,
    pub trust: &'a Trust,
}

/// Sends the request over the kept connection, or over a new one. Returns the head of the response.
pub fn exchange(
    reach: Reach<'_>,
    authority: &Authority,
    kept: &mut Option<Kept>,
    request: &[u8],
) -> Result<ResponseHead, WireFault> {
    let began = Instant::now();
    let mut usable = kept.take();
    if let Some(stale) = usable.take_if(|kept| !kept.is_usable(began)) {
        stale.close();
    }
    if let Some(mut connection) = usable {
        connection.wire.limit(EXCHANGE_DEADLINE);
        match ask(&mut connection.wire, request) {
            Ok(answer) => return Ok(keep(kept, connection, answer)),
            // The service has closed it, perhaps after it took the request: then it gets the same one twice.
            Err(fault) => {
                log::debug!(target: "natter::work", "a kept connection is over: {}", fault.reason())
            }
        }
    }
    let Authority { host, port, tls } = authority;
    let allowed = |address: IpAddr| reach.private || is_public(address);
    let left = EXCHANGE_DEADLINE.saturating_sub(began.elapsed());
    let mut wire = Wire::connect_to(host, *port, left, allowed)?;
    if *tls {
        wire.start_tls(reach.trust, host)?;
    }
    let answer = ask(&mut wire, request)?;
    Ok(keep(kept, Kept { wire, opened: began, used: began }, answer))
}

/// The head of a response, and whether the next request may follow on its connection.
struct Answered {
    head: ResponseHead,
    may_follow: bool,
}

fn ask(wire: &mut Wire, request: &[u8]) -> Result<Answered, WireFault> {
    wire.send(request)?;
    let mut reader = ResponseReader::keeping(&["connection"], Ask::Get);
    let mut received = Vec::new();
    loop {
        received.clear();
        let more = wire.receive(&mut received)?;
        let read = reader.receive(&received);
        match (reader.head(), read) {
            (Some(head), read) => {
                // A body that comes later is not waited for: it may have no end.
                let is_complete = read == Ok(true) && more;
                let closes =
                    || reader.finish().map_or(true, |response| response.field("connection").is_some());
                return Ok(Answered { head, may_follow: is_complete && !closes() });
            }
            (None, Err(_)) => return Err(WireFault::failed("the response is not HTTP")),
            (None, Ok(_)) if !more => {
                return Err(WireFault::failed("the response is incomplete"));
            }
            (None, Ok(_)) => {}
        }
    }
}

/// Keeps the connection for the next request, if it may have one.
fn keep(kept: &mut Option<Kept>, connection: Kept, answer: Answered) -> ResponseHead {
    if answer.may_follow {
        *kept = Some(Kept { used: Instant::now(), ..connection });
    } else {
        connection.wire.close();
    }
    answer.head
}
