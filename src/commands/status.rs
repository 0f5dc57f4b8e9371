//! `natter status`: how the server that runs is, on one screen.
//!
//! Asks the server for `/readyz` and, twice a second apart, for `/metrics`, through the control socket. Owns the sentences and the JSON;
//! the numbers are those that Prometheus gets. Invariant: the command changes nothing and opens no database.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use super::control::{Control, Reply};
use super::output::{Failure, note};
use super::serve::{clock, store_options};
use super::{DataFolder, absolute, configure, no_server, print};
use crate::base::json::{self, Object, Value};
use crate::base::time::{UnixS, rfc3339};
use crate::config::Config;
use crate::runtime::data_dir::control_socket;
use crate::store;

/// No server runs, as the status of a service says it (LSB, "Init Script Actions").
const EXIT_NOT_RUNNING: u8 = 3;
/// Time between the two looks, from which rates are taken.
const INTERVAL: Duration = Duration::from_secs(1);

pub fn run(folder: &DataFolder, as_json: bool) -> ExitCode {
    let (config, warnings) = match configure(folder) {
        Ok(configured) => configured,
        Err(code) => return code,
    };
    for warning in &warnings {
        note!("natter: {warning}");
    }
    let socket = control_socket(&config.data_dir);
    if let Err(error) = UnixStream::connect(&socket) {
        // Nothing is known then: neither that a server runs, nor that none does.
        if error.kind() == ErrorKind::PermissionDenied {
            let folder = absolute(&config.data_dir);
            return Failure::unreachable(format!(
                "{folder} can't be read by this user: {error}. Ask as the user of the server, or as root"
            ))
            .end();
        }
        match store::exists(&store_options(&config)) {
            false => note!("natter: {}", no_server(&config)),
            true => note!(
                "natter: no natter runs in {}: {error}. `natter serve` starts one",
                absolute(&config.data_dir)
            ),
        }
        return ExitCode::from(EXIT_NOT_RUNNING);
    }
    let looked = Control::server(socket).and_then(|mut control| look(&mut control));
    let (ready, before, metrics) = match looked {
        Ok(looked) => looked,
        Err(failure) => return failure.end(),
    };
    let status = Status { config: &config, ready: &ready, before: Series(&before), now: Series(&metrics) };
    let text = if as_json { json::to_string(&status.json()) + "\n" } else { status.text() };
    let printed = print(&text);
    if status.reason().is_some() { ExitCode::FAILURE } else { printed }
}

/// The readiness, and the metrics twice.
fn look(control: &mut Control) -> Result<(Vec<u8>, String, String), Failure> {
    let mut metrics = || {
        let Reply { status, body } = control.ask("GET", "/metrics", "")?;
        String::from_utf8(body)
            .ok()
            .filter(|_| status == 200)
            .ok_or_else(|| Failure::from(format!("the server answers {status}: is it of another version?")))
    };
    let before = metrics()?;
    std::thread::sleep(INTERVAL);
    let now = metrics()?;
    Ok((control.ask("GET", "/readyz", "")?.body, before, now))
}

/// The text of `/metrics`.
#[derive(Clone, Copy)]
struct Series<'a>(&'a str);

impl<'a> Series<'a> {
    /// All series of a metric: what is in braces, and the value.
    fn of(self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
            let labels = if labels.is_empty() { "" } else { labels.strip_prefix('{')?.strip_suffix('}')? };
            Some((labels, value.parse().ok()?))
        })
    }

    fn get(self, name: &'a str) -> Option<f64> {
        self.of(name).next().map(|(_, value)| value)
    }

    fn whole(self, name: &'a str) -> u64 {
        self.get(name).unwrap_or(0.0) as u64
    }

    /// The microseconds that this share of a histogram's observations does not exceed, as Prometheus estimates it. `labels` is what its
    /// series have before `le`.
    fn quantile(self, buckets: &'a str, labels: &str, share: f64) -> Option<u64> {
        let counts: Vec<(f64, f64)> = self
            .of(buckets)
            .filter_map(|(found, count)| {
                let bound = found.strip_prefix(labels)?.trim_start_matches(',').strip_prefix("le=\"")?;
                Some((bound.trim_end_matches('"').parse().unwrap_or(f64::INFINITY), count))
            })
            .collect();
        let all = counts.last().filter(|(_, all)| *all > 0.0)?.1;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in counts {
            if count >= all * share && count > below {
                let part = if bound.is_finite() {
                    (bound - lower) * (all * share - below) / (count - below)
                } else {
                    0.0
                };
                return Some(((lower + part) * 1e6) as u64);
            }
            (lower, below) = (bound, count);
        }
        None
    }
}

struct Status<'a> {
    config: &'a Config,
    /// The answer of `/readyz`.
    ready: &'a [u8],
    before: Series<'a>,
    now: Series<'a>,
}

const POSTS: &str = "natter_request_seconds_count{class=\"post\"}";

/// A histogram that is shown: its name for people and for programs, and where it is.
const LATENCIES: [(&str, &str, &str, &str); 6] = [
    ("a post", "post", "natter_request_seconds_bucket", "class=\"post\""),
    ("a read", "read", "natter_request_seconds_bucket", "class=\"read\""),
    ("a commit", "commit", "natter_commit_seconds_bucket", ""),
    ("a wait for the writer", "write_wait", "natter_queue_wait_seconds_bucket", "queue=\"writes\""),
    ("a password hash", "password_hash", "natter_password_hash_seconds_bucket", ""),
    ("a turn of the loop", "loop_turn", "natter_loop_turn_seconds_bucket", ""),
];

impl<'a> Status<'a> {
    /// Why no message is taken.
    fn reason(&self) -> Option<String> {
        let answer = json::parse(self.ready).ok()?;
        answer.get("detail").and_then(Value::as_str).map(str::to_owned)
    }

    fn warnings(&self) -> Vec<String> {
        let Ok(answer) = json::parse(self.ready) else { return Vec::new() };
        let warnings = answer.get("data").unwrap_or(&answer).get("warnings").and_then(Value::as_list);
        warnings.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn posts_a_second(&self) -> u64 {
        let posts = |series: Series<'a>| series.whole(POSTS);
        posts(self.now).saturating_sub(posts(self.before)) / INTERVAL.as_secs()
    }

    fn version(&self) -> &'a str {
        let labels = self.now.of("natter_build_info").next().map_or("", |(labels, _)| labels);
        labels.trim_start_matches("version=\"").trim_end_matches('"')
    }

    fn up_s(&self) -> u64 {
        clock().unix_s().0.saturating_sub(self.now.whole("process_start_time_seconds"))
    }

    /// The series of a metric that are not 0, with the value of their one label.
    fn counts(&self, name: &'static str) -> Vec<(&'a str, u64)> {
        let counts = self.now.of(name).filter(|(_, value)| *value > 0.0);
        counts.filter_map(|(labels, value)| Some((labels.split('"').nth(1)?, value as u64))).collect()
    }

    fn text(&self) -> String {
        let (now, mut out) = (self.now, String::new());
        let whole = |name| now.whole(name);
        // Writing to a String can't fail.
        let mut line = |name: &str, text: String| _ = writeln!(out, "{name:<12} {text}");
        let folder = absolute(&self.config.data_dir);
        line("natter", format!("{} in {folder}, up {}", self.version(), time(self.up_s())));
        line(
            "messages",
            match self.reason() {
                None => "are taken".to_owned(),
                Some(reason) => format!("are NOT taken: {reason}"),
            },
        );
        let online = whole("natter_profiles_online");
        line("members", format!("{}, {online} online", whole("natter_members")));
        let connections = whole("natter_connections");
        line("streams", format!("{} over {connections} connections", list(&self.counts("natter_streams"))));
        line("posts", format!("{} a second now, {} since the start", self.posts_a_second(), whole(POSTS)));
        for (name, _, buckets, labels) in LATENCIES {
            let quantile = |share| now.quantile(buckets, labels, share).map(micros);
            if let (Some(p50), Some(p99)) = (quantile(0.5), quantile(0.99)) {
                line("", format!("{name} takes {p50} (p50), {p99} (p99)"));
            }
        }
        line(
            "files",
            format!(
                "database {}, its log {}, search index {}, {} uploads {}; {} are free",
                bytes(whole("natter_database_bytes")),
                bytes(whole("natter_wal_bytes")),
                bytes(whole("natter_search_index_bytes")),
                whole("natter_uploads"),
                bytes(whole("natter_uploads_bytes")),
                bytes(whole("natter_disk_free_bytes")),
            ),
        );
        line(
            "memory",
            format!(
                "{}; {} of {} descriptors",
                bytes(whole("process_resident_memory_bytes")),
                whole("process_open_fds"),
                whole("process_max_fds"),
            ),
        );
        line("errors", list(&self.counts("natter_background_errors_total")));
        line("refusals", list(&self.counts("natter_refusals_total")));
        if let Some(end) = now.get("natter_tls_certificate_expires_seconds") {
            line("certificate", certificate(end, clock().unix_s().0));
        }
        line(
            "backup",
            match (now.get("natter_backup_last_success_timestamp_seconds"), self.config.backups.every) {
                (Some(at), _) => {
                    let age = clock().unix_s().0.saturating_sub(at as u64);
                    format!("the last good one was begun {} ago, on {}", time(age), date(at))
                }
                (None, Some(_)) => "none yet".to_owned(),
                (None, None) => "none by itself: BACKUP_EVERY is not set".to_owned(),
            },
        );
        self.warnings().into_iter().for_each(|warning| line("warning", warning));
        out
    }

    fn json(&self) -> Value<'_> {
        let number = |value: u64| Value::Int(i64::try_from(value).unwrap_or(i64::MAX));
        let mut all = Object::default();
        all.push("version", Value::Str(self.version().into()));
        all.push("uptime_s", number(self.up_s()));
        all.push("ready", Value::Bool(self.reason().is_none()));
        all.push("reason", self.reason().map_or(Value::Null, |reason| Value::Str(reason.into())));
        all.push("posts_a_second", number(self.posts_a_second()));
        for (key, name) in [
            ("posts", POSTS),
            ("members", "natter_members"),
            ("online", "natter_profiles_online"),
            ("connections", "natter_connections"),
            ("database_bytes", "natter_database_bytes"),
            ("wal_bytes", "natter_wal_bytes"),
            ("search_index_bytes", "natter_search_index_bytes"),
            ("uploads", "natter_uploads"),
            ("uploads_bytes", "natter_uploads_bytes"),
            ("disk_free_bytes", "natter_disk_free_bytes"),
            ("memory_bytes", "process_resident_memory_bytes"),
            ("open_files", "process_open_fds"),
            ("open_files_max", "process_max_fds"),
            ("certificate_end_s", "natter_tls_certificate_expires_seconds"),
            ("last_backup_s", "natter_backup_last_success_timestamp_seconds"),
        ] {
            all.push(key, self.now.get(name).map_or(Value::Null, |value| number(value as u64)));
        }
        for (key, name) in [
            ("streams", "natter_streams"),
            ("background_errors", "natter_background_errors_total"),
            ("refusals", "natter_refusals_total"),
        ] {
            let mut counts = Object::default();
            self.counts(name).into_iter().for_each(|(of, count)| counts.push(of, number(count)));
            all.push(key, Value::Object(counts));
        }
        let mut latencies = Object::default();
        for (_, key, buckets, labels) in LATENCIES {
            for (end, share) in [("p50_us", 0.5), ("p99_us", 0.99)] {
                let quantile = self.now.quantile(buckets, labels, share);
                latencies.push(format!("{key}_{end}"), quantile.map_or(Value::Null, number));
            }
        }
        all.push("latencies", Value::Object(latencies));
        let warnings = self.warnings().into_iter().map(|warning| Value::Str(Cow::Owned(warning)));
        all.push("warnings", Value::List(warnings.collect()));
        Value::Object(all)
    }
}

fn list(counts: &[(&str, u64)]) -> String {
    let texts: Vec<String> = counts.iter().map(|(of, count)| format!("{count} {of}")).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

/// The end of the certificate; 0 is that of a server which waits for its first one. `/readyz` warns of both other cases.
fn certificate(end: f64, now_s: u64) -> String {
    match (end as u64, (end as u64).saturating_sub(now_s)) {
        (0, _) => "none yet".to_owned(),
        (_, 0) => format!("ended on {}", date(end)),
        (_, left) => format!("ends on {}, in {}", date(end), time(left)),
    }
}

fn date(unix_s: f64) -> String {
    rfc3339(UnixS(unix_s as u64).ms()).chars().take(10).collect()
}

/// The two greatest units.
fn time(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn bytes(count: u64) -> String {
    let (unit, name) = match count {
        0..1_048_576 => (1_024, "KiB"),
        1_048_576..1_073_741_824 => (1_048_576, "MiB"),
        _ => (1_073_741_824, "GiB"),
    };
    format!("{}.{} {name}", count / unit, count % unit * 10 / unit)
}

fn micros(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} µs"),
        1_000..1_000_000 => format!("{}.{} ms", count / 1_000, count % 1_000 / 100),
        _ => format!("{}.{} s", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let times = [59, 61, 3_660, 90_000].map(time);
        assert_eq!(times, ["59 s", "1 min", "1 h 1 min", "1 d 1 h"]);
        assert_eq!([512, 1_572_864, 1 << 30].map(bytes), ["0.5 KiB", "1.5 MiB", "1.0 GiB"]);
        assert_eq!([7, 1_250, 2_000_000].map(micros), ["7 µs", "1.2 ms", "2.0 s"]);
        let certificates = [0.0, 90_000.0, 180_000.0].map(|end| certificate(end, 90_000));
        assert_eq!(certificates, ["none yet", "ended on 1970-01-02", "ends on 1970-01-03, in 1 d 1 h"]);
    }

    #[test]
    fn series_and_quantiles_are_read_from_the_text() {
        let text = "# TYPE a histogram\na_bucket{k=\"x\",le=\"0.001\"} 2\na_bucket{k=\"x\",le=\"0.002\"} 4\na_bucket{k=\"x\",le=\"+Inf\"} 5\n\
                    b_bucket{le=\"1\"} 0\nb_bucket{le=\"+Inf\"} 0\nc 7\ncc 8\n";
        let series = Series(text);
        assert_eq!((series.get("c"), series.get("d"), series.whole("cc")), (Some(7.0), None, 8));
        let quantile = |share| series.quantile("a_bucket", "k=\"x\"", share);
        assert_eq!((quantile(0.4), quantile(0.6), quantile(1.0)), (Some(1_000), Some(1_500), Some(2_000)));
        assert_eq!(series.quantile("a_bucket", "k=\"y\"", 0.5), None);
        assert_eq!(series.quantile("b_bucket", "", 0.5), None);
    }
}
