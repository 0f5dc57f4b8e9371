//! The sizes that `/metrics` shows: of the files of the database, of the memory, and of the table of descriptors.
//!
//! Owns when the system is asked: on the writer's thread, since the thread of the loop never waits for a file system.
//! Invariant: between two batches this is a handful of system calls, once in [`MEASURE_EVERY`].

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::kernel;
use super::signals;
use crate::model::measures::{Gauge, Measures};

/// Time between two measurements: less than what Prometheus waits between two scrapes.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Sizes {
    next_at: Option<Instant>,
}

impl Sizes {
    /// Asks the system if it is time. What can't be read keeps its last value; a file that is missing has 0 bytes.
    pub fn measure(&mut self, folder: Option<&Path>, measures: &Measures) {
        let now = Instant::now();
        if self.next_at.is_some_and(|at| at > now) {
            return;
        }
        self.next_at = Some(now + MEASURE_EVERY);
        if let Some(folder) = folder {
            let size = |name: &str| fs::metadata(folder.join(name)).map_or(0, |file| file.len());
            measures.set(Gauge::DatabaseBytes, size("natter.db"));
            measures.set(Gauge::WalBytes, size("natter.db-wal"));
            measures.set(Gauge::IndexBytes, size("search.db") + size("search.db-wal"));
            if let Some(bytes) = kernel::free_bytes(folder) {
                measures.set(Gauge::FreeBytes, bytes);
            }
        }
        if let Some(bytes) = resident_bytes() {
            measures.set(Gauge::ResidentBytes, bytes);
        }
        measures.set(Gauge::OpenFiles, open_files());
        measures.set(Gauge::OpenFilesMax, signals::open_files_max());
    }
}

/// `VmRSS:      6516 kB` (proc_pid_status(5)).
fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}

/// Linux 6.2 and later report the number as the size of the folder. Before, its entries are counted, one of which is
/// that of the count itself.
fn open_files() -> u64 {
    match fs::metadata("/proc/self/fd").map_or(0, |folder| folder.len()) {
        0 => fs::read_dir("/proc/self/fd").map_or(0, |entries| (entries.count() as u64).saturating_sub(1)),
        count => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_process_and_its_files() {
        let folder = std::env::temp_dir().join(format!("natter-sizes-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("natter.db"), [0; 4_096]).expect("a file");
        fs::write(folder.join("search.db-wal"), [0; 7]).expect("a file");
        let (mut sizes, measures) = (Sizes::default(), Measures::default());
        sizes.measure(Some(&folder), &measures);
        let get = |gauge| measures.get(gauge).expect("a value");
        let files = [Gauge::DatabaseBytes, Gauge::WalBytes, Gauge::IndexBytes].map(get);
        assert_eq!(files, [4_096, 0, 7]);
        assert!(get(Gauge::FreeBytes) > 0 && get(Gauge::ResidentBytes) > 1_000_000);
        assert!(get(Gauge::OpenFiles) >= 3 && get(Gauge::OpenFilesMax) >= get(Gauge::OpenFiles));
        // Not again within the time.
        fs::write(folder.join("natter.db"), [0; 1]).expect("a file");
        sizes.measure(Some(&folder), &measures);
        assert_eq!(get(Gauge::DatabaseBytes), 4_096);
        fs::remove_dir_all(folder).expect("removed");
    }
}
