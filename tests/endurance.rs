//! Measurements that take longer than a test may, run by name: `idle`, `memory`, `media`, `small-host`, `soak`, `torture` and `cluster`.
//!
//! The scripts of these names run them on the binary of `NATTER_BIN`. Each prints what it measured and a verdict for each
//! promise, and ends with status 1 if one is not kept.

mod support;

#[cfg(feature = "cluster")]
#[path = "endurance/cluster/mod.rs"]
mod cluster;
#[path = "endurance/idle.rs"]
mod idle;
#[path = "endurance/media.rs"]
mod media;
#[path = "endurance/memory.rs"]
mod memory;
#[path = "endurance/nginx.rs"]
mod nginx;
#[path = "endurance/people.rs"]
mod people;
#[path = "endurance/readers.rs"]
mod readers;
#[cfg(feature = "cluster")]
#[path = "cluster/servers.rs"]
mod servers;
#[path = "process/shims.rs"]
mod shims;
#[path = "endurance/small_host.rs"]
mod small_host;
#[path = "endurance/soak.rs"]
mod soak;
#[path = "endurance/torture/mod.rs"]
mod torture;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let held = match words.as_slice() {
        ["idle"] => idle::measure(),
        ["memory"] => memory::measure(),
        ["media"] => media::measure(),
        ["small-host"] => small_host::measure(),
        #[cfg(feature = "cluster")]
        ["cluster"] => cluster::story(),
        #[cfg(feature = "cluster")]
        ["cluster", counts @ ..] if counts.len() <= 4 => {
            let Ok(counts) = counts.iter().map(|count| count.parse()).collect::<Result<Vec<usize>, _>>()
            else {
                return usage();
            };
            let count = |index: usize| counts.get(index).copied().unwrap_or(0);
            let [kills, pauses, partitions, power_cuts] = [0, 1, 2, 3].map(count);
            cluster::campaign(cluster::Wish { kills, pauses, partitions, power_cuts })
        }
        ["torture", words @ ..] => match torture::Wish::parse(words) {
            Ok(wish) => torture::run(&wish),
            Err(error) => {
                eprintln!("{error}");
                return usage();
            }
        },
        ["soak", seconds] => match seconds.parse() {
            Ok(seconds) => soak::run(seconds),
            Err(_) => return usage(),
        },
        _ => return usage(),
    };
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!(
        "cargo test --test endurance -- idle | memory | media | small-host | soak SECONDS | \
         cluster [KILLS [PAUSES [PARTITIONS [POWER_CUTS]]]] | \
         torture [--seconds S] [--seed N] [--cluster] [--planted FAULT] [--prove]"
    );
    ExitCode::from(2)
}

/// Prints whether a promise was kept, and returns it.
fn verdict(held: bool, what: std::fmt::Arguments<'_>) -> bool {
    println!("  {} {what}", if held { "kept:  " } else { "BROKEN:" });
    held
}
