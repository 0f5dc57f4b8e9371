//! Requests of HTTP, one of each connection at a time: `signin`, `upload` and `download`.
//!
//! Owns the bytes of the files. Invariant: the stored files are read back, and what is downloaded is counted.

use std::io;
use std::time::Instant;

use super::super::conn::Conn;
use super::super::http::{self, Http};
use super::super::line::Target;
use super::super::place::{Member, Place, sign_in_body};
use super::super::scenario::{Check, Prepared, Request, Scenario};

/// Different files that are downloaded.
const FILES: usize = 8;
const URL: &[u8] = b"\"url\":\"";

pub struct SignIn {
    target: Target,
    members: Vec<Member>,
    sessions: u64,
    wrong: u64,
}

pub fn signin(place: &mut Place, clients: usize) -> io::Result<Prepared> {
    let members = place.members(clients)?;
    let target = place.target.clone();
    over_http(place, clients, SignIn { target, members, sessions: 0, wrong: 0 })
}

fn over_http(place: &Place, clients: usize, scenario: impl Scenario + 'static) -> io::Result<Prepared> {
    let conns = (0..clients).map(|_| Conn::http(&place.target)).collect::<io::Result<Vec<Conn>>>()?;
    Ok(Prepared { scenario: Box::new(scenario), conns, askers: clients, is_socket: false })
}

impl Scenario for SignIn {
    fn kinds(&self) -> &'static [&'static str] {
        &["sign-in"]
    }

    fn ask(&mut self, conn: usize, _: u64, _: Instant, out: &mut Vec<u8>) -> Request {
        let body = sign_in_body(&self.members[conn]);
        let fields = "Content-Type: application/json\r\n";
        let path = "/api/v1/user/sign-in";
        out.extend(http::request(&self.target, "POST", path, "", fields, body.as_bytes()));
        Request { kind: 0, tag: 0 }
    }

    fn answered(&mut self, _: usize, _: &Request, is_good: bool, body: &[u8]) -> bool {
        let is_right = memchr::memmem::find(body, b"\"access\":\"").is_some();
        self.sessions += u64::from(is_good && is_right);
        self.wrong += u64::from(is_good && !is_right);
        is_right
    }

    fn verify(&mut self, _: u64) -> Vec<Check> {
        let SignIn { sessions, wrong, .. } = self;
        vec![Check::new(*wrong == 0, format!("{sessions} sessions with a token, {wrong} without"))]
    }
}

pub struct Upload {
    target: Target,
    members: Vec<Member>,
    file: Vec<u8>,
    next: u64,
    /// By connection: the number of the file under way, and the address of the last stored one with its number.
    under_way: Vec<u64>,
    stored: Vec<Option<(String, u64)>>,
}

pub fn upload(place: &mut Place, clients: usize, size: usize) -> io::Result<Prepared> {
    let members = place.members(clients)?;
    let target = place.target.clone();
    let (under_way, stored) = (vec![0; clients], vec![None; clients]);
    over_http(place, clients, Upload { target, members, file: file(size), next: 0, under_way, stored })
}

/// Text, so that the server needs no knowledge of pictures.
fn file(size: usize) -> Vec<u8> {
    b"The load tool of natter wrote this line of a file.\n"
        .iter()
        .copied()
        .cycle()
        .take(size.max(32))
        .collect()
}

/// Makes it a file of its own: equal files of one owner share their bytes.
fn number_it(file: &mut [u8], number: u64) {
    let text = format!("{number:020}");
    file[..text.len()].copy_from_slice(text.as_bytes());
}

fn put(target: &Target, access: &str, file: &[u8]) -> Vec<u8> {
    let fields = "X-Filename: load.txt\r\nContent-Type: application/octet-stream\r\n";
    http::request(target, "POST", "/api/v1/uploads", access, fields, file)
}

impl Scenario for Upload {
    fn kinds(&self) -> &'static [&'static str] {
        &["upload"]
    }

    fn ask(&mut self, conn: usize, _: u64, _: Instant, out: &mut Vec<u8>) -> Request {
        self.next += 1;
        self.under_way[conn] = self.next;
        number_it(&mut self.file, self.next);
        out.extend(put(&self.target, &self.members[conn].access, &self.file));
        Request { kind: 0, tag: 0 }
    }

    fn answered(&mut self, conn: usize, _: &Request, _: bool, body: &[u8]) -> bool {
        let url = memchr::memmem::find(body, URL).map(|at| &body[at + URL.len()..]);
        let url = url.and_then(|rest| std::str::from_utf8(rest).ok()?.split('"').next().map(str::to_owned));
        let size = format!("\"size\":{},", self.file.len());
        let is_right = url.is_some() && memchr::memmem::find(body, size.as_bytes()).is_some();
        if let Some(url) = url {
            self.stored[conn] = Some((url, self.under_way[conn]));
        }
        is_right
    }

    fn verify(&mut self, _: u64) -> Vec<Check> {
        let mut http = Http::new(&self.target);
        let (mut equal, mut all) = (0, 0);
        for (url, number) in self.stored.iter().flatten() {
            number_it(&mut self.file, *number);
            all += 1;
            let read = http.ask("GET", url, "", "");
            equal += usize::from(read.is_ok_and(|read| read.status == 200 && read.body == self.file));
        }
        vec![Check::new(
            equal == all,
            format!("the last file of each of {all} clients was read back: {equal} equal"),
        )]
    }
}

pub struct Download {
    target: Target,
    urls: Vec<String>,
    next: usize,
    size: usize,
    good: u64,
    kept: u64,
}

pub fn download(place: &mut Place, clients: usize, size: usize) -> io::Result<Prepared> {
    let owner = place.members(1)?.remove(0);
    let (mut http, mut file, target) = (place.http(), file(size), place.target.clone());
    let mut urls = Vec::new();
    for number in 0..FILES {
        number_it(&mut file, number as u64);
        urls.push(http.send(&put(&target, &owner.access, &file))?.good()?.at("/data/url"));
    }
    over_http(place, clients, Download { target, urls, next: 0, size: file.len(), good: 0, kept: 0 })
}

impl Scenario for Download {
    fn kinds(&self) -> &'static [&'static str] {
        &["download"]
    }

    fn ask(&mut self, _: usize, _: u64, _: Instant, out: &mut Vec<u8>) -> Request {
        self.next += 1;
        out.extend(http::request(&self.target, "GET", &self.urls[self.next % FILES], "", "", b""));
        Request { kind: 0, tag: 0 }
    }

    fn answered(&mut self, _: usize, _: &Request, is_good: bool, body: &[u8]) -> bool {
        self.good += u64::from(is_good);
        self.kept += if is_good { body.len() as u64 } else { 0 };
        true
    }

    fn verify(&mut self, discarded: u64) -> Vec<Check> {
        let (expected, came) = (self.good * self.size as u64, self.kept + discarded);
        vec![Check::new(
            expected == came,
            format!("{} files of {} bytes: {came} bytes came", self.good, self.size),
        )]
    }
}
