//! The server's report on itself: health, readiness, and who may read the counts of `metrics`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::json;
use crate::base::send_queue::Segment;
use crate::model::handler::Reply;
use crate::model::problem::{Code, Problem};
use crate::proto::http::head::Head;
use crate::proto::http::language::Language;
use crate::server::calls::Periodic;
use crate::server::conn::Conn;
use crate::server::contract::ListenerKind;
use crate::server::core::Core;
use crate::server::request::{admit, cluster};

/// 200 while the loop runs: the answer itself proves it.
pub fn health() -> Reply {
    Reply::ok(&[("status", "ok")].into_iter().collect::<BTreeMap<_, _>>())
}

#[derive(serde::Serialize)]
struct Readiness {
    status: &'static str,
    reason: Option<&'static str>,
    durability: &'static str,
    /// Conditions that the operator should know and that do not stop writes yet.
    warnings: Vec<String>,
    errors: BTreeMap<&'static str, u64>,
}

/// Why no write is taken now.
pub fn reason(core: &Core) -> Option<&'static str> {
    if core.is_draining() { Some("shutting down") } else { core.storage.unready }
}

/// Conditions that the operator should know and that do not stop writes yet.
pub fn warnings(core: &Core) -> Vec<String> {
    let certificate = core.background.certificate.warnings(core.now.unix_s());
    [core.storage.warnings(), certificate, core.background.duty.warnings(), cluster::warnings(core)].concat()
}

/// 200 when the database takes writes, else 503 with the reason.
pub fn ready(core: &Core, language: Language) -> Reply {
    let reason = reason(core);
    let readiness = Readiness {
        status: if reason.is_none() { "ready" } else { "unavailable" },
        reason,
        durability: if core.settings.synchronous_full {
            "full"
        } else {
            "normal: a power loss may take the last messages"
        },
        warnings: warnings(core),
        errors: core.metrics.troubled().map(|(kind, trouble)| (kind.name(), trouble.count)).collect(),
    };
    if reason.is_none() {
        return Reply::ok(&readiness);
    }
    // The reason is the problem's `detail` (RFC 9457 §3.1.4).
    #[derive(serde::Serialize)]
    struct Unready {
        #[serde(rename = "type")]
        kind: &'static str,
        status: u16,
        code: &'static str,
        title: &'static str,
        detail: Option<&'static str>,
        field: Option<&'static str>,
        retry: bool,
        retry_after_ms: u64,
        warnings: Vec<String>,
        errors: BTreeMap<&'static str, u64>,
    }
    let body = Unready {
        kind: "about:blank",
        status: 503,
        code: Code::Unavailable.text(),
        title: Code::Unavailable.title(language),
        detail: reason,
        field: None,
        retry: true,
        retry_after_ms: 1_000,
        warnings: readiness.warnings,
        errors: readiness.errors,
    };
    Reply::raw(503, "application/problem+json", Segment::Owned(json::to_vec(&body)))
        .header("Content-Language", language.as_str())
        .header("Retry-After", "1")
        .header("Cache-Control", "no-store")
}

/// Members and uploads are counted once in this time, however often somebody looks.
const TOTALS_AGE_MIN: Duration = Duration::from_secs(5);

/// With METRICS_TOKEN, for the client that sends it; without, for a loopback peer that is not a proxy. Never for a web page.
pub fn metrics(core: &mut Core, conn: &Conn, head: &Head) -> Result<Reply, Problem> {
    // A page in the operator's browser has a loopback address, too.
    if head.headers.get("origin").is_some() {
        return Err(Problem::new(Code::OriginNotAllowed));
    }
    match &core.settings.metrics_token {
        // Who can open the control socket can read the token.
        _ if conn.listener_kind == ListenerKind::Control => {}
        Some(token) => {
            let sent = admit::bearer(&head.headers).ok_or(Problem::new(Code::UnauthorizedAccess))?;
            // The key is the token itself: equal tokens make equal signatures, which are compared in constant time.
            let expected = token.sign(b"metrics");
            if !crate::base::crypto::HmacKey::new(sent.as_bytes()).verify(b"metrics", &expected) {
                return Err(Problem::new(Code::UnauthorizedAccess));
            }
        }
        None => {
            let proxied =
                head.headers.get("forwarded").is_some() || head.headers.get("x-forwarded-for").is_some();
            if !conn.peer.is_loopback() || proxied {
                return Err(Problem::new(Code::NotAllowed));
            }
        }
    }
    // The next look finds new totals: that of `natter status` comes a second later.
    let count_at = core.metrics.counted_at.map_or(core.now.instant, |at| at + TOTALS_AGE_MIN);
    core.background.tasks.run_by(Periodic::Totals, count_at);
    let text = core.metrics.text(core);
    Ok(Reply::raw(200, "text/plain; version=0.0.4; charset=utf-8", Segment::Owned(text.into_bytes()))
        .header("Cache-Control", "no-store"))
}
