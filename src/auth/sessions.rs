//! The handlers of session.refresh, session.end, session.list and session.revoke.
//!
//! Owns the checks that come before storage is asked. Only the session's row knows which refresh token is the current
//! one, what a reuse means and who owns the session.
//! Invariant: no unsigned claim decides anything.

use super::token;
use crate::base::crypto::sha256;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::problem::{Code, Problem};
use crate::model::session::{EndSession, ListSessions, RefreshSession, RevokeSessions, SessionSelector};

/// POST /user/refresh. Needs no access token: the refresh token names its session.
pub fn refresh(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    // A missing token is 401; a value that is not a text is 422.
    let token = request.params.text("refresh")?.ok_or(Problem::new(Code::UnauthorizedAccess))?;
    let now = ctx.now.unix_s();
    let claims = token::verify_refresh(ctx.settings, now, token)?;
    let unique_id = request.client.unique_id.as_deref();
    // Checked before storage is asked: a thief without the device can't even provoke the reuse that ends the session.
    if !token::device_matches(claims.device, unique_id) {
        return Err(Code::UnauthorizedAccess.into());
    }
    let exchange = RefreshSession {
        at: ctx.now.unix_ms,
        session: claims.session,
        refresh_uuid: claims.refresh_uuid,
        device: unique_id.map(|id| sha256(id.as_bytes())),
        next_access_uuid: ctx.id(),
        next_refresh_uuid: ctx.id(),
        access_expire: now.after(ctx.settings.limits.access_ttl),
        refresh_expire: now.after(ctx.settings.limits.refresh_ttl),
    };
    Ok(Step::store(exchange, |ctx, refreshed| {
        Reply::ok(&token::sign_pair(ctx.settings, ctx.epoch, &refreshed.pair)).step()
    }))
}

/// POST /user/logout.
pub fn logout(ctx: &mut Ctx<'_>, actor: Actor, _: &Request<'_>) -> Result<Step, Problem> {
    let end = EndSession { at: ctx.now.unix_ms, session: actor.session };
    Ok(Step::store(end, |_, ()| Reply::done().step()))
}

/// GET /user/sessions.
pub fn list(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let list = ListSessions {
        at: ctx.now.unix_ms,
        member: actor.member,
        current: actor.session,
        after: request.params.next_number('s')?,
        limit: request.params.limit()?,
    };
    Ok(Step::store(list, |_, page| Reply::list(&page.sessions, page.next.map(write_next)).step()))
}

/// `s<number>`: the page after that position.
fn write_next(place: u64) -> String {
    format!("s{place}")
}

/// DELETE /user/sessions/{session}.
pub fn revoke(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    revoke_some(ctx, actor, SessionSelector::One(request.params.required_id("session")?))
}

/// DELETE /user/sessions: ends all sessions of the member but the one that asks.
pub fn revoke_others(ctx: &mut Ctx<'_>, actor: Actor, _: &Request<'_>) -> Result<Step, Problem> {
    revoke_some(ctx, actor, SessionSelector::AllBut(actor.session))
}

fn revoke_some(ctx: &mut Ctx<'_>, actor: Actor, which: SessionSelector) -> Result<Step, Problem> {
    let revoke = RevokeSessions { at: ctx.now.unix_ms, member: actor.member, which };
    Ok(Step::store(revoke, |_, ()| Reply::no_content().step()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use crate::base::json;
    use crate::base::time::UnixS;
    use crate::model::handler::Handler;
    use crate::model::operation::{Answer, Command, Refusal, Write};
    use crate::model::session::{Refreshed, Token, TokenPair};
    use crate::model::testing::{Stage, UNIX_MS, pair, problem, text};

    const REFRESH: Handler = Handler::Public(refresh);
    const LOGOUT: Handler = Handler::Member(logout);
    const NOW: UnixS = UNIX_MS.s();

    fn tokens(stage: &Stage, device: Option<&str>) -> Token {
        token::sign_pair(&stage.settings, "k3", &pair(device))
    }

    fn body(refresh: &str) -> String {
        format!(r#"{{"refresh":{}}}"#, json::to_string(refresh))
    }

    #[test]
    fn a_good_refresh_token_is_exchanged() {
        let mut stage = Stage::new();
        let token = tokens(&stage, None);
        let step = stage.ask(REFRESH, &body(&token.refresh));
        let mut next = None;
        let step = stage.answer(step, |command| {
            let Command::Write(Write::RefreshSession(exchange)) = command else { panic!("{command:?}") };
            assert_eq!((exchange.session, exchange.refresh_uuid), (Id::from_u128(13), Id::from_u128(15)));
            assert_eq!(
                (exchange.access_expire, exchange.refresh_expire),
                (NOW.after(900), NOW.after(2_592_000))
            );
            assert_ne!(exchange.next_access_uuid, exchange.next_refresh_uuid);
            let pair = TokenPair {
                access_uuid: exchange.next_access_uuid,
                refresh_uuid: exchange.next_refresh_uuid,
                ..pair(None)
            };
            next = Some(pair);
            Answer::RefreshSession(Box::new(Refreshed { pair }))
        });
        let expect = token::sign_pair(&stage.settings, "k3", &next.expect("asked"));
        assert_eq!(text(step), (200, format!(r#"{{"data":{}}}"#, json::to_string(&expect))));
    }

    /// Only a good refresh token is exchanged. The predecessor exchanged forged, `alg: none` and expired tokens for
    /// good ones, and panicked without a token.
    #[test]
    fn a_refresh_takes_no_bad_token() {
        let mut stage = Stage::new();
        let token = tokens(&stage, None);
        let claims = token.refresh.split('.').nth(1).expect("claims");
        let none = format!("eyJhbGciOiJub25lIn0.{claims}.");
        let (cut, _) = token.refresh.split_at(40);
        for bad in ["", "x", "..", &none, cut, &token.access] {
            assert_eq!(
                problem(stage.ask(REFRESH, &body(bad))),
                (401, "unauthorized_access".to_owned()),
                "{bad}"
            );
        }
        for nothing in ["", "{}", r#"{"refresh":null}"#] {
            assert_eq!(problem(stage.ask(REFRESH, nothing)), (401, "unauthorized_access".to_owned()));
        }
        for wrong in [r#"{"refresh":5}"#, r#"{"refresh":[]}"#, r#"{"refresh":{}}"#] {
            assert_eq!(problem(stage.ask(REFRESH, wrong)), (422, "invalid_refresh".to_owned()));
        }
        stage.wait(2_592_000);
        assert_eq!(problem(stage.ask(REFRESH, &body(&token.refresh))).0, 401, "expired");
    }

    #[test]
    fn a_bound_session_is_refreshed_by_its_device_only() {
        let mut stage = Stage::new();
        let token = tokens(&stage, Some("phone"));
        for wrong in [None, Some("tablet".to_owned())] {
            stage.client.unique_id = wrong;
            assert_eq!(problem(stage.ask(REFRESH, &body(&token.refresh))).0, 401);
        }
        stage.client.unique_id = Some("phone".to_owned());
        let step = stage.ask(REFRESH, &body(&token.refresh));
        let step = stage.answer(step, |command| {
            let Command::Write(Write::RefreshSession(exchange)) = command else { panic!("{command:?}") };
            assert_eq!(exchange.device, Some(sha256(b"phone")));
            Answer::RefreshSession(Box::new(Refreshed { pair: pair(Some("phone")) }))
        });
        assert_eq!(text(step).0, 200);
    }

    #[test]
    fn storage_decides_about_reuse() {
        let mut stage = Stage::new();
        let token = tokens(&stage, None);
        let step = stage.ask(REFRESH, &body(&token.refresh));
        assert_eq!(
            problem(stage.refuse(step, Refusal::Unauthorized)),
            (401, "unauthorized_access".to_owned())
        );
        let step = stage.ask(REFRESH, &body(&token.refresh));
        assert_eq!(problem(stage.refuse(step, Refusal::Unavailable)), (503, "unavailable".to_owned()));
    }

    /// A logout ends the session. In the predecessor it revoked nothing: tokens were never looked up.
    #[test]
    fn a_logout_ends_the_session_of_the_token() {
        let mut stage = Stage::new();
        let step = stage.ask(LOGOUT, "");
        let step = stage.answer(step, |command| {
            let Command::Write(Write::EndSession(end)) = command else { panic!("{command:?}") };
            assert_eq!((end.session, end.at), (Id::from_u128(13), UNIX_MS));
            Answer::EndSession(())
        });
        assert_eq!(text(step), (200, r#"{"data":null}"#.to_owned()));
    }
}
