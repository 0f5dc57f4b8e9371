//! The loop over real loopback sockets, driven by a machine that echoes. Every wait has a deadline; none has a length.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use mio::unix::pipe::{self, Receiver, Sender};

use super::*;
use crate::base::id::Id;
use crate::base::send_queue::{Segment, SendQueue};
use crate::base::slab::Key;
use crate::model::backup::DatabaseCopy;
use crate::model::job::{Done, Hidden, Job};
use crate::model::metrics::Trouble;
use crate::model::operation::{Answer, Command, Lane, Outcome, Refusal};
use crate::model::session::{EndSession, SessionId};
use crate::runtime::queue::lock;
use crate::runtime::{Craft, Database, Kind, Reads, Runtime, RuntimeOptions, Writer};
use crate::server::contract::{Door, Effect, UploadId};
use crate::store::{Committed, Fault};

const PATIENCE: Duration = Duration::from_secs(20);
/// Above it the machine wants no more bytes of a connection.
const QUEUE_MAX: usize = 65_536;

/// What a test looks at from outside.
#[derive(Default)]
struct Seen {
    failed: usize,
    ended: usize,
    memory_max: usize,
    /// Connections the machine wants no bytes of just now.
    paused: usize,
    troubles: Vec<Trouble>,
    peers: Vec<(std::net::IpAddr, Door)>,
}

#[derive(Default)]
struct Conn {
    queue: SendQueue,
    reading: bool,
    ended: bool,
}

/// Echoes. A message that is a whole command instead asks the world for something and answers what came of it.
struct Echo {
    conns: BTreeMap<ConnId, Conn>,
    effects: VecDeque<Effect>,
    conns_max: usize,
    file: Option<PathBuf>,
    /// Never drained, and nothing read.
    stubborn: bool,
    draining: bool,
    asked: Arc<AtomicUsize>,
    seen: Arc<Mutex<Seen>>,
}

impl Echo {
    fn new() -> Echo {
        Echo {
            conns: BTreeMap::new(),
            effects: VecDeque::new(),
            conns_max: 1_000,
            file: None,
            stubborn: false,
            draining: false,
            asked: Arc::default(),
            seen: Arc::default(),
        }
    }

    fn say(&mut self, conn: ConnId, text: &str) {
        if let Some(entry) = self.conns.get_mut(&conn) {
            entry.queue.push_bytes(text.as_bytes());
            self.effects.push_back(Effect::Flush(conn));
        }
    }

    fn received(&mut self, conn: ConnId, bytes: &[u8]) {
        let ticket = Key::from_u64(conn.0);
        let upload = UploadId(Id(u128::from(conn.0)));
        match bytes {
            b"store" => {
                let command = Command::EndSession(EndSession { at: 0, session: SessionId::default() });
                self.effects.push_back(Effect::Store { ticket, lane: conn.lane(), command });
            }
            b"hash" | b"panic" => {
                let password = Hidden(String::from_utf8_lossy(bytes).into_owned());
                let job = Job::HashPassword { password, salt: [0; 16] };
                self.effects.push_back(Effect::Work { ticket, job });
            }
            b"append" => {
                self.effects.push_back(Effect::Append { upload, bytes: bytes.to_vec(), last: false })
            }
            b"file" => {
                let file = self.file.as_ref().and_then(|path| File::open(path).ok()).expect("a file");
                let len = 1_000_000;
                let entry = self.conns.get_mut(&conn).expect("it is open");
                entry.queue.push_bytes(b"head");
                entry.queue.push(Segment::File { file: Arc::new(file), offset: 0, len });
                entry.queue.push_bytes(b"tail");
                self.effects.push_back(Effect::Flush(conn));
            }
            _ => {
                let entry = self.conns.get_mut(&conn).expect("it is open");
                entry.queue.push(Segment::Owned(bytes.to_vec()));
                entry.reading = entry.queue.memory() < QUEUE_MAX;
                let mut seen = lock(&self.seen);
                seen.paused += usize::from(!entry.reading);
                seen.memory_max = seen.memory_max.max(entry.queue.memory());
                self.effects.push_back(Effect::Flush(conn));
            }
        }
    }

    /// After bytes left, or the peer's end, or the wish to stop.
    fn go_on(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let reading = !entry.ended && entry.queue.memory() < QUEUE_MAX;
        if reading && !std::mem::replace(&mut entry.reading, reading) {
            lock(&self.seen).paused -= 1;
            self.effects.push_back(Effect::Flush(conn));
        }
        if (entry.ended || self.draining) && entry.queue.is_empty() {
            self.conns.remove(&conn);
            self.effects.push_back(Effect::Close(conn));
        }
    }
}

impl Machine for Echo {
    fn handle(&mut self, _now: Now, input: Input<'_>) {
        match input {
            Input::Accepted { conn, peer, door } => {
                lock(&self.seen).peers.push((peer, door));
                self.conns.insert(conn, Conn { reading: true, ..Conn::default() });
            }
            Input::Received { conn, bytes } => self.received(conn, bytes),
            Input::Sent { conn, .. } => self.go_on(conn),
            Input::Ended { conn } => {
                lock(&self.seen).ended += 1;
                self.conns.get_mut(&conn).expect("it is open").ended = true;
                self.effects.push_back(Effect::ShutdownWrite(conn));
                self.go_on(conn);
            }
            Input::Failed { conn } => {
                lock(&self.seen).failed += 1;
                assert!(self.conns.remove(&conn).is_some(), "told once");
            }
            Input::Answered { ticket, outcome } => {
                let text = match outcome.result {
                    Ok(_) => "stored".to_owned(),
                    Err(refusal) => format!("{refusal:?}"),
                };
                self.say(ConnId(ticket.to_u64()), &text);
            }
            Input::Finished { ticket, done } => self.say(ConnId(ticket.to_u64()), &format!("{done:?}")),
            Input::Appended { upload, bytes, .. } => {
                self.say(ConnId(upload.0.0 as u64), &format!("appended {bytes}"));
                self.effects.push_back(Effect::Abandon { upload });
            }
            Input::DiskFailed { upload, full } => {
                self.say(ConnId(upload.0.0 as u64), &format!("disk failed, full: {full}"));
            }
            Input::Troubled(trouble) => lock(&self.seen).troubles.push(trouble),
            Input::Storage(_) | Input::Tick => {}
            Input::Drain => {
                self.draining = true;
                let conns: Vec<ConnId> = self.conns.keys().copied().collect();
                if !self.stubborn {
                    conns.into_iter().for_each(|conn| self.go_on(conn));
                }
            }
        }
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn wants_read(&self, conn: ConnId) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        !self.stubborn && self.conns.get(&conn).is_some_and(|conn| conn.reading)
    }

    fn send_queue(&mut self, conn: ConnId) -> Option<&mut SendQueue> {
        self.conns.get_mut(&conn).map(|conn| &mut conn.queue)
    }

    fn is_accepting(&self) -> bool {
        !self.draining && self.conns.len() < self.conns_max
    }

    fn is_drained(&self) -> bool {
        !self.stubborn && self.draining && self.conns.is_empty()
    }
}

struct Pipe(Receiver);

impl Stops for Pipe {
    fn receiver(&mut self) -> &mut Receiver {
        &mut self.0
    }

    fn drain(&mut self) -> u32 {
        let mut bytes = [0; 8];
        self.0.read(&mut bytes).map_or(0, |count| count as u32)
    }
}

struct Yes;

impl Writer for Yes {
    fn commit(&mut self, batch: &mut Vec<(Lane, Command)>) -> Committed {
        let outcome = |_| Outcome { result: Ok(Answer::EndSession(())), events: Vec::new() };
        Committed { outcomes: batch.drain(..).map(outcome).collect(), fault: None }
    }

    fn tend(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn index(&mut self) -> Result<bool, Fault> {
        Ok(false)
    }

    fn probe(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

impl Database for Yes {
    fn back_up(
        &mut self,
        _: Id,
        between: &mut dyn FnMut(&mut dyn Writer) -> bool,
    ) -> Result<DatabaseCopy, Refusal> {
        let copy = DatabaseCopy { file: "copy".to_owned() };
        (0..3).all(|_| between(self)).then_some(copy).ok_or(Refusal::Unavailable)
    }

    fn close(self) -> Result<(), Fault> {
        Ok(())
    }
}

impl Reads for Yes {
    fn read(&mut self, _command: Command) -> Result<Answer, Refusal> {
        Err(Refusal::NotFound)
    }
}

struct Hasher;

impl Craft for Hasher {
    fn run(&mut self, job: Job) -> Done {
        let Job::HashPassword { password, .. } = job else { return Done::Failed };
        assert_ne!(password.0, "panic", "as the test asks");
        Done::PasswordHashed(password)
    }

    fn idle(&mut self) {}
}

struct Running {
    address: SocketAddr,
    folder: PathBuf,
    stop: Sender,
    thread: JoinHandle<Result<(), ServeFault>>,
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    fn stop(mut self) -> Result<(), ServeFault> {
        // The loop may have ended already.
        let _ = self.stop.write(b"1");
        let ended = self.thread.join().expect("no panic");
        std::fs::remove_dir_all(&self.folder).expect("cleaning up");
        ended
    }
}

/// A folder of the test's own; its name stays short enough for a socket.
fn folder() -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("natter-loop-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

fn start(machine: Echo) -> Running {
    start_with(machine, PATIENCE)
}

fn start_with(machine: Echo, drain_max: Duration) -> Running {
    let folder = folder();
    let runtime = Runtime::bind(RuntimeOptions {
        listen: "127.0.0.1:0".parse().expect("an address"),
        control: Some(folder.join("control.sock")),
        uploads: folder.clone(),
        connections_max: 1_000,
        notify: None,
    })
    .expect("bound");
    let address = runtime.address();
    let (stop, receiver) = pipe::new().expect("a pipe");
    let storage = runtime.storage(Yes, vec![Yes, Yes]).expect("threads");
    let mut workers = runtime.workers();
    workers.add(Kind::Password, || Hasher).expect("threads");
    let thread = std::thread::spawn(move || {
        runtime.serve_at_most(drain_max, machine, Pipe(receiver), storage, workers)
    });
    Running { address, folder, stop, thread }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::yield_now();
    }
}

fn ask(stream: &mut TcpStream, text: &str, expect: &str) {
    stream.write_all(text.as_bytes()).expect("a write");
    let mut answer = vec![0; expect.len()];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), expect);
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

#[test]
fn bytes_come_back_in_order_however_they_are_cut_and_the_end_comes_after_the_last() {
    let server = start(Echo::new());
    for piece in [1, 7, 1_000, 65_536, 1_000_000] {
        let sent = pattern(if piece < 1_000 { 5_000 } else { 1_000_000 });
        let stream = server.connect();
        let mut writer = stream.try_clone().expect("a clone");
        let expect = sent.clone();
        let writing = std::thread::spawn(move || {
            sent.chunks(piece).for_each(|bytes| writer.write_all(bytes).expect("a write"));
            writer.shutdown(Shutdown::Write).expect("a half-close");
        });
        let mut back = Vec::new();
        (&stream).read_to_end(&mut back).expect("the end");
        writing.join().expect("written");
        assert!(back == expect, "cut in {piece}");
    }
    server.stop().expect("drained");
}

#[test]
fn a_peer_that_does_not_read_is_not_read_either_and_loses_nothing() {
    let machine = Echo::new();
    let seen = Arc::clone(&machine.seen);
    let server = start(machine);
    let mut stream = server.connect();
    stream.set_nonblocking(true).expect("a flag");
    // Until the server stops reading and the kernel's buffers are full on both ways.
    let block = pattern(100_000);
    let mut written = Vec::new();
    until("the server stops reading", || match stream.write(&block) {
        Ok(count) => {
            written.extend_from_slice(&block[..count]);
            false
        }
        Err(_) => lock(&seen).paused == 1,
    });
    stream.set_nonblocking(false).expect("a flag");
    let memory_max = lock(&seen).memory_max;
    assert!(memory_max <= QUEUE_MAX + READ_BUFFER, "{memory_max}");
    // Others are served meanwhile.
    ask(&mut server.connect(), "hello", "hello");
    stream.shutdown(Shutdown::Write).expect("a half-close");
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("the end");
    assert!(back == written, "{} of {} bytes", back.len(), written.len());
    server.stop().expect("drained");
}

#[test]
fn sockets_that_wait_cost_no_turn_anything() {
    let machine = Echo::new();
    let (asked, seen) = (Arc::clone(&machine.asked), Arc::clone(&machine.seen));
    let server = start(machine);
    let idle: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    let mut active = server.connect();
    let mut questions = |messages: usize| {
        let before = asked.load(Ordering::Relaxed);
        (0..messages).for_each(|_| ask(&mut active, "ping", "ping"));
        asked.load(Ordering::Relaxed) - before
    };
    // Each of these has unread bytes that the machine does not want, since nobody takes the echo.
    let mut parked: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    let block = pattern(100_000);
    parked.iter().for_each(|stream| stream.set_nonblocking(true).expect("a flag"));
    until("all of them are parked", || {
        let full = parked.iter_mut().filter_map(|stream| stream.write(&block).err()).count() == 20;
        full && lock(&seen).paused == 20 && questions(3) <= 12
    });
    let questions = questions(100);
    assert!(questions <= 100 * 4, "{questions} looks at sockets for 100 messages");
    drop((parked, idle));
    server.stop().expect("drained");
}

#[test]
fn a_reset_is_told_once_and_the_socket_is_gone() {
    let machine = Echo::new();
    let seen = Arc::clone(&machine.seen);
    let server = start(machine);
    let mut stream = server.connect();
    ask(&mut stream, "a", "a");
    stream.write_all(b"unread").expect("a write");
    stream.peek(&mut [0]).expect("the echo is here");
    drop(stream); // closing over unread bytes resets (RFC 9293 §3.10.4)
    until("the reset is heard", || lock(&seen).failed == 1);
    server.stop().expect("drained");
}

#[test]
fn accepting_pauses_at_the_bound_and_goes_on_below_it() {
    let mut machine = Echo::new();
    machine.conns_max = 2;
    let seen = Arc::clone(&machine.seen);
    let server = start(machine);
    let (mut first, mut second) = (server.connect(), server.connect());
    ask(&mut first, "1", "1");
    ask(&mut second, "2", "2");
    let mut third = server.connect();
    third.write_all(b"3").expect("the kernel takes it");
    (0..50).for_each(|_| ask(&mut first, "still", "still"));
    assert_eq!(lock(&seen).peers.len(), 2);
    // The control socket has room, whatever the public door has.
    let mut control = UnixStream::connect(server.folder.join("control.sock")).expect("a connection");
    control.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    control.write_all(b"who").expect("a write");
    let mut answer = [0; 3];
    control.read_exact(&mut answer).expect("an echo");
    assert_eq!(&answer, b"who");
    assert_eq!(lock(&seen).peers.last(), Some(&("127.0.0.1".parse().expect("an address"), Door::Control)));
    drop((control, second));
    let mut echo = [0];
    third.read_exact(&mut echo).expect("accepted at last");
    server.stop().expect("drained");
}

#[test]
fn effects_reach_their_threads_and_the_answers_their_callers() {
    let machine = Echo::new();
    let seen = Arc::clone(&machine.seen);
    let server = start(machine);
    let mut stream = server.connect();
    for _ in 0..3 {
        ask(&mut stream, "store", "stored");
        ask(&mut stream, "hash", "PasswordHashed(Hidden(..))");
        ask(&mut stream, "panic", "Failed");
        ask(&mut stream, "append", "appended 6");
    }
    until("the panics are counted", || lock(&seen).troubles == [Trouble::Worker; 3]);
    let control = server.folder.join("control.sock");
    assert!(control.exists());
    let left = server.folder.join("tmp");
    drop(stream);
    until("the upload is abandoned", || std::fs::read_dir(&left).expect("a folder").count() == 0);
    server.stop().expect("drained");
}

#[test]
fn a_file_is_sent_between_its_neighbours_and_a_shorter_one_ends_the_connection() {
    for (len, whole) in [(1_000_000, true), (700_000, false)] {
        let content = pattern(len);
        let folder = folder();
        let mut machine = Echo::new();
        machine.file = Some(folder.join("file"));
        std::fs::write(folder.join("file"), &content).expect("a file");
        let seen = Arc::clone(&machine.seen);
        let server = start(machine);
        let mut streams: Vec<TcpStream> = (0..40).map(|_| server.connect()).collect();
        streams.iter_mut().for_each(|stream| stream.write_all(b"file").expect("a write"));
        if whole {
            let expect = [b"head", content.as_slice(), b"tail"].concat();
            for stream in &mut streams {
                let mut back = vec![0; expect.len()];
                stream.read_exact(&mut back).expect("all of it");
                assert!(back == expect);
            }
        } else {
            for stream in &mut streams {
                let mut back = Vec::new();
                // A reset or an end; never the whole.
                let _ = stream.read_to_end(&mut back);
                assert!(back.len() <= 4 + len);
            }
            assert_eq!(lock(&seen).failed, streams.len());
            assert_eq!(lock(&seen).troubles.first(), Some(&Trouble::Upload));
        }
        server.stop().expect("drained");
        std::fs::remove_dir_all(folder).expect("cleaning up");
    }
}

#[test]
fn a_drain_finishes_what_was_begun_and_refuses_what_is_new() {
    let server = start(Echo::new());
    let mut idle = server.connect();
    ask(&mut idle, "x", "x");
    // More than the kernel holds, so that something is under way for sure.
    let busy = server.connect();
    let mut writer = busy.try_clone().expect("a clone");
    let block = pattern(200_000);
    writer.set_nonblocking(true).expect("a flag");
    let mut sent = 0;
    while let Ok(count) = writer.write(&block) {
        sent += count;
    }
    writer.set_nonblocking(false).expect("a flag");
    let address = server.address;
    let control = server.folder.join("control.sock");
    let stopping = std::thread::spawn(move || server.stop());
    let mut end = Vec::new();
    idle.read_to_end(&mut end).expect("closed");
    until("the door is closed", || TcpStream::connect(address).is_err() && !control.exists());
    let mut back = Vec::new();
    // What the server took is echoed; what it did not take makes its close a reset.
    let _ = (&busy).read_to_end(&mut back);
    assert!(!back.is_empty() && back.len() <= sent);
    stopping.join().expect("no panic").expect("drained");
}

#[test]
fn a_drain_ends_at_its_limit_and_at_once_after_a_second_signal() {
    let stubborn = || Echo { stubborn: true, ..Echo::new() };
    let server = start_with(stubborn(), Duration::from_millis(50));
    let _open = server.connect();
    server.stop().expect("ended at the limit");

    let mut server = start(stubborn());
    let _open = server.connect();
    server.stop.write_all(b"1").expect("a signal");
    let fault = server.stop().expect_err("forced");
    assert!(matches!(fault, ServeFault::Forced), "{fault}");
    assert_eq!(fault.exit_code(), 130);
}
