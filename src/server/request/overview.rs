//! What an admin of the server sees of the process: its version, its last backup, and its background errors.
//!
//! Owns the JSON. Leaves the counts to `metrics` and the gauges, and who is an admin to storage.
//! Invariant: the text of an error is that of its line in the log, which holds no secret and no text of a member.

use crate::base::json::{Object, Value};
use crate::base::time::{UnixS, rfc3339};
use crate::model::admin::CheckAdmin;
use crate::model::handler::{Actor, Reply, Step};
use crate::model::measures::Gauge;
use crate::model::metrics::ErrorKind;
use crate::server::core::Core;

/// GET /admin/server.
pub fn overview(core: &Core, actor: Option<Actor>) -> Step {
    let errors = core.metrics.troubled().map(|(kind, trouble)| {
        let mut error = Object::default();
        error.push("kind", Value::Str(kind.name().into()));
        error.push("count", Value::Int(trouble.count.cast_signed()));
        error.push("last_at", Value::Str(rfc3339(trouble.last).into()));
        error.push("text", Value::Str(trouble.text.clone().into()));
        Value::Object(error)
    });
    let mut shown = Object::default();
    shown.push("version", Value::Str(env!("CARGO_PKG_VERSION").into()));
    shown.push("errors", Value::List(errors.collect()));
    shown.push("backup", backup(core));
    let shown = Value::Object(shown);
    Step::store(CheckAdmin { by: actor.map(|actor| actor.member) }, move |_, ()| Reply::ok(&shown).step())
}

fn backup(core: &Core) -> Value<'static> {
    let gauge = |gauge| core.settings.measures.get(gauge);
    let time = |s| Value::Str(rfc3339(UnixS(s).ms()).into());
    let (made, failed) = (gauge(Gauge::BackupAt), gauge(Gauge::BackupFailedAt));
    let last = made.map_or(Value::Null, |at| {
        let mut last = Object::default();
        last.push("at", time(at));
        let bytes = gauge(Gauge::BackupBytes).map_or(Value::Null, |bytes| Value::Int(bytes.cast_signed()));
        last.push("bytes", bytes);
        // A file that is not good does not get its name.
        last.push("verified", Value::Bool(true));
        Value::Object(last)
    });
    // No comparison of times: that of a file that is found at a start is the one of its name.
    let failed = failed.filter(|_| gauge(Gauge::BackupFailed) == Some(1)).map_or(Value::Null, |at| {
        let mut failed = Object::default();
        let text = core.metrics.troubled().find(|(kind, _)| *kind == ErrorKind::Backup);
        failed.push("at", time(at));
        failed
            .push("text", Value::Str(text.map_or(String::new(), |(_, trouble)| trouble.text.clone()).into()));
        Value::Object(failed)
    });
    let mut shown = Object::default();
    shown.push("running", Value::Bool(gauge(Gauge::BackupRuns) == Some(1)));
    shown.push("last", last);
    shown.push("failed", failed);
    Value::Object(shown)
}
