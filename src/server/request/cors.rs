//! Which web sites may use the server, in the fields of the Fetch standard's CORS protocol.

use std::borrow::Cow;

use crate::model::settings::Origins;
use crate::proto::http::head::{Head, Headers};

pub const METHODS: &str = "GET, POST, PUT, DELETE";
const HEADERS: &str = "Content-Type, Accept, Authorization, UniqueId, Range, If-Range, If-None-Match, Last-Event-ID, X-Filename, X-Request-Id";
const EXPOSED: &str =
    "Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, ETag, Content-Range, Content-Disposition";
/// Seconds a browser may keep a preflight's answer.
const MAX_AGE: &str = "5000";

type Field = (&'static str, Cow<'static, str>);

/// The fields of any answer.
pub fn fields(origins: &Origins, origin: Option<&str>, out: &mut Vec<Field>) {
    match (origins, origin) {
        // Never with credentials: otherwise any site could act as its visitor.
        (Origins::Any, Some(_)) => {
            out.push(("Access-Control-Allow-Origin", "*".into()));
            out.push(("Access-Control-Expose-Headers", EXPOSED.into()));
        }
        (Origins::Any, None) => {}
        (Origins::Listed(list), origin) => {
            out.push(("Vary", "Origin".into()));
            if let Some(origin) = origin.filter(|origin| is_listed(list, origin)) {
                out.push(("Access-Control-Allow-Origin", origin.to_owned().into()));
                out.push(("Access-Control-Allow-Credentials", "true".into()));
                out.push(("Access-Control-Expose-Headers", EXPOSED.into()));
            }
        }
    }
}

/// The origin of a preflight: an `OPTIONS` in which a browser names an origin and the method of the request to come.
pub fn preflight_origin(headers: &Headers) -> Option<&str> {
    let origin = headers.get("origin")?;
    headers.get("access-control-request-method").map(|_| origin)
}

/// The further fields of a preflight's answer.
pub fn preflight_fields(origins: &Origins, origin: &str, out: &mut Vec<Field>) {
    let allowed = match origins {
        Origins::Any => true,
        Origins::Listed(list) => is_listed(list, origin),
    };
    if allowed {
        out.push(("Access-Control-Allow-Methods", METHODS.into()));
        out.push(("Access-Control-Allow-Headers", HEADERS.into()));
        out.push(("Access-Control-Max-Age", MAX_AGE.into()));
    }
}

/// Whether a page of this origin may open a WebSocket. Browsers send no preflight for it, so the server must decide.
pub fn upgrade_allowed(origins: &Origins, public_url: &str, head: &Head) -> bool {
    let mut sent = head.headers.get_all("origin");
    let Some(origin) = sent.next() else { return true };
    if sent.next().is_some() {
        return false;
    }
    let same_host = head.host.as_deref().is_some_and(|host| {
        origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
    });
    same_host
        || origin.eq_ignore_ascii_case(public_url)
        || match origins {
            Origins::Any => true,
            Origins::Listed(list) => is_listed(list, origin),
        }
}

fn is_listed(list: &[String], origin: &str) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(origin))
}
