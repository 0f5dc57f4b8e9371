//! BACKUP_EVERY: the backups that the server makes by itself, on a thread of their own.
//!
//! Owns when one is made, the names of the files and which of them are removed. A fault is a background error, and the
//! next try comes after [`RETRY`] or a shorter interval. Invariant: a file of this schedule is removed only after a
//! newer one was made and verified, and no other file is touched. Each node of a cluster makes its own, since a backup
//! has the files of its machine: the name of the node is in those of its files.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::serve::{clock, store_options};
use super::pace::Pace;
use super::{Packed, back_up};
use crate::base::time::{UnixMs, parse_rfc3339, rfc3339};
use crate::config::{Backups, Config};
use crate::model::measures::{Gauge, Measures};
use crate::model::metrics::ErrorKind;
use crate::runtime::background::Background;
use crate::runtime::{NICE_UNAWAITED, free_bytes, lower_priority};
use crate::work::files;

/// How long after a failed try the next one comes at the latest.
const RETRY: Duration = Duration::from_secs(600);
/// Files of uploads whose sizes are added up before a backup, so that it does not fill the disk. Of more, the rest
/// counts as none.
const SIZED_MAX: usize = 1_000_000;

struct Schedule {
    config: Config,
    backups: Backups,
    background: Background,
    measures: Arc<Measures>,
}

/// Starts the thread if BACKUP_EVERY is set. It ends with the process: a backup in progress leaves a part that the next
/// one removes.
pub fn begin(config: &Config, background: Background, measures: Arc<Measures>) -> io::Result<()> {
    let Some(backups) = config.backups.clone() else { return Ok(()) };
    let schedule = Schedule { config: config.clone(), backups, background, measures };
    let thread = std::thread::Builder::new().name("backup".to_owned());
    thread.spawn(move || schedule.run()).map(drop)
}

impl Schedule {
    fn run(self) {
        lower_priority(NICE_UNAWAITED);
        let Backups { every, folder, .. } = &self.backups;
        self.measures.set(Gauge::BackupEvery, every.as_secs());
        let newest = self.made(folder).ok().and_then(|made| made.last().and_then(|path| self.stamp(path)));
        let mut wait = Duration::ZERO;
        if let Some(at) = newest {
            self.measures.set(Gauge::BackupAt, at.s().0);
            wait = every.saturating_sub(Duration::from_millis(clock().unix_ms.since(at)));
        }
        loop {
            std::thread::sleep(wait);
            let began = Instant::now();
            let next = match self.make() {
                Ok(()) => *every,
                Err(problem) => {
                    self.background.report(ErrorKind::Backup, problem);
                    RETRY.min(*every)
                }
            };
            wait = next.saturating_sub(began.elapsed());
        }
    }

    /// Makes one, verifies it, and removes the oldest ones.
    fn make(&self) -> Result<(), String> {
        let Backups { folder, .. } = &self.backups;
        let text = |error: io::Error| format!("BACKUP_DIR: {}: {error}", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(text)?;
        self.check_room(folder)?;
        let (began, at) = (Instant::now(), clock().unix_ms);
        let file = folder.join(self.name(at));
        let Packed { bytes, uploads, .. } = back_up(&self.config, &file, &mut Pace::half(), true)?;
        self.measures.set(Gauge::BackupAt, at.s().0);
        self.measures.set(Gauge::BackupBytes, bytes);
        self.measures.set(Gauge::BackupSeconds, began.elapsed().as_secs().max(1));
        log::info!(target: "natter::backup", "{}: {bytes} bytes, with {uploads} files of uploads", file.display());
        self.remove_old(folder).map_err(text)
    }

    fn remove_old(&self, folder: &Path) -> io::Result<()> {
        let made = self.made(folder)?;
        let old = made.len().saturating_sub(self.backups.keep);
        for path in &made[..old] {
            fs::remove_file(path)?;
            let keep = self.backups.keep;
            log::info!(target: "natter::backup", "{} was removed: BACKUP_KEEP is {keep}", path.display());
        }
        Ok(())
    }

    /// A backup needs room for two copies of the database, one of them for a while, and for the uploads. What uploads
    /// leave to the database, it leaves too.
    fn check_room(&self, folder: &Path) -> Result<(), String> {
        let path = store_options(&self.config).path;
        let length = |path: &Path| path.metadata().map_or(0, |file| file.len());
        let database = length(&path) + length(&path.with_extension("db-wal"));
        let (mut uploads, mut count) = (0, 0);
        let sized = files::each_published(&self.config.uploads, |_, path| {
            count += 1;
            if count <= SIZED_MAX {
                uploads += length(path);
            }
            Ok::<(), io::Error>(())
        });
        sized.map_err(|error| format!("UPLOADS: {error}"))?;
        let needs = 2 * database + uploads + self.config.disk_free_min;
        match free_bytes(folder) {
            Some(free) if free < needs => Err(format!(
                "no backup is made: {} has {free} bytes free, and a backup needs {needs} with DISK_FREE_MIN: make room, \
                 or set a BACKUP_DIR on another disk or a smaller BACKUP_KEEP",
                folder.display()
            )),
            _ => Ok(()),
        }
    }

    /// `natter-20261130T060000Z.tar`; in a cluster `natter-NODE-20261130T060000Z.tar`.
    fn name(&self, at: UnixMs) -> String {
        format!("{}{}.tar", self.prefix(), stamp_of(at))
    }

    fn prefix(&self) -> String {
        self.config
            .cluster
            .as_ref()
            .map_or_else(|| "natter-".to_owned(), |cluster| format!("natter-{}-", cluster.node))
    }

    /// The files of this schedule, oldest first.
    fn made(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        let paths = entries.into_iter().map(|entry| entry.path());
        let mut made: Vec<PathBuf> = paths.filter(|path| self.stamp(path).is_some()).collect();
        made.sort();
        Ok(made)
    }

    /// When a file of this schedule was made; `None` for any other file.
    fn stamp(&self, path: &Path) -> Option<UnixMs> {
        let name = path.file_name()?.to_str()?;
        let stamp = name.strip_prefix(&self.prefix())?.strip_suffix(".tar")?;
        let digits: String = stamp.chars().filter(char::is_ascii_digit).collect();
        let [y, mo, d, h, mi, s] =
            [0..4, 4..6, 6..8, 8..10, 10..12, 12..14].map(|part| digits.get(part).unwrap_or_default());
        let at = parse_rfc3339(&format!("{y}-{mo}-{d}T{h}:{mi}:{s}Z"))?.ms();
        (stamp_of(at) == stamp).then_some(at)
    }
}

/// `20261130T060000Z`.
fn stamp_of(at: UnixMs) -> String {
    let text = rfc3339(at);
    let seconds = text.split('.').next().unwrap_or_default();
    seconds.chars().filter(|c| !matches!(c, '-' | ':' | 'Z')).chain(['Z']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_a_name_without_marks() {
        assert_eq!(stamp_of(UnixMs(1_796_018_400_999)), "20261130T060000Z");
    }
}
