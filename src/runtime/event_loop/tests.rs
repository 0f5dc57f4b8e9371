//! The loop over real loopback sockets, driven by a machine that echoes.
//!
//! Every wait has a deadline; none has a fixed length.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use super::*;
use crate::model::metrics::ErrorKind;
use crate::runtime::queue::lock;
use crate::runtime::testing::{Echo, Folder, PATIENCE, QUEUE_MAX, start, start_with, until};
use crate::server::contract::ListenerKind;

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
fn bytes_come_back_in_order_in_any_split_and_the_end_comes_after_the_last() {
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
    // Until the server stops reading and the kernel's buffers are full in both directions.
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
    // Other connections are served meanwhile.
    ask(&mut server.connect(), "hello", "hello");
    stream.shutdown(Shutdown::Write).expect("a half-close");
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("the end");
    assert!(back == written, "{} of {} bytes", back.len(), written.len());
    server.stop().expect("drained");
}

#[test]
fn idle_sockets_cost_nothing_in_a_turn() {
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
    // Each of these has unread bytes that the machine does not want, because the client does not read the echo.
    let mut parked: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    let block = pattern(100_000);
    parked.iter().for_each(|stream| stream.set_nonblocking(true).expect("a flag"));
    until("no bytes of them are read", || {
        let full = parked.iter_mut().filter_map(|stream| stream.write(&block).err()).count() == 20;
        full && lock(&seen).paused == 20 && questions(3) <= 12
    });
    let questions = questions(100);
    assert!(questions <= 100 * 4, "{questions} looks at sockets for 100 messages");
    drop((parked, idle));
    server.stop().expect("drained");
}

#[test]
fn a_reset_is_reported_once_and_the_socket_is_gone() {
    let machine = Echo::new();
    let seen = Arc::clone(&machine.seen);
    let server = start(machine);
    let mut stream = server.connect();
    ask(&mut stream, "a", "a");
    stream.write_all(b"unread").expect("a write");
    stream.peek(&mut [0]).expect("the echo is here");
    drop(stream); // closing over unread bytes resets (RFC 9293 §3.10.4)
    until("the reset is reported", || lock(&seen).failed == 1);
    server.stop().expect("drained");
}

#[test]
fn accepting_pauses_at_the_bound_and_continues_below_it() {
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
    // The control socket accepts also when the public listener is full.
    let mut control = UnixStream::connect(server.folder.join("control.sock")).expect("a connection");
    control.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    control.write_all(b"who").expect("a write");
    let mut answer = [0; 3];
    control.read_exact(&mut answer).expect("an echo");
    assert_eq!(&answer, b"who");
    assert_eq!(
        lock(&seen).peers.last(),
        Some(&("127.0.0.1".parse().expect("an address"), ListenerKind::Control))
    );
    drop((control, second));
    let mut echo = [0];
    third.read_exact(&mut echo).expect("accepted at last");
    server.stop().expect("drained");
}

#[test]
fn effects_reach_their_threads_and_answers_reach_their_callers() {
    let machine = Echo::new();
    let seen = Arc::clone(&machine.seen);
    let server = start(machine);
    let mut stream = server.connect();
    for _ in 0..3 {
        ask(&mut stream, "store", "stored");
        ask(&mut stream, "hash", "PasswordHashed(Secret(..))");
        ask(&mut stream, "panic", "Failed");
        ask(&mut stream, "append", "appended 6");
    }
    until("the panics are counted", || lock(&seen).errors == [ErrorKind::Worker; 3]);
    let control = server.folder.join("control.sock");
    assert!(control.exists());
    let left = server.folder.join("tmp");
    drop(stream);
    until("the upload is abandoned", || std::fs::read_dir(&left).expect("a folder").count() == 0);
    server.stop().expect("drained");
}

#[test]
fn a_file_is_sent_in_order_and_a_shorter_one_ends_the_connection() {
    for (len, complete) in [(1_000_000, true), (700_000, false)] {
        let content = pattern(len);
        let folder = Folder::new();
        let mut machine = Echo::new();
        machine.file = Some(folder.join("file"));
        std::fs::write(folder.join("file"), &content).expect("a file");
        let seen = Arc::clone(&machine.seen);
        let server = start(machine);
        let mut streams: Vec<TcpStream> = (0..40).map(|_| server.connect()).collect();
        streams.iter_mut().for_each(|stream| stream.write_all(b"file").expect("a write"));
        if complete {
            let expect = [b"head", content.as_slice(), b"tail"].concat();
            for stream in &mut streams {
                let mut back = vec![0; expect.len()];
                stream.read_exact(&mut back).expect("all of it");
                assert!(back == expect);
            }
        } else {
            for stream in &mut streams {
                let mut back = Vec::new();
                // A reset or an end, but never the complete file.
                let _ = stream.read_to_end(&mut back);
                assert!(back.len() <= 4 + len);
            }
            assert_eq!(lock(&seen).failed, streams.len());
            assert_eq!(lock(&seen).errors.first(), Some(&ErrorKind::Upload));
        }
        server.stop().expect("drained");
    }
}

#[test]
fn a_drain_finishes_work_in_progress_and_refuses_new_connections() {
    let machine = Echo::new();
    let seen = Arc::clone(&machine.seen);
    let server = start(machine);
    let mut idle = server.connect();
    ask(&mut idle, "x", "x");
    let busy = server.connect();
    let mut writer = busy.try_clone().expect("a clone");
    let block = pattern(200_000);
    writer.set_nonblocking(true).expect("a flag");
    let mut sent = 0;
    // A server that has accepted, read, and found its send direction full certainly has work in progress. That the kernel
    // accepts no more of our bytes does not prove it: on a busy machine nothing else may have happened.
    until("the server stops reading", || match writer.write(&block) {
        Ok(count) => {
            sent += count;
            false
        }
        Err(_) => lock(&seen).paused == 1,
    });
    writer.set_nonblocking(false).expect("a flag");
    let address = server.address;
    let control = server.folder.join("control.sock");
    let stopping = std::thread::spawn(move || server.stop());
    let mut end = Vec::new();
    idle.read_to_end(&mut end).expect("closed");
    // The socket's file is removed after the loop has ended.
    until("the listeners are closed", || {
        TcpStream::connect(address).is_err() && UnixStream::connect(&control).is_err()
    });
    let mut back = Vec::new();
    // Bytes that the server read are echoed; unread ones make its close a reset.
    let _ = (&busy).read_to_end(&mut back);
    assert!(!back.is_empty() && back.len() <= sent);
    stopping.join().expect("no panic").expect("drained");
}

#[test]
fn a_drain_ends_at_its_limit_and_at_once_after_a_second_signal() {
    let stubborn = || {
        let mut machine = Echo::new();
        machine.stubborn = true;
        machine
    };
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

#[test]
fn time_in_which_the_process_did_not_run_does_not_count_as_time_of_a_drain() {
    let begun = Instant::now();
    let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
    let mut drain = Drain { until: at(30.0), seen: at(0.0) };
    assert_eq!(drain.wake(), at(0.0) + STANDSTILL);
    // The end of a turn, and the end of the drain after it.
    for (now, until) in [
        (0.2, 30.0),    // woken by an event
        (1.2, 30.0),    // a complete sleep
        (3.1, 30.0),    // a busy machine
        (24.1, 50.0),   // 20 s of standstill
        (124.1, 149.0), // longer than all that was left
        (148.5, 172.4),
        (149.5, 172.4),
    ] {
        assert!(!drain.is_over(at(now)), "{now}");
        assert_eq!(drain.until, at(until), "{now}");
    }
    while drain.wake() < drain.until {
        assert!(!drain.is_over(drain.wake()));
    }
    assert!(drain.is_over(drain.wake()));
}
