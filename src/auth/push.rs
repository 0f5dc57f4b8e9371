//! The handlers of push.key, push.subscribe, push.level and push.unsubscribe.
//!
//! Owns what the address and the keys of a subscription may be. Leaves the names that an address resolves to, and whether a key is a
//! point of the curve, to the worker that uses them.
//! Invariant: an address that is not https, or not public unless the operator allows it, is never stored.

use std::net::IpAddr;

use serde::Serialize;

use crate::base::crypto::base64url_decode;
use crate::base::network::is_public;
use crate::base::secret::Secret;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::problem::{Code, Problem};
use crate::model::push::{PushLevel, Recipient, SetPushLevel, Subscribe, Unsubscribe};
use crate::model::settings::PushSettings;
use crate::proto::push::request::PushEndpoint;

#[derive(Serialize)]
struct Key<'a> {
    key: &'a str,
}

/// GET /push: what a browser subscribes with.
pub fn key(ctx: &mut Ctx<'_>, _: Actor, _: &Request<'_>) -> Result<Step, Problem> {
    Reply::ok(&Key { key: &settings(ctx)?.key }).step()
}

/// PUT /push: subscribes the session that asks.
pub fn subscribe(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let endpoint = request.params.required_text("endpoint")?;
    check_endpoint(settings(ctx)?, endpoint)?;
    let subscribe = Subscribe {
        at: ctx.now.unix_ms,
        member: actor.member,
        session: actor.session,
        endpoint: Secret::new(endpoint.to_owned()),
        recipient: recipient(request)?,
        level: level(request)?,
    };
    Ok(Step::store(subscribe, |_, made| Reply::ok(&made).step()))
}

/// PUT /push/{session}: what a device of mine shows.
pub fn set_level(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let session = request.params.required_id("session")?;
    let set = SetPushLevel { member: actor.member, session, level: level(request)? };
    Ok(Step::store(set, |_, changed| Reply::ok(&changed).step()))
}

/// DELETE /push/{session}.
pub fn unsubscribe(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let unsubscribe = Unsubscribe { member: actor.member, session: request.params.required_id("session")? };
    Ok(Step::store(unsubscribe, |_, ()| Reply::no_content().step()))
}

/// A build without TLS can send to no push service.
fn settings<'a>(ctx: &Ctx<'a>) -> Result<&'a PushSettings, Problem> {
    ctx.settings.push.as_ref().ok_or(Problem::new(Code::NotFound))
}

fn check_endpoint(settings: &PushSettings, endpoint: &str) -> Result<(), Problem> {
    let parsed = PushEndpoint::parse(endpoint).map_err(|_| Problem::invalid("endpoint"))?;
    // An address that is written out is refused at once; a name is looked up when it is used.
    let address = parsed.service.host.parse::<IpAddr>();
    if address.is_ok_and(|address| !settings.private && !is_public(address)) {
        return Err(Problem::invalid("endpoint"));
    }
    Ok(())
}

fn recipient(request: &Request<'_>) -> Result<Recipient, Problem> {
    let public = key_bytes(request, "p256dh")?;
    // The form of a point that the Push API has (SEC 1 §2.3.3): uncompressed.
    if public[0] != 4 {
        return Err(Problem::invalid("p256dh"));
    }
    Ok(Recipient { public, auth: key_bytes(request, "auth")? })
}

fn key_bytes<const N: usize>(request: &Request<'_>, name: &'static str) -> Result<[u8; N], Problem> {
    let bytes = base64url_decode(request.params.required_text(name)?);
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(Problem::invalid(name))
}

fn level(request: &Request<'_>) -> Result<PushLevel, Problem> {
    PushLevel::parse(request.params.required_text("level")?).ok_or(Problem::invalid("level"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::crypto::base64url;
    use crate::model::handler::Handler;
    use crate::model::testing::{Stage, problem};

    fn body(endpoint: &str, public: &[u8], auth: &[u8], level: &str) -> String {
        let (public, auth) = (base64url(public), base64url(auth));
        format!(r#"{{"endpoint":"{endpoint}","p256dh":"{public}","auth":"{auth}","level":"{level}"}}"#)
    }

    #[test]
    fn what_a_subscription_may_be() {
        let mut stage = Stage::new();
        let (point, auth) = ([4; 65], [7; 16]);
        let good = "https://push.example/a?b";
        for (endpoint, public, auth, level, field) in [
            (good, &point[..], &auth[..], "text", None),
            (good, &point, &auth, "off", None),
            ("https://8.8.8.8/a", &point, &auth, "who", None),
            ("http://push.example/a", &point, &auth, "who", Some("endpoint")),
            ("https://127.0.0.1/a", &point, &auth, "who", Some("endpoint")),
            ("https://[::1]/a", &point, &auth, "who", Some("endpoint")),
            ("https://[::ffff:10.0.0.1]/a", &point, &auth, "who", Some("endpoint")),
            ("https://192.168.1.1:8443/a", &point, &auth, "who", Some("endpoint")),
            ("", &point, &auth, "who", Some("endpoint")),
            (good, &point[1..], &auth, "who", Some("p256dh")),
            (good, &[2; 65], &auth, "who", Some("p256dh")),
            (good, &point, &auth[1..], "who", Some("auth")),
            (good, &point, &auth, "all", Some("level")),
            (good, &point, &auth, "", Some("level")),
        ] {
            let step = stage.ask(Handler::Member(subscribe), &body(endpoint, public, auth, level));
            match field {
                None => assert!(matches!(step, Ok(Step::Store(..))), "{endpoint} {level}"),
                Some(field) => assert_eq!(problem(step), (422, format!("invalid_{field}")), "{endpoint}"),
            }
        }
        let at_home = PushSettings { key: String::new(), private: true };
        assert!(check_endpoint(&at_home, "https://192.168.1.1:8443/a").is_ok());
        assert!(check_endpoint(&at_home, "http://192.168.1.1/a").is_err());
    }
}
