//! One request over HTTP and its response, in blocking code.
//!
//! Invariant: it lasts no longer than its limit, apart from the system's resolver, and holds no more than the bounds of the reader.

use std::time::Duration;

use super::wire::{Trust, Wire, WireFault};
use crate::proto::http::client::{Endpoint, Response, ResponseReader};

/// Sends `request` to the host of `endpoint` on a connection of its own.
pub fn exchange(
    endpoint: &Endpoint,
    request: &[u8],
    mut reader: ResponseReader,
    trust: &Trust,
    limit: Duration,
) -> Result<Response, WireFault> {
    let fault = |what: &str| WireFault::failed(what);
    let service = &endpoint.authority;
    let mut wire = Wire::connect(&service.host, service.port, limit)?;
    if service.tls {
        wire.start_tls(trust, &service.host)?;
    }
    wire.send(request)?;
    let mut received = Vec::new();
    loop {
        received.clear();
        let more = wire.receive(&mut received)?;
        let is_complete =
            reader.receive(&received).map_err(|_| fault("the service's response is not HTTP"))?;
        if is_complete || !more {
            break;
        }
    }
    wire.close();
    reader.finish().map_err(|_| fault("the service's response is incomplete"))
}
