//! What the other nodes of a cluster say: each whisper to the part that it concerns.
//!
//! Leaves to the parts what they say themselves, except the attempts, which handlers count without knowing of nodes.
//! Invariant: a server alone says nothing and hears nothing.

use crate::model::node::NodeName;
use crate::model::whisper::Whisper;
use crate::server::core::Core;
use crate::server::streams::nodes;
use crate::server::streams::presence;

/// Another node has said something. What this build does not know is ignored: a newer one may say more.
pub fn heard(core: &mut Core, node: &NodeName, bytes: &[u8]) {
    if !nodes::heard(core, node) {
        return;
    }
    match Whisper::from_bytes(bytes) {
        Some(Whisper::Ask) => nodes::asked(core),
        Some(Whisper::Here(here)) => nodes::told(core, node, here),
        Some(Whisper::Typing(typing)) => presence::typing_elsewhere(core, typing),
        Some(Whisper::Attempt(ended)) => core.requests.attempts.count(ended, core.now),
        Some(Whisper::TicketUsed(ticket)) => core.requests.tickets.used_elsewhere(ticket, core.now),
        None => {}
    }
}

/// Tells the other nodes of the attempts that handlers have counted in this turn.
pub fn tell_attempts(core: &mut Core) {
    for ended in core.requests.attempts.take_news() {
        core.whisper(&Whisper::Attempt(ended));
    }
}
