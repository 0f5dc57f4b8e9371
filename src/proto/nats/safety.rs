//! What a cluster demands of the servers and of the stream before it trusts them with an answered write.
//!
//! Owns the demands; asks nobody. Each function returns sentences that say what to do: an operator repairs all of them at once.
//! The reasons: a server that does not sync each entry lost all of them when the power of three machines failed together, and
//! servers before 2.12.3 lost acknowledged entries when a replica was replaced.

use std::time::Duration;

use super::Info;
use super::jetstream::{ServerFacts, StreamConfig, StreamInfo};

/// Replicas of a stream of which one machine may die.
pub const REPLICAS_MIN: u64 = 3;
/// A holder that the leader has not heard of for this long takes part in no majority, so it can't be asked and need not be. It is
/// asked when it is back.
const ABSENT_AFTER: Duration = Duration::from_secs(10);
/// The oldest server that is accepted.
const VERSION_MIN: [u32; 3] = [2, 12, 3];

/// What is wrong with a stream that shall be the log `wanted`.
pub fn stream_faults(stream: &StreamInfo, wanted: &StreamConfig) -> Vec<String> {
    let checks = [
        (
            stream.replicas < REPLICAS_MIN,
            "has fewer than 3 replicas: set its num_replicas to 3, on three servers",
        ),
        (stream.persist_mode == "async", "acknowledges before it stores: make it without persist_mode async"),
        (stream.no_ack, "does not acknowledge: set its no_ack to false"),
        (
            stream.subjects != [wanted.subject.as_str()],
            "does not store the subject of the log alone: set its subjects to that, which is natter.<cluster>.log",
        ),
        (stream.storage != "file", "is not on disk: set its storage to file"),
        (stream.retention != "limits", "has another retention: set it to limits"),
        (stream.discard != "old", "takes no entries when it is full: set its discard to old"),
        (
            !stream.deny_delete || !stream.deny_purge,
            "can be emptied: make it with deny_delete and deny_purge",
        ),
        (
            stream.max_age.is_zero() || stream.max_age > wanted.max_age,
            "keeps entries longer than LOG_KEPT: set its max_age to that, or LOG_KEPT to its max_age",
        ),
        (
            stream.max_bytes == 0 || stream.max_bytes > wanted.max_bytes,
            "keeps more than LOG_MAX: set its max_bytes to that, or LOG_MAX to its max_bytes",
        ),
    ];
    let of_stream = |text: &str| ["the stream ", &stream.name, " ", text].concat();
    let wrong = checks.iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, text)| of_stream(text));
    let foreign = stream.foreign.iter().map(|member| {
        of_stream(
            &["has ", member, " set, so that entries may be refused, vanish or change: unset it"].concat(),
        )
    });
    wrong.chain(foreign).collect()
}

/// What is wrong with a server that shall take entries of `entry_bytes_max`: they must be under half of what it takes, so that no
/// other setting is near its end.
pub fn payload_faults(info: &Info, entry_bytes_max: usize) -> Vec<String> {
    let least = entry_bytes_max * 2;
    if info.max_payload >= least {
        return Vec::new();
    }
    vec![format!(
        "the server {} takes messages of {} bytes: set its max_payload to {least} or more",
        info.server_name, info.max_payload
    )]
}

/// What is wrong with the servers that hold a replica of `stream`; `facts` are those that answered, and `unasked` says why another one
/// may not have.
pub fn server_faults(stream: &StreamInfo, facts: &[ServerFacts], unasked: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if stream.holders.is_empty() {
        faults.push(format!(
            "no server is known to hold the stream {}: run three servers as a cluster",
            stream.name
        ));
    }
    for holder in &stream.holders {
        let name = &holder.name;
        let Some(server) = facts.iter().find(|server| server.name == *name) else {
            if holder.is_offline || holder.silent > ABSENT_AFTER {
                continue;
            }
            faults.push(format!("the server {name} can't be asked whether it syncs: {unasked}"));
            continue;
        };
        if !server.sync_always {
            let interval = server.sync_interval;
            faults.push(format!(
                "the server {name} syncs every {interval:?}, so a power cut loses answered posts: set sync_interval to always in its jetstream block"
            ));
        }
        if !is_new_enough(&server.version) {
            faults.push(format!("the server {name} has version {}: install 2.12.3 or later", server.version));
        }
    }
    faults
}

/// A version as `2.12.3`, possibly with `-RC.1`, which is older than the version itself.
fn is_new_enough(version: &str) -> bool {
    let (numbers, is_release) = match version.split_once(['-', '+']) {
        Some((numbers, _)) => (numbers, !version.contains('-')),
        None => (version, true),
    };
    let mut parts = numbers.split('.').map(str::parse::<u32>);
    let mut part = || parts.next().and_then(Result::ok);
    let (Some(major), Some(minor), Some(patch)) = (part(), part(), part()) else { return false };
    let version = [major, minor, patch];
    version > VERSION_MIN || version == VERSION_MIN && is_release
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::nats::jetstream::Holder;

    fn wanted() -> StreamConfig {
        StreamConfig {
            name: "LOG".to_owned(),
            subject: "n.log".to_owned(),
            replicas: 3,
            max_age: Duration::from_secs(60),
            max_bytes: 1_000,
        }
    }

    fn stream() -> StreamInfo {
        StreamInfo {
            name: "LOG".to_owned(),
            subjects: vec!["n.log".to_owned()],
            replicas: 3,
            storage: "file".to_owned(),
            retention: "limits".to_owned(),
            discard: "old".to_owned(),
            deny_delete: true,
            deny_purge: true,
            max_age: Duration::from_secs(60),
            max_bytes: 1_000,
            holders: ["a", "b", "c"]
                .map(|name| Holder { name: name.to_owned(), ..Holder::default() })
                .to_vec(),
            ..StreamInfo::default()
        }
    }

    #[test]
    fn each_demand_of_a_stream_has_its_sentence() {
        let check = |change: &dyn Fn(&mut StreamInfo), expect: &[&str]| {
            let mut stream = stream();
            change(&mut stream);
            let faults = stream_faults(&stream, &wanted());
            assert_eq!(faults.len(), expect.len(), "{faults:?}");
            for (fault, part) in faults.iter().zip(expect) {
                assert!(fault.starts_with("the stream LOG "), "{fault}");
                assert!(fault.contains(part), "{fault} contains no {part}");
            }
        };
        check(&|_| {}, &[]);
        check(&|stream| stream.replicas = 5, &[]);
        check(&|stream| stream.persist_mode = "default".to_owned(), &[]);
        check(&|stream| stream.replicas = 2, &["fewer than 3 replicas"]);
        check(&|stream| stream.persist_mode = "async".to_owned(), &["persist_mode async"]);
        check(&|stream| stream.no_ack = true, &["no_ack"]);
        check(&|stream| stream.subjects.push("x".to_owned()), &["set its subjects"]);
        check(&|stream| stream.subjects = vec!["n.>".to_owned()], &["set its subjects"]);
        check(&|stream| stream.storage = "memory".to_owned(), &["set its storage to file"]);
        check(&|stream| stream.retention = "workqueue".to_owned(), &["set it to limits"]);
        check(&|stream| stream.discard = "new".to_owned(), &["set its discard to old"]);
        check(&|stream| stream.deny_delete = false, &["deny_delete and deny_purge"]);
        check(&|stream| stream.deny_purge = false, &["deny_delete and deny_purge"]);
        check(&|stream| stream.max_age = Duration::from_secs(61), &["longer than LOG_KEPT"]);
        check(&|stream| stream.max_age = Duration::ZERO, &["longer than LOG_KEPT"]);
        check(&|stream| stream.max_bytes = 1_001, &["more than LOG_MAX"]);
        check(&|stream| stream.max_bytes = 0, &["more than LOG_MAX"]);
        check(&|stream| stream.foreign = vec!["mirror", "max_msgs"], &["has mirror set", "has max_msgs set"]);
        let all = |stream: &mut StreamInfo| {
            stream.replicas = 1;
            stream.storage = "memory".to_owned();
        };
        check(&all, &["fewer than 3", "is not on disk"]);
    }

    #[test]
    fn every_server_with_a_replica_must_answer_and_sync() {
        let server = |name: &str| ServerFacts {
            name: name.to_owned(),
            version: "2.12.3".to_owned(),
            sync_always: true,
            sync_interval: Duration::from_secs(120),
        };
        let all = ["a", "b", "c", "without a replica"].map(server);
        assert_eq!(server_faults(&stream(), &all, "why"), [""; 0]);
        let unasked = server_faults(&stream(), &all[..2], "why");
        assert_eq!(unasked.len(), 1);
        assert!(unasked[0].starts_with("the server c can't be asked whether it syncs: why"), "{unasked:?}");
        let mut absent = stream();
        absent.holders[2].is_offline = true;
        assert_eq!(server_faults(&absent, &all[..2], "why"), [""; 0]);
        absent.holders[2] = Holder { silent: Duration::from_secs(11), ..stream().holders[2].clone() };
        assert_eq!(server_faults(&absent, &all[..2], "why"), [""; 0]);
        let mut lazy = all.clone();
        lazy[1].sync_always = false;
        lazy[2].version = "2.9.10".to_owned();
        lazy[3].sync_always = false;
        let faults = server_faults(&stream(), &lazy, "why");
        assert_eq!(faults.len(), 2);
        assert!(
            faults[0].contains("the server b syncs every 120s")
                && faults[0].contains("sync_interval to always")
        );
        assert!(faults[1].contains("the server c has version 2.9.10: install 2.12.3"), "{faults:?}");
        let alone = StreamInfo { holders: vec![], ..stream() };
        assert!(server_faults(&alone, &all, "why")[0].contains("run three servers as a cluster"));
    }

    #[test]
    fn entries_are_half_of_what_a_server_takes() {
        let mut info = Info::default();
        info.max_payload = 1_000;
        assert_eq!(payload_faults(&info, 500), [""; 0]);
        assert!(payload_faults(&info, 501)[0].contains("set its max_payload to 1002"));
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for good in ["2.12.3", "2.12.10", "2.15.3", "3.0.0", "2.15.0-RC.1", "2.12.3+build"] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in [
            "2.12.2",
            "2.9.10",
            "1.99.99",
            "2.12.3-RC.4",
            "2.12",
            "",
            "latest",
            "2.x.9",
            "v2.15.3",
            "2.12.-3",
        ] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }
}
