//! The backups that the server makes: those of BACKUP_EVERY, on a thread of their own, and those that an admin asks for, on a
//! worker's.
//!
//! Owns when one is made, the names of the files and which of them are removed. A fault is a background error, and the
//! next try of the schedule comes after [`RETRY`] or a shorter interval. Invariant: one is made at a time; a file is removed only
//! after a newer one was made and verified, and no file with another form of name is touched, nor one whose name has a time in the
//! future: it does not count. What an admin asks for removes no file of the schedule. Each node of a cluster makes its own, since a
//! backup has the files of its machine: the name of the node is in those of its files.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::serve::{clock, store_options};
use super::{By, Packed, back_up, remove_stale};
use crate::base::time::{UnixMs, parse_rfc3339, rfc3339};
use crate::config::{Backups, Config};
use crate::model::job::{Done, Job};
use crate::model::measures::{Gauge, Measures};
use crate::model::metrics::ErrorKind;
use crate::runtime::background::Background;
use crate::runtime::{NICE_UNAWAITED, Worker, free_bytes, lower_priority};
use crate::work::files;

/// How long after a failed try the next one comes at the latest.
const RETRY: Duration = Duration::from_secs(600);
/// Files of uploads whose sizes are added up before a backup, so that it does not fill the disk. Of more, the rest
/// counts as none.
const SIZED_MAX: usize = 1_000_000;

/// A line of the log.
fn tell(text: &str) {
    log::info!(target: "natter::backup", "{text}");
}

/// Makes backups, one at a time.
#[derive(Clone)]
pub struct Maker(Arc<Shared>);

struct Shared {
    config: Config,
    background: Background,
    measures: Arc<Measures>,
    one_at_a_time: Mutex<()>,
}

impl Maker {
    pub fn new(config: &Config, background: Background, measures: Arc<Measures>) -> Maker {
        let one_at_a_time = Mutex::default();
        Maker(Arc::new(Shared { config: config.clone(), background, measures, one_at_a_time }))
    }

    /// Removes what a stop has left of a backup in progress, finds when the newest one was made, and starts the thread of the
    /// schedule if BACKUP_EVERY is set. The thread ends with the process.
    pub fn begin(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        remove_stale(&shared.config.backups.folder, tell);
        // Of a folder that is not there yet, nothing is known.
        let files = shared.made(&shared.config.backups.folder).unwrap_or_default();
        if let Some(newest) = files.last() {
            shared.measures.set(Gauge::BackupAt, newest.at.s().0);
            newest
                .path
                .metadata()
                .iter()
                .for_each(|file| shared.measures.set(Gauge::BackupBytes, file.len()));
        }
        let Some(every) = shared.config.backups.every else { return Ok(()) };
        let newest = files.iter().rfind(|file| file.of == Of::Schedule).map(|file| file.at);
        shared.measures.set(Gauge::BackupEvery, every.as_secs());
        let thread = std::thread::Builder::new().name("backups".to_owned());
        thread.spawn(move || shared.run(every, newest)).map(drop)
    }
}

/// For the backups that admins ask for. A stop of the server does not wait for one.
impl Worker for Maker {
    fn run(&mut self, job: Job) -> Done {
        let Job::MakeBackup = job else { return Done::Failed };
        self.0.make(By::Admin);
        Done::BackupEnded
    }
}

impl Shared {
    fn run(&self, every: Duration, newest: Option<UnixMs>) {
        lower_priority(NICE_UNAWAITED);
        let mut wait = newest.map_or(Duration::ZERO, |at| {
            every.saturating_sub(Duration::from_millis(clock().unix_ms.since(at)))
        });
        loop {
            std::thread::sleep(wait);
            let began = Instant::now();
            let next = if self.make(By::Schedule) { every } else { RETRY.min(every) };
            wait = next.saturating_sub(began.elapsed());
        }
    }

    /// Makes one, when no other is made any more. Returns whether it is good. One that an admin has asked for is over when the loop has
    /// heard of its end, and before that of the reason of a failure.
    fn make(&self, by: By) -> bool {
        // What panicked has left a part, which the next one removes.
        let one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        self.measures.set(Gauge::BackupRuns, 1);
        let made = self.make_verified(by);
        if let Err(problem) = &made {
            self.background.report(ErrorKind::Backup, problem);
            self.measures.set(Gauge::BackupFailedAt, clock().unix_s().0);
        }
        self.measures.set(Gauge::BackupFailed, u64::from(made.is_err()));
        if let By::Schedule = by {
            self.measures.set(Gauge::BackupRuns, 0);
        }
        drop(one);
        made.is_ok()
    }

    /// Makes one, verifies it, and removes the oldest ones.
    fn make_verified(&self, by: By) -> Result<(), String> {
        let Backups { folder, .. } = &self.config.backups;
        let text = |error: io::Error| format!("BACKUP_DIR: {}: {error}", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(text)?;
        // Before the room is measured: what a backup that was killed has left may be all of it.
        remove_stale(folder, tell);
        self.check_room(folder)?;
        let of = if by == By::Admin { Of::Admin } else { Of::Schedule };
        let (file, at) = self.name_of_now(folder, of).map_err(text)?;
        let began = Instant::now();
        let Packed { bytes, uploads, .. } = back_up(&self.config, &file, by)?;
        self.measures.set(Gauge::BackupAt, at.s().0);
        self.measures.set(Gauge::BackupBytes, bytes);
        self.measures.set(Gauge::BackupSeconds, began.elapsed().as_secs().max(1));
        log::info!(target: "natter::backup", "{}: {bytes} bytes, with {uploads} files of uploads", file.display());
        self.remove_old(folder).map_err(text)
    }

    fn remove_old(&self, folder: &Path) -> io::Result<()> {
        let keep = self.config.backups.keep;
        for path in old(self.made(folder)?, keep) {
            fs::remove_file(&path)?;
            log::info!(target: "natter::backup", "{} was removed: BACKUP_KEEP is {keep}", path.display());
        }
        Ok(())
    }

    /// A backup needs room for a copy of the database in DATA_DIR, for a while, and for another one and the uploads in its own folder.
    /// What uploads leave to the database, it leaves too.
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
        let archive = database + uploads;
        let data = &self.config.data_dir;
        let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
        if device(folder) == device(data) {
            return self.has_room(folder, database + archive);
        }
        self.has_room(data, database).and_then(|()| self.has_room(folder, archive))
    }

    fn has_room(&self, folder: &Path, bytes: u64) -> Result<(), String> {
        let needs = bytes + self.config.disk_free_min;
        match free_bytes(folder) {
            Some(free) if free < needs => Err(format!(
                "no backup is made: {} has {free} bytes free, and a backup needs {needs} there with DISK_FREE_MIN: make room, \
                 or set a BACKUP_DIR on another disk or a smaller BACKUP_KEEP",
                folder.display()
            )),
            _ => Ok(()),
        }
    }

    /// A path of the present second, which no other backup has: a name has seconds, so that of two in a second one waits.
    fn name_of_now(&self, folder: &Path, of: Of) -> io::Result<(PathBuf, UnixMs)> {
        // Each turn takes a second that a file has: there are at most as many.
        loop {
            let at = clock().unix_ms;
            let is_taken =
                [Of::Schedule, Of::Admin].iter().any(|of| folder.join(self.name(at, *of)).exists());
            if !is_taken {
                return Ok((folder.join(self.name(at, of)), at));
            }
            std::thread::sleep(Duration::from_millis(1_000 - at.0 % 1_000));
        }
    }

    /// `natter-20261130T060000Z.tar`, and `natter-20261130T060000Z-asked.tar` if an admin asked for it; in a cluster
    /// `natter-NODE-20261130T060000Z.tar`.
    fn name(&self, at: UnixMs, of: Of) -> String {
        format!("{}{}{}.tar", self.prefix(), stamp_of(at), of.mark())
    }

    fn prefix(&self) -> String {
        self.config
            .cluster
            .as_ref()
            .map_or_else(|| "natter-".to_owned(), |cluster| format!("natter-{}-", cluster.node))
    }

    /// The files that the server made, oldest first, by their names. One from the future, which a clock that was ahead has made, or a
    /// person, is not among them until then: else none would follow it, and each new one would be the oldest.
    fn made(&self, folder: &Path) -> io::Result<Vec<Made>> {
        let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        let (prefix, now) = (self.prefix(), clock().unix_ms);
        let made = entries.into_iter().filter_map(|entry| Made::of(entry.path(), &prefix));
        let (mut made, ahead): (Vec<Made>, Vec<Made>) = made.partition(|file| file.at <= now);
        made.sort_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
        for file in ahead {
            log::warn!(
                target: "natter::backup",
                "{} has a time in the future in its name: it does not count as a backup, and is not removed",
                file.path.display()
            );
        }
        Ok(made)
    }
}

/// Whose backup a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Schedule,
    Admin,
}

impl Of {
    /// What the name has behind the time.
    fn mark(self) -> &'static str {
        match self {
            Of::Schedule => "",
            Of::Admin => "-asked",
        }
    }
}

/// A file that the server made.
#[derive(Debug)]
struct Made {
    /// When it was begun.
    at: UnixMs,
    of: Of,
    path: PathBuf,
}

impl Made {
    /// `None` for any other file.
    fn of(path: PathBuf, prefix: &str) -> Option<Made> {
        let name = path.file_name()?.to_str()?.strip_prefix(prefix)?.strip_suffix(".tar")?;
        let (stamp, of) = match name.strip_suffix(Of::Admin.mark()) {
            Some(stamp) => (stamp, Of::Admin),
            None => (name, Of::Schedule),
        };
        let digits: String = stamp.chars().filter(char::is_ascii_digit).collect();
        let [y, mo, d, h, mi, s] =
            [0..4, 4..6, 6..8, 8..10, 10..12, 12..14].map(|part| digits.get(part).unwrap_or_default());
        let at = parse_rfc3339(&format!("{y}-{mo}-{d}T{h}:{mi}:{s}Z"))?.ms();
        (stamp_of(at) == stamp).then_some(Made { at, of, path })
    }
}

/// The files above BACKUP_KEEP, of which there are as many of each kind. What an admin asked for does not outlive what is erased: it goes,
/// too, when it is older than all that the schedule keeps.
fn old(made: Vec<Made>, keep: usize) -> Vec<PathBuf> {
    let newest = |of| made.iter().rev().filter(move |file| file.of == of).nth(keep - 1).map(|file| file.at);
    let (schedule, admin) = (newest(Of::Schedule), newest(Of::Admin));
    let first_kept = |of| if of == Of::Schedule { schedule } else { admin.max(schedule) };
    let is_old = |file: &Made| first_kept(file.of).is_some_and(|first| file.at < first);
    made.iter().filter(|file| is_old(file)).map(|file| file.path.clone()).collect()
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

    #[test]
    fn a_name_says_when_and_whose() {
        let of = |name: &str, prefix| Made::of(name.into(), prefix).map(|made| (made.at, made.of));
        let at = UnixMs(1_796_018_400_000);
        assert_eq!(of("b/natter-20261130T060000Z.tar", "natter-"), Some((at, Of::Schedule)));
        assert_eq!(of("b/natter-20261130T060000Z-asked.tar", "natter-"), Some((at, Of::Admin)));
        assert_eq!(of("b/natter-a-20261130T060000Z-asked.tar", "natter-a-"), Some((at, Of::Admin)));
        for name in [
            "natter-a-20261130T060000Z.tar",
            "natter-20261130T060000Z-other.tar",
            "natter-20261130T060000Z-asked-asked.tar",
            "natter-20261330T060000Z.tar",
            "natter-20261130T060000Z.tar.natter-part-1",
        ] {
            assert_eq!(of(name, "natter-"), None, "{name}");
        }
    }

    #[test]
    fn what_an_admin_asks_for_removes_none_of_the_schedule_and_outlives_none_of_it() {
        // Times in order; a text of `s` and `a`: whose each file is. Which are removed with BACKUP_KEEP=2.
        for (files, expect) in [
            ("", ""),
            ("sa", ""),
            ("ssaa", ""),
            // Neither kind pushes the other one out.
            ("ssaaaa", "23"),
            ("sssss", "012"),
            // Asked for before all that the schedule keeps.
            ("aasss", "012"),
            ("asas", "0"),
            ("sasas", "01"),
            // Without a schedule, or before it has kept as many.
            ("aaa", "0"),
            ("aas", ""),
        ] {
            let made = files.char_indices().map(|(at, of)| Made {
                at: UnixMs(at as u64),
                of: if of == 's' { Of::Schedule } else { Of::Admin },
                path: at.to_string().into(),
            });
            let removed: String =
                old(made.collect(), 2).iter().map(|path| path.display().to_string()).collect();
            assert_eq!(removed, expect, "{files}");
        }
    }
}
