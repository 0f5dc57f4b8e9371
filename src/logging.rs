//! The log on stderr.
//!
//! Owns the format of a line and which levels are logged. Leaves the content to its callers.
//! Invariant: one record is one line, also with input from a peer in it, and logging never ends the process.
//!
//! ```text
//! 2026-11-22T13:03:54.120Z INFO  [natter::server] request id=7QX status=200 agent="curl 8"
//! {"time":"2026-11-22T13:03:54.120Z","level":"info","target":"natter::server","message":"request","id":"7QX"}
//! ```
//!
//! simple_logger filters the levels, and a line has its format (time, level, target, message). It does not write,
//! because it drops key-values, keeps line breaks, panics when the reader of stderr is gone, and blocks when that
//! reader stops reading. A line is formatted with its time in the thread that logs it, and written by the thread of
//! [`queue`].

mod journal;
mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Write as _};
use std::io;
use std::panic::PanicHookInfo;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use log::kv::{self, VisitSource, VisitValue};
use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

use self::queue::LogQueue;
use crate::base::time::{UnixMs, push_rfc3339};

/// Bytes of one log message, so that a client can't fill a disk with one line. A longer one is cut with `…`.
const LOG_MESSAGE_BYTES_MAX: usize = 4_096;
/// Bytes of one value in a log line. A longer one is cut with `…`.
const LOG_VALUE_BYTES_MAX: usize = 1_024;

/// How long the end of the process waits for a slow reader of stderr. After that, the queued lines are lost.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// How long a panic, which may end the process, waits until its line is written. It does not wait if other lines were
/// queued before.
const PANIC_FLUSH_MAX: Duration = Duration::from_millis(50);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// For all targets that `modules` does not name.
    pub level: LevelFilter,
    /// By the beginning of the target; the longest match is used. `store` also means `natter::store`.
    pub modules: Vec<(String, LevelFilter)>,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The log of this process. Its drop waits until the queued lines are written, at most [`FLUSH_MAX`].
pub struct Logging {
    queue: Arc<LogQueue>,
    levels: Levels,
}

impl Logging {
    /// What is logged, to be changed while the process runs.
    pub fn levels(&self) -> Levels {
        self.levels.clone()
    }

    /// Lines dropped since the start because stderr was not read fast enough.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.queue.dropped()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.queue.flush(FLUSH_MAX);
    }
}

/// Sends the records and the panics of this process to stderr; `to_journal` says that the journal of systemd reads it. Fails if there is a logger already or no thread can be
/// started.
pub fn init(options: &LogOptions, to_journal: bool) -> io::Result<Logging> {
    let simple = levels(options);
    let format = Form { format: options.format, is_journal: to_journal };
    let max = simple.max_level();
    let queue = LogQueue::start(io::stderr(), move |dropped| dropped_line(format, dropped))?;
    let levels = Levels(Arc::new(RwLock::new(simple)));
    let logger = Logger { levels: levels.clone(), format, queue: Arc::clone(&queue) };
    log::set_boxed_logger(Box::new(logger)).map_err(io::Error::other)?;
    log::set_max_level(max);
    let lines = Arc::clone(&queue);
    // The default hook would write to stderr in the thread that panics.
    std::panic::set_hook(Box::new(move |panic| log_panic(&lines, format, panic)));
    Ok(Logging { queue, levels })
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

/// What is logged. It may change while the process runs.
#[derive(Clone)]
pub struct Levels(Arc<RwLock<SimpleLogger>>);

impl Levels {
    pub fn set(&self, options: &LogOptions) {
        let simple = levels(options);
        log::set_max_level(simple.max_level());
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = simple;
    }
}

/// What a line looks like.
#[derive(Clone, Copy)]
struct Form {
    format: LogFormat,
    /// It begins with its priority.
    is_journal: bool,
}

struct Logger {
    levels: Levels,
    format: Form,
    queue: Arc<LogQueue>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.levels.0.read().unwrap_or_else(PoisonError::into_inner).enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.queue.push(line(self.format, record));
        }
    }

    fn flush(&self) {
        self.queue.flush(FLUSH_MAX);
    }
}

/// A panic is logged at any level. Its backtrace too, one line per frame, if RUST_BACKTRACE requests it.
fn log_panic(queue: &LogQueue, format: Form, panic: &PanicHookInfo<'_>) {
    let was_idle = queue.is_idle();
    let thread = std::thread::current();
    let push = |message: fmt::Arguments<'_>| {
        let mut record = Record::builder();
        let record = record.level(Level::Error).target("natter::panic").args(message);
        queue.push(line(format, &record.build()));
    };
    let name = thread.name().unwrap_or("?");
    push(format_args!("the {name} thread panicked: {panic}"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        backtrace.to_string().lines().for_each(|frame| push(format_args!("{frame}")));
    }
    if was_idle {
        queue.flush(PANIC_FLUSH_MAX);
    }
}

fn dropped_line(format: Form, dropped: u64) -> String {
    let mut record = Record::builder();
    let record = record.level(Level::Warn).target("natter::logging");
    line(
        format,
        &record.args(format_args!("{dropped} lines were dropped: stderr is not read fast enough")).build(),
    )
}

fn line(Form { format, is_journal }: Form, record: &Record<'_>) -> String {
    let line = match format {
        LogFormat::Json => json_line(record, unix_ms()),
        LogFormat::Text => text_line(record, &text_message(record), unix_ms()),
    };
    if is_journal { journal::priority(record.level()).to_owned() + &line } else { line }
}

fn unix_ms() -> UnixMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The line that simple_logger would write.
fn text_line(record: &Record<'_>, text: &str, unix_ms: UnixMs) -> String {
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
    // `Pairs` never fails, and neither does a source made by the log macros.
    let _ = record.key_values().visit(&mut Pairs(&mut text));
    text
}

fn json_line(record: &Record<'_>, unix_ms: UnixMs) -> String {
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
                // JSON cannot represent these numbers (RFC 8259 §6).
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
    // As above: neither side can fail.
    let _ = record.key_values().visit(&mut Members(&mut line));
    line.push('}');
    line
}

/// Not written by `base::json`, which does not escape U+2028 and similar characters: this is right on the wire, but
/// some readers of logs treat them as line breaks.
fn push_json_str(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // All of these are below U+10000: four digits are enough.
            c if is_unsafe(c) => push(out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Characters that may break a line (C0, C1, U+2028, U+2029), move the cursor of a terminal, or reverse text.
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

/// `args` as text of at most `bytes_max` bytes; `…` follows a text that was cut. The rest is not formatted at all.
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
    // The text is full, or a `Display` failed: the text so far is logged.
    let _ = out.write_fmt(args);
    out.text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json;
    use log::Level;

    const AT: UnixMs = UnixMs(1_795_352_634_120);

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
    fn no_value_splits_a_line() {
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
    fn long_texts_are_cut_between_characters() {
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
            levels(&options(modules)).enabled(&Metadata::builder().level(level).target(target).build())
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
}
