//! What a node knows of its cluster, for `natter cluster status` and for the warnings of `/readyz`.
//!
//! Owns the JSON of the control socket. Leaves to the command what the log's servers say of themselves.
//! Invariant: a server alone has no cluster: the route is 404, and there is no warning.

use std::borrow::Cow;

use crate::base::crypto::hex;
use crate::base::json::{Object, Value};
use crate::model::handler::Reply;
use crate::model::node::NodeState;
use crate::model::problem::{Code, Problem};
use crate::server::core::Core;
use crate::server::request::report;

/// GET /admin/cluster.
pub fn status(core: &Core) -> Result<Reply, Problem> {
    let cluster = core.settings.cluster.as_ref().ok_or(Problem::new(Code::NotFound))?;
    let (progress, reason) = (core.metrics.progress, report::reason(core));
    let own = NodeState { position: progress.position, chain: progress.chain, ..cluster.state.clone() };
    let mut nodes = vec![node(cluster.node.as_str(), &own, 0)];
    for (name, state) in core.streams.nodes.iter().flat_map(|nodes| nodes.states()) {
        if let Some((state, at)) = state {
            let heard_ms = core.now.instant.saturating_duration_since(*at).as_millis();
            nodes.push(node(name.as_str(), state, heard_ms as u64));
        }
    }
    let text = |text: &str| Value::Str(Cow::Owned(text.to_owned()));
    let mut object = Object::default();
    object.push("node", text(cluster.node.as_str()));
    object.push("epoch", text(&core.epoch));
    object.push("head", number(progress.head));
    object.push("level", number(progress.level.into()));
    object.push("duty", core.background.duty.holder().map_or(Value::Null, |node| text(node.as_str())));
    object.push("ready", Value::Bool(reason.is_none()));
    object.push("reason", reason.map_or(Value::Null, text));
    object
        .push("warnings", Value::List(report::warnings(core).iter().map(|warning| text(warning)).collect()));
    object.push("nodes", Value::List(nodes));
    Ok(Reply::ok(&Value::Object(object)))
}

/// One node, as it says itself; `heard_ms` is how long ago that was.
fn node(name: &str, state: &NodeState, heard_ms: u64) -> Value<'static> {
    let mut object = Object::default();
    object.push("node", Value::Str(Cow::Owned(name.to_owned())));
    object.push("position", number(state.position));
    object.push("chain", Value::Str(Cow::Owned(hex(&state.chain))));
    object.push("level", number(u64::from(state.level)));
    object.push("heard_ms", number(heard_ms));
    Value::Object(object)
}

fn number(number: u64) -> Value<'static> {
    Value::Int(number.cast_signed())
}

/// The settings that another node has otherwise.
pub fn warnings(core: &Core) -> Vec<String> {
    let Some(cluster) = &core.settings.cluster else { return Vec::new() };
    let others = core.streams.nodes.iter().flat_map(|nodes| nodes.states());
    others
        .filter_map(|(node, state)| {
            let names = cluster.differences(&state?.0);
            (!names.is_empty()).then(|| {
                format!(
                    "node {node} has another value of {} than this one, which clients see: set the same on all nodes",
                    names.join(", ")
                )
            })
        })
        .collect()
}
