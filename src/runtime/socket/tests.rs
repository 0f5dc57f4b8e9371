//! Tests of sockets: what is read, written and shut down.

use super::*;
use crate::base::send_queue::Segment;
use crate::base::testing::Folder;
use mio::{Events, Poll};
use std::net::Ipv4Addr;
use std::time::Duration;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn pair() -> (Poll, Socket, std::os::unix::net::UnixStream) {
    let poll = Poll::new().expect("a poll");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    ours.set_nonblocking(true).expect("a flag");
    let mut socket = Socket::new(Stream::Unix(UnixStream::from_std(ours)), ListenerKind::Public, LOCAL);
    socket.stream.register(poll.registry(), Token(0)).expect("a registration");
    (poll, socket, theirs)
}

fn wait(poll: &mut Poll, socket: &mut Socket) -> (bool, bool) {
    let mut events = Events::with_capacity(8);
    poll.poll(&mut events, Some(Duration::from_secs(10))).expect("a poll");
    let event = events.iter().next().expect("an event");
    socket.record(event)
}

#[test]
fn a_short_read_drains_unless_the_end_may_follow() {
    let (mut poll, mut socket, mut theirs) = pair();
    let mut buffer = [0; 8];
    theirs.write_all(b"abc").expect("a write");
    assert_eq!(wait(&mut poll, &mut socket), (true, true));
    assert_eq!((socket.read(&mut buffer), socket.is_readable()), (Read::Bytes(3), false));
    theirs.write_all(b"12345678").expect("a write");
    assert!(wait(&mut poll, &mut socket).0);
    assert_eq!((socket.read(&mut buffer), socket.is_readable()), (Read::Bytes(8), true));
    assert_eq!((socket.read(&mut buffer), socket.is_readable()), (Read::Nothing, false));
    theirs.write_all(b"de").expect("a write");
    drop(theirs);
    assert!(wait(&mut poll, &mut socket).0);
    assert_eq!((socket.read(&mut buffer), socket.is_readable()), (Read::Bytes(2), true));
    assert_eq!((socket.read(&mut buffer), socket.is_readable()), (Read::End, false));
}

#[test]
fn a_flush_stops_where_the_socket_does_and_ends_only_after_the_last_byte() {
    let (mut poll, mut socket, mut theirs) = pair();
    wait(&mut poll, &mut socket);
    let mut queue = SendQueue::new();
    let shared: Arc<[u8]> = vec![7; 100_000].into();
    (0..100).for_each(|_| queue.push_shared(Arc::clone(&shared), 100));
    socket.end_after_flush();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).map(|_| all.len())
    });
    let mut sent = 0;
    while !queue.is_empty() {
        let (count, flushed) = socket.flush(&mut queue);
        sent += count;
        assert!(count <= (WRITE_TURN_MAX + WRITE_SLICES_MAX * 100_000) as u64);
        match flushed {
            Flushed::Done if queue.is_empty() => {}
            Flushed::Done => while !wait(&mut poll, &mut socket).1 {},
            Flushed::Again => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sent, 10_000_000);
    assert_eq!(reader.join().expect("it ends").expect("it reads"), 10_000_000);
}

#[test]
fn a_slow_socket_gets_small_pieces_of_a_file_and_a_fast_one_grows() {
    let (mut poll, mut socket, mut theirs) = pair();
    wait(&mut poll, &mut socket);
    let folder = Folder::new();
    let path = folder.join("file");
    let content: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&path, &content).expect("a file");
    let file = Arc::new(OpenFile::new(File::open(&path).expect("a file"), Arc::new(drop)));
    let mut queue = SendQueue::new();
    queue.push(Segment::File { file, offset: 0, len: content.len() as u64 });
    let (sent, Flushed::File { file, offset: 0, len: FILE_PIECE_MIN }) = socket.flush(&mut queue) else {
        panic!("nothing is sent that was not read ahead");
    };
    assert_eq!(sent, 0);
    socket.is_reading_piece = true;
    assert!(matches!(socket.flush(&mut queue), (0, Flushed::Done)), "nothing to send, nothing to request");
    socket.piece_arrived(file, 0, FILE_PIECE_MIN, None);
    assert_eq!(socket.piece, FILE_PIECE_MIN * 2);
    // The peer does not read: at some point the socket blocks, and no more is read ahead.
    let mut asked = FILE_PIECE_MIN;
    let mut sent = 0;
    while socket.writable {
        let (count, flushed) = socket.flush(&mut queue);
        sent += count;
        if let Flushed::File { file, offset, len } = flushed {
            assert_eq!(offset as usize, asked, "each part is read once");
            asked += len;
            socket.piece_arrived(file, offset, len, None);
        }
    }
    assert!(asked - sent as usize <= 2 * FILE_PIECE_MAX, "{asked} read, {sent} sent");
    assert_eq!(queue.memory(), 0);
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).map(|_| all)
    });
    socket.end_after_flush();
    while !queue.is_empty() {
        match socket.flush(&mut queue).1 {
            Flushed::File { file, offset, len } => socket.piece_arrived(file, offset, len, None),
            Flushed::Done if queue.is_empty() => {}
            Flushed::Done => while !wait(&mut poll, &mut socket).1 {},
            Flushed::Again => {}
            Flushed::Broken => panic!("broken"),
        }
    }
    assert!(matches!(socket.flush(&mut queue), (0, Flushed::Done)));
    assert!(reader.join().expect("it ends").expect("it reads") == content);
    // The file is released once all is sent.
    assert!(socket.ahead.is_none());
}

#[test]
fn a_file_that_ends_too_early_ends_the_connection() {
    let (mut poll, mut socket, _theirs) = pair();
    wait(&mut poll, &mut socket);
    let file = Arc::new(OpenFile::new(File::open("/dev/null").expect("a device"), Arc::new(drop)));
    let mut queue = SendQueue::new();
    queue.push(Segment::File { file: Arc::clone(&file), offset: 0, len: 10 });
    socket.piece_arrived(file, 0, 10, None);
    assert!(matches!(socket.flush(&mut queue).1, Flushed::Broken));
}
