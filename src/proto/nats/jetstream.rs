//! JetStream: the requests that a log needs, and their replies.
//!
//! Owns subjects and JSON ([`stream_create`], [`consumer_create`], [`message_get`], the `read_` functions) and the subject that tells
//! where a delivery stands in the stream ([`Place`]). Leaves the sending to the connection, the checks to [`super::safety`].
//!
//! Names and subjects are written into JSON as they are: they consist of tokens, in which nothing is escaped.
//! A request is a message to `$JS.API.…` with a reply subject. The server reads it strictly: a member that it does not know is
//! an error, so nothing is sent that the oldest accepted server does not have.

use std::time::Duration;

use super::message::Message;
use crate::base::crypto::base64_decode;
use crate::base::json::{self, Value};
use crate::base::time::{UnixMs, parse_rfc3339_ms};

/// The request that every server of the cluster answers to its system account.
pub const SERVERS: &str = "$SYS.REQ.SERVER.PING.VARZ";
/// Replicas of a stream that are read: JetStream allows five.
const REPLICAS_MAX: usize = 16;

/// The subjects of the requests to one stream.
pub fn stream_info(stream: &str) -> String {
    ["$JS.API.STREAM.INFO.", stream].concat()
}

pub fn stream_create(stream: &str) -> String {
    ["$JS.API.STREAM.CREATE.", stream].concat()
}

/// Deletes a stream, with all that it holds.
pub fn stream_delete(stream: &str) -> String {
    ["$JS.API.STREAM.DELETE.", stream].concat()
}

pub fn consumer_create(stream: &str) -> String {
    ["$JS.API.CONSUMER.CREATE.", stream].concat()
}

pub fn message_get(stream: &str) -> String {
    ["$JS.API.STREAM.MSG.GET.", stream].concat()
}

/// As [`message_get`], from any replica. It needs no leader, and a replica that has not caught up does not have the newest.
pub fn message_get_direct(stream: &str) -> String {
    ["$JS.API.DIRECT.GET.", stream].concat()
}

/// The stream of a log, as natter makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    pub name: String,
    /// The one subject whose messages it stores.
    pub subject: String,
    pub replicas: u8,
    /// Entries older than this are forgotten, and the oldest above `max_bytes`.
    pub max_age: Duration,
    pub max_bytes: u64,
}

/// The window in which the server looks for repeated message ids. natter sends none; 0 would mean two minutes.
const DUPLICATES: Duration = Duration::from_millis(100);

/// The body of [`stream_create`]. A stream that exists with the same configuration is not an error.
///
/// Nobody can delete single messages or purge it, and no message can replace others, so that it has no gap between its first
/// and its last entry.
pub fn stream_config(config: &StreamConfig) -> Vec<u8> {
    let StreamConfig { name, subject, replicas, max_bytes, .. } = config;
    format!(
        r#"{{"name":"{name}","subjects":["{subject}"],"retention":"limits","storage":"file","discard":"old","num_replicas":{replicas},"max_age":{},"max_bytes":{max_bytes},"max_msgs":-1,"max_msgs_per_subject":-1,"max_msg_size":-1,"max_consumers":-1,"duplicate_window":{},"deny_delete":true,"deny_purge":true,"allow_direct":true}}"#,
        nanos(config.max_age),
        nanos(DUPLICATES)
    )
    .into_bytes()
}

/// The body of [`consumer_create`]: everything from the sequence `start`, in order, pushed to `deliver`.
///
/// Nothing is acknowledged; the receiver compares sequences. The consumer lives in the memory of one server and ends by itself
/// when nobody listens to `deliver` for `idle`.
pub fn consumer_config(
    stream: &str,
    deliver: &str,
    start: u64,
    heartbeat: Duration,
    idle: Duration,
) -> Vec<u8> {
    format!(
        r#"{{"stream_name":"{stream}","config":{{"deliver_subject":"{deliver}","deliver_policy":"by_start_sequence","opt_start_seq":{start},"ack_policy":"none","replay_policy":"instant","max_deliver":1,"flow_control":true,"idle_heartbeat":{},"inactive_threshold":{},"mem_storage":true,"num_replicas":1}}}}"#,
        nanos(heartbeat),
        nanos(idle)
    )
    .into_bytes()
}

/// The body of [`message_get`] and [`message_get_direct`].
pub fn message_by_seq(seq: u64) -> Vec<u8> {
    format!(r#"{{"seq":{seq}}}"#).into_bytes()
}

/// A refusal of JetStream, or a reply that is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiError {
    /// As in HTTP: 404 not found, 503 not available now. 0 if the reply can't be read.
    pub code: u16,
    /// Which error it is exactly.
    pub err_code: u32,
    /// For the log.
    pub description: String,
}

impl ApiError {
    pub const STREAM_NOT_FOUND: u32 = 10_059;
    pub const MESSAGE_NOT_FOUND: u32 = 10_037;
    pub const STREAM_EXISTS: u32 = 10_058;

    fn unread() -> ApiError {
        ApiError { description: "the reply can't be read".to_owned(), ..ApiError::default() }
    }
}

/// What a stream is and holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamInfo {
    pub name: String,
    /// When it was made. A stream that is made anew under the same name has another time.
    pub created: String,
    pub subjects: Vec<String>,
    pub replicas: u64,
    pub storage: String,
    pub retention: String,
    pub discard: String,
    /// `async` means that a reply comes before the replicas have the message. Empty if the server does not have it.
    pub persist_mode: String,
    pub deny_delete: bool,
    pub deny_purge: bool,
    pub no_ack: bool,
    /// No limit is zero.
    pub max_age: Duration,
    pub max_bytes: u64,
    /// Members of the configuration with which messages vanish, change or come from elsewhere, if they are set.
    pub foreign: Vec<&'static str>,
    pub first_seq: u64,
    pub last_seq: u64,
    /// What the clock of the server that answers shows. Servers send it since 2.10.
    pub time: Option<UnixMs>,
    /// The leader first. Empty on a server without a cluster.
    pub holders: Vec<Holder>,
}

/// A server that holds a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    pub name: String,
    pub is_leader: bool,
    /// The leader knows that it can't be reached.
    pub is_offline: bool,
    /// Since when the leader has not heard of it.
    pub silent: Duration,
}

impl StreamInfo {
    /// Whether the leader that answered heard of a majority within `silent_max`. If that is less than the time after which
    /// the others elect another one (at least 4 s), then nothing is committed that it does not have.
    pub fn is_led(&self, silent_max: Duration) -> bool {
        let is_alone = self.replicas <= 1 && self.holders.len() <= 1;
        let is_heard =
            |holder: &&Holder| holder.is_leader || !holder.is_offline && holder.silent <= silent_max;
        let has_leader = self.holders.iter().any(|holder| holder.is_leader);
        let heard = self.holders.iter().filter(is_heard).count() as u64;
        is_alone || has_leader && heard > self.replicas / 2
    }
}

/// Members of a stream's configuration that natter never sets: limits that refuse a message or delete one between the first and
/// the last, messages of other streams, messages that are changed.
const FOREIGN: [&str; 10] = [
    "mirror",
    "sources",
    "subject_transform",
    "allow_rollup_hdrs",
    "allow_msg_ttl",
    "allow_msg_counter",
    "max_msgs",
    "max_msgs_per_subject",
    "max_msg_size",
    "discard_new_per_subject",
];

/// The reply to [`stream_info`] and [`stream_create`].
pub fn read_stream(payload: &[u8]) -> Result<StreamInfo, ApiError> {
    let value = reply(payload)?;
    let config = value.get("config").ok_or_else(ApiError::unread)?;
    let state = value.get("state").ok_or_else(ApiError::unread)?;
    let texts = |list: &Value<'_>| {
        list.as_list().into_iter().flatten().filter_map(|item| Some(item.as_str()?.to_owned())).collect()
    };
    let is_set = |name: &&&'static str| match config.get(name) {
        None | Some(Value::Null | Value::Bool(false) | Value::Int(..=0)) => false,
        Some(Value::List(list)) => !list.is_empty(),
        Some(_) => true,
    };
    let cluster = value.get("cluster");
    let leader = cluster.map_or_else(String::new, |cluster| string(cluster, "leader"));
    let replicas =
        cluster.and_then(|cluster| cluster.get("replicas")).and_then(Value::as_list).unwrap_or_default();
    let mut holders = Vec::new();
    if !leader.is_empty() {
        holders.push(Holder { name: leader, is_leader: true, ..Holder::default() });
    }
    holders.extend(replicas.iter().take(REPLICAS_MAX).map(|replica| Holder {
        name: string(replica, "name"),
        is_leader: false,
        is_offline: flag(replica, "offline"),
        silent: Duration::from_nanos(unsigned(replica, "active").unwrap_or(u64::MAX)),
    }));
    Ok(StreamInfo {
        name: string(config, "name"),
        created: value.get("created").and_then(Value::as_str).ok_or_else(ApiError::unread)?.to_owned(),
        subjects: config.get("subjects").map_or_else(Vec::new, texts),
        replicas: unsigned(config, "num_replicas").unwrap_or(1),
        storage: string(config, "storage"),
        retention: string(config, "retention"),
        discard: string(config, "discard"),
        persist_mode: string(config, "persist_mode"),
        deny_delete: flag(config, "deny_delete"),
        deny_purge: flag(config, "deny_purge"),
        no_ack: flag(config, "no_ack"),
        max_age: Duration::from_nanos(unsigned(config, "max_age").unwrap_or(0)),
        max_bytes: unsigned(config, "max_bytes").unwrap_or(0),
        foreign: FOREIGN.iter().filter(is_set).copied().collect(),
        first_seq: unsigned(state, "first_seq").ok_or_else(ApiError::unread)?,
        last_seq: unsigned(state, "last_seq").ok_or_else(ApiError::unread)?,
        time: value.get("ts").and_then(Value::as_str).and_then(parse_rfc3339_ms),
        holders,
    })
}

/// The reply to [`consumer_create`]: the name that the server gave it.
pub fn read_consumer(payload: &[u8]) -> Result<String, ApiError> {
    let name = string(&reply(payload)?, "name");
    if name.is_empty() { Err(ApiError::unread()) } else { Ok(name) }
}

/// One message of a stream that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub seq: u64,
    pub time: UnixMs,
    pub payload: Vec<u8>,
}

/// The reply to [`message_get`].
pub fn read_message(payload: &[u8]) -> Result<Stored, ApiError> {
    let value = reply(payload)?;
    let read = || {
        let message = value.get("message")?;
        let payload = match message.get("data") {
            None => Vec::new(),
            Some(data) => base64_decode(data.as_str()?)?,
        };
        let time = parse_rfc3339_ms(message.get("time")?.as_str()?)?;
        Some(Stored { seq: unsigned(message, "seq")?, time, payload })
    };
    read().ok_or_else(ApiError::unread)
}

/// The reply to [`message_get_direct`]: the message itself, with headers.
pub fn read_direct(message: Message) -> Option<Stored> {
    let seq = message.header("Nats-Sequence")?.parse().ok()?;
    let time = parse_rfc3339_ms(message.header("Nats-Time-Stamp")?)?;
    message.status().is_none().then_some(Stored { seq, time, payload: message.payload })
}

/// The reply to a message that a stream stored: its sequence.
pub fn read_ack(payload: &[u8]) -> Result<u64, ApiError> {
    unsigned(&reply(payload)?, "seq").filter(|&seq| seq > 0).ok_or_else(ApiError::unread)
}

/// Where a delivered message stands, from its reply subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub stream_seq: u64,
    pub consumer_seq: u64,
    pub time: UnixMs,
}

impl Place {
    /// `$JS.ACK.stream.consumer.delivered.stream-seq.consumer-seq.time.pending`, or with the domain and the hash of the account
    /// before `stream`, and possibly a last token more.
    pub fn of(reply: &str) -> Option<Place> {
        let tokens: Vec<&str> = reply.split('.').take(13).collect();
        let at = match tokens.len() {
            9 => 5,
            11 | 12 => 7,
            _ => return None,
        };
        if tokens[0] != "$JS" || tokens[1] != "ACK" {
            return None;
        }
        let number = |at: usize| tokens[at].parse::<u64>().ok();
        let time = UnixMs(number(at + 2)? / 1_000_000);
        Some(Place { stream_seq: number(at)?, consumer_seq: number(at + 1)?, time })
    }
}

/// What one server says of itself to its system account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    pub name: String,
    pub version: String,
    /// Each entry is synced to disk before it is acknowledged.
    pub sync_always: bool,
    /// Otherwise so often.
    pub sync_interval: Duration,
}

/// One reply to [`SERVERS`], or what the monitoring port of a server answers at `/varz`.
pub fn read_server(payload: &[u8]) -> Option<ServerFacts> {
    let value = json::parse(payload).ok()?;
    let data = value.get("data").unwrap_or(&value);
    let config = data.get("jetstream")?.get("config");
    Some(ServerFacts {
        name: string(data, "server_name"),
        version: string(data, "version"),
        sync_always: config.is_some_and(|config| flag(config, "sync_always")),
        sync_interval: Duration::from_nanos(
            config.and_then(|config| unsigned(config, "sync_interval")).unwrap_or(0),
        ),
    })
}

/// The JSON of a reply that is no error.
fn reply(payload: &[u8]) -> Result<Value<'_>, ApiError> {
    let value = json::parse(payload).map_err(|_| ApiError::unread())?;
    match value.get("error") {
        None => Ok(value),
        Some(error) => Err(ApiError {
            code: unsigned(error, "code").and_then(|code| u16::try_from(code).ok()).unwrap_or(500),
            err_code: unsigned(error, "err_code").and_then(|code| u32::try_from(code).ok()).unwrap_or(0),
            description: string(error, "description"),
        }),
    }
}

/// Durations as JetStream writes them. Its numbers are signed.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(i64::MAX as u64)
}

/// A member as a text of bounded length; empty if there is none.
fn string(value: &Value<'_>, name: &str) -> String {
    value.get(name).and_then(Value::as_str).map_or_else(String::new, super::shown)
}

fn flag(value: &Value<'_>, name: &str) -> bool {
    matches!(value.get(name), Some(Value::Bool(true)))
}

fn unsigned(value: &Value<'_>, name: &str) -> Option<u64> {
    match value.get(name)? {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "jetstream_tests.rs"]
mod tests;
