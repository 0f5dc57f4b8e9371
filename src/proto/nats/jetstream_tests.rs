//! Requests as they are sent, and replies as nats-server 2.15.3 sent them.

use proptest::prelude::*;

use super::*;

fn config() -> StreamConfig {
    StreamConfig {
        name: "LOG".to_owned(),
        subject: "n.c.log".to_owned(),
        replicas: 3,
        max_age: Duration::from_secs(86_400),
        max_bytes: 100_000_000,
    }
}

#[test]
fn requests_are_the_json_that_a_server_reads_strictly() {
    let expect = r#"{"name":"LOG","subjects":["n.c.log"],"retention":"limits","storage":"file","discard":"old","num_replicas":3,"max_age":86400000000000,"max_bytes":100000000,"max_msgs":-1,"max_msgs_per_subject":-1,"max_msg_size":-1,"max_consumers":-1,"duplicate_window":100000000,"deny_delete":true,"deny_purge":true,"allow_direct":true}"#;
    assert_eq!(String::from_utf8_lossy(&stream_config(&config())), expect);
    let body = consumer_config("LOG", "in.d", 7, Duration::from_secs(1), Duration::from_secs(10));
    let expect = r#"{"stream_name":"LOG","config":{"deliver_subject":"in.d","deliver_policy":"by_start_sequence","opt_start_seq":7,"ack_policy":"none","replay_policy":"instant","max_deliver":1,"flow_control":true,"idle_heartbeat":1000000000,"inactive_threshold":10000000000,"mem_storage":true,"num_replicas":1}}"#;
    assert_eq!(String::from_utf8_lossy(&body), expect);
    assert_eq!(message_by_seq(9), br#"{"seq":9}"#);
    assert_eq!(message_get("LOG"), "$JS.API.STREAM.MSG.GET.LOG");
}

const STREAM: &str = r#"{"type":"io.nats.jetstream.api.v1.stream_info_response","total":0,"offset":0,"limit":0,"config":{"name":"LOG","subjects":["n.c.log"],"retention":"limits","max_consumers":-1,"max_msgs":-1,"max_bytes":100000000,"max_age":86400000000000,"max_msgs_per_subject":-1,"max_msg_size":-1,"discard":"old","storage":"file","num_replicas":3,"duplicate_window":100000000,"compression":"none","allow_direct":false,"mirror_direct":false,"sealed":false,"deny_delete":true,"deny_purge":true,"allow_rollup_hdrs":false,"consumer_limits":{},"allow_msg_ttl":false,"metadata":{"_nats.level":"5","_nats.req.level":"0","_nats.ver":"2.15.3"}},"created":"2026-11-30T02:07:15.209448194Z","state":{"messages":0,"bytes":0,"first_seq":3,"first_ts":"0001-01-01T00:00:00Z","last_seq":18446744073709551615,"last_ts":"0001-01-01T00:00:00Z","consumer_count":0},"cluster":{"name":"c","raft_group":"S-R3F-da9mr3HI","leader":"n3","replicas":[{"name":"n1","current":true,"active":2427518,"peer":"fjFyEjc1"},{"name":"n2","current":true,"active":2502028,"peer":"44jzkV9D"}]},"ts":"2026-11-30T02:07:16.27703898Z"}"#;

fn holder(name: &str, silent: u64) -> Holder {
    Holder { name: name.to_owned(), silent: Duration::from_nanos(silent), ..Holder::default() }
}

#[test]
fn a_stream_is_read() {
    let stream = read_stream(STREAM.as_bytes()).expect("a stream");
    assert_eq!(
        stream,
        StreamInfo {
            name: "LOG".to_owned(),
            created: "2026-11-30T02:07:15.209448194Z".to_owned(),
            subjects: vec!["n.c.log".to_owned()],
            replicas: 3,
            storage: "file".to_owned(),
            retention: "limits".to_owned(),
            discard: "old".to_owned(),
            persist_mode: String::new(),
            deny_delete: true,
            deny_purge: true,
            no_ack: false,
            max_age: Duration::from_secs(86_400),
            max_bytes: 100_000_000,
            foreign: vec![],
            first_seq: 3,
            last_seq: u64::MAX,
            time: Some(UnixMs(1_796_004_436_277)),
            holders: vec![
                Holder { is_leader: true, ..holder("n3", 0) },
                holder("n1", 2_427_518),
                holder("n2", 2_502_028),
            ],
        }
    );
    let foreign =
        |from: &str, to: &str| read_stream(STREAM.replace(from, to).as_bytes()).expect("a stream").foreign;
    assert_eq!(
        foreign(r#""max_msgs":-1"#, r#""max_msgs":9,"mirror":{"name":"x"},"sources":[]"#),
        ["mirror", "max_msgs"]
    );
    assert_eq!(
        foreign(r#""allow_msg_ttl":false"#, r#""allow_msg_ttl":true,"sources":[{}]"#),
        ["sources", "allow_msg_ttl"]
    );
    let modes = STREAM.replace(r#""sealed":false"#, r#""persist_mode":"async","no_ack":true"#);
    let stream = read_stream(modes.as_bytes()).expect("a stream");
    assert_eq!((&*stream.persist_mode, stream.no_ack), ("async", true));
    let leaderless = STREAM.replace(r#""leader":"n3""#, r#""leader":"""#);
    let names = |text: &str| {
        read_stream(text.as_bytes())
            .expect("a stream")
            .holders
            .into_iter()
            .map(|holder| holder.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&leaderless), ["n1", "n2"]);
    let alone = STREAM.replace(r#""cluster":{"#, r#""x":{"#);
    assert!(names(&alone).is_empty());
}

#[test]
fn a_leader_is_believed_while_a_majority_hears_it() {
    let limit = Duration::from_secs(2);
    let stream = read_stream(STREAM.as_bytes()).expect("a stream");
    assert!(stream.is_led(limit));
    let changed = |change: &dyn Fn(&mut StreamInfo)| {
        let mut stream = stream.clone();
        change(&mut stream);
        stream.is_led(limit)
    };
    let silent = |holder: &mut Holder| holder.silent = Duration::from_millis(2_001);
    assert!(changed(&|stream| silent(&mut stream.holders[1])), "one follower is down");
    assert!(changed(&|stream| stream.holders[2].is_offline = true));
    assert!(!changed(&|stream| stream.holders[1..].iter_mut().for_each(silent)));
    assert!(!changed(&|stream| stream.holders[1..].iter_mut().for_each(|holder| holder.is_offline = true)));
    assert!(!changed(&|stream| drop(stream.holders.remove(0))), "no leader");
    assert!(changed(&|stream| stream.replicas = 5), "three of five");
    assert!(!changed(&|stream| stream.replicas = 7), "three of seven");
    assert!(changed(&|stream| (stream.replicas, stream.holders) = (1, vec![])), "a server alone");
}

#[test]
fn a_refusal_is_read_and_anything_else_is_none() {
    let missing =
        br#"{"type":"x","error":{"code":404,"err_code":10059,"description":"stream not found"},"total":0}"#;
    let error = read_stream(missing).expect_err("a refusal");
    assert_eq!(
        (error.code, error.err_code, &*error.description),
        (404, ApiError::STREAM_NOT_FOUND, "stream not found")
    );
    assert_eq!(read_ack(missing), Err(error));
    let strange = read_ack(br#"{"error":{"code":-1}}"#).expect_err("a refusal");
    assert_eq!((strange.code, strange.err_code), (500, 0));
    for bad in ["", "{", "[]", "{}", r#"{"seq":0}"#, r#"{"seq":-1}"#, r#"{"seq":"1"}"#] {
        assert_eq!(read_ack(bad.as_bytes()), Err(ApiError::unread()), "{bad}");
        assert_eq!(read_stream(bad.as_bytes()), Err(ApiError::unread()), "{bad}");
        assert_eq!(read_consumer(bad.as_bytes()), Err(ApiError::unread()), "{bad}");
        assert_eq!(read_message(bad.as_bytes()), Err(ApiError::unread()), "{bad}");
        assert_eq!(read_server(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn acknowledgements_consumers_and_messages_are_read() {
    assert_eq!(read_ack(br#"{"stream":"LOG","seq":6}"#), Ok(6));
    assert_eq!(read_ack(br#"{"stream":"LOG","domain":"hub","seq":7,"duplicate":true}"#), Ok(7));
    assert_eq!(read_consumer(br#"{"stream_name":"LOG","name":"qMBvFQrg"}"#), Ok("qMBvFQrg".to_owned()));
    let message = br#"{"type":"x","message":{"subject":"n.c.log","seq":2,"data":"aGVsbG8y","time":"2026-11-30T02:07:19.518370134Z"}}"#;
    let time = UnixMs(1_796_004_439_518);
    assert_eq!(read_message(message), Ok(Stored { seq: 2, time, payload: b"hello2".to_vec() }));
    let empty = br#"{"message":{"seq":2,"time":"2026-11-30T02:07:19.518370134Z"}}"#;
    assert_eq!(read_message(empty), Ok(Stored { seq: 2, time, payload: vec![] }));
    let direct = |headers: &str| {
        read_direct(Message {
            headers: headers.as_bytes().to_vec(),
            payload: b"hello2".to_vec(),
            ..Message::default()
        })
    };
    let headers = "NATS/1.0\r\nNats-Stream: LOG\r\nNats-Subject: n.c.log\r\nNats-Sequence: 2\r\nNats-Time-Stamp: 2026-11-30T02:07:19.518370134Z\r\n\r\n";
    assert_eq!(direct(headers), Some(Stored { seq: 2, time, payload: b"hello2".to_vec() }));
    assert_eq!(direct("NATS/1.0 404 Message Not Found\r\n\r\n"), None);
    assert_eq!(direct(&headers.replace("NATS/1.0", "NATS/1.0 408")), None);
    assert_eq!(direct(&headers.replace("Sequence", "Other")), None);
    let bad = br#"{"message":{"seq":2,"data":"a","time":"2026-11-30T02:07:19.518370134Z"}}"#;
    assert_eq!(read_message(bad), Err(ApiError::unread()));
}

#[test]
fn a_reply_subject_tells_the_place() {
    let time = UnixMs(1_796_004_439_518);
    let place = Some(Place { stream_seq: 2, consumer_seq: 3, time });
    for good in [
        "$JS.ACK.LOG.8c1Q1Ubd.1.2.3.1796004439518370134.2",
        "$JS.ACK.hub.hash.LOG.8c1Q1Ubd.1.2.3.1796004439518370134.2",
        "$JS.ACK._.hash.LOG.8c1Q1Ubd.1.2.3.1796004439518370134.2.random",
    ] {
        assert_eq!(Place::of(good), place, "{good}");
    }
    for bad in [
        "",
        "$JS.FC.LOG.8c1Q1Ubd.1.2.3.1796004439518370134.2",
        "$JS.ACK.LOG.8c1Q1Ubd.1.2.3.1796004439518370134",
        "$JS.ACK.LOG.8c1Q1Ubd.1.x.3.1796004439518370134.2",
        "$JS.ACK.LOG.8c1Q1Ubd.1.2.3.-1.2",
        "$JS.ACK.hash.LOG.8c1Q1Ubd.1.2.3.1796004439518370134.2",
        "$JS.ACK._.hash.LOG.8c1Q1Ubd.1.2.3.1796004439518370134.2.random.more",
    ] {
        assert_eq!(Place::of(bad), None, "{bad}");
    }
}

/// The time of a delivery and of a message that is asked for must be the same on every node.
#[test]
fn both_texts_of_a_time_are_one_time() {
    for (nanos, text) in [
        ("1796004439518999999", "2026-11-30T02:07:19.518999999Z"),
        ("1796004439000000001", "2026-11-30T02:07:19.000000001Z"),
        ("1796004439500000000", "2026-11-30T02:07:19.5Z"),
        ("1796004439000000000", "2026-11-30T02:07:19Z"),
    ] {
        let place = Place::of(&format!("$JS.ACK.LOG.c.1.1.1.{nanos}.0")).expect("a place");
        let message = format!(r#"{{"message":{{"seq":1,"time":"{text}"}}}}"#);
        assert_eq!(read_message(message.as_bytes()).expect("a message").time, place.time, "{text}");
    }
}

#[test]
fn a_server_says_whether_it_syncs() {
    let varz = |config: &str| {
        let text = format!(
            r#"{{"server":{{"name":"n1","ver":"2.15.3"}},"data":{{"server_id":"x","server_name":"n1","version":"2.15.3","jetstream":{{"config":{{{config}}}}}}}}}"#
        );
        read_server(text.as_bytes()).expect("a server")
    };
    let always = varz(r#""max_memory":1,"sync_interval":120000000000,"sync_always":true"#);
    assert_eq!((&*always.name, &*always.version, always.sync_always), ("n1", "2.15.3", true));
    let lazy = varz(r#""sync_interval":120000000000"#);
    assert_eq!((lazy.sync_always, lazy.sync_interval), (false, Duration::from_secs(120)));
    assert!(!varz("").sync_always);
}

proptest! {
    #[test]
    fn no_bytes_panic(text in r#"[\[\]{}:,"0-9eE.+\-a-z_$]{0,60}"#, member in 0usize..6, value in r#"("x"|-?[0-9]{1,21}|null|\[\]|\{\})"#) {
        let name = ["seq", "error", "message", "config", "state", "data"][member];
        for payload in [text.clone(), format!(r#"{{"{name}":{value}}}"#)] {
            let bytes = payload.as_bytes();
            let read = [
                read_ack(bytes).is_ok(), read_stream(bytes).is_ok(), read_message(bytes).is_ok(),
                read_consumer(bytes).is_ok(), read_server(bytes).is_some(), Place::of(&payload).is_some(),
            ];
            prop_assert!(read.iter().filter(|&&is_read| is_read).count() <= 1);
        }
    }
}
