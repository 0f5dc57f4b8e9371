//! The handler of ticket.create, which lets a client that can't set headers open a stream.
//!
//! Owns what a ticket is good for; the server takes it.
//! Invariant: a ticket opens streams and nothing else, and never lives longer than the token it was requested with.

use serde::Serialize;

use super::token;
use crate::base::time::UnixMs;
use crate::limits::TICKET_TTL;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::problem::Problem;

#[derive(Serialize)]
struct Issued<'a> {
    ticket: &'a str,
    expires_at: UnixMs,
}

/// POST /user/ticket.
pub fn create(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    match request.params.text("for")? {
        None => {
            let id = ctx.id();
            let ticket = token::sign_socket_ticket(ctx.settings, ctx.epoch, actor, id);
            let expires_ms = ctx.now.unix_ms.after(TICKET_TTL.as_millis() as u64);
            let expires_at = expires_ms.min(actor.expires.ms());
            Reply::created(&Issued { ticket: &ticket, expires_at }).step()
        }
        Some("events") => {
            let ticket = token::sign_events_ticket(ctx.settings, ctx.epoch, actor, ctx.now.unix_s());
            let expires_at = actor.expires.ms();
            Reply::created(&Issued { ticket: &ticket, expires_at }).step()
        }
        Some(_) => Err(Problem::invalid("for")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json;
    use crate::model::handler::Handler;
    use crate::model::testing::{Stage, UNIX_MS, problem, text};

    const CREATE: Handler = Handler::Member(create);

    fn ticket(stage: &mut Stage, body: &str) -> (String, String) {
        let (status, text) = text(stage.ask(CREATE, body));
        assert_eq!(status, 201);
        let value = json::parse(text.as_bytes()).expect("JSON");
        let data = value.get("data").expect("data");
        let get = |name| data.get(name).and_then(|value| value.as_str()).expect("a text").to_owned();
        (get("ticket"), get("expires_at"))
    }

    #[test]
    fn a_socket_ticket_is_a_signature_with_an_id_of_its_own() {
        let mut stage = Stage::new();
        let (first, expires) = ticket(&mut stage, "");
        assert_eq!(expires, "2026-11-22T13:04:24.120Z");
        let (second, _) = ticket(&mut stage, "{}");
        let now = UNIX_MS.s();
        let verify =
            |ticket: &str| token::verify_socket_ticket(&stage.settings, "k3", now, ticket).expect("good");
        let ((actor, id), (_, other)) = (verify(&first), verify(&second));
        assert!(id != other && actor == stage.actor && id.unix_ms() == UNIX_MS);
        assert!(first.len() <= token::TOKEN_BYTES_MAX);
        // Each kind is good for one thing.
        let bad = Err(token::BadToken::Claims);
        assert_eq!(token::verify_events_ticket(&stage.settings, "k3", now, &first), bad);
        assert_eq!(token::verify_access(&stage.settings, "k3", now, &first).map(|claims| claims.actor), bad);
        let (events, _) = ticket(&mut stage, r#"{"for":"events"}"#);
        assert_eq!(
            token::verify_socket_ticket(&stage.settings, "k3", now, &events),
            Err(token::BadToken::Claims)
        );
        // A ticket never lives longer than the token.
        stage.wait(895);
        assert_eq!(ticket(&mut stage, "").1, "2026-11-22T13:18:54.000Z");
    }

    #[test]
    fn an_events_ticket_is_a_signature_of_another_kind_than_a_token() {
        let mut stage = Stage::new();
        let (events, expires) = ticket(&mut stage, r#"{"for":"events"}"#);
        assert_eq!(expires, "2026-11-22T13:18:54.000Z");
        let now = UNIX_MS.s();
        let verify = |epoch, at| token::verify_events_ticket(&stage.settings, epoch, at, &events);
        assert_eq!(verify("k3", now), Ok(stage.actor));
        assert_eq!(verify("k4", now), Err(token::BadToken::Epoch));
        assert_eq!(verify("k3", now.after(900)), Err(token::BadToken::Expired));
        assert_eq!(
            token::verify_access(&stage.settings, "k3", now, &events),
            Err(token::BadToken::Claims),
            "a ticket is no access token"
        );
    }

    #[test]
    fn other_purposes_are_refused() {
        for bad in [r#"{"for":"uploads"}"#, r#"{"for":""}"#, r#"{"for":5}"#] {
            assert_eq!(problem(Stage::new().ask(CREATE, bad)), (422, "invalid_for".to_owned()));
        }
    }
}
