//! The command line of the load tool.
//!
//! Owns names, defaults and bounds. Invariant: without `--url` everything stays on loopback, and every load has an end.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::engine::ANSWER_MAX;
use super::place::SLOW_DISK;
use super::scenarios::{ALL, Name};

const CLIENTS_MAX: usize = 20_000;
const WINDOW_MAX: usize = 1_024;
const RATE_MAX: f64 = 1_000_000.0;
const SECONDS_MAX: f64 = 3_600.0;
const SIZE_MAX: usize = 100 << 20;
const MESSAGES_MAX: u64 = 10_000_000;
const DEVICES_MAX: usize = 20;
const SYNC_MS_MAX: u32 = 900;
/// Bytes of files that one run stores, unless `--count` says how many files.
const FILES_MAX: u64 = 4 << 30;

#[derive(Clone, Debug)]
pub struct Options {
    pub scenario: Name,
    pub url: Option<String>,
    pub ca: Option<PathBuf>,
    pub keeps_accounts: bool,
    pub clients: Option<usize>,
    pub window: Option<usize>,
    pub rates: Vec<f64>,
    pub time: Duration,
    pub count: Option<u64>,
    pub size: usize,
    pub messages: u64,
    pub devices: usize,
    pub missed: u64,
    pub out: PathBuf,
    /// Two binaries.
    pub compare: Option<[PathBuf; 2]>,
    pub pairs: usize,
    pub is_against_bare: bool,
    /// Milliseconds that each sync of a server of our own takes longer.
    pub slow_disk: Option<u32>,
    pub is_quiet: bool,
    /// How long answers and deliveries may take after the last request.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            scenario: Name::Relay,
            url: None,
            ca: None,
            keeps_accounts: false,
            clients: None,
            window: None,
            rates: Vec::new(),
            time: Duration::from_secs(5),
            count: None,
            size: 1 << 20,
            messages: 20_000,
            devices: 16,
            missed: 20,
            out: std::env::var_os("CARGO_TARGET_DIR")
                .map_or_else(|| "target".into(), PathBuf::from)
                .join("load"),
            compare: None,
            pairs: super::ratios::PAIRS,
            is_against_bare: false,
            slow_disk: None,
            is_quiet: false,
            patience: ANSWER_MAX,
        }
    }
}

impl Options {
    pub fn parse(words: &[String]) -> Result<Options, String> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().map(String::as_str).ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--bench" => {} // cargo's
                "--url" => options.url = Some(value()?.to_owned()),
                "--ca" => options.ca = Some(value()?.into()),
                "--keep" => options.keeps_accounts = true,
                "--clients" => options.clients = Some(number(word, value()?, 1, CLIENTS_MAX)?),
                "--window" => options.window = Some(number(word, value()?, 1, WINDOW_MAX)?),
                "--rate" => {
                    let rates = value()?.split(',').map(|rate| number(word, rate, 0.01, RATE_MAX));
                    options.rates = rates.collect::<Result<_, _>>()?;
                }
                "--seconds" => {
                    options.time = Duration::from_secs_f64(number(word, value()?, 0.1, SECONDS_MAX)?);
                }
                "--count" => options.count = Some(number(word, value()?, 1, u64::MAX)?),
                "--size" => options.size = number(word, value()?, 32, SIZE_MAX)?,
                "--messages" => options.messages = number(word, value()?, 1, MESSAGES_MAX)?,
                "--devices" => options.devices = number(word, value()?, 1, DEVICES_MAX)?,
                "--missed" => options.missed = number(word, value()?, 0, MESSAGES_MAX)?,
                "--out" => options.out = value()?.into(),
                "--pairs" => options.pairs = number(word, value()?, 1, 1_000)?,
                "--compare" => options.compare = Some([value()?.into(), value()?.into()]),
                "--bare" => options.is_against_bare = true,
                "--slow-disk" => options.slow_disk = Some(number(word, value()?, 1, SYNC_MS_MAX)?),
                name => {
                    options.scenario = Name::parse(name).ok_or_else(|| {
                        let names = ALL.map(|row| row.1).join(", ");
                        format!("{name} is no option and no scenario: {names}")
                    })?;
                }
            }
        }
        options.check()
    }

    fn check(self) -> Result<Options, String> {
        let is_at_a_named_server = self.url.is_some();
        if is_at_a_named_server && (self.compare.is_some() || self.is_against_bare) {
            return Err("--compare and --bare start servers of their own: leave --url out".into());
        }
        if is_at_a_named_server && self.slow_disk.is_some() {
            return Err("--slow-disk is for a server that is started here: leave --url out".into());
        }
        if is_at_a_named_server && self.scenario == Name::Push {
            return Err(
                "push needs a server of its own: another one refuses a push service on loopback".into()
            );
        }
        if self.window.is_some() && !self.rates.is_empty() {
            return Err("--window is a closed loop and --rate an open one: choose one".into());
        }
        if self.is_against_bare && self.scenario != Name::Relay {
            return Err("--bare compares posts: it is for relay".into());
        }
        let is_of_its_own = matches!(self.scenario, Name::Storm | Name::Push);
        if self.compare.is_some() && is_of_its_own {
            return Err(format!("{} can't be compared in turns", self.scenario.text()));
        }
        Ok(self)
    }

    /// What a server of our own is set to.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = self.scenario.env();
        env.extend(self.slow_disk.map(|ms| (SLOW_DISK, ms.to_string())));
        env
    }

    pub fn clients(&self) -> usize {
        self.clients.unwrap_or(self.scenario.row().2)
    }

    /// The closed loop of the scenario.
    pub fn usual_window(&self) -> usize {
        self.window.unwrap_or(self.scenario.row().3)
    }

    /// Requests of a step, at most.
    pub fn count(&self) -> u64 {
        let files = FILES_MAX / self.size as u64;
        self.count.unwrap_or(if self.scenario == Name::Upload { files } else { u64::MAX })
    }
}

fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    name: &str,
    text: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    let value: Option<T> = text.parse().ok();
    let wrong = format!("{name} takes a number from {least} to {most}, not {text}");
    value.filter(|value| (&least..=&most).contains(&value)).ok_or(wrong)
}
