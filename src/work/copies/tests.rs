//! Two nodes on real sockets and files: a file is given, fetched, and refused.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::*;
use crate::base::channel::{Channel, HELLO_BYTES};
use crate::base::crypto::sha256;
use crate::base::testing::{Folder, PATIENCE};
use crate::model::job::KeptCopies;
use crate::model::node::NodeName;
use crate::model::upload::KeptFile;

const FILE: UploadId = UploadId::from_u128(0x2ab);

/// A node: its folder, and where it is asked.
struct TestNode {
    folder: Folder,
    copies: Copies,
    nodes: KnownNodes,
    is_full: Arc<AtomicBool>,
    address: SocketAddr,
    /// Connections that it has answered.
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TestNode {
    fn new(life: u128) -> TestNode {
        TestNode::with_key(life, [7; 32])
    }

    fn with_key(life: u128, key: [u8; 32]) -> TestNode {
        let folder = Folder::new();
        let (nodes, is_full) = (KnownNodes::default(), Arc::new(AtomicBool::new(false)));
        let full = Arc::clone(&is_full);
        let room: Room = Arc::new(move |_| match full.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        });
        let options =
            CopyOptions { key: SealKey::new(&key), life, nodes: nodes.clone(), room, is_needed: true };
        let copies = Copies::new(options, Publisher::new(folder.to_path_buf()));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (answerer, stops, count) =
            (Answerer::new(copies.clone()), Arc::clone(&stop), Arc::clone(&answered));
        let thread = std::thread::spawn(move || {
            for socket in listener.incoming() {
                if stops.load(Ordering::Relaxed) {
                    return;
                }
                answerer.answer(socket.expect("a connection"));
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        TestNode { folder, copies, nodes, is_full, address, answered, stop, thread: Some(thread) }
    }

    /// Knows the other node from now on.
    fn knows(&self, name: &str, other: SocketAddr) {
        self.nodes.heard(NodeName::parse(name).expect("a name"), other.into());
    }

    fn path(&self) -> PathBuf {
        self.folder.join("ab").join(FILE.to_string())
    }

    fn put(&self, bytes: &[u8]) {
        fs::create_dir_all(self.folder.join("ab")).expect("a folder");
        fs::write(self.path(), bytes).expect("a file");
    }

    /// The bytes of the file, if the node has it. Nothing else may be left.
    fn has(&self) -> Option<Vec<u8>> {
        let temporary = fs::read_dir(self.folder.join("tmp")).map_or(0, Iterator::count);
        assert_eq!(temporary, 0, "a temporary file is left");
        fs::read(self.path()).ok()
    }

    fn fetch(&self, bytes: &[u8]) -> Result<(), NotCopied> {
        self.copies.fetch(FILE, bytes.len() as u64, sha256(bytes)).map(drop)
    }

    /// Waits until so many connections are answered.
    fn has_answered(&self, count: usize) {
        crate::base::testing::until("the connections are answered", || {
            self.answered.load(Ordering::Relaxed) >= count
        });
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

/// A port at which nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// Some frames and a part of one.
fn bytes() -> Vec<u8> {
    (0..FRAME_TEXT_MAX * 3 + 5).map(|n| (n % 251) as u8).collect()
}

#[test]
fn a_file_is_given_and_fetched() {
    for bytes in [bytes(), b"x".to_vec(), vec![3; FRAME_TEXT_MAX]] {
        let (a, b, c) = (TestNode::new(1), TestNode::new(2), TestNode::new(3));
        a.put(&bytes);
        assert_eq!(a.copies.give(FILE, sha256(&bytes)), Err(NotCopied), "there is no other node");
        a.knows("b", b.address);
        assert_eq!(a.copies.give(FILE, sha256(&bytes)), Ok(bytes.len() as u64));
        assert_eq!(a.copies.give(FILE, sha256(&bytes)), Ok(bytes.len() as u64), "again");
        assert_eq!(b.has().as_ref(), Some(&bytes));
        // The first one that is asked does not answer, and the second one does not have it.
        c.knows("a", nobody());
        c.knows("b", b.address);
        assert_eq!(c.fetch(&bytes), Ok(()));
        assert_eq!(c.has(), Some(bytes));
    }
}

#[test]
fn a_file_that_nobody_has_is_not_fetched_and_one_that_is_here_not_again() {
    let (a, b) = (TestNode::new(1), TestNode::new(2));
    assert_eq!(a.fetch(b"hello"), Err(NotCopied), "there is no other node");
    a.knows("b", b.address);
    assert_eq!(a.fetch(b"hello"), Err(NotCopied));
    assert_eq!(a.has(), None);
    a.put(b"hello");
    assert_eq!(a.fetch(b"hello"), Ok(()));
    b.has_answered(1);
    assert_eq!(b.answered.load(Ordering::Relaxed), 1, "nobody was asked for the file that is here");
}

#[test]
fn who_ask_at_the_same_time_cause_one_transfer() {
    let (a, b) = (TestNode::new(1), TestNode::new(2));
    let bytes = bytes();
    b.put(&bytes);
    a.knows("b", b.address);
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4).map(|_| scope.spawn(|| a.fetch(&bytes))).collect();
        askers.into_iter().for_each(|asker| assert_eq!(asker.join().expect("no panic"), Ok(())));
    });
    assert_eq!(a.has(), Some(bytes));
    b.has_answered(1);
    assert_eq!(b.answered.load(Ordering::Relaxed), 1);
}

#[test]
fn other_bytes_are_not_stored() {
    let (a, b) = (TestNode::new(1), TestNode::new(2));
    a.knows("b", b.address);
    b.knows("a", a.address);
    a.put(b"hello");
    assert_eq!(a.copies.give(FILE, sha256(b"other")), Err(NotCopied), "another SHA-256 was said");
    assert_eq!(b.has(), None);
    for other in [&b"other"[..], b"hell", b"hello!"] {
        assert_eq!(b.fetch(other), Err(NotCopied), "{other:?}");
        assert_eq!(b.has(), None);
    }
    assert_eq!(b.fetch(b"hello"), Ok(()));
}

#[test]
fn a_full_disk_takes_nothing() {
    let (a, b, c) = (TestNode::new(1), TestNode::new(2), TestNode::new(3));
    a.put(b"hello");
    a.knows("b", b.address);
    b.knows("a", a.address);
    b.is_full.store(true, Ordering::Relaxed);
    assert_eq!(a.copies.give(FILE, sha256(b"hello")), Err(NotCopied));
    assert_eq!(b.fetch(b"hello"), Err(NotCopied));
    assert_eq!(b.has(), None);
    a.knows("c", c.address);
    assert_eq!(a.copies.give(FILE, sha256(b"hello")), Ok(5), "another one takes it");
    assert_eq!((b.has(), c.has().as_deref()), (None, Some(&b"hello"[..])));
}

#[test]
fn a_node_of_another_cluster_gets_nothing() {
    let (a, b) = (TestNode::new(1), TestNode::with_key(2, [8; 32]));
    a.put(b"hello");
    a.knows("b", b.address);
    b.knows("a", a.address);
    assert_eq!(a.copies.give(FILE, sha256(b"hello")), Err(NotCopied));
    assert_eq!(b.fetch(b"hello"), Err(NotCopied));
    assert_eq!(b.has(), None);
}

#[test]
fn in_a_cluster_for_trying_a_file_may_be_on_one_node() {
    let a = TestNode::new(1);
    a.put(b"hello");
    let shared = CopyOptions { is_needed: false, ..a.copies.0.options.clone() };
    let copies = Copies::new(shared, Publisher::new(a.folder.to_path_buf()));
    assert_eq!(copies.give(FILE, sha256(b"hello")), Ok(0));
}

/// All that the connecting side sends when it gives a file of five bytes, to a node that only receives.
fn recorded() -> Vec<u8> {
    let (sender, heard) = mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let node = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let (own, key) = (Hello::new(9, 9), SealKey::new(&[7; 32]));
        let mut hello = [0; HELLO_BYTES];
        socket.read_exact(&mut hello).expect("a hello");
        socket.write_all(&own.to_bytes()).expect("written");
        let other = Hello::parse(hello).expect("a hello");
        let mut channel = Channel::of_answerer(&key, &own, &other);
        let mut all = hello.to_vec();
        let mut received = Vec::new();
        let mut next = |socket: &mut TcpStream, channel: &mut Channel| loop {
            if let Some(text) = channel.take(&mut received).expect("a frame") {
                return text;
            }
            let mut part = [0; 64];
            let count = socket.read(&mut part).expect("a part of a frame");
            assert!(count > 0, "the connection ended");
            received.extend_from_slice(&part[..count]);
            all.extend_from_slice(&part[..count]);
        };
        let request = next(&mut socket, &mut channel);
        assert!(matches!(Request::parse(&request), Some(Request::Store { .. })));
        socket.write_all(&channel.seal(&Reply::Send.to_bytes())).expect("written");
        assert_eq!(next(&mut socket, &mut channel), b"hello");
        let stored = Reply::Stored { sha256: sha256(b"hello") };
        socket.write_all(&channel.seal(&stored.to_bytes())).expect("written");
        sender.send(all).expect("the test waits");
    });
    let a = TestNode::new(1);
    a.put(b"hello");
    a.knows("b", address);
    assert_eq!(a.copies.give(FILE, sha256(b"hello")), Ok(5));
    node.join().expect("no panic");
    heard.recv().expect("what was sent")
}

/// Sends these bytes to a node and ends. Returns what it answers after its first message.
fn send_raw(node: &TestNode, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(node.address).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    socket.write_all(bytes).expect("written");
    socket.shutdown(Shutdown::Write).expect("an end");
    let mut answer = Vec::new();
    // The node may have closed with bytes unread, which resets the connection.
    let ended = socket.read_to_end(&mut answer);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset));
    answer.split_off(answer.len().min(HELLO_BYTES))
}

#[test]
fn what_was_recorded_of_one_connection_is_not_taken_on_another() {
    let recorded = recorded();
    let b = TestNode::new(2);
    assert_eq!(send_raw(&b, &recorded), b"", "no answer, not even a refusal");
    b.has_answered(1);
    assert_eq!(b.has(), None);
}

#[test]
fn what_is_not_of_the_cluster_is_not_answered() {
    let b = TestNode::new(2);
    let hello = Hello::new(5, 5).to_bytes();
    for (at, bytes) in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        &[],
        &hello[..9],
        &hello,
        &[&hello[..], &[255; 40]].concat(),
        &[&hello[..], &[0, 0, 0, 30], &[9; 30]].concat(),
        &[&hello[..], &[0, 0, 0, 30], &[9; 20]].concat(),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(send_raw(&b, bytes), b"", "{bytes:?}");
        b.has_answered(at + 1);
    }
    assert_eq!(b.has(), None);
}

/// A node of the cluster that ends in the middle of a file, or sends more than it said.
#[test]
fn a_part_of_a_file_is_not_stored() {
    check_part(&[b"hel"], 5);
    check_part(&[b"hel", b"lo!"], 5);
    check_part(&[b"hello"], 9);
    check_part(&[b"hello", b""], 6);
}

fn check_part(parts: &[&[u8]], size: u64) {
    let (b, sha256) = (TestNode::new(2), sha256(b"hello"));
    let key = SealKey::new(&[7; 32]);
    let mut link = Link::connect(&b.address.into(), &key, Hello::new(5, 5), size).expect("a connection");
    let file = Id::from_u128(FILE.to_u128());
    link.send(&Request::Store { file, size, sha256 }.to_bytes()).expect("sent");
    assert_eq!(answer_of(&mut link).expect("an answer"), Reply::Send);
    for part in parts {
        link.send(part).expect("sent");
    }
    drop(link);
    b.has_answered(1);
    assert_eq!(b.has(), None, "{parts:?} of {size}");
}

#[test]
fn a_file_that_no_other_node_has_is_given_to_one_and_only_then() {
    let (a, b, c) = (TestNode::new(1), TestNode::new(2), TestNode::new(3));
    let file = KeptFile { file: FILE, size: 5, sha256: sha256(b"hello") };
    a.put(b"hello");
    assert_eq!(a.copies.keep(&[file]), KeptCopies::default(), "there is no other node");
    a.knows("b", b.address);
    a.knows("c", c.address);
    let given = KeptCopies { files: 1, bytes: 5, through: None };
    assert_eq!(a.copies.keep(&[file]), given);
    assert_eq!(b.has().is_some() as u8 + c.has().is_some() as u8, 1);
    assert_eq!(a.copies.keep(&[file]), KeptCopies::default(), "one has it");
    // Its disk is replaced.
    for node in [&b, &c] {
        drop(fs::remove_file(node.path()));
    }
    assert_eq!(a.copies.keep(&[file]), given);
    // One does not answer: it may have the file.
    for node in [&b, &c] {
        drop(fs::remove_file(node.path()));
    }
    a.knows("d", nobody());
    assert_eq!(a.copies.keep(&[file]), KeptCopies::default());
    assert!(b.has().is_none() && c.has().is_none());
}

#[test]
fn a_file_that_is_not_what_its_row_says_is_not_given() {
    let (a, b) = (TestNode::new(1), TestNode::new(2));
    a.put(b"other");
    a.knows("b", b.address);
    let file = KeptFile { file: FILE, size: 5, sha256: sha256(b"hello") };
    assert_eq!(a.copies.keep(&[file]), KeptCopies::default());
    assert_eq!(b.has(), None);
}
