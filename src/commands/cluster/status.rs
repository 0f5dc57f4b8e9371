//! `natter cluster status`: the nodes, the log and its servers, what is wrong and what to do.
//!
//! A natter that runs here tells what it knows, through its control socket; without one the database does, and the nodes are overheard
//! at the log. The servers of the log are asked by the command itself. Owns the sentences and the JSON.
//! Invariant: the command changes nothing. It ends with 1 if anything is wrong.

use std::borrow::Cow;
use std::process::ExitCode;

use super::visit::{Purpose, Visit};
use super::{needed, seal_key};
use crate::base::json::{self, Object, Value};
use crate::commands::control::{Control, Needs};
use crate::commands::output::{Failure, good, note};
use crate::commands::serve::store_options;
use crate::commands::{DataFolder, absolute, configure, print};
use crate::config::cluster::Cluster;
use crate::config::{Config, secrets};
use crate::model::node::short_chain;
use crate::runtime::data_dir;
use crate::runtime::nats::{LogState, LogSurvey};
use crate::runtime::replica::check;
use crate::store::{self, Access, Place, Skip};

/// Entries that a node which runs may be behind: more means that it does not keep up, or is stuck.
const LAG_MAX: u64 = 1_000;

/// Something that is wrong, and what to do.
struct Wrong {
    what: String,
    remedy: &'static str,
}

/// A node, as it was heard.
struct Seen {
    position: u64,
    chain: String,
    level: u64,
    /// The last entry that it skips or has skipped, 0 for none; `None` if it was not overheard itself.
    skipped: Option<u64>,
}

/// All that is known.
struct Status {
    cluster: String,
    node: String,
    /// What the natter that runs here says; `None` if none runs.
    running: Option<Running>,
    /// How far the database is.
    place: Option<Place>,
    /// The last entry that the database skips or has skipped.
    skip: Option<Skip>,
    log: Result<LogState, String>,
    survey: LogSurvey,
    /// In the order of their names.
    nodes: Vec<(String, Seen)>,
    /// The nodes that have written, as the database here says, and the highest level that each knows; 0 for one that is not waited for.
    levels: Vec<(String, u32)>,
    wrong: Vec<Wrong>,
}

struct Running {
    reason: Option<String>,
    duty: Option<String>,
    warnings: Vec<String>,
}

pub(super) fn run(folder: &DataFolder, as_json: bool) -> ExitCode {
    let (config, warnings) = match configure(folder) {
        Ok(configured) => configured,
        Err(code) => return code,
    };
    for warning in &warnings {
        note!("natter: {warning}");
    }
    let looked = needed(&config).and_then(|cluster| look(&config, cluster));
    let status = match looked {
        Ok(status) => status,
        Err(failure) => return failure.end(),
    };
    let text = if as_json { json::to_string(&status.json()) + "\n" } else { status.text() };
    let printed = print(&text);
    if status.wrong.is_empty() { printed } else { ExitCode::FAILURE }
}

fn look(config: &Config, cluster: &Cluster) -> Result<Status, Failure> {
    let (key, _) = secrets::cluster_key(&config.data_dir).map_err(|faults| super::join(&faults))?;
    let key = key.map(|key| seal_key(config, &key)).transpose()?;
    let mut visit = Visit::open(config, cluster, key, Purpose::Look)?;
    let log = visit.reach();
    let heard = if log.is_ok() { visit.listen() } else { Vec::new() };
    let seen = heard.into_iter().map(|(node, state)| {
        let (chain, level) = (short_chain(&state.chain), u64::from(state.level));
        (node.to_string(), Seen { position: state.position, chain, level, skipped: Some(state.skipped) })
    });
    let mut status = Status {
        cluster: cluster.name.to_string(),
        node: cluster.node.to_string(),
        running: None,
        place: None,
        skip: None,
        log,
        survey: visit.survey(),
        nodes: seen.collect(),
        levels: Vec::new(),
        wrong: Vec::new(),
    };
    if store::exists(&store_options(config)) {
        status.look_here(config)?;
    } else {
        status.add(
            format!("there is no database in {}", absolute(&config.data_dir)),
            "begin with a copy of a node, by `natter cluster join FILE`, or make a cluster, by `natter cluster init`",
        );
    }
    status.judge();
    Ok(status)
}

impl Status {
    fn add(&mut self, what: impl Into<String>, remedy: &'static str) {
        self.wrong.push(Wrong { what: what.into(), remedy });
    }

    /// The node of this folder: by its control socket, or by its database.
    fn look_here(&mut self, config: &Config) -> Result<(), Failure> {
        let Some(_lock) = data_dir::hold(&config.data_dir) else { return self.ask(config) };
        self.read_rows(config, Access::Exclusive)?;
        match &self.place {
            Some(_) => self.add("natter does not run here", "start it"),
            None => self.add(
                "the database here is that of a natter alone",
                "`natter cluster init` makes it the first node of a cluster",
            ),
        }
        Ok(())
    }

    fn read_rows(&mut self, config: &Config, access: Access) -> Result<(), String> {
        let rows = store::cluster_rows(&store_options(config), access).map_err(|fault| fault.to_string())?;
        if let Some(rows) = rows {
            (self.place, self.skip, self.levels) = (rows.place, rows.skip, rows.nodes);
        }
        Ok(())
    }

    fn ask(&mut self, config: &Config) -> Result<(), Failure> {
        self.read_rows(config, Access::Shared)?;
        let mut control = Control::reach(config, Needs::Database)?;
        let answer = control.ask("GET", "/admin/cluster", "")?;
        control.close()?;
        if answer.status == 404 {
            self.add(
                "the natter that runs here is no node, or has another version",
                "start it with CLUSTER_NODE, in this version",
            );
            return Ok(());
        }
        let answer = good(&answer, "cluster")?;
        let data = answer.get("data").ok_or_else(|| "the server's answer says nothing".to_owned())?;
        let text = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
        let list = |name: &str| data.get(name).and_then(Value::as_list).unwrap_or_default();
        self.running = Some(Running {
            reason: text("reason"),
            duty: text("duty"),
            warnings: list("warnings").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        });
        for node in list("nodes") {
            let number = |name: &str| node.get(name).and_then(Value::as_i64).map_or(0, i64::cast_unsigned);
            let text = |name: &str| node.get(name).and_then(Value::as_str).unwrap_or_default();
            let chain: String = text("chain").chars().take(16).collect();
            let seen = Seen { position: number("position"), chain, level: number("level"), skipped: None };
            // What is overheard is newer.
            if let Err(at) = self.nodes.binary_search_by(|(node, _)| node.as_str().cmp(text("node"))) {
                self.nodes.insert(at, (text("node").to_owned(), seen));
            }
        }
        Ok(())
    }

    fn judge(&mut self) {
        self.judge_log();
        if let Some(running) = &self.running {
            let (reason, warnings) = (running.reason.clone(), running.warnings.clone());
            if let Some(reason) = reason {
                self.add(
                    format!("this node takes no writes: {reason}"),
                    "see its log, and README, \"Several machines\"",
                );
            }
            warnings.into_iter().for_each(|warning| self.add(warning, "see README, \"Several machines\""));
        }
        let head = self.head();
        let mut found = Vec::new();
        for (node, seen) in &self.nodes {
            if head.saturating_sub(seen.position) > LAG_MAX {
                found.push(Wrong {
                    what: format!("node {node} is {} entries behind", head - seen.position),
                    remedy: "look at its disk and its log: it is slow, full or stuck",
                });
            }
        }
        for (at, (node, seen)) in self.nodes.iter().enumerate() {
            let other = self
                .nodes
                .iter()
                .take(at)
                .find(|(_, other)| other.position == seen.position && other.chain != seen.chain);
            let skipper = self.nodes.iter().take(at).find_map(|(other, theirs)| {
                let (theirs_at, at) = (theirs.skipped?, seen.skipped?);
                let last = theirs_at.max(at);
                let have_both = theirs.position >= last && seen.position >= last;
                let is_first = theirs_at > at;
                (theirs_at != at && have_both).then_some(if is_first {
                    (other, node, last)
                } else {
                    (node, other, last)
                })
            });
            if let Some((one, other, entry)) = skipper {
                found.push(Wrong {
                    what: format!("node {one} has skipped entry {entry}, and node {other} has applied it"),
                    remedy: "begin one of the two with a copy of the other (`natter cluster join FILE`): keep the one that has applied it",
                });
            } else if let Some((other, _)) = other {
                found.push(Wrong {
                    what: format!("nodes {other} and {node} have read different entries up to {}", seen.position),
                    remedy: "stop all nodes and keep their DATA_DIRs; then `natter cluster rebuild --new-epoch`",
                });
            }
        }
        found.extend(self.holding_back().into_iter().map(|(node, level)| Wrong {
            what: format!(
                "the cluster stays at level {}: others know a higher one than {level}, node {node} does not",
                self.level().unwrap_or(level)
            ),
            remedy: "install on it the version of the others and start it; if it is gone for good: `natter cluster remove NODE`",
        }));
        self.wrong.extend(found);
    }

    /// The level in force at the place of the database here.
    fn level(&self) -> Option<u32> {
        self.place.as_ref().map(|place| place.level)
    }

    /// The nodes because of which the level is not raised.
    fn holding_back(&self) -> Vec<(String, u32)> {
        let highest = self.levels.iter().map(|(_, level)| *level).max().unwrap_or(0);
        self.levels.iter().filter(|(_, level)| (1..highest).contains(level)).cloned().collect()
    }

    fn judge_log(&mut self) {
        match self.log.clone() {
            Ok(state) => {
                // A natter that runs has gone on since the log was asked, and judges its log itself.
                if let Some(place) = self.place.as_ref().filter(|_| self.running.is_none())
                    && let Err(why) = check(Some(&place.log), place.position, &state)
                {
                    self.add(why, "see README, \"Several machines\"");
                }
                let lost: Vec<String> = self.survey.servers.iter().filter(|server| !server.is_reached).map(|server| server.name.clone()).collect();
                for name in lost {
                    self.add(
                        format!("the server {name} of the log does not answer its leader"),
                        "start it again: while it is away, no other one may fail",
                    );
                }
            }
            Err(_) if self.survey.is_missing => self.add(
                "the log does not exist",
                "a new cluster begins with `natter cluster init`; if it was lost, see `natter cluster rebuild`",
            ),
            Err(reason) => self.add(
                format!("the log cannot be used: {reason}"),
                "look whether two of its three servers run and reach each other, and at CLUSTER_SERVERS and the passwords",
            ),
        }
    }

    /// The end of the log, as far as anybody knows it.
    fn head(&self) -> u64 {
        let heard = self.nodes.iter().map(|(_, seen)| seen.position).max().unwrap_or(0);
        self.log.as_ref().map_or(0, |state| state.head).max(heard)
    }

    fn text(&self) -> String {
        let mut out = format!("cluster {}, node {}\n", self.cluster, self.node);
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        match &self.log {
            Ok(state) => line(format!("log: {}, entries {} to {}", state.identity, state.first, state.head)),
            Err(_) => line("log: not reached".to_owned()),
        }
        for server in &self.survey.servers {
            line(format!(
                "  server {}{}{}, {}",
                server.name,
                server.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default(),
                if server.is_leader {
                    ", leads"
                } else if server.is_reached {
                    ""
                } else {
                    ", not reached"
                },
                match server.syncs {
                    Some(true) => "syncs each entry",
                    Some(false) => "does not sync each entry",
                    None => "not asked whether it syncs",
                }
            ));
        }
        if let Some(place) = &self.place {
            let chain = short_chain(&place.chain.to_bytes());
            let skipped = self.skip.map(|skip| format!(", entry {} skipped", skip.position));
            line(format!(
                "database here: at entry {}, chain {chain}, level {}{}",
                place.position,
                place.level,
                skipped.unwrap_or_default()
            ));
        }
        line(format!("nodes that run: {}", self.nodes.len()));
        for (node, seen) in &self.nodes {
            let duty = self.running.as_ref().and_then(|running| running.duty.as_ref());
            line(format!(
                "  {node}: entry {}, {} behind, chain {}, knows level {}{}",
                seen.position,
                self.head().saturating_sub(seen.position),
                seen.chain,
                seen.level,
                if duty == Some(node) { ", sends the mails" } else { "" }
            ));
        }
        match self.wrong.is_empty() {
            true => line("nothing is wrong".to_owned()),
            false => line("wrong:".to_owned()),
        }
        for Wrong { what, remedy } in &self.wrong {
            line(format!("  {what}\n    what to do: {remedy}"));
        }
        out
    }

    fn json(&self) -> Value<'_> {
        let mut all = Object::default();
        all.push("cluster", text(&self.cluster));
        all.push("node", text(&self.node));
        all.push("running", Value::Bool(self.running.is_some()));
        let is_ready = |running: &Running| running.reason.is_none();
        all.push("ready", Value::Bool(self.running.as_ref().is_some_and(is_ready)));
        let duty = self.running.as_ref().and_then(|running| running.duty.as_deref());
        all.push("duty", duty.map_or(Value::Null, text));
        all.push("level", self.level().map_or(Value::Null, |level| number(level.into())));
        let waits_for = self.holding_back().into_iter().map(|(node, _)| Value::Str(Cow::Owned(node)));
        all.push("level_waits_for", Value::List(waits_for.collect()));
        all.push("position", self.place.as_ref().map_or(Value::Null, |place| number(place.position)));
        let chain = |place: &Place| Value::Str(Cow::Owned(short_chain(&place.chain.to_bytes())));
        all.push("chain", self.place.as_ref().map_or(Value::Null, chain));
        all.push("skipped", self.skip.map_or(Value::Null, |skip| number(skip.position)));
        all.push("log", self.json_of_log());
        let node = |(name, seen): &(String, Seen)| {
            let mut object = Object::default();
            object.push("node", Value::Str(Cow::Owned(name.clone())));
            object.push("position", number(seen.position));
            object.push("lag", number(self.head().saturating_sub(seen.position)));
            object.push("chain", Value::Str(Cow::Owned(seen.chain.clone())));
            object.push("level", number(seen.level));
            Value::Object(object)
        };
        all.push("nodes", Value::List(self.nodes.iter().map(node).collect()));
        let wrong = |wrong: &Wrong| {
            let mut object = Object::default();
            object.push("what", Value::Str(Cow::Owned(wrong.what.clone())));
            object.push("do", Value::Str(Cow::Borrowed(wrong.remedy)));
            Value::Object(object)
        };
        all.push("wrong", Value::List(self.wrong.iter().map(wrong).collect()));
        Value::Object(all)
    }

    fn json_of_log(&self) -> Value<'_> {
        let mut log = Object::default();
        log.push("reached", Value::Bool(self.log.is_ok()));
        if let Ok(state) = &self.log {
            log.push("name", text(&state.identity));
            log.push("first", number(state.first));
            log.push("head", number(state.head));
        }
        let servers = self.survey.servers.iter().map(|server| {
            let mut object = Object::default();
            object.push("name", text(&server.name));
            object.push("leader", Value::Bool(server.is_leader));
            object.push("reached", Value::Bool(server.is_reached));
            object.push("version", server.version.as_deref().map_or(Value::Null, text));
            object.push("syncs", server.syncs.map_or(Value::Null, Value::Bool));
            Value::Object(object)
        });
        log.push("servers", Value::List(servers.collect()));
        Value::Object(log)
    }
}

fn text(text: &str) -> Value<'_> {
    Value::Str(Cow::Borrowed(text))
}

fn number(number: u64) -> Value<'static> {
    Value::Int(number.cast_signed())
}
