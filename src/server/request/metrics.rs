//! What the loop counts, and all that is measured as text in the format of Prometheus.
//!
//! Owns the names of the metrics. Leaves who may read them to `report`, and what other threads measure to
//! `model/measures`. Invariant: labels come from closed tables, so that their number is bounded.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

use crate::base::time::{UnixMs, UnixS};
use crate::model::measures::{Gauge, Measure, Measures, ROWS};
use crate::model::metrics::{CopyCounts, ErrorKind, LogProgress, Totals};
use crate::model::node::NodeName;
use crate::model::problem::Code;
use crate::model::settings::ClusterSettings;
use crate::server::close_reason::CloseReason;
use crate::server::core::Core;
use crate::server::request::routes::{Access, Action, BodyKind, RateClass, Route};

/// The kinds of streams, as `streams/kinds` numbers them.
pub const STREAM_KINDS: [&str; 6] = ["websocket", "legacy_socket", "event_stream", "export", "poll", "echo"];

/// Counts since the start.
#[derive(Default)]
pub struct Metrics {
    /// When this server began.
    pub started: UnixMs,
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
    /// Requests since the last one that ACCESS_LOG has chosen.
    unlogged: u32,
    /// Open streams, in the order of [`STREAM_KINDS`].
    pub streams: [u32; STREAM_KINDS.len()],
    /// What storage counts now and then.
    pub totals: Option<Totals>,
    /// When they were counted.
    pub counted_at: Option<Instant>,
    /// In a cluster.
    pub progress: LogProgress,
    /// In a cluster.
    pub copies: CopyCounts,
    /// TLS handshakes that were completed: in full, and by a ticket.
    handshakes: [u64; 2],
    responses: BTreeMap<(&'static str, u16), u64>,
    refusals: BTreeMap<Code, u64>,
    troubles: BTreeMap<ErrorKind, Trouble>,
    /// The time of the input that is being handled.
    pub at: UnixMs,
    closed: BTreeMap<CloseReason, u64>,
}

/// Characters of the text of a background error. The rest is in the log.
pub const TROUBLE_CHARS_MAX: usize = 300;

/// The background errors of one kind since the start.
#[derive(Default)]
pub struct Trouble {
    pub count: u64,
    /// When the newest one came, and its text on one line.
    pub last: UnixMs,
    pub text: String,
}

/// In which class the duration of a request counts.
pub fn class_of(route: Option<&Route>) -> Measure {
    let Some(route) = route else { return Measure::RequestOther };
    match (route.access, route.body, route.rate) {
        (Access::Control | Access::Admin, ..) => Measure::RequestOther,
        (Access::Socket | Access::Events, ..) => Measure::RequestStream,
        (Access::Signed, ..) => Measure::RequestFile,
        (_, BodyKind::Upload | BodyKind::Preview | BodyKind::Form(_), _) => Measure::RequestUpload,
        (.., RateClass::Credential) => Measure::RequestCredential,
        (.., RateClass::Write) if route.name == "message.post" => Measure::RequestPost,
        (.., RateClass::Write) => Measure::RequestWrite,
        (Access::Public, ..) => Measure::RequestOther,
        _ if !matches!(route.action, Action::Handle(_)) => Measure::RequestOther,
        _ if route.name == "message.search" => Measure::RequestSearch,
        (.., RateClass::Read) => Measure::RequestRead,
    }
}

/// The text, metric by metric.
struct Text(String);

// A write to a String can't fail.
impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn labelled(&mut self, name: &str, label: &str, of: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{{{label}=\"{of}\"}} {value}");
    }

    fn histograms(&mut self, measures: &Measures) {
        let mut last = "";
        for (measure, row) in Measure::ALL.iter().zip(&ROWS) {
            let (name, per_unit) = (row.family.metric, row.family.per_unit);
            if std::mem::replace(&mut last, name) != name {
                self.head(name, "histogram", row.family.help);
            }
            let observed = measures.observed(*measure);
            let (open, close) = if row.label.is_empty() { ("", "") } else { ("{", "}") };
            let comma = if row.label.is_empty() { "" } else { "," };
            let mut all = 0;
            for (bound, count) in observed.cumulative() {
                let _ = write!(self.0, "{name}_bucket{{{}{comma}le=\"", row.label);
                match bound {
                    Some(bound) => self.fraction(bound, per_unit),
                    None => self.0.push_str("+Inf"),
                }
                let _ = writeln!(self.0, "\"}} {count}");
                all = count;
            }
            let _ = write!(self.0, "{name}_sum{open}{}{close} ", row.label);
            self.fraction(observed.sum, per_unit);
            let _ = writeln!(self.0, "\n{name}_count{open}{}{close} {all}", row.label);
        }
    }

    /// `value / per_unit` as a decimal number, without the code of floating point.
    fn fraction(&mut self, value: u64, per_unit: u64) {
        let _ = write!(self.0, "{}", value / per_unit);
        let mut rest = value % per_unit;
        if rest > 0 {
            self.0.push('.');
        }
        while rest > 0 {
            rest *= 10;
            let _ = write!(self.0, "{}", rest / per_unit);
            rest %= per_unit;
        }
    }
}

impl Metrics {
    pub fn new(started: UnixMs) -> Metrics {
        Metrics { started, ..Metrics::default() }
    }

    pub fn response(&mut self, route: &'static str, status: u16) {
        *self.responses.entry((route, status)).or_default() += 1;
    }

    /// Whether the answer to a request gets a line. `one_of` is the setting; of a sample no failure of the server is left out.
    pub fn is_logged(&mut self, one_of: u32, status: u16) -> bool {
        self.unlogged += 1;
        let is_chosen = one_of > 0 && self.unlogged >= one_of;
        if is_chosen {
            self.unlogged = 0;
        }
        is_chosen || one_of > 0 && status >= 500
    }

    /// A request or an op was refused.
    pub fn refused(&mut self, code: Code) {
        *self.refusals.entry(code).or_default() += 1;
    }

    pub fn trouble(&mut self, kind: ErrorKind, text: &str) {
        self.troubles(kind, 1, text);
    }

    /// Several at once, with the text of the newest one.
    pub fn troubles(&mut self, kind: ErrorKind, count: u64, text: &str) {
        let trouble = self.troubles.entry(kind).or_default();
        let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        trouble.count += count;
        (trouble.last, trouble.text) = (self.at, line.take(TROUBLE_CHARS_MAX).collect());
    }

    /// A TLS handshake was completed.
    pub fn secured(&mut self, resumed: bool) {
        self.handshakes[usize::from(resumed)] += 1;
    }

    pub fn closed(&mut self, reason: CloseReason) {
        *self.closed.entry(reason).or_default() += 1;
    }

    /// All of it, in the text format of Prometheus.
    pub fn text(&self, core: &Core) -> String {
        let mut text = Text(String::with_capacity(32_768));
        let version = env!("CARGO_PKG_VERSION");
        text.head("natter_build_info", "gauge", "The version that runs.");
        text.labelled("natter_build_info", "version", version, 1);
        let started = self.started.s();
        text.gauge("process_start_time_seconds", "Start time of the process, in Unix seconds.", started.0);
        for (gauge, name, help) in Gauge::ALL {
            if let Some(value) = core.settings.measures.get(*gauge) {
                text.gauge(name, help, value);
            }
        }
        if let Some(Totals { members, uploads, upload_bytes }) = self.totals {
            text.gauge("natter_members", "Members.", members);
            text.gauge("natter_uploads", "Uploads, previews not counted.", uploads);
            text.gauge("natter_uploads_bytes", "Size of all uploads.", upload_bytes);
        }
        self.write_traffic(&mut text, core);
        self.write_work(&mut text, core);
        self.write_tls(&mut text, core);
        text.head("natter_responses_total", "counter", "Responses by route and status.");
        for ((route, status), count) in &self.responses {
            let _ =
                writeln!(text.0, "natter_responses_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        text.head(
            "natter_refusals_total",
            "counter",
            "Refused requests and ops, by the code of the problem.",
        );
        for (code, count) in &self.refusals {
            text.labelled("natter_refusals_total", "code", code.text(), *count);
        }
        text.head("natter_connections_closed_total", "counter", "Connections that ended, by reason.");
        for reason in CloseReason::ALL {
            let count = self.closed.get(reason).copied().unwrap_or(0);
            text.labelled("natter_connections_closed_total", "reason", reason.name(), count);
        }
        text.head("natter_background_errors_total", "counter", "Background errors by kind.");
        for trouble in ErrorKind::ALL {
            let count = self.troubles.get(&trouble).map_or(0, |trouble| trouble.count);
            text.labelled("natter_background_errors_total", "kind", trouble.name(), count);
        }
        text.histograms(&core.settings.measures);
        if let Some(ClusterSettings { node, .. }) = &core.settings.cluster {
            self.write_cluster(&mut text, core, node);
        }
        text.0
    }

    fn write_traffic(&self, text: &mut Text, core: &Core) {
        text.gauge("natter_connections", "Open connections.", self.connections);
        text.head("natter_streams", "gauge", "Open streams by kind.");
        for (kind, count) in STREAM_KINDS.iter().zip(self.streams) {
            text.labelled("natter_streams", "kind", kind, count.into());
        }
        text.gauge(
            "natter_profiles_online",
            "Profiles with an open stream.",
            core.streams.hub.profiles() as u64,
        );
        let calls = core.calls.len() as u64;
        text.gauge("natter_calls", "Calls to storage and workers that are not answered yet.", calls);
        text.gauge("natter_log_seq", "The log's head.", core.head);
        text.counter("natter_events_total", "Events committed.", self.events);
        text.counter("natter_deliveries_total", "Events queued on streams.", self.deliveries);
        text.counter("natter_streams_cut_total", "Streams closed for reading too slowly.", self.streams_cut);
        let held = core.streams.backlog.total() as u64;
        text.gauge("natter_send_queues_bytes", "Memory that bytes waiting to be sent hold.", held);
        text.counter("natter_received_bytes_total", "Bytes received.", self.bytes_in);
        text.counter("natter_sent_bytes_total", "Bytes sent.", self.bytes_out);
    }

    fn write_work(&self, text: &mut Text, core: &Core) {
        text.counter(
            "natter_log_lines_dropped_total",
            "Log lines dropped because stderr was not read.",
            self.log_dropped,
        );
        text.counter("natter_pushes_total", "Notifications that a push service took.", self.pushes);
        text.counter(
            "natter_push_failures_total",
            "Tries to push a notification that failed.",
            self.push_failures,
        );
        text.counter("natter_hook_calls_total", "Events that outgoing hooks took.", self.hook_calls);
        text.counter(
            "natter_hook_failures_total",
            "Calls of outgoing hooks that failed.",
            self.hook_failures,
        );
        let queue = (core.background.pusher.waiting() + core.background.pusher.devices.count()) as u64;
        text.gauge("natter_push_queue", "Notifications that wait.", queue);
        let lag = core.background.pusher.lag(core.head);
        text.gauge("natter_push_lag", "Events between the log's head and the notifications sent.", lag);
        let ready = u64::from(core.storage.is_ready());
        text.gauge("natter_storage_ready", "Whether the database takes writes.", ready);
    }

    fn write_tls(&self, text: &mut Text, core: &Core) {
        let Some(https) = &core.settings.https else { return };
        let UnixS(end) = core.background.certificate.not_after();
        text.gauge(
            "natter_tls_certificate_expires_seconds",
            "The end of the certificate, in Unix seconds.",
            end,
        );
        if !https.domains.is_empty() {
            let [failed, issued] = core.background.certificate.orders();
            let name = "natter_acme_orders_total";
            text.head(name, "counter", "Orders of a certificate that ended, by result.");
            text.labelled(name, "result", "failed", failed);
            text.labelled(name, "result", "issued", issued);
        }
        let [full, resumed] = self.handshakes;
        let name = "natter_tls_handshakes_total";
        text.head(name, "counter", "TLS handshakes that were completed.");
        text.labelled(name, "kind", "full", full);
        text.labelled(name, "kind", "resumed", resumed);
    }

    fn write_cluster(&self, text: &mut Text, core: &Core, node: &NodeName) {
        let LogProgress { position, head, appended, applied, level, .. } = self.progress;
        let copies = &self.copies;
        let nodes = 1 + core.streams.nodes.as_ref().map_or(0, |nodes| nodes.heard());
        let lag = head.saturating_sub(position);
        for (name, kind, help, value) in [
            ("nodes", "gauge", "Nodes that are heard, this one included.", nodes as u64),
            ("log_position", "gauge", "The last entry of the log that is applied here.", position),
            ("log_lag", "gauge", "Entries of the log that are not applied here.", lag),
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
            let _ = writeln!(text.0, "# HELP natter_cluster_{name} {help}");
            let _ = writeln!(text.0, "# TYPE natter_cluster_{name} {kind}\nnatter_cluster_{name} {value}");
        }
        text.head("natter_cluster_node", "gauge", "This node.");
        let _ = writeln!(text.0, "natter_cluster_node{{node=\"{node}\"}} 1");
        text.head("natter_cluster_duty", "gauge", "The node that mails, notifies and erases for all.");
        if let Some(holder) = core.background.duty.holder() {
            let _ = writeln!(text.0, "natter_cluster_duty{{node=\"{holder}\"}} 1");
        }
    }

    /// Each kind of background error that there was.
    pub fn troubled(&self) -> impl Iterator<Item = (ErrorKind, &Trouble)> {
        self.troubles.iter().map(|(kind, trouble)| (*kind, trouble))
    }
}
