//! `natter cluster remove NODE`: a node is gone for good, so that the level of the cluster no longer waits for it.
//!
//! The natter that runs here writes it into the log. What the node has written stays.
//! Invariant: a node that is heard is not removed.

use crate::base::json::Value;
use crate::commands::control::{Control, Needs};
use crate::commands::output::{Failure, body, good, say};
use crate::config::Config;

pub(super) fn remove(config: &Config, node: &str) -> Result<(), Failure> {
    super::needed(config)?;
    let mut control = Control::reach(config, Needs::Database)?;
    let answer = control.ask("GET", "/admin/cluster", "")?;
    let seen = good(&answer, "cluster")?;
    let nodes = seen.get("data").and_then(|data| data.get("nodes")).and_then(Value::as_list);
    let is_heard =
        |seen: &Value<'_>| seen.get("node").and_then(Value::as_str).is_some_and(|name| name == node);
    if nodes.unwrap_or_default().iter().any(is_heard) {
        let problem = format!("node {node} runs, or has run until a few seconds ago: stop it first");
        return Err(problem.into());
    }
    good(&control.ask("POST", "/admin/cluster/remove", &body(&[("node", node)]))?, "node")?;
    control.close()?;
    say!("an upgrade no longer waits for node {node}; if it starts again, it is a node as before");
    Ok(())
}
