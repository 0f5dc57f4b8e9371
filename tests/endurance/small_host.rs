//! A small host: MEMORY_MAX=24MiB in a memory cgroup of 24 MiB, with a thousand sockets, uploads, sign-ins, posts and a backup.
//!
//! What does not fit must be refused clearly, and the process must not be ended by the system. Where no memory cgroup can be made, the peak
//! of resident memory is reported and judged instead. In a cgroup the page cache counts, too, but the system takes it back.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::support::TestDir;
use super::support::http::{Person, Response};
use super::support::net::{Http, Ws};
use super::support::process::Launch;
use super::verdict;

const MIB: u64 = 1 << 20;
const MEMORY_MIB: u64 = 24;
const SOCKETS: usize = 1_000;
/// Of each: uploaders, people who sign in, and people who post.
const PEOPLE: usize = 4;
const FILE_BYTES: usize = 4 << 20;
const TIME: Duration = Duration::from_secs(15);

/// What came of one kind of request.
#[derive(Default)]
struct Tally {
    done: AtomicU64,
    /// With 429, 503 or 413 and a code: the client can tell what to do.
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    fn count(&self, answer: io::Result<Response>) {
        let counter = match &answer {
            Ok(answer) if matches!(answer.status, 200 | 201) => &self.done,
            Ok(answer) if matches!(answer.status, 413 | 429 | 503) && !answer.at("code").is_empty() => {
                &self.refused
            }
            _ => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> [u64; 3] {
        [&self.done, &self.refused, &self.failed].map(|counter| counter.load(Ordering::Relaxed))
    }
}

pub fn measure() -> bool {
    let dir = TestDir::new();
    let group = Group::make(MEMORY_MIB * MIB);
    let memory = format!("{MEMORY_MIB}MiB");
    let env = [
        ("MEMORY_MAX", memory.as_str()),
        ("RATE_LIMIT", "off"),
        ("CONNECTIONS_PER_ADDRESS", "5000"),
        ("STREAMS_PER_ACCOUNT", "5000"),
        ("UPLOAD_QUOTA", "1000000000000"),
        ("LOG_LEVEL", "info,natter::access=warn"),
    ];
    let plain = Launch::bare(dir.path()).with(&env);
    let joined = group.as_ref().map(|group| group.procs.to_string_lossy().into_owned());
    let launch = match &joined {
        Some(procs) => plain.clone().by(&["sh", "-c", r#"echo $$ > "$0" && exec "$@""#, procs]),
        None => plain.clone(),
    };
    let mut natter = launch.start();
    let address = natter.address;
    let mut http = Http::connect(address);
    let people: Vec<Person> = (0..3 * PEOPLE).map(|i| http.sign_up(&format!("small{i}"))).collect();
    let sockets: Vec<Ws> = (0..SOCKETS)
        .map(|i| Ws::native(address, &people[i % people.len()].access, None).expect("a socket").0)
        .collect();
    let (uploads, sign_ins, posts) = (Tally::default(), Tally::default(), Tally::default());
    let over = AtomicBool::new(false);
    let mut backup = None;
    thread::scope(|scope| {
        for i in 0..PEOPLE {
            let (over, people) = (&over, &people);
            let (uploads, sign_ins, posts) = (&uploads, &sign_ins, &posts);
            scope.spawn(move || repeat(address, over, uploads, |http, n| upload(http, &people[i], n)));
            scope.spawn(move || repeat(address, over, sign_ins, |http, _| sign_in(http, PEOPLE + i)));
            let (from, to) = (&people[2 * PEOPLE + i], &people[2 * PEOPLE + (i + 1) % PEOPLE]);
            scope.spawn(move || repeat(address, over, posts, |http, n| post(http, from, to, i as u64, n)));
        }
        let began = Instant::now();
        thread::sleep(TIME / 3); // the load is there
        let file = dir.path().join("backup.tar");
        backup = Some(plain.run(&["backup", &file.to_string_lossy()]));
        thread::sleep(TIME.saturating_sub(began.elapsed()));
        over.store(true, Ordering::Relaxed);
    });
    let mut held = verdict(natter.is_running(), format_args!("the process runs after {} s", TIME.as_secs()));
    for (what, tally) in [("uploads", &uploads), ("sign-ins", &sign_ins), ("posts", &posts)] {
        let [done, refused, failed] = tally.get();
        held &= verdict(
            done > 0 && failed == 0,
            format_args!("{what}: {done} done, {refused} refused with a code, {failed} failed"),
        );
    }
    if let Some(backup) = backup {
        let said = String::from_utf8_lossy(&backup.stderr).trim().to_owned();
        held &= verdict(backup.status.success(), format_args!("a backup under this load {said}"));
    }
    let (peak, kept) =
        (natter.memory_kib("VmHWM:").unwrap_or_default(), natter.memory_kib("VmRSS:").unwrap_or_default());
    match &group {
        Some(group) => {
            println!(
                "  in a cgroup of {MEMORY_MIB} MiB, whose peak is {} KiB with the page cache",
                group.peak() / 1_024
            );
            println!("  resident at most {peak} KiB, and {kept} KiB at the end");
        }
        None => {
            println!("  no memory cgroup can be made here: the peak of resident memory is judged");
            held &= verdict(
                peak <= MEMORY_MIB * 1_024,
                format_args!("at most {peak} KiB resident, of {MEMORY_MIB} MiB"),
            );
        }
    }
    drop(sockets);
    natter.stop();
    held
}

/// One client that asks again and again.
fn repeat(
    address: SocketAddr,
    over: &AtomicBool,
    tally: &Tally,
    ask: impl Fn(&mut Http, u64) -> io::Result<Response>,
) {
    let mut http = None;
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        n += 1;
        let Ok(connection) = http.take().map_or_else(|| Http::try_connect(address), Ok) else {
            tally.count(Err(io::ErrorKind::ConnectionRefused.into()));
            return;
        };
        let connection = http.insert(connection);
        let answer = ask(connection, n);
        if answer.is_err() {
            http = None;
        }
        tally.count(answer);
    }
}

fn upload(http: &mut Http, person: &Person, n: u64) -> io::Result<Response> {
    let mut body = format!("{} {n}\n", person.profile).into_bytes();
    body.resize(FILE_BYTES, b'x');
    let head = format!(
        "POST /api/v1/uploads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: text/plain\r\n\
         X-Filename: note.txt\r\nContent-Length: {FILE_BYTES}\r\n\r\n",
        person.access
    );
    http.send(head.as_bytes())?;
    http.send(&body)?;
    http.response(false)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn sign_in(http: &mut Http, i: usize) -> io::Result<Response> {
    let body = format!(r#"{{"email":"small{i}@example.org","password":"correct horse small{i}'s"}}"#);
    http.ask("POST", "/api/v1/user/sign-in", &[], Some(&body))
}

fn post(http: &mut Http, from: &Person, to: &Person, lane: u64, n: u64) -> io::Result<Response> {
    let id = <natter::base::id::Id>::from_u128(u128::from(lane + 1) << 100 | u128::from(n));
    let body = format!(r#"{{"to":"{}","client_id":"{id}","body":"message {n}"}}"#, to.profile);
    http.ask_as(from, "POST", "/api/v1/messages", Some(&body))
}

/// A memory cgroup, removed when it is empty at the end.
struct Group {
    folder: PathBuf,
    procs: PathBuf,
    peak: PathBuf,
}

impl Group {
    /// `None` where this process may not make one.
    fn make(bytes: u64) -> Option<Group> {
        let name = format!("natter-{}", std::process::id());
        let (old, new) = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup");
        let (root, limit, peak) = match fs::exists(format!("{old}/memory.limit_in_bytes")).unwrap_or(false) {
            true => (old, "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
            false => (new, "memory.max", "memory.peak"),
        };
        let folder = PathBuf::from(root).join(name);
        fs::create_dir(&folder).ok()?;
        let group = Group { procs: folder.join("cgroup.procs"), peak: folder.join(peak), folder };
        // In a hierarchy without the controller the file is missing.
        let mut file = fs::OpenOptions::new().write(true).open(group.folder.join(limit)).ok()?;
        file.write_all(bytes.to_string().as_bytes()).ok()?;
        Some(group)
    }

    fn peak(&self) -> u64 {
        fs::read_to_string(&self.peak).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.folder) {
            println!("  {} stays: {error}", self.folder.display());
        }
    }
}
