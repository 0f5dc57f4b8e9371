//! The server's report on itself: health, readiness, and counts in the Prometheus text format.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::base::json;
use crate::base::send_queue::Segment;
use crate::model::handler::Reply;
use crate::model::metrics::{CopyCounts, ErrorKind, LogProgress};
use crate::model::node::NodeName;
use crate::model::problem::{Code, Problem};
use crate::model::settings::ClusterSettings;
use crate::proto::http::head::Head;
use crate::proto::http::language::Language;
use crate::server::close_reason::CloseReason;
use crate::server::conn::Conn;
use crate::server::contract::ListenerKind;
use crate::server::core::Core;
use crate::server::request::{admit, cluster};

/// Counts since the start. Labels come from the route table, so they are bounded.
#[derive(Default)]
pub struct Metrics {
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub connections: u64,
    pub events: u64,
    pub deliveries: u64,
    pub streams_cut: u64,
    pub pushes: u64,
    pub push_failures: u64,
    pub hook_calls: u64,
    pub hook_failures: u64,
    pub log_dropped: u64,
    /// In a cluster.
    pub progress: LogProgress,
    /// In a cluster.
    pub copies: CopyCounts,
    /// TLS handshakes that were completed: in full, and by a ticket.
    handshakes: [u64; 2],
    responses: BTreeMap<(&'static str, u16), u64>,
    troubles: BTreeMap<ErrorKind, u64>,
    closed: BTreeMap<CloseReason, u64>,
}

impl Metrics {
    pub fn response(&mut self, route: &'static str, status: u16) {
        *self.responses.entry((route, status)).or_default() += 1;
    }

    pub fn trouble(&mut self, trouble: ErrorKind) {
        *self.troubles.entry(trouble).or_default() += 1;
    }

    /// A TLS handshake was completed.
    pub fn secured(&mut self, resumed: bool) {
        self.handshakes[usize::from(resumed)] += 1;
    }

    pub fn closed(&mut self, reason: CloseReason) {
        *self.closed.entry(reason).or_default() += 1;
    }

    fn text(&self, core: &Core) -> String {
        let mut out = String::with_capacity(4_096);
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            // A write to a String can't fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        one("natter_connections", "gauge", "Open connections.", self.connections);
        one(
            "natter_profiles_online",
            "gauge",
            "Profiles with an open stream.",
            core.streams.hub.profiles() as u64,
        );
        one(
            "natter_calls",
            "gauge",
            "Calls to storage and workers that are not answered yet.",
            core.calls.len() as u64,
        );
        one("natter_log_seq", "counter", "The log's head.", core.head);
        one("natter_events_total", "counter", "Events committed.", self.events);
        one("natter_deliveries_total", "counter", "Events queued on streams.", self.deliveries);
        one(
            "natter_streams_cut_total",
            "counter",
            "Streams closed for reading too slowly.",
            self.streams_cut,
        );
        let held = core.streams.backlog.total() as u64;
        one("natter_send_queues_bytes", "gauge", "Memory that bytes waiting to be sent hold.", held);
        one("natter_received_bytes_total", "counter", "Bytes received.", self.bytes_in);
        one("natter_sent_bytes_total", "counter", "Bytes sent.", self.bytes_out);
        one(
            "natter_log_lines_dropped_total",
            "counter",
            "Log lines dropped because stderr was not read.",
            self.log_dropped,
        );
        one("natter_pushes_total", "counter", "Notifications that a push service took.", self.pushes);
        one(
            "natter_push_failures_total",
            "counter",
            "Tries to push a notification that failed.",
            self.push_failures,
        );
        one("natter_hook_calls_total", "counter", "Events that outgoing hooks took.", self.hook_calls);
        one(
            "natter_hook_failures_total",
            "counter",
            "Calls of outgoing hooks that failed.",
            self.hook_failures,
        );
        let queue = (core.background.pusher.waiting() + core.background.pusher.devices.count()) as u64;
        one("natter_push_queue", "gauge", "Notifications that wait.", queue);
        let lag = core.background.pusher.lag(core.head);
        one("natter_push_lag", "gauge", "Events between the log's head and the notifications sent.", lag);
        let ready = u64::from(core.storage.is_ready());
        one("natter_storage_ready", "gauge", "Whether the database takes writes.", ready);
        if core.settings.https.is_some() {
            one(
                "natter_tls_certificate_expires_seconds",
                "gauge",
                "The end of the certificate, in Unix seconds.",
                core.background.certificate.not_after().0,
            );
            if core.settings.https.as_ref().is_some_and(|https| !https.domains.is_empty()) {
                let [failed, issued] = core.background.certificate.orders();
                out.push_str(
                    "# HELP natter_acme_orders_total Orders of a certificate that ended, by result.\n",
                );
                out.push_str("# TYPE natter_acme_orders_total counter\n");
                let _ = writeln!(out, "natter_acme_orders_total{{result=\"failed\"}} {failed}");
                let _ = writeln!(out, "natter_acme_orders_total{{result=\"issued\"}} {issued}");
            }
            let [full, resumed] = self.handshakes;
            out.push_str("# HELP natter_tls_handshakes_total TLS handshakes that were completed.\n");
            out.push_str("# TYPE natter_tls_handshakes_total counter\n");
            let _ = writeln!(out, "natter_tls_handshakes_total{{kind=\"full\"}} {full}");
            let _ = writeln!(out, "natter_tls_handshakes_total{{kind=\"resumed\"}} {resumed}");
        }
        out.push_str("# HELP natter_responses_total Responses by route and status.\n");
        out.push_str("# TYPE natter_responses_total counter\n");
        for ((route, status), count) in &self.responses {
            let _ = writeln!(out, "natter_responses_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        out.push_str("# HELP natter_connections_closed_total Connections that ended, by reason.\n");
        out.push_str("# TYPE natter_connections_closed_total counter\n");
        for reason in CloseReason::ALL {
            let count = self.closed.get(reason).copied().unwrap_or(0);
            let _ = writeln!(out, "natter_connections_closed_total{{reason=\"{}\"}} {count}", reason.name());
        }
        out.push_str("# HELP natter_background_errors_total Background errors by kind.\n");
        out.push_str("# TYPE natter_background_errors_total counter\n");
        for trouble in ErrorKind::ALL {
            let count = self.troubles.get(&trouble).copied().unwrap_or(0);
            let _ = writeln!(out, "natter_background_errors_total{{kind=\"{}\"}} {count}", trouble.name());
        }
        if let Some(ClusterSettings { node, .. }) = &core.settings.cluster {
            self.write_cluster(&mut out, core, node);
        }
        out
    }

    fn write_cluster(&self, out: &mut String, core: &Core, node: &NodeName) {
        let LogProgress { position, head, appended, applied, level, .. } = self.progress;
        let copies = &self.copies;
        let nodes = 1 + core.streams.nodes.as_ref().map_or(0, |nodes| nodes.heard());
        for (name, kind, help, value) in [
            ("nodes", "gauge", "Nodes that are heard, this one included.", nodes as u64),
            ("log_position", "counter", "The last entry of the log that is applied here.", position),
            (
                "log_lag",
                "gauge",
                "Entries of the log that are not applied here.",
                head.saturating_sub(position),
            ),
            ("level", "gauge", "The level of the cluster that is in force here.", level.into()),
            ("entries_appended_total", "counter", "Entries that this node has appended.", appended),
            ("entries_applied_total", "counter", "Entries of all nodes that are applied here.", applied),
            ("files_given_total", "counter", "Uploads that another node took.", copies.given),
            (
                "files_given_bytes_total",
                "counter",
                "Bytes of uploads that another node took.",
                copies.given_bytes,
            ),
            (
                "files_not_given_total",
                "counter",
                "Uploads refused because no other node took them.",
                copies.not_given,
            ),
            ("files_fetched_total", "counter", "Files that came from another node.", copies.fetched),
            (
                "files_fetched_bytes_total",
                "counter",
                "Bytes that came from another node.",
                copies.fetched_bytes,
            ),
            ("files_not_fetched_total", "counter", "Files that no other node gave.", copies.not_fetched),
            ("files_copied_again_total", "counter", "Files that had lost their second copy.", copies.kept),
            ("files_copied_again_bytes_total", "counter", "Bytes of these files.", copies.kept_bytes),
        ] {
            let _ = writeln!(out, "# HELP natter_cluster_{name} {help}");
            let _ = writeln!(out, "# TYPE natter_cluster_{name} {kind}\nnatter_cluster_{name} {value}");
        }
        out.push_str("# HELP natter_cluster_node This node.\n# TYPE natter_cluster_node gauge\n");
        let _ = writeln!(out, "natter_cluster_node{{node=\"{node}\"}} 1");
        out.push_str("# HELP natter_cluster_duty The node that mails, notifies and erases for all.\n");
        out.push_str("# TYPE natter_cluster_duty gauge\n");
        if let Some(holder) = core.background.duty.holder() {
            let _ = writeln!(out, "natter_cluster_duty{{node=\"{holder}\"}} 1");
        }
    }

    fn troubled(&self) -> Vec<(&'static str, u64)> {
        self.troubles.iter().map(|(trouble, count)| (trouble.name(), *count)).collect()
    }
}

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
        errors: core.metrics.troubled().into_iter().collect(),
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

/// With METRICS_TOKEN, for the client that sends it; without, for a loopback peer that is not a proxy. Never for a web page.
pub fn metrics(core: &Core, conn: &Conn, head: &Head) -> Result<Reply, Problem> {
    // A page in the operator's browser has a loopback address, too.
    if head.headers.get("origin").is_some() {
        return Err(Problem::new(Code::OriginNotAllowed));
    }
    match &core.settings.metrics_token {
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
            if conn.listener_kind != ListenerKind::Control && (!conn.peer.is_loopback() || proxied) {
                return Err(Problem::new(Code::NotAllowed));
            }
        }
    }
    let text = core.metrics.text(core);
    Ok(Reply::raw(200, "text/plain; version=0.0.4; charset=utf-8", Segment::Owned(text.into_bytes()))
        .header("Cache-Control", "no-store"))
}
