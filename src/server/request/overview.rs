//! What an admin of the server sees of the process: its version, since when it runs, and its background errors.
//!
//! Owns the JSON. Leaves the counts to `report`, and who is an admin to storage.
//! Invariant: the texts of errors are in the log of the process only, since they may name files, addresses and hosts.

use crate::base::json::{Object, Value};
use crate::base::time::rfc3339;
use crate::model::admin::CheckAdmin;
use crate::model::handler::{Actor, Reply, Step};
use crate::server::core::Core;

/// GET /admin/server.
pub fn overview(core: &Core, actor: Option<Actor>) -> Step {
    let errors = core.metrics.troubles().map(|(kind, count, last)| {
        let mut error = Object::default();
        error.push("kind", Value::Str(kind.into()));
        error.push("count", Value::Int(count.cast_signed()));
        error.push("last_at", Value::Str(rfc3339(last).into()));
        Value::Object(error)
    });
    let mut shown = Object::default();
    shown.push("version", Value::Str(env!("CARGO_PKG_VERSION").into()));
    shown.push("errors", Value::List(errors.collect()));
    let shown = Value::Object(shown);
    Step::store(CheckAdmin { by: actor.map(|actor| actor.member) }, move |_, ()| Reply::ok(&shown).step())
}
