//! What the server does because of a committed fact, in addition to sending the event to its audience.
//!
//! Owns the list of facts that cause something. Leaves what they cause to `presence`, the streams, the outbox and the pusher.
//! Invariant: a reaction follows from the fact alone, whether or not the connection that caused it is still there, and whichever
//! node of a cluster was asked.

use crate::model::event::{Audience, EndedSession, Fact};
use crate::model::handler::FollowUp;
use crate::model::operation::{Answer, Refusal};
use crate::server::background::certificate;
use crate::server::background::duty;
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
        Fact::ProfileUpdated(profile)
            if !core.streams.hub.of(profile.id).is_empty() || core.streams.is_online(profile.id) =>
        {
            presence::changed(core, profile.id);
        }
        // The first message makes two people peers: until now neither could know whether the other is online.
        Fact::MessagePosted(message) if message.n == 1 && audience.direct => {
            presence::on_new_peers(core, conns, &audience.profiles);
        }
        _ => {}
    }
}

/// Storage has answered: some changes make no event and cause something nevertheless.
pub fn on_answer(core: &mut Core, conns: &mut Conns, result: &Result<Answer, Refusal>) {
    match result {
        Ok(Answer::SetBlock(changed)) => {
            if let Some(changed) = **changed {
                presence::on_block_changed(core, conns, changed);
            }
        }
        Ok(Answer::HoldDuty(held)) => duty::on_held(core, held),
        Ok(Answer::KeepCertificate(kept)) => certificate::on_kept(core, kept),
        Ok(Answer::CreateBotToken(made)) => core.requests.bots.add(made.live),
        Ok(Answer::MarkOffline(peers)) => presence::on_offline(core, peers),
        // Each of them puts a mail into the outbox, or lets one that waits for a place go on. Who writes digests wakes the outbox itself.
        Ok(
            Answer::SignUp(_)
            | Answer::OpenSession(_)
            | Answer::ChangePassword(())
            | Answer::IssueVerifyCode(())
            | Answer::IssueResetCode(())
            | Answer::ResetPassword(())
            | Answer::UseResetLink(())
            | Answer::Administer(_)
            | Answer::ChangeFactor(_)
            | Answer::PlaceSession(()),
        ) => core.turn.follow_ups.push(FollowUp::Mail),
        Ok(Answer::ReleaseNickNames(1..)) => core.turn.follow_ups.push(FollowUp::Mail),
        // The list of those that are called may be another one.
        Ok(Answer::SetHook(_) | Answer::SetActive(_) | Answer::DeleteAccount(())) => {
            core.turn.follow_ups.push(FollowUp::Hooks);
        }
        // A device subscribed to notifications, or shows more of them.
        Ok(Answer::Subscribe(_) | Answer::SetPushLevel(_)) => core.turn.follow_ups.push(FollowUp::Push),
        _ => {}
    }
}

/// No token of the session is accepted any more, and its streams end.
fn end_session(core: &mut Core, conns: &mut Conns, ended: &EndedSession, audience: &Audience) {
    let EndedSession { session, until } = *ended;
    core.session_ended(session, until);
    core.requests.bots.session_ended(session);
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
