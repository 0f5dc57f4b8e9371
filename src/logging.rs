//! The log on stderr. Owns the form of a line and which levels pass; decides nothing about what is logged.
//! Invariant: one record is one line, whatever a peer put into it, and logging never ends the process.
//!
//! ```text
//! 2026-11-22T13:03:54.120Z INFO  [natter::server] request id=7QX status=200 agent="curl 8"
//! {"time":"2026-11-22T13:03:54.120Z","level":"info","target":"natter::server","message":"request","id":"7QX"}
//! ```
//!
//! simple_logger judges the levels and writes the text lines (time, level, target, message). It drops
//! key-values, passes line breaks through and panics when stderr can't be written, so that it is given a record
//! whose message is already whole and escaped, and is called behind `catch_unwind`. After a first such panic,
//! and while a thread unwinds (a panic hook that logs must not panic: that aborts), the same line is written
//! without it. JSON has nothing in common with its form and is written here.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use log::kv::{self, VisitSource, VisitValue};
use log::{LevelFilter, Log, Metadata, Record, SetLoggerError};
use simple_logger::SimpleLogger;

use crate::base::time::push_rfc3339;
use crate::limits::{LOG_MESSAGE_BYTES_MAX, LOG_VALUE_BYTES_MAX};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// For everything that `modules` does not name.
    pub level: LevelFilter,
    /// By the beginning of the target; the longest that fits counts. `store` also means `natter::store`.
    pub modules: Vec<(String, LevelFilter)>,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Sends the records of this process to stderr. Fails when a logger is there already.
pub fn init(options: &LogOptions) -> Result<(), SetLoggerError> {
    let simple = levels(options);
    let max = simple.max_level();
    log::set_boxed_logger(Box::new(Logger::new(simple, options.format)))?;
    log::set_max_level(max);
    Ok(())
}

fn levels(options: &LogOptions) -> SimpleLogger {
    let mut simple = SimpleLogger::new().with_utc_timestamps().with_level(options.level);
    for (module, level) in &options.modules {
        simple = simple.with_module_level(module, *level);
        if !module.starts_with("natter") {
            simple = simple.with_module_level(&format!("natter::{module}"), *level);
        }
    }
    simple
}

/// `S` is simple_logger, but for the test that stands in for a stderr without a reader.
struct Logger<S> {
    sink: S,
    format: LogFormat,
    /// The sink has panicked: lines go past it from now on.
    sink_failed: AtomicBool,
}

impl<S: Log> Logger<S> {
    fn new(sink: S, format: LogFormat) -> Logger<S> {
        Logger { sink, format, sink_failed: AtomicBool::new(false) }
    }
}

impl<S: Log> Log for Logger<S> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.sink.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if self.format == LogFormat::Json {
            return write_line(json_line(record, unix_ms()));
        }
        let text = text_message(record);
        if std::thread::panicking() || self.sink_failed.load(Ordering::Relaxed) {
            return write_line(text_line(record, &text, unix_ms()));
        }
        let target = escaped(record.target(), LOG_VALUE_BYTES_MAX);
        let written = catch_unwind(AssertUnwindSafe(|| {
            let mut whole = Record::builder();
            self.sink.log(&whole.level(record.level()).target(&target).args(format_args!("{text}")).build());
        }));
        if written.is_err() {
            self.sink_failed.store(true, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// One `write` a line, so that lines of other processes on the same pipe do not fall into it.
fn write_line(mut line: String) {
    line.push('\n');
    // Where the log itself can't be written there is nobody left to tell.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// The line simple_logger would write.
fn text_line(record: &Record<'_>, text: &str, unix_ms: u64) -> String {
    let mut line = String::with_capacity(text.len() + 64);
    push_rfc3339(&mut line, unix_ms);
    let target = escaped(record.target(), LOG_VALUE_BYTES_MAX);
    push(&mut line, format_args!(" {:<5} [{target}] {text}", record.level().as_str()));
    line
}

/// The message and ` key=value` for each key-value, escaped.
fn text_message(record: &Record<'_>) -> String {
    struct Pairs<'a>(&'a mut String);

    impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
        fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
            self.0.push(' ');
            self.0.push_str(&escaped(key.as_str(), LOG_VALUE_BYTES_MAX));
            self.0.push('=');
            let value = bounded(format_args!("{value}"), LOG_VALUE_BYTES_MAX);
            let bare = !value.is_empty()
                && !value.contains(|c: char| c.is_whitespace() || is_unsafe(c) || "\"=\\".contains(c));
            match bare {
                true => self.0.push_str(&value),
                false => {
                    self.0.push('"');
                    for c in value.chars() {
                        match c {
                            '"' | '\\' => self.0.extend(['\\', c]),
                            c => push_escaped(self.0, c),
                        }
                    }
                    self.0.push('"');
                }
            }
            Ok(())
        }
    }

    let mut text = escaped(&bounded(*record.args(), LOG_MESSAGE_BYTES_MAX), usize::MAX);
    // `Pairs` never fails, and a source of our own macros has no error of its own.
    let _ = record.key_values().visit(&mut Pairs(&mut text));
    text
}

fn json_line(record: &Record<'_>, unix_ms: u64) -> String {
    struct Members<'a>(&'a mut String);

    impl<'kvs> VisitSource<'kvs> for Members<'_> {
        fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
            let key = bounded(format_args!("{key}"), LOG_VALUE_BYTES_MAX);
            let taken = ["time", "level", "target", "message"].contains(&key.as_str());
            self.0.push(',');
            push_json_str(self.0, &if taken { format!("{key}_") } else { key });
            self.0.push(':');
            value.visit(JsonValue(self.0))
        }
    }

    struct JsonValue<'a>(&'a mut String);

    impl<'v> VisitValue<'v> for JsonValue<'_> {
        fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
            push_json_str(self.0, &bounded(format_args!("{value}"), LOG_VALUE_BYTES_MAX));
            Ok(())
        }

        fn visit_null(&mut self) -> Result<(), kv::Error> {
            self.0.push_str("null");
            Ok(())
        }

        fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
            push(self.0, format_args!("{value}"));
            Ok(())
        }

        fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
            push(self.0, format_args!("{value}"));
            Ok(())
        }

        fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
            match value.is_finite() {
                true => push(self.0, format_args!("{value}")),
                // JSON has no word for these (RFC 8259 §6).
                false => push(self.0, format_args!("\"{value}\"")),
            }
            Ok(())
        }

        fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
            push(self.0, format_args!("{value}"));
            Ok(())
        }
    }

    let mut line = String::with_capacity(256);
    line.push_str("{\"time\":\"");
    push_rfc3339(&mut line, unix_ms);
    push(
        &mut line,
        format_args!("\",\"level\":\"{}\",\"target\":", record.level().as_str().to_ascii_lowercase()),
    );
    push_json_str(&mut line, &bounded(format_args!("{}", record.target()), LOG_VALUE_BYTES_MAX));
    line.push_str(",\"message\":");
    push_json_str(&mut line, &bounded(*record.args(), LOG_MESSAGE_BYTES_MAX));
    // As above: neither side has an error to give.
    let _ = record.key_values().visit(&mut Members(&mut line));
    line.push('}');
    line
}

/// Not written by `base::json`: that leaves U+2028 and the like as they are, which is right on the wire and a
/// line break to some readers of logs.
fn push_json_str(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // All of them are below U+10000: four digits are enough.
            c if is_unsafe(c) => push(out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// What breaks a line somewhere (C0, C1, U+2028, U+2029), moves a terminal's cursor, or turns text around.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_unsafe(c) => push(out, format_args!("\\u{{{:x}}}", u32::from(c))),
        c => out.push(c),
    }
}

fn escaped(text: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().take(bytes_max).for_each(|c| push_escaped(&mut out, c));
    out
}

/// Writing to a `String` can't fail.
fn push(out: &mut String, args: fmt::Arguments<'_>) {
    let _ = out.write_fmt(args);
}

/// `args` as text of at most `bytes_max` bytes, with `…` behind what was cut. What lies beyond is not even
/// formatted.
fn bounded(args: fmt::Arguments<'_>, bytes_max: usize) -> String {
    struct Bounded {
        text: String,
        left: usize,
    }

    impl fmt::Write for Bounded {
        fn write_str(&mut self, more: &str) -> fmt::Result {
            if more.len() <= self.left {
                self.left -= more.len();
                self.text.push_str(more);
                return Ok(());
            }
            let cut = (0..=self.left).rev().find(|at| more.is_char_boundary(*at)).unwrap_or(0);
            self.text.push_str(&more[..cut]);
            self.text.push('…');
            self.left = 0;
            // Ends the formatting.
            Err(fmt::Error)
        }
    }

    let mut out = Bounded { text: String::new(), left: bytes_max };
    // Full, or a `Display` that failed by itself: what there is, is logged.
    let _ = out.write_fmt(args);
    out.text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json;
    use log::Level;
    use std::sync::atomic::AtomicUsize;

    const AT: u64 = 1_795_352_634_120;

    #[track_caller]
    fn check(message: &str, pairs: &[(&str, kv::Value<'_>)], text: &str, json: &str) {
        let pairs: &dyn kv::Source = &pairs;
        let args = format_args!("{message}");
        let record =
            Record::builder().level(Level::Info).target("natter::x").args(args).key_values(pairs).build();
        let line = text_line(&record, &text_message(&record), AT);
        assert_eq!(line, format!("2026-11-22T13:03:54.120Z INFO  [natter::x] {text}"));
        let line = json_line(&record, AT);
        let head = r#"{"time":"2026-11-22T13:03:54.120Z","level":"info","target":"natter::x","message":"#;
        assert_eq!(line, format!("{head}{json}}}"));
        assert!(json::parse(line.as_bytes()).is_ok(), "{line}");
    }

    #[test]
    fn lines() {
        let v = |text: &'static str| kv::Value::from(text);
        check("started", &[], "started", r#""started""#);
        check(
            "request",
            &[("status", 200.into()), ("us", 1.5.into()), ("ok", true.into()), ("id", v("7Q"))],
            "request status=200 us=1.5 ok=true id=7Q",
            r#""request","status":200,"us":1.5,"ok":true,"id":"7Q""#,
        );
        check(
            "m",
            &[("a", v("")), ("b", v("x y")), ("c", v("x=y")), ("d", v("x\"y\\"))],
            r#"m a="" b="x y" c="x=y" d="x\"y\\""#,
            r#""m","a":"","b":"x y","c":"x=y","d":"x\"y\\""#,
        );
        check(
            "m",
            &[("n", (-1).into()), ("nan", f64::NAN.into()), ("none", kv::Value::null())],
            "m n=-1 nan=NaN none=None",
            r#""m","n":-1,"nan":"NaN","none":null"#,
        );
        check("m", &[("name", v("سلام"))], "m name=سلام", r#""m","name":"سلام""#);
        check(
            "m",
            &[("level", v("x")), ("time", 1.into())],
            "m level=x time=1",
            r#""m","level_":"x","time_":1"#,
        );
    }

    #[test]
    fn nothing_splits_a_line() {
        let v = |text: &'static str| kv::Value::from(text);
        check(
            "a\nb\r\tc\x1b[2J\0",
            &[],
            r"a\nb\r\tc\u{1b}[2J\u{0}",
            r#""a\u000ab\u000d\u0009c\u001b[2J\u0000""#,
        );
        check("a\u{85}\u{2028}\u{2029}b", &[], r"a\u{85}\u{2028}\u{2029}b", r#""a\u0085\u2028\u2029b""#);
        check("\u{202e}live", &[], r"\u{202e}live", r#""\u202elive""#);
        check(
            "m",
            &[("k", v("a\nINFO [x] forged"))],
            r#"m k="a\nINFO [x] forged""#,
            r#""m","k":"a\u000aINFO [x] forged""#,
        );
        check("m", &[("k", v("\u{2028}"))], r#"m k="\u{2028}""#, r#""m","k":"\u2028""#);
        for c in (0..0x3000).filter_map(char::from_u32) {
            let mut out = String::new();
            push_escaped(&mut out, c);
            push_json_str(&mut out, &c.to_string());
            assert!(out.lines().count() == 1 && !out.contains(is_unsafe), "{:x}", u32::from(c));
        }
    }

    #[test]
    fn long_ones_are_cut_between_characters() {
        for (max, expect) in [(0, "…"), (1, "a…"), (2, "a…"), (3, "aü…"), (4, "aüb")] {
            assert_eq!(bounded(format_args!("a{}b", 'ü'), max), expect, "{max}");
        }
        let long = "ü".repeat(LOG_MESSAGE_BYTES_MAX);
        let record_args = format_args!("{long}");
        let record = Record::builder().args(record_args).build();
        assert_eq!(text_message(&record).len(), LOG_MESSAGE_BYTES_MAX + '…'.len_utf8());
    }

    #[test]
    fn levels_by_module() {
        let options = |modules: &[(&str, LevelFilter)]| LogOptions {
            level: LevelFilter::Warn,
            modules: modules.iter().map(|(m, l)| ((*m).to_owned(), *l)).collect(),
            format: LogFormat::Text,
        };
        let passes = |modules: &[(&str, LevelFilter)], target: &str, level: Level| {
            let logger = Logger::new(levels(&options(modules)), LogFormat::Text);
            logger.enabled(&Metadata::builder().level(level).target(target).build())
        };
        use LevelFilter::{Debug, Off};
        assert!(passes(&[], "natter", Level::Warn) && !passes(&[], "natter", Level::Info));
        let modules = [("store", Debug), ("natter::store::noise", Off), ("rustls", Off)];
        assert!(passes(&modules, "natter::store::messages", Level::Debug));
        assert!(!passes(&modules, "natter::store::messages", Level::Trace));
        assert!(!passes(&modules, "natter::store::noise", Level::Error));
        assert!(!passes(&modules, "natter::server", Level::Info));
        assert!(!passes(&modules, "rustls::client", Level::Error));
        assert_eq!(levels(&options(&modules)).max_level(), Debug);
    }

    #[test]
    fn a_sink_that_panics_is_asked_once() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);

        struct Closed;

        impl Log for Closed {
            fn enabled(&self, _: &Metadata<'_>) -> bool {
                true
            }

            fn log(&self, record: &Record<'_>) {
                ASKED.fetch_add(1, Ordering::Relaxed);
                assert_eq!(record.args().to_string(), "a test of a closed stderr k=1");
                panic!("failed printing to stderr (expected by this test)");
            }

            fn flush(&self) {}
        }

        let logger = Logger::new(Closed, LogFormat::Text);
        let pair: &dyn kv::Source = &("k", 1);
        for _ in 0..3 {
            let record =
                Record::builder().args(format_args!("a test of a closed stderr")).key_values(pair).build();
            logger.log(&record);
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    }
}
