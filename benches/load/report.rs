//! The results of a load: a table, one JSON file, and the machine that they are of.
//!
//! Leaves the picture to `curve`. Invariant: the table, the file and the picture show the same numbers.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::curve;
use super::engine::{Kind, Pace, Step};
use super::histogram::Histogram;
use super::scenario::Check;

/// All that a run has shown.
pub struct Report {
    pub scenario: &'static str,
    /// The server, if it was named.
    pub url: Option<String>,
    pub clients: usize,
    pub steps: Vec<Step>,
    pub checks: Vec<Check>,
    /// Further values, with their names and units.
    pub facts: Vec<(String, f64)>,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.checks.iter().all(|check| check.is_kept)
    }

    pub fn print(&self) {
        println!("{}, {} clients; {}", self.scenario, self.clients, machine());
        println!(
            "{:<16} {:<14} {:>10} {:>8} {:>8} {:>8} {:>8}   {:>7} {:>9} {:>9}",
            "load", "of", "a second", "p50 ms", "p99", "p99.9", "max", "refused", "server µs", "client µs"
        );
        for step in &self.steps {
            self.print_step(step);
        }
        for (name, value) in &self.facts {
            println!("  {name}: {value:.1}");
        }
        for Check { is_kept, what } in &self.checks {
            println!("  {} {what}", if *is_kept { "kept:  " } else { "BROKEN:" });
        }
    }

    fn print_step(&self, step: &Step) {
        let seconds = step.time.as_secs_f64();
        let several = step.kinds.len() > 1;
        for (index, Kind { name, latency, .. }) in step.kinds.iter().enumerate() {
            let cost = |cpu: Option<std::time::Duration>| {
                let each = |cpu: std::time::Duration| cpu.as_secs_f64() * 1e6 / step.answered().max(1) as f64;
                cpu.filter(|_| index == 0).map_or_else(|| "-".to_owned(), |cpu| format!("{:.1}", each(cpu)))
            };
            let rate = if several { latency.count() as f64 / seconds } else { step.per_second() };
            let refused = if index == 0 { step.refusals().to_string() } else { "-".to_owned() };
            print!("{}", row(&load(step), name, rate, latency));
            println!("   {refused:>7} {:>9} {:>9}", cost(step.server_cpu), cost(Some(step.client_cpu)));
        }
        if step.deliveries.count() > 0 {
            let rate = step.deliveries.count() as f64 / seconds;
            println!("{}", row(&load(step), "delivery", rate, &step.deliveries));
        }
        if step.late.quantile_ms(0.99) > 1.0 {
            println!(
                "  this client sent late, p99 {:.2} ms: its own delay is in the numbers",
                step.late.quantile_ms(0.99)
            );
        }
        if step.is_overrun {
            println!("  the server did not keep up: the step was ended early");
        }
        for (reason, count) in &step.refused {
            println!("  {count} times: {reason}");
        }
        if step.unanswered > 0 {
            println!("  {} requests were not answered", step.unanswered);
        }
    }

    /// Writes `SCENARIO.json`, and `SCENARIO.svg` if there is a curve.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let name = |ending: &str| folder.join(format!("{}.{ending}", self.scenario));
        fs::write(name("json"), format!("{:#}\n", self.json()))?;
        print!("written: {}", name("json").display());
        if let Some(picture) = curve::draw(self) {
            fs::write(name("svg"), picture)?;
            print!(", {}", name("svg").display());
        }
        println!();
        Ok(())
    }

    pub fn json(&self) -> Value {
        let checks: Vec<Value> =
            self.checks.iter().map(|check| json!({"kept": check.is_kept, "what": check.what})).collect();
        let facts: serde_json::Map<String, Value> =
            self.facts.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "scenario": self.scenario,
            "url": self.url,
            "clients": self.clients,
            "machine": machine(),
            "steps": self.steps.iter().map(step_json).collect::<Vec<Value>>(),
            "facts": facts,
            "checks": checks,
        })
    }
}

fn row(load: &str, name: &str, rate: f64, of: &Histogram) -> String {
    format!(
        "{load:<16} {name:<14} {rate:>10.0} {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
        of.quantile_ms(0.5),
        of.quantile_ms(0.99),
        of.quantile_ms(0.999),
        of.max_ms(),
    )
}

fn load(step: &Step) -> String {
    match step.pace {
        Pace::Closed(window) => format!("{window} in flight"),
        Pace::Open(rate) => format!("{rate:.0} a second"),
    }
}

fn step_json(step: &Step) -> Value {
    let (offered, window) = match step.pace {
        Pace::Open(rate) => (Some(rate), None),
        Pace::Closed(window) => (None, Some(window)),
    };
    let kinds: serde_json::Map<String, Value> = step
        .kinds
        .iter()
        .map(|kind| {
            let latency = latency_json(&kind.latency);
            let value = json!({"latency": latency, "from_sending": latency_json(&kind.service)});
            (kind.name.to_owned(), value)
        })
        .collect();
    json!({
        "offered_per_second": offered,
        "in_flight_of_each": window,
        "seconds": step.time.as_secs_f64(),
        "per_second": step.per_second(),
        "sent": step.sent,
        "answered": step.answered(),
        "unanswered": step.unanswered,
        "wrong": step.wrong,
        "refused": step.refused,
        "is_overrun": step.is_overrun,
        "kinds": kinds,
        "deliveries": latency_json(&step.deliveries),
        "client_late": latency_json(&step.late),
        "server_cpu_s": step.server_cpu.map(|cpu| cpu.as_secs_f64()),
        "client_cpu_s": step.client_cpu.as_secs_f64(),
    })
}

fn latency_json(of: &Histogram) -> Value {
    json!({
        "count": of.count(),
        "p50_ms": of.quantile_ms(0.5),
        "p90_ms": of.quantile_ms(0.9),
        "p99_ms": of.quantile_ms(0.99),
        "p999_ms": of.quantile_ms(0.999),
        "max_ms": of.max_ms(),
    })
}

/// What the clients run on, and the server unless it is another machine.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model.trim());
    format!("{cores} cores of {model}, {}", std::env::consts::OS)
}
