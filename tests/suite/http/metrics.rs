//! `/metrics`: what is counted, and that the text is in the format of Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::World;
use crate::support::http::request;
use natter::model::measures::{Gauge, Measure};

/// The value of each series.
fn metrics(world: &mut World) -> BTreeMap<String, f64> {
    let response = world.ask("GET", "/metrics", &[], None);
    assert_eq!(response.field("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = response.text();
    let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    series.collect()
}

#[test]
fn requests_refusals_and_streams_are_counted_by_class() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let before = metrics(&mut world);
    let post =
        format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","body":"hello"}}"#, bob.profile);
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&post)).status, 201);
    let list = world.ask_as(&ann, "GET", "/api/v1/conversations", None);
    assert_eq!(list.status, 200);
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV", None).status, 404);
    let token = format!("Bearer {}", bob.access);
    let stream = world.connect();
    let fields = [("Authorization", &*token), ("Accept", "text/event-stream")];
    world.send(stream, &request("GET", "/api/v1/events", &fields, None));
    let after = metrics(&mut world);
    let value = |of: &BTreeMap<String, f64>, name: &str| of.get(name).copied().unwrap_or(0.0);
    for (name, expect) in [
        (r#"natter_request_seconds_count{class="post"}"#, 1.0),
        (r#"natter_request_seconds_bucket{class="post",le="+Inf"}"#, 1.0),
        (r#"natter_request_seconds_count{class="read"}"#, 2.0),
        (r#"natter_request_seconds_count{class="stream"}"#, 1.0),
        (r#"natter_request_seconds_count{class="credential"}"#, 0.0),
        (r#"natter_refusals_total{code="not_found"}"#, 1.0),
        (r#"natter_streams{kind="event_stream"}"#, 1.0),
        (r#"natter_streams{kind="websocket"}"#, 0.0),
    ] {
        assert_eq!(value(&after, name) - value(&before, name), expect, "{name}");
    }
    assert!(value(&after, r#"natter_request_seconds_count{class="credential"}"#) >= 2.0);
    world.end(stream);
    assert_eq!(value(&metrics(&mut world), r#"natter_streams{kind="event_stream"}"#), 0.0);
}

#[test]
fn members_are_counted_once_a_minute_and_after_a_look() {
    let mut world = World::new();
    world.sign_up("ann");
    world.pass(Duration::from_secs(61));
    let found = metrics(&mut world);
    assert_eq!(
        (found["natter_members"], found["natter_uploads"], found["natter_uploads_bytes"]),
        (1.0, 0.0, 0.0)
    );
    // The look brings a new count, but not more than one in five seconds.
    world.sign_up("bob");
    assert_eq!(metrics(&mut world)["natter_members"], 1.0);
    world.pass(Duration::from_secs(5));
    assert_eq!(metrics(&mut world)["natter_members"], 2.0);
    let counts = |world: &World| world.trace.iter().filter(|name| **name == "CountTotals").count();
    let before = counts(&world);
    (0..20).for_each(|_| drop(metrics(&mut world)));
    assert!(counts(&world) <= before + 1);
}

/// What `promtool check metrics` complains about, and what the format demands.
#[test]
fn the_text_follows_the_conventions() {
    let mut world = World::new();
    let measures = world.measures();
    Measure::ALL.iter().for_each(|measure| measures.took(*measure, Duration::from_micros(1_500)));
    Gauge::ALL.iter().for_each(|(gauge, ..)| measures.set(*gauge, 7));
    world.sign_up("ann");
    let response = world.ask("GET", "/metrics", &[], None);
    let text = response.text();
    let (mut kinds, mut last) = (BTreeMap::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind");
            assert_eq!(last, name, "a description comes before");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} comes once");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert!(!name.contains("milli") && !name.contains("kilo"), "{name} is in a base unit");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a description");
            assert!(help.ends_with('.'), "{name}: {help}");
            last = name.to_owned();
        } else {
            let series = line.split([' ', '{']).next().expect("a name");
            let name = match kinds[&last].as_str() {
                "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end)),
                _ => Some(series),
            };
            assert_eq!(name, Some(&*last), "{line}");
        }
    }
    for line in [
        r#"natter_commit_seconds_bucket{le="0.001"} 0"#,
        r#"natter_commit_seconds_bucket{le="0.0025"} 1"#,
        r#"natter_commit_seconds_bucket{le="10"} 1"#,
        r#"natter_commit_seconds_sum 0.0015"#,
        r#"natter_commit_seconds_count 1"#,
        r#"natter_queue_wait_seconds_sum{queue="writes"} 0.0015"#,
        r#"natter_commit_writes_bucket{le="512"} 0"#,
        r#"process_open_fds 7"#,
        &format!("natter_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
