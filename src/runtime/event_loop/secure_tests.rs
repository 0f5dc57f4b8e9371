//! The loop over real loopback sockets with TLS, driven by a machine that echoes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::*;
use crate::model::metrics::ErrorKind;
use crate::runtime::queue::lock;
use crate::runtime::testing::secure::{TlsStream, client, client_config};
use crate::runtime::testing::{Echo, Folder, QUEUE_MAX, start_secure, until};

fn ask(stream: &mut TlsStream, text: &str, expect: &str) {
    stream.write_all(text.as_bytes()).expect("a write");
    let mut answer = vec![0; expect.len()];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), expect);
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

#[test]
fn bytes_come_back_in_order_and_the_end_is_said() {
    let machine = Echo::new();
    let seen = Arc::clone(&machine.seen);
    let server = start_secure(machine);
    let config = client_config();
    for (round, piece) in [1, 1_000, 16_384, 30_000].into_iter().enumerate() {
        let sent = pattern(if piece == 1 { 300 } else { 300_000 });
        let mut stream = server.connect_secure(&config);
        let mut back = Vec::new();
        for bytes in sent.chunks(piece) {
            stream.write_all(bytes).expect("a write");
            let mut echo = vec![0; bytes.len()];
            stream.read_exact(&mut echo).expect("an echo");
            back.extend(echo);
        }
        assert!(back == sent, "cut in {piece}");
        stream.conn.send_close_notify();
        stream.flush().expect("written");
        // An end without close_notify would be an error of this read.
        assert_eq!(stream.read(&mut [0]).expect("close_notify"), 0);
        assert_eq!(lock(&seen).secured, (0..=round).map(|at| at > 0).collect::<Vec<_>>(), "tickets resume");
    }
    server.stop().expect("drained");
}

#[test]
fn a_handshake_may_come_byte_by_byte_and_with_the_first_request() {
    let server = start_secure(Echo::new());
    let config = client_config();
    let mut conn = client(&config);
    let mut socket = server.connect();
    socket.set_nodelay(true).expect("a flag");
    conn.writer().write_all(b"with the last flight").expect("buffered");
    let mut back = Vec::new();
    while back.len() < 20 {
        let mut wire = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut wire).expect("a Vec takes all");
        }
        wire.iter().for_each(|byte| socket.write_all(&[*byte]).expect("a write"));
        assert!(conn.read_tls(&mut socket).expect("a read") > 0);
        conn.process_new_packets().expect("a good server");
        match conn.reader().read_to_end(&mut back) {
            Ok(_) => panic!("it is still open"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    assert_eq!(back, b"with the last flight");
    server.stop().expect("drained");
}

#[test]
fn a_peer_that_does_not_read_is_not_read_either_and_loses_nothing() {
    let machine = Echo::new();
    let seen = Arc::clone(&machine.seen);
    let server = start_secure(machine);
    let config = client_config();
    let mut stream = server.connect_secure(&config);
    ask(&mut stream, "hello", "hello");
    // Encrypted before, so that a write that is cut off loses nothing.
    let block = pattern(10_000);
    let (mut written, mut wire) = (Vec::new(), Vec::new());
    stream.sock.set_nonblocking(true).expect("a flag");
    until("the server stops reading", || {
        if wire.is_empty() {
            stream.conn.writer().write_all(&block).expect("encrypted");
            while stream.conn.wants_write() {
                stream.conn.write_tls(&mut wire).expect("a Vec takes all");
            }
            written.extend_from_slice(&block);
        }
        match stream.sock.write(&wire) {
            Ok(count) => {
                wire.drain(..count);
                false
            }
            Err(_) => lock(&seen).paused == 1,
        }
    });
    stream.sock.set_nonblocking(false).expect("a flag");
    let memory_max = lock(&seen).memory_max;
    assert!(memory_max <= QUEUE_MAX + READ_BUFFER, "{memory_max}");
    // Others are served meanwhile.
    ask(&mut server.connect_secure(&config), "hello", "hello");
    let mut rest = stream.sock.try_clone().expect("a clone");
    let writing = std::thread::spawn(move || rest.write_all(&wire).expect("written"));
    let mut back = vec![0; written.len()];
    stream.read_exact(&mut back).expect("the echo");
    writing.join().expect("written");
    assert!(back == written);
    drop(stream);
    server.stop().expect("drained");
}

#[test]
fn a_file_is_sent_in_order_to_quick_and_to_slow_readers() {
    let content = pattern(1_000_000);
    let folder = Folder::new();
    let mut machine = Echo::new();
    machine.file = Some(folder.join("file"));
    std::fs::write(folder.join("file"), &content).expect("a file");
    let server = start_secure(machine);
    let config = client_config();
    let mut streams: Vec<TlsStream> = (0..40).map(|_| server.connect_secure(&config)).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(b"file").expect("a write"));
    let expect = [b"head", content.as_slice(), b"tail"].concat();
    for stream in &mut streams {
        let mut back = vec![0; expect.len()];
        stream.read_exact(&mut back).expect("all of it");
        assert!(back == expect);
    }
    drop(streams);
    server.stop().expect("drained");
}

#[test]
fn a_file_that_ends_too_early_ends_the_connection() {
    let folder = Folder::new();
    let mut machine = Echo::new();
    machine.file = Some(folder.join("file"));
    std::fs::write(folder.join("file"), pattern(700_000)).expect("a file");
    let seen = Arc::clone(&machine.seen);
    let server = start_secure(machine);
    let mut stream = server.connect_secure(&client_config());
    stream.write_all(b"file").expect("a write");
    let mut back = Vec::new();
    // An end without close_notify: the client knows that bytes are missing.
    stream.read_to_end(&mut back).expect_err("cut off");
    assert!(back.len() <= 4 + 700_000);
    until("it is closed and reported", || lock(&seen).failed == 1 && !lock(&seen).errors.is_empty());
    assert_eq!(lock(&seen).errors.first(), Some(&ErrorKind::Upload));
    server.stop().expect("drained");
}

#[test]
fn a_peer_without_tls_becomes_a_plain_one() {
    let server = start_secure(Echo::new());
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\n").expect("a write");
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"not tls");
    stream.write_all(b"more").expect("a write");
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).expect("an echo");
    assert_eq!(&echo, b"more");
    drop(stream);
    server.stop().expect("drained");
}

#[test]
fn a_bad_handshake_gets_an_alert_and_its_end() {
    let machine = Echo::new();
    let seen = Arc::clone(&machine.seen);
    let server = start_secure(machine);
    // A handshake record that holds no ClientHello; a record of a version and a length that do not exist.
    for bad in [&[22, 3, 1, 0, 4, 1, 0, 0, 0][..], &[22, 9, 9, 0xff, 0xff, 0, 0]] {
        let mut stream = server.connect();
        stream.write_all(bad).expect("a write");
        stream.shutdown(Shutdown::Write).expect("a half-close");
        let mut answer = Vec::new();
        // The end may be a reset, after the alert.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
    let mut ended: TcpStream = server.connect();
    ended.write_all(&[22, 3, 1]).expect("a write");
    ended.shutdown(Shutdown::Write).expect("a half-close");
    let mut answer = Vec::new();
    ended.read_to_end(&mut answer).expect("an end");
    assert!(answer.is_empty());
    assert!(lock(&seen).secured.is_empty());
    ask(&mut server.connect_secure(&client_config()), "hello", "hello");
    server.stop().expect("drained");
}
