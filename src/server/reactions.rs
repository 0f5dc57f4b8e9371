//! What the server does because of a committed fact, in addition to sending the event to its audience.
//!
//! Owns the list of facts that cause something. Leaves what they cause to `presence`, the streams and the pusher.
//! Invariant: a reaction follows from the fact alone, whether or not the connection that caused it is still there.

use crate::model::event::{Audience, EndedSession, Fact};
use crate::model::operation::{Answer, Refusal};
use crate::server::background::push::devices;
use crate::server::conn::Conns;
use crate::server::core::Core;
use crate::server::streams::kinds;
use crate::server::streams::presence;

/// An event was published.
pub fn on_fact(core: &mut Core, conns: &mut Conns, fact: &Fact, audience: &Audience) {
    match fact {
        Fact::SessionEnded(ended) => end_session(core, conns, ended, audience),
        // A profile that hides itself now may have been announced before.
        Fact::ProfileUpdated(profile) if !core.streams.hub.of(profile.id).is_empty() => {
            presence::changed(core, profile.id);
        }
        // The first message makes two people peers: until now neither could know whether the other is online.
        Fact::MessagePosted(message) if message.n == 1 && audience.direct => {
            presence::on_new_peers(core, conns, &audience.profiles);
        }
        _ => {}
    }
}

/// Storage has answered: some changes make no event and concern open streams nevertheless.
pub fn on_answer(core: &mut Core, conns: &mut Conns, result: &Result<Answer, Refusal>) {
    if let Ok(Answer::SetBlock(changed)) = result
        && let Some(changed) = **changed
    {
        presence::on_block_changed(core, conns, changed);
    }
}

/// No token of the session is accepted any more, and its streams end.
fn end_session(core: &mut Core, conns: &mut Conns, ended: &EndedSession, audience: &Audience) {
    let EndedSession { session, until } = *ended;
    core.session_ended(session, until);
    for profile in audience.profiles.iter() {
        devices::session_ended(core, *profile, session);
        for id in core.streams.hub.of(*profile).to_vec() {
            if let Some(conn) = conns.get_mut(id)
                && kinds::session_ended(core, conn, session)
            {
                core.turn.touched.push(id);
            }
        }
    }
}
