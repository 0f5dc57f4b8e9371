//! Access and refresh tokens: JWTs (RFC 7519) in the one form that natter issues, signed with HMAC-SHA-256.
//!
//! Owns their bytes. Whether the session has ended is decided by the list of ended sessions (access) and by storage
//! (refresh).
//! Invariant: nothing of a token is believed, or even decoded, before its signature is verified.

use serde::Serialize;

use crate::base::crypto::{HmacKey, base64url, base64url_decode, sha256};
use crate::base::id::Id;
use crate::base::json::{self, Value};
use crate::base::time::UnixS;
use crate::model::handler::Actor;
use crate::model::id::{MemberId, ProfileId, SessionId, TicketId};
use crate::model::problem::{Code, Problem};
use crate::model::session::{Token, TokenPair};
use crate::model::settings::Settings;

/// Bytes of a token that is decoded: natter's are about 550. Above: 401, before a byte of it is decoded.
pub(crate) const TOKEN_BYTES_MAX: usize = 1_024;

/// `{"alg":"HS256","typ":"JWT"}`. A token's header is compared with these bytes, not interpreted: `none`, another
/// algorithm, a `crit` or a `kid` (RFC 8725 §3.1) can't even be expressed.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

const ACCESS: &str = "access";
const REFRESH: &str = "refresh";
const EVENTS: &str = "events";
const SOCKET: &str = "socket";

/// The claims of a verified access token. Its session may have ended since: the server's list of ended sessions knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    pub actor: Actor,
    /// The device the session is bound to: see [`device_matches`].
    pub device: Option<[u8; 32]>,
}

/// The claims of a verified refresh token. Only the session's row knows whether it is the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshClaims {
    pub session: SessionId,
    pub refresh_uuid: Id,
    pub device: Option<[u8; 32]>,
}

/// Why a token is refused: for tests and counts. The peer gets 401 in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// It does not have three parts with natter's header, or is too long.
    Malformed,
    /// The signature is not natter's, or not that of this kind of token.
    Forged,
    /// Signed by natter, but of the other kind, or without a claim that natter always sets.
    Claims,
    /// Issued in another epoch of this database: a backup was restored since.
    Epoch,
    Expired,
}

impl From<BadToken> for Problem {
    fn from(_: BadToken) -> Problem {
        Code::UnauthorizedAccess.into()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    access_uuid: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_uuid: Option<Id>,
    user_id: MemberId,
    profile_id: ProfileId,
    /// Only the hash of the device id, in base64url: a stolen token does not disclose the device id.
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_id: Option<String>,
    sid: SessionId,
    typ: &'static str,
    epoch: &'a str,
    iat: UnixS,
    exp: UnixS,
}

/// Signs both tokens. The same input gives the same bytes, so that a lost response to a refresh can be repeated.
pub fn sign_pair(settings: &Settings, epoch: &str, pair: &TokenPair) -> Token {
    let access = Claims {
        access_uuid: Some(pair.access_uuid),
        refresh_uuid: None,
        user_id: pair.member,
        profile_id: pair.profile,
        unique_id: pair.device.map(|hash| base64url(&hash)),
        sid: pair.session,
        typ: ACCESS,
        epoch,
        iat: pair.issued,
        exp: pair.access_expire,
    };
    let access_text = sign(&settings.access_key, &access);
    let refresh = Claims {
        access_uuid: None,
        refresh_uuid: Some(pair.refresh_uuid),
        typ: REFRESH,
        exp: pair.refresh_expire,
        ..access
    };
    Token {
        access: access_text,
        refresh: sign(&settings.refresh_key, &refresh),
        token_uuid: pair.access_uuid,
        refresh_uuid: pair.refresh_uuid,
        token_expire: pair.access_expire,
        refresh_expire: pair.refresh_expire,
    }
}

fn sign(key: &HmacKey, claims: &Claims<'_>) -> String {
    let mut text = format!("{HEADER}.{}", base64url(&json::to_vec(claims)));
    let signature = base64url(&key.sign(text.as_bytes()));
    text.push('.');
    text.push_str(&signature);
    text
}

/// A ticket for the event streams, valid as long as the access token it was requested with. It is signed and not
/// remembered, since an EventSource reconnects with the same URL after a restart too.
pub fn sign_events_ticket(settings: &Settings, epoch: &str, actor: Actor, issued: UnixS) -> String {
    sign_ticket(settings, epoch, actor, EVENTS, issued, None)
}

/// A ticket for one WebSocket. It is not stored, so any node of a cluster takes it; its id says when it was made.
pub fn sign_socket_ticket(settings: &Settings, epoch: &str, actor: Actor, ticket: TicketId) -> String {
    sign_ticket(settings, epoch, actor, SOCKET, ticket.unix_ms().s(), Some(ticket))
}

fn sign_ticket(
    settings: &Settings,
    epoch: &str,
    actor: Actor,
    typ: &'static str,
    issued: UnixS,
    ticket: Option<TicketId>,
) -> String {
    let claims = Claims {
        access_uuid: ticket.map(|ticket| Id::from_u128(ticket.to_u128())),
        refresh_uuid: None,
        user_id: actor.member,
        profile_id: actor.profile,
        unique_id: None,
        sid: actor.session,
        typ,
        epoch,
        iat: issued,
        exp: actor.expires,
    };
    sign(&settings.access_key, &claims)
}

/// Verifies an events ticket at this second, in this epoch of the log.
pub fn verify_events_ticket(
    settings: &Settings,
    epoch: &str,
    now_unix_s: UnixS,
    ticket: &str,
) -> Result<Actor, BadToken> {
    verify(settings, epoch, now_unix_s, ticket, EVENTS, |_, claims| Ok(claims.actor))
}

/// Verifies a socket ticket, except whether it was used and how old it is.
pub fn verify_socket_ticket(
    settings: &Settings,
    epoch: &str,
    now_unix_s: UnixS,
    ticket: &str,
) -> Result<(Actor, TicketId), BadToken> {
    verify(settings, epoch, now_unix_s, ticket, SOCKET, |payload, claims| {
        Ok((claims.actor, id(payload, "access_uuid")?))
    })
}

/// Verifies an access token at this second, in this epoch of the log.
pub fn verify_access(
    settings: &Settings,
    epoch: &str,
    now_unix_s: UnixS,
    token: &str,
) -> Result<AccessClaims, BadToken> {
    verify(settings, epoch, now_unix_s, token, ACCESS, |_, claims| Ok(claims))
}

fn verify<T>(
    settings: &Settings,
    epoch: &str,
    now_unix_s: UnixS,
    token: &str,
    typ: &str,
    then: impl FnOnce(&Value<'_>, AccessClaims) -> Result<T, BadToken>,
) -> Result<T, BadToken> {
    let payload = signed_payload(&settings.access_key, token)?;
    let claims = json::parse(&payload).map_err(|_| BadToken::Claims)?;
    if text(&claims, "typ")? != typ {
        return Err(BadToken::Claims);
    }
    if text(&claims, "epoch")? != epoch {
        return Err(BadToken::Epoch);
    }
    let actor = Actor {
        member: id(&claims, "user_id")?,
        profile: id(&claims, "profile_id")?,
        session: id(&claims, "sid")?,
        expires: expires(&claims, now_unix_s)?,
    };
    let device = device(&claims)?;
    then(&claims, AccessClaims { actor, device })
}

/// Verifies a refresh token at this second. Its epoch is not compared: the session's row decides
/// ([`protocol`](crate::protocol), `token`).
pub fn verify_refresh(
    settings: &Settings,
    now_unix_s: UnixS,
    token: &str,
) -> Result<RefreshClaims, BadToken> {
    let payload = signed_payload(&settings.refresh_key, token)?;
    let claims = json::parse(&payload).map_err(|_| BadToken::Claims)?;
    if text(&claims, "typ")? != REFRESH {
        return Err(BadToken::Claims);
    }
    expires(&claims, now_unix_s)?;
    Ok(RefreshClaims {
        session: id(&claims, "sid")?,
        refresh_uuid: id(&claims, "refresh_uuid")?,
        device: device(&claims)?,
    })
}

/// Whether a request with this `UniqueId` may use a token bound to `device`. A session without a device takes any.
pub fn device_matches(device: Option<[u8; 32]>, unique_id: Option<&str>) -> bool {
    match device {
        None => true,
        // An attacker would have to guess the complete hashed value, so the time of this comparison discloses nothing
        // useful.
        Some(hash) => unique_id.is_some_and(|unique_id| sha256(unique_id.as_bytes()) == hash),
    }
}

/// The payload's bytes, after the signature over header and payload was verified.
fn signed_payload(key: &HmacKey, token: &str) -> Result<Vec<u8>, BadToken> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(BadToken::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(BadToken::Malformed)?;
    if header != HEADER {
        return Err(BadToken::Malformed);
    }
    // Strict base64url has one spelling per value: a changed last character is another signature.
    let tag = base64url_decode(signature).ok_or(BadToken::Malformed)?;
    if !key.verify(signed.as_bytes(), &tag) {
        return Err(BadToken::Forged);
    }
    base64url_decode(payload).ok_or(BadToken::Claims)
}

fn text<'a>(claims: &'a Value<'_>, name: &str) -> Result<&'a str, BadToken> {
    claims.get(name).and_then(Value::as_str).ok_or(BadToken::Claims)
}

fn id<K>(claims: &Value<'_>, name: &str) -> Result<Id<K>, BadToken> {
    Id::parse(text(claims, name)?).ok_or(BadToken::Claims)
}

fn expires(claims: &Value<'_>, now_unix_s: UnixS) -> Result<UnixS, BadToken> {
    let exp = claims.get("exp").and_then(Value::as_i64).ok_or(BadToken::Claims)?;
    let exp = u64::try_from(exp).map(UnixS).map_err(|_| BadToken::Claims)?;
    // RFC 7519 §4.1.4: a token is expired on and after `exp`.
    if now_unix_s < exp { Ok(exp) } else { Err(BadToken::Expired) }
}

fn device(claims: &Value<'_>) -> Result<Option<[u8; 32]>, BadToken> {
    let Some(hash) = claims.get("unique_id") else { return Ok(None) };
    let hash = hash.as_str().and_then(base64url_decode).ok_or(BadToken::Claims)?;
    hash.try_into().map(Some).map_err(|_| BadToken::Claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{pair, settings};

    const NOW: UnixS = UnixS(1_795_352_634);

    fn token() -> Token {
        sign_pair(&settings(), "k3", &pair(None))
    }

    /// Checks one text as both kinds of token, a second after it was issued.
    fn check(what: &str, token: &str, access: BadToken, refresh: BadToken) {
        assert_eq!(verify_access(&settings(), "k3", NOW.after(1), token), Err(access), "{what}: as access");
        assert_eq!(verify_refresh(&settings(), NOW.after(1), token), Err(refresh), "{what}: as refresh");
    }

    fn signed(header: &str, claims: &str, key: &HmacKey) -> String {
        let text = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let tag = base64url(&key.sign(text.as_bytes()));
        format!("{text}.{tag}")
    }

    #[test]
    fn a_pair_signs_to_the_same_bytes_and_comes_back() {
        let settings = settings();
        let token = sign_pair(&settings, "k3", &pair(Some("device-1")));
        let again = sign_pair(&settings, "k3", &pair(Some("device-1")));
        assert_eq!((&token.access, &token.refresh), (&again.access, &again.refresh));
        assert!(token.access.len() < TOKEN_BYTES_MAX && token.refresh.len() < TOKEN_BYTES_MAX);

        let access = verify_access(&settings, "k3", NOW, &token.access).expect("good");
        let actor = Actor {
            member: Id::from_u128(11),
            profile: Id::from_u128(12),
            session: Id::from_u128(13),
            expires: NOW.after(900),
        };
        assert_eq!(access.actor, actor);
        let refresh = verify_refresh(&settings, NOW, &token.refresh).expect("good");
        assert_eq!((refresh.session, refresh.refresh_uuid), (Id::from_u128(13), Id::from_u128(15)));
        for device in [access.device, refresh.device] {
            assert!(device_matches(device, Some("device-1")));
            assert!(!device_matches(device, Some("device-2")));
            assert!(!device_matches(device, Some("")));
            assert!(!device_matches(device, None));
        }
        let free = verify_access(&settings, "k3", NOW, &self::token().access).expect("good");
        assert!(device_matches(free.device, None) && device_matches(free.device, Some("any")));
    }

    #[test]
    fn the_claims_are_those_of_the_contract() {
        let token = sign_pair(&settings(), "k3", &pair(Some("device-1")));
        let claims = |token: &str| {
            let payload = token.split('.').nth(1).and_then(base64url_decode).expect("a payload");
            String::from_utf8(payload).expect("text")
        };
        let hash = base64url(&sha256(b"device-1"));
        let ids = |a: u128| <Id>::from_u128(a).to_string();
        let (member, profile, session) = (ids(11), ids(12), ids(13));
        assert_eq!(
            claims(&token.access),
            format!(
                r#"{{"access_uuid":"{}","user_id":"{member}","profile_id":"{profile}","unique_id":"{hash}","sid":"{session}","typ":"access","epoch":"k3","iat":{NOW},"exp":{}}}"#,
                ids(14),
                NOW.after(900)
            )
        );
        assert!(
            claims(&token.refresh).starts_with(&format!(r#"{{"refresh_uuid":"{}","user_id""#, ids(15)))
                && claims(&token.refresh).contains(r#""typ":"refresh""#)
        );
        assert_eq!(base64url_decode(HEADER).as_deref(), Some(br#"{"alg":"HS256","typ":"JWT"}"#.as_slice()));
    }

    #[test]
    fn a_forged_token_is_refused() {
        use BadToken::{Forged, Malformed};
        let token = token();
        let (signed_part, _) = token.refresh.rsplit_once('.').expect("three parts");
        check("no signature", signed_part, Malformed, Malformed);
        check("empty signature", &format!("{signed_part}."), Forged, Forged);
        check("zeros", &format!("{signed_part}.{}", base64url(&[0; 32])), Forged, Forged);
        let other = HmacKey::new(b"another secret");
        let claims = base64url_decode(signed_part.rsplit('.').next().expect("claims")).expect("base64url");
        let claims = String::from_utf8(claims).expect("text");
        check("another secret", &signed(r#"{"alg":"HS256","typ":"JWT"}"#, &claims, &other), Forged, Forged);
        check(
            "the secret's name",
            &signed(r#"{"alg":"HS256","typ":"JWT"}"#, &claims, &HmacKey::new(b"REFRESH_SECRET")),
            Forged,
            Forged,
        );
    }

    #[test]
    fn only_hs256_is_accepted() {
        let settings = settings();
        let claims = format!(r#"{{"typ":"access","epoch":"k3","exp":{}}}"#, NOW.after(900));
        for header in [
            r#"{"alg":"none","typ":"JWT"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":"HS384","typ":"JWT"}"#,
            r#"{"alg":"RS256","typ":"JWT"}"#,
            r#"{"alg":"HS256","typ":"JWT","crit":["exp"]}"#,
            r#"{"typ":"JWT","alg":"HS256"}"#,
            "",
        ] {
            for key in [&settings.access_key, &settings.refresh_key] {
                let token = signed(header, &claims, key);
                check(header, &token, BadToken::Malformed, BadToken::Malformed);
                let (unsigned, _) = token.rsplit_once('.').expect("three parts");
                check(header, &format!("{unsigned}."), BadToken::Malformed, BadToken::Malformed);
            }
        }
    }

    #[test]
    fn an_expired_token_is_refused() {
        let (settings, token) = (settings(), token());
        for (at, good) in [(NOW.after(899), true), (NOW.after(900), false), (UnixS(u64::MAX), false)] {
            let verdict = verify_access(&settings, "k3", at, &token.access).map(|_| ());
            assert_eq!(verdict, if good { Ok(()) } else { Err(BadToken::Expired) }, "{at}");
        }
        for (at, good) in [(NOW.after(2_591_999), true), (NOW.after(2_592_000), false)] {
            let verdict = verify_refresh(&settings, at, &token.refresh).map(|_| ());
            assert_eq!(verdict, if good { Ok(()) } else { Err(BadToken::Expired) }, "{at}");
        }
    }

    #[test]
    fn one_kind_of_token_is_not_the_other() {
        let (mut settings, token) = (settings(), token());
        assert_eq!(verify_access(&settings, "k3", NOW, &token.refresh), Err(BadToken::Forged));
        assert_eq!(verify_refresh(&settings, NOW, &token.access), Err(BadToken::Forged));
        // Also if an operator gave both kinds the same secret.
        settings.refresh_key = settings.access_key.clone();
        let token = sign_pair(&settings, "k3", &pair(None));
        assert_eq!(verify_access(&settings, "k3", NOW, &token.refresh), Err(BadToken::Claims));
        assert_eq!(verify_refresh(&settings, NOW, &token.access), Err(BadToken::Claims));
    }

    #[test]
    fn an_access_token_ends_with_its_epoch_and_a_refresh_token_does_not() {
        let (settings, token) = (settings(), token());
        assert_eq!(verify_access(&settings, "k4", NOW, &token.access), Err(BadToken::Epoch));
        assert!(verify_refresh(&settings, NOW, &token.refresh).is_ok());
    }

    #[test]
    fn a_malformed_token_is_refused_and_never_panics() {
        let (settings, token) = (settings(), token());
        for text in [&token.access, &token.refresh] {
            for cut in 0..text.len() {
                assert!(verify_access(&settings, "k3", NOW, &text[..cut]).is_err(), "cut at {cut}");
                assert!(verify_refresh(&settings, NOW, &text[..cut]).is_err(), "cut at {cut}");
                // Every character counts, the last one of the signature too.
                let mut bytes = text.clone().into_bytes();
                bytes[cut] = if bytes[cut] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(bytes).expect("ASCII");
                assert!(verify_access(&settings, "k3", NOW, &changed).is_err(), "changed at {cut}");
                assert!(verify_refresh(&settings, NOW, &changed).is_err(), "changed at {cut}");
            }
        }
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        let four = format!("{}.x", token.access);
        for text in ["", ".", "..", "...", "null", "Bearer x", "é.é.é", &long, &four] {
            assert!(verify_access(&settings, "k3", NOW, text).is_err(), "{text}");
            assert!(verify_refresh(&settings, NOW, text).is_err(), "{text}");
        }
    }

    #[test]
    fn claims_we_signed_but_never_set_are_refused() {
        let settings = settings();
        let (m, s) = (<Id>::from_u128(11), <Id>::from_u128(13));
        for claims in [
            "null".to_owned(),
            "{}".to_owned(),
            "no json".to_owned(),
            r#"{"typ":"access","epoch":"k3"}"#.to_owned(),
            format!(r#"{{"user_id":"{m}","profile_id":"{m}","sid":"{s}","typ":"access","epoch":"k3"}}"#),
            format!(
                r#"{{"user_id":"{m}","profile_id":"{m}","sid":"{s}","typ":"access","epoch":"k3","exp":-1}}"#
            ),
            format!(
                r#"{{"user_id":"{m}","profile_id":"{m}","sid":"x","typ":"access","epoch":"k3","exp":9999999999}}"#
            ),
            format!(
                r#"{{"user_id":"{m}","profile_id":"{m}","sid":"{s}","unique_id":"","typ":"access","epoch":"k3","exp":9999999999}}"#
            ),
        ] {
            let token = signed(r#"{"alg":"HS256","typ":"JWT"}"#, &claims, &settings.access_key);
            assert_eq!(verify_access(&settings, "k3", NOW, &token), Err(BadToken::Claims), "{claims}");
        }
    }
}
