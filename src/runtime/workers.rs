//! Pools of worker threads for slow jobs.
//!
//! Owns queues, threads and panics. Does not know the work of a job.
//! Invariant: each job gets exactly one `Done`, also if its worker panics.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::background::Background;
use super::inbox::{Completion, Inbox};
use super::kernel;
use super::queue::{Producer, Queue, Taken};
use super::threads::{Thread, spawn};
use crate::base::turns::Turns;
use crate::limits::{HOOK_THREADS, MAILS_UNDER_WAY_MAX, PASSWORD_JOBS_MAX, PASSWORD_THREADS, PUSH_THREADS};
use crate::model::id::ProfileId;
use crate::model::job::{Done, Job};
use crate::model::measures::Measure;
use crate::model::metrics::ErrorKind;
use crate::server::contract::Ticket;

/// Threads that send mails: one slow mail server must not delay all other mails.
const MAIL_THREADS: usize = 2;
/// Threads that look up geolocations.
const PLACE_THREADS: usize = 2;
/// Geolocations in progress or waiting. Above it: `Done::Busy`, and the place stays unknown.
const PLACE_JOBS_MAX: usize = 64;
/// Threads that sync and publish uploads: more would not help, because a file system syncs one after the other.
const UPLOAD_THREADS: usize = 2;
/// Threads that publish uploads in a cluster: each also waits until another node has taken its file, and that node may be slow.
const GIVE_THREADS: usize = 4;
/// Of one account: the others always find a thread that is not held by it.
const GIVES_OF_ACCOUNT_MAX: usize = 2;
const _: () = assert!(GIVES_OF_ACCOUNT_MAX < GIVE_THREADS);
/// Uploads being published. Above it: `Done::Busy`.
const UPLOAD_JOBS_MAX: usize = 1_024;
/// Threads that open files: one slow lookup must not delay all others.
const FILE_THREADS: usize = 2;
/// Threads that look after the certificate.
const CERTIFICATE_THREADS: usize = 1;
/// Looks after the certificate: the server asks for one at a time. Above it: `Done::Busy`.
const CERTIFICATE_JOBS_MAX: usize = 1;
/// Threads that make backups.
const BACKUP_THREADS: usize = 1;
/// Backups under way: the server asks for one at a time. Above it: `Done::Busy`.
const BACKUP_JOBS_MAX: usize = 1;
/// Files being opened. Above it: `Done::Busy`.
const FILE_JOBS_MAX: usize = 4_096;
/// Threads that fetch files from other nodes: a large file must not delay all others. Each has 64 KiB of a file at a time.
const FETCH_THREADS: usize = 4;
/// Files being fetched, and those who wait for them. Above it: `Done::Busy`.
const FETCH_JOBS_MAX: usize = 1_024;
/// A worker without work for this long releases its memory.
const WORKER_IDLE: Duration = Duration::from_secs(5);

/// What one worker thread owns and can do.
pub trait Worker: Send {
    fn run(&mut self, job: Job) -> Done;
    /// No work for some time: release memory. A worker that keeps no large memory does nothing.
    fn idle(&mut self) {}
}

/// The kinds of work. Each has its own pool, so that slow mail never delays a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    Password,
    Mail,
    Place,
    /// Gives notifications to push services, and events to outgoing hooks.
    Push,
    /// Syncs, publishes and removes uploads.
    Upload,
    /// Publishes uploads and gives them to another node of a cluster. Without this pool [`PoolKind::Upload`] publishes them.
    Give,
    /// Opens files to be sent.
    File,
    /// Fetches files from other nodes of a cluster, and sees that each is there twice.
    Fetch,
    /// Reads the certificate of https, or orders it.
    Certificate,
    /// Makes backups.
    Backup,
}

impl PoolKind {
    fn of(job: &Job) -> PoolKind {
        match job {
            Job::HashPassword { .. } | Job::VerifyPassword(_) => PoolKind::Password,
            Job::SendMail(_) => PoolKind::Mail,
            Job::FindPlace { .. } => PoolKind::Place,
            Job::Push(_) | Job::CallHook(_) => PoolKind::Push,
            Job::PublishUpload { .. } => PoolKind::Give,
            Job::RemoveFiles { .. } | Job::FindOldFiles { .. } => PoolKind::Upload,
            Job::FetchFile { .. } | Job::KeepCopies { .. } => PoolKind::Fetch,
            Job::OpenFile { .. } => PoolKind::File,
            Job::RenewCertificate { .. } => PoolKind::Certificate,
            Job::MakeBackup => PoolKind::Backup,
        }
    }

    fn name(self) -> &'static str {
        match self {
            PoolKind::Password => "password",
            PoolKind::Mail => "mail",
            PoolKind::Place => "place",
            PoolKind::Push => "push",
            PoolKind::Upload => "publish",
            PoolKind::Give => "give",
            PoolKind::File => "open",
            PoolKind::Fetch => "fetch",
            PoolKind::Certificate => "certificate",
            PoolKind::Backup => "backup",
        }
    }

    fn error_kind(self) -> ErrorKind {
        match self {
            PoolKind::Password => ErrorKind::Worker,
            PoolKind::Mail => ErrorKind::Mail,
            PoolKind::Place => ErrorKind::Geolocation,
            PoolKind::Push => ErrorKind::Push,
            PoolKind::Upload | PoolKind::Give | PoolKind::File | PoolKind::Fetch => ErrorKind::Upload,
            PoolKind::Certificate => ErrorKind::Certificate,
            PoolKind::Backup => ErrorKind::Backup,
        }
    }

    /// The number of threads, and the maximum of jobs in progress.
    fn bounds(self) -> (usize, usize) {
        match self {
            PoolKind::Password => (PASSWORD_THREADS, PASSWORD_JOBS_MAX),
            PoolKind::Mail => (MAIL_THREADS, MAILS_UNDER_WAY_MAX),
            PoolKind::Place => (PLACE_THREADS, PLACE_JOBS_MAX),
            // The server gives each thread one at a time.
            PoolKind::Push => (PUSH_THREADS + HOOK_THREADS, PUSH_THREADS + HOOK_THREADS),
            PoolKind::Upload => (UPLOAD_THREADS, UPLOAD_JOBS_MAX),
            PoolKind::Give => (GIVE_THREADS, UPLOAD_JOBS_MAX),
            PoolKind::File => (FILE_THREADS, FILE_JOBS_MAX),
            PoolKind::Fetch => (FETCH_THREADS, FETCH_JOBS_MAX),
            PoolKind::Certificate => (CERTIFICATE_THREADS, CERTIFICATE_JOBS_MAX),
            PoolKind::Backup => (BACKUP_THREADS, BACKUP_JOBS_MAX),
        }
    }
}

/// A pool has one thread from the start, so that the start fails if it can have none. Another is started only when all have
/// a job: a thread that never had one still costs memory. The pool of backups, which most servers never ask for, has none.
struct Pool {
    kind: PoolKind,
    jobs: Producer<(Ticket, Job)>,
    /// Where jobs have turns by account, those that are not with the threads.
    shares: Option<Shares>,
    /// Starts a thread.
    start: Box<dyn Fn() -> io::Result<Thread> + Send>,
    /// Threads that were started, and how many there may be.
    threads: usize,
    threads_max: usize,
}

/// Jobs in turns by account: one account holds some of the threads at most, however slow its jobs are.
#[derive(Default)]
struct Shares {
    waiting: Turns<ProfileId, (Ticket, Job)>,
    /// At most one for each thread.
    under_way: Vec<(Ticket, ProfileId)>,
}

impl Shares {
    /// The next job whose account has room, if a thread has.
    fn next(&mut self) -> Option<(Ticket, Job)> {
        let under_way = &self.under_way;
        if under_way.len() >= GIVE_THREADS {
            return None;
        }
        let has_room =
            |account| under_way.iter().filter(|(_, its)| *its == account).count() < GIVES_OF_ACCOUNT_MAX;
        let (ticket, job) = self.waiting.pop_if(has_room)?;
        self.under_way.push((ticket, account_of(&job)));
        Some((ticket, job))
    }
}

/// The account whose turn a job is.
fn account_of(job: &Job) -> ProfileId {
    match job {
        Job::PublishUpload { received, .. } => received.owner,
        _ => ProfileId::default(),
    }
}

impl Pool {
    /// Takes a job; `false` if there is no room.
    fn offer(&mut self, ticket: Ticket, job: Job) -> bool {
        let Some(shares) = &mut self.shares else { return self.jobs.offer((ticket, job)) };
        let (_, jobs_max) = self.kind.bounds();
        if shares.waiting.len() + shares.under_way.len() >= jobs_max {
            return false;
        }
        shares.waiting.push(&[account_of(&job)], (ticket, job));
        self.pass_on();
        true
    }

    /// Gives the threads the jobs whose turn it is.
    fn pass_on(&mut self) {
        while let Some(next) = self.shares.as_mut().and_then(Shares::next) {
            assert!(self.jobs.offer(next), "what waits and what is under way is bounded");
        }
    }

    fn finished(&mut self, ticket: Ticket) {
        self.jobs.returned(1);
        if let Some(shares) = &mut self.shares {
            shares.under_way.retain(|(its, _)| *its != ticket);
            self.pass_on();
        }
    }

    /// A thread more, if each has a job and there may be one.
    fn grow(&mut self) -> io::Result<Option<Thread>> {
        if self.threads == self.threads_max || self.jobs.in_flight() <= self.threads {
            return Ok(None);
        }
        let thread = (self.start)()?;
        self.threads += 1;
        Ok(Some(thread))
    }
}

/// The loop's side of all pools.
pub struct Workers {
    pools: Vec<Pool>,
    threads: Vec<Thread>,
    inbox: Arc<Inbox>,
    background: Background,
}

impl Workers {
    pub fn new(inbox: &Arc<Inbox>, background: &Background) -> Workers {
        let (inbox, background) = (Arc::clone(inbox), background.clone());
        Workers { pools: Vec::new(), threads: Vec::new(), inbox, background }
    }

    /// Adds a pool. `make` creates each thread's worker, and a new one after a panic.
    pub fn add<W: Worker>(
        &mut self,
        kind: PoolKind,
        make: impl Fn() -> W + Clone + Send + 'static,
    ) -> io::Result<()> {
        let (threads_max, in_flight_max) = kind.bounds();
        let jobs = Producer::new(in_flight_max);
        let (queue, inbox, background) = (jobs.queue(), Arc::clone(&self.inbox), self.background.clone());
        let start = Box::new(move || {
            let (queue, make) = (Arc::clone(&queue), make.clone());
            let (to, background) = (Arc::clone(&inbox), background.clone());
            let run = move || work_until_closed(kind, make, &queue, &to, &background, WORKER_IDLE);
            spawn(kind.name(), &inbox, run)
        });
        let threads = usize::from(kind != PoolKind::Backup);
        if threads > 0 {
            self.threads.push(start()?);
        }
        let shares = (kind == PoolKind::Give).then(Shares::default);
        self.pools.push(Pool { kind, jobs, shares, start, threads, threads_max });
        Ok(())
    }

    /// Submits a job, or returns its result if that is known at once.
    pub fn submit(&mut self, ticket: Ticket, job: Job) -> Result<(), Done> {
        let mut kind = PoolKind::of(&job);
        if kind == PoolKind::Give && !self.pools.iter().any(|pool| pool.kind == kind) {
            kind = PoolKind::Upload;
        }
        let Some(pool) = self.pools.iter_mut().find(|pool| pool.kind == kind) else {
            self.background.report(kind.error_kind(), format_args!("no workers for {}", job.name()));
            return Err(Done::Failed);
        };
        if pool.threads == 0 {
            match (pool.start)() {
                Ok(thread) => self.threads.push(thread),
                Err(error) => {
                    self.background.report(kind.error_kind(), format_args!("no thread: {error}"));
                    return Err(Done::Failed);
                }
            }
            pool.threads = 1;
        }
        if !pool.offer(ticket, job) {
            return Err(Done::Busy);
        }
        match pool.grow() {
            Ok(thread) => self.threads.extend(thread),
            // The threads that there are do the job later.
            Err(error) => {
                self.background.report(kind.error_kind(), format_args!("no further thread: {error}"))
            }
        }
        Ok(())
    }

    pub fn push_staged(&mut self) {
        self.pools.iter_mut().for_each(|pool| pool.jobs.push_staged());
    }

    pub fn finished(&mut self, kind: PoolKind, ticket: Ticket) {
        let pool = self.pools.iter_mut().find(|pool| pool.kind == kind);
        pool.into_iter().for_each(|pool| pool.finished(ticket));
    }

    /// Ends the threads. Waiting jobs are dropped, because no one needs their results.
    pub fn close(&mut self) -> Vec<Thread> {
        self.pools.iter_mut().for_each(|pool| pool.jobs.abandon());
        std::mem::take(&mut self.threads)
    }
}

fn work_until_closed<W: Worker>(
    kind: PoolKind,
    make: impl Fn() -> W,
    queue: &Queue<(Ticket, Job)>,
    inbox: &Inbox,
    background: &Background,
    idle_after: Duration,
) {
    match kind {
        PoolKind::Password => kernel::lower_priority(kernel::NICE_AWAITED),
        // A notification waits for seconds before it is sent, and nobody waits for a backup.
        PoolKind::Push | PoolKind::Backup => kernel::lower_priority(kernel::NICE_UNAWAITED),
        _ => {}
    }
    let mut worker = make();
    let mut items = VecDeque::with_capacity(1);
    let mut is_idle = true;
    loop {
        let until = (!is_idle).then(|| Instant::now() + idle_after);
        match queue.take(&mut items, 1, until) {
            Taken::Closed => return,
            Taken::Nothing => {
                worker.idle();
                is_idle = true;
            }
            Taken::Items => is_idle = false,
        }
        for (ticket, job) in items.drain(..) {
            let (name, measure, began) = (job.name(), measure_of(&job), Instant::now());
            // The panic's text is not logged: it could contain a secret.
            let done = catch_unwind(AssertUnwindSafe(|| worker.run(job))).unwrap_or_else(|_| {
                worker = make();
                Done::Failed
            });
            measure.into_iter().for_each(|measure| inbox.measures.took(measure, began.elapsed()));
            if matches!(done, Done::Failed) {
                background.report(kind.error_kind(), format_args!("{name} failed"));
            }
            inbox.post(Completion::Finished(kind, ticket, done));
        }
    }
}

/// What is measured of a job.
fn measure_of(job: &Job) -> Option<Measure> {
    match job {
        job if job.is_password() => Some(Measure::PasswordHash),
        Job::Push(_) => Some(Measure::Push),
        Job::CallHook(_) => Some(Measure::Hook),
        Job::SendMail(_) => Some(Measure::Mail),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::base::id::Id;
    use crate::base::slab::Key;
    use crate::model::job::Received;
    use crate::runtime::queue::lock;
    use crate::runtime::testing::{self, PATIENCE, ScriptedWorker, job};

    #[test]
    fn a_panic_is_one_failure_and_idle_is_called_once_after_work() {
        let (_poll, inbox) = testing::inbox();
        let background = Background::new(Arc::clone(&inbox));
        let idle_calls = Arc::default();
        let mut jobs = Producer::new(PASSWORD_JOBS_MAX);
        let (queue, answers) = (jobs.queue(), Arc::clone(&inbox));
        let make = {
            let idle_calls = Arc::clone(&idle_calls);
            move || ScriptedWorker::new(&idle_calls)
        };
        let thread = std::thread::spawn(move || {
            work_until_closed(
                PoolKind::Password,
                make,
                &queue,
                &answers,
                &background,
                Duration::from_millis(5),
            );
        });
        for (n, text) in (0..).zip(["a", "b", "panic", "c"]) {
            assert!(jobs.offer((Key::from_u64(n), job(text))));
        }
        jobs.push_staged();
        let (mut seen, mut taken, mut errors) = (Vec::new(), Vec::new(), 0);
        let end = Instant::now() + PATIENCE;
        while seen.len() < 4 || lock(&idle_calls).is_empty() {
            assert!(Instant::now() < end);
            errors += inbox.take(&mut taken).remove(&ErrorKind::Worker).unwrap_or_default().count;
            for completion in taken.drain(..) {
                let Completion::Finished(PoolKind::Password, ticket, done) = completion else {
                    panic!("a job")
                };
                let text = match done {
                    Done::PasswordHashed(text) => text.expose().clone(),
                    other => format!("{other:?}"),
                };
                seen.push((ticket.to_u64(), text));
            }
            std::thread::yield_now();
        }
        drop(jobs);
        thread.join().expect("no panic");
        let expect = ["1 a", "2 b", "Failed", "1 c"].map(str::to_owned);
        assert_eq!(seen, (0..).zip(expect).collect::<Vec<_>>(), "after a panic the worker is a new one");
        assert_eq!((errors, &*lock(&idle_calls)), (1, &vec!["idle after 1".to_owned()]));
    }

    #[test]
    fn a_full_pool_is_busy_and_a_missing_one_has_failed() {
        let (_poll, inbox) = testing::inbox();
        let mut workers = Workers::new(&inbox, &Background::new(Arc::clone(&inbox)));
        assert!(matches!(workers.submit(Key::from_u64(0), job("a")), Err(Done::Failed)));
        let started = Arc::new(AtomicUsize::new(0));
        let start = {
            let started = Arc::clone(&started);
            Box::new(move || {
                started.fetch_add(1, Ordering::Relaxed);
                std::thread::Builder::new().spawn(|| {})
            })
        };
        let jobs = Producer::new(PASSWORD_JOBS_MAX);
        workers.pools.push(Pool {
            kind: PoolKind::Password,
            jobs,
            shares: None,
            start,
            threads: 1,
            threads_max: 3,
        });
        for n in 0..PASSWORD_JOBS_MAX as u64 {
            assert!(workers.submit(Key::from_u64(n), job("a")).is_ok());
        }
        assert!(matches!(workers.submit(Key::from_u64(0), job("a")), Err(Done::Busy)));
        workers.finished(PoolKind::Password, Key::from_u64(0));
        assert!(workers.submit(Key::from_u64(0), job("a")).is_ok());
        // Two more than at the start, and none above the maximum.
        assert_eq!(started.load(Ordering::Relaxed), 2);
        assert_eq!(workers.close().len(), 2);
    }

    #[test]
    fn an_account_with_slow_uploads_leaves_threads_to_the_others() {
        let mut shares = Shares::default();
        let job = |owner: u128| {
            let received = Received { owner: ProfileId::from_u128(owner), sha256: [0; 32] };
            Job::PublishUpload { file: Id::from_u128(owner), inspect: None, received: Box::new(received) }
        };
        for (n, owner) in (0..).zip([1, 1, 1, 1, 1, 2, 3, 3]) {
            shares.waiting.push(&[ProfileId::from_u128(owner)], (Key::from_u64(n), job(owner)));
        }
        let next = |shares: &mut Shares| shares.next().map(|(ticket, _)| ticket.to_u64());
        let began: Vec<Option<u64>> = (0..5).map(|_| next(&mut shares)).collect();
        assert_eq!(began, [Some(0), Some(5), Some(6), Some(1), None], "in turns, one for each thread");
        // The ones of the first account never end: the other threads go to the others.
        for (ended, expect) in [(5, Some(7)), (6, None), (7, None)] {
            shares.under_way.retain(|(ticket, _)| ticket.to_u64() != ended);
            assert_eq!(next(&mut shares), expect, "after {ended}");
        }
        shares.under_way.clear();
        assert_eq!(next(&mut shares), Some(2));
    }

    #[test]
    fn another_thread_starts_only_when_each_has_a_job() {
        let (_poll, inbox) = testing::inbox();
        let mut workers = Workers::new(&inbox, &Background::new(Arc::clone(&inbox)));
        let start = Box::new(|| std::thread::Builder::new().spawn(|| {}));
        let jobs = Producer::new(PASSWORD_JOBS_MAX);
        workers.pools.push(Pool {
            kind: PoolKind::Password,
            jobs,
            shares: None,
            start,
            threads: 1,
            threads_max: 3,
        });
        for _ in 0..3 {
            assert!(workers.submit(Key::from_u64(0), job("a")).is_ok());
            workers.finished(PoolKind::Password, Key::from_u64(0));
        }
        assert!(workers.close().is_empty());
    }
}
