//! Media in bulk: uploads and downloads of 10 MiB over loopback, compared with nginx in alternation.
//!
//! Also measures how much resident memory a hundred parallel uploads add.
//!
//! The comparison is not even: natter checks and hashes every byte, syncs the file and its folder and commits a row before
//! it answers; nginx writes into the page cache. So the second reference is the same work by three tools, one after the
//! other: nginx, the sync of what it wrote, and SHA-256 over it on one core (which is most of it on a processor without
//! instructions for SHA-256).

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use natter::base::crypto::Sha256;

use super::nginx::Nginx;
use super::support::TestDir;
use super::support::http::Person;
use super::support::net::Http;
use super::support::process::{Launch, Natter};
use super::verdict;

const FILE_BYTES: usize = 10 * 1_048_576;
const ROUNDS: usize = 7;
/// Connections of one turn, and the files each of them transfers.
const LOADS: [(usize, usize); 2] = [(1, 8), (8, 2)];
/// Minimum ratios to nginx + sync + SHA-256, and to nginx with `sendfile`.
const UPLOAD_FLOOR: f64 = 0.6;
const DOWNLOAD_FLOOR: f64 = 0.5;

const PARALLEL: usize = 100;
const GROWTH_KIB_MAX: u64 = 16 * 1_024;

pub fn measure() -> bool {
    let dir = TestDir::new();
    let env = [
        ("LOG_LEVEL", "info,natter::access=warn"),
        ("UPLOAD_QUOTA", "1000000000000"),
        ("RATE_LIMIT", "off"),
        ("ACCESS_TTL", "86400"),
    ];
    let natter = Launch::bare(dir.path()).with(&env).start();
    let mut http = Http::connect(natter.address);
    let ann = http.sign_up("ann");
    let body = Body::new();
    let mut held = memory(&natter, &ann, &body);
    let nginx = Nginx::start(&dir.path().join("nginx"));
    held &= throughput(&natter, &nginx, &ann, &body, dir.path());
    natter.stop();
    held
}

// ---- the file ------------------------------------------------------------------------------------

/// Files of 10 MiB that all differ: a unique head, and a shared tail.
struct Body {
    tail: Vec<u8>,
    next: AtomicU64,
}

const HEAD_BYTES: usize = 26;

impl Body {
    fn new() -> Body {
        // xorshift: data that no disk or file system can compress.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let tail = words.flatten().take(FILE_BYTES - HEAD_BYTES).collect();
        Body { tail, next: AtomicU64::new(0) }
    }

    fn head(&self) -> String {
        format!("%PDF-1.7\n{:016x}\n", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// How long one core needs to hash it.
    fn hash(&self) -> Duration {
        let began = Instant::now();
        let mut hash = Sha256::new();
        hash.update(self.head().as_bytes());
        hash.update(&self.tail);
        assert_ne!(hash.finish(), [0; 32]);
        began.elapsed()
    }

    fn send(&self, http: &mut Http, request: &str) {
        http.send(request.as_bytes()).expect("a head");
        http.send(self.head().as_bytes()).expect("a body");
        http.send(&self.tail).expect("a body");
        let response = http.response(false).expect("a response").expect("a response");
        assert_eq!(response.status, 201, "{}", response.text());
    }
}

fn natter_upload(person: &Person) -> String {
    format!(
        "POST /api/v1/uploads HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nX-Filename: a.pdf\r\n\
         Content-Length: {FILE_BYTES}\r\n\r\n",
        person.access
    )
}

// ---- throughput ----------------------------------------------------------------------------------

fn throughput(natter: &Natter, nginx: &Nginx, ann: &Person, body: &Body, folder: &Path) -> bool {
    let ours = natter_upload(ann);
    let theirs = format!("PUT /uploads HTTP/1.1\r\nHost: test\r\nContent-Length: {FILE_BYTES}\r\n\r\n");
    let target = one_upload(natter, ann, body);
    let our_get = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    std::fs::write(nginx.files.join("a.pdf"), [body.head().as_bytes(), &body.tail].concat()).expect("a file");
    let their_get = "GET /files/a.pdf HTTP/1.1\r\nHost: test\r\n\r\n";
    println!("  MB/s (medians of {ROUNDS})   natter    nginx   of it    and sync   SHA-256   of all three");
    let mut held = true;
    for (connections, files) in LOADS {
        let upload =
            |address, request: &str| each_of(address, connections, files, |http| body.send(http, request));
        let (mut up, mut down) = ([vec![], vec![], vec![], vec![]], [vec![], vec![]]);
        for _ in 0..ROUNDS {
            sync(folder);
            up[0].push(rate(connections * files, upload(natter.address, &ours)));
            sync(folder);
            let began = Instant::now();
            up[1].push(rate(connections * files, upload(nginx.address, &theirs)));
            sync(folder);
            up[2].push(rate(connections * files, began.elapsed()));
            nginx.remove_bodies();
            sync(folder);
            up[3].push(rate(1, body.hash()));
            let repeats = files * 8;
            let both = [(natter.address, our_get.as_str()), (nginx.address, their_get)];
            for ((address, request), rates) in both.into_iter().zip(&mut down) {
                let took = each_of(address, connections, repeats, |http| download(http, request));
                rates.push(rate(connections * repeats, took));
            }
        }
        let [ours, theirs, synced, hash] = up.map(median);
        let same_work = 1.0 / (1.0 / synced + 1.0 / hash);
        println!(
            "  upload   × {connections:<2} {ours:>16.0} {theirs:>8.0} {:>7.2} {synced:>11.0} {hash:>9.0} {:>14.2}",
            ours / theirs,
            ours / same_work,
        );
        let [got, theirs] = down.map(median);
        println!("  download × {connections:<2} {got:>16.0} {theirs:>8.0} {:>7.2}", got / theirs);
        held &= verdict(
            ours >= UPLOAD_FLOOR * same_work && got >= DOWNLOAD_FLOOR * theirs,
            format_args!(
                "{connections} at once: at least {UPLOAD_FLOOR} of nginx, sync and SHA-256, and {DOWNLOAD_FLOOR} of sendfile"
            ),
        );
    }
    held
}

fn one_upload(natter: &Natter, ann: &Person, body: &Body) -> String {
    let mut http = Http::connect(natter.address);
    http.send(natter_upload(ann).as_bytes()).expect("a head");
    http.send(body.head().as_bytes()).expect("a body");
    http.send(&body.tail).expect("a body");
    let response = http.response(false).expect("a response").expect("a response");
    response.at("data.url")
}

/// Writes dirty pages to the disk now, so that they are not written during the next measurement.
fn sync(folder: &Path) {
    assert!(Command::new("sync").arg("-f").arg(folder).status().expect("sync runs").success());
}

/// How long the connections take to do the work, each of them `times` times. Connecting is not counted.
fn each_of(
    address: SocketAddr,
    connections: usize,
    times: usize,
    work: impl Fn(&mut Http) + Sync,
) -> Duration {
    let ready = Barrier::new(connections + 1);
    let began = thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut http = Http::connect(address);
                ready.wait();
                (0..times).for_each(|_| work(&mut http));
            });
        }
        ready.wait();
        Instant::now()
    });
    began.elapsed()
}

/// Reads one file to its end and discards it.
fn download(http: &mut Http, request: &str) {
    http.stream.write_all(request.as_bytes()).expect("a head");
    let mut buffer = vec![0; 262_144];
    let mut have = 0;
    let head = loop {
        have += http.stream.read(&mut buffer[have..]).expect("a head");
        if let Some(end) = buffer[..have].windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..head]));
    let mut left = FILE_BYTES - (have - head);
    while left > 0 {
        let count = http.stream.read(&mut buffer).expect("bytes");
        assert!(count > 0, "cut off");
        left -= count;
    }
}

fn rate(files: usize, took: Duration) -> f64 {
    (files * FILE_BYTES) as f64 / 1e6 / took.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

// ---- memory --------------------------------------------------------------------------------------

/// The memory that a hundred uploads add, each of them half sent before any is complete; half of them as forms.
fn memory(natter: &Natter, ann: &Person, body: &Body) -> bool {
    one_upload(natter, ann, body); // the first upload allocates what all share
    thread::sleep(Duration::from_secs(7)); // idle workers release their memory
    let Some(before) = natter.memory_kib("VmRSS:") else {
        println!("  no /proc here: memory is not measured");
        return false;
    };
    let peak_is_reset = std::fs::write(format!("/proc/{}/clear_refs", natter.pid()), "5").is_ok();
    if !peak_is_reset {
        println!("  the earlier peak can't be reset here (CONFIG_PROC_PAGE_MONITOR): it is included");
    }
    let (half_way, address) = (Barrier::new(PARALLEL), natter.address);
    thread::scope(|scope| {
        for number in 0..PARALLEL {
            let half_way = &half_way;
            scope.spawn(move || {
                let mut http = Http::connect(address);
                let (request, end) = if number % 2 == 0 { (natter_upload(ann), "") } else { form(ann) };
                http.send(request.as_bytes()).expect("a head");
                http.send(body.head().as_bytes()).expect("a body");
                let (first, second) = body.tail.split_at(FILE_BYTES / 2);
                http.send(first).expect("a body");
                half_way.wait();
                http.send(second).expect("a body");
                http.send(end.as_bytes()).expect("a body");
                let response = http.response(false).expect("a response").expect("a response");
                assert_eq!(response.status, 201, "{}", response.text());
            });
        }
    });
    let peak = natter.memory_kib("VmHWM:").unwrap_or(u64::MAX);
    let growth = peak.saturating_sub(before);
    verdict(
        growth < GROWTH_KIB_MAX,
        format_args!(
            "{PARALLEL} parallel uploads of 10 MiB add {growth} KiB, of 16 MiB ({before} → {peak} KiB)"
        ),
    )
}

/// The head and the end of the same file as a form.
fn form(person: &Person) -> (String, &'static str) {
    const BEGIN: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.pdf\"\r\n\r\n";
    const END: &str = "\r\n--b--\r\n";
    let length = BEGIN.len() + FILE_BYTES + END.len();
    let head = format!(
        "POST /api/v1/uploads HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\n\
         Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n{BEGIN}",
        person.access
    );
    (head, END)
}
