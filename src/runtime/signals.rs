//! Signals as bytes in a pipe, and the process's limit of open files.
//!
//! Owns the dispositions of SIGTERM, SIGINT, SIGHUP and SIGPIPE. The event loop reads what the signals ask for and does it.
//! SIGHUP asks to reload. A process with a controlling terminal gets it when that terminal ends, and then it must end too, so
//! there it drains like the others. If the process was started with SIGHUP ignored (`nohup`), it stays ignored.
//! Invariant: the handler does nothing but one `write` to a descriptor that is never closed.
#![allow(unsafe_code)]

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use mio::unix::pipe::{self, Receiver};

/// Signals that ask for something.
const ASKING: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// The descriptor that the handler writes to; -1 before [`Signals::install`]. Never closed once set, so that a late handler
/// can't write into a reused descriptor.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// The reading end. There is one per process.
#[derive(Debug)]
pub struct Signals {
    receiver: Receiver,
    /// SIGHUP ends the server: it has a terminal.
    hangup_stops: bool,
}

/// What came since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Signals to stop.
    pub stops: u32,
    /// A signal to reload.
    pub reload: bool,
}

impl Signals {
    /// From here on SIGTERM, SIGINT and SIGHUP only make [`Signals::receiver`] readable, and a closed socket or pipe is an
    /// error of `write` and does not end the process. Fails with `AlreadyExists` the second time.
    pub fn install() -> io::Result<Signals> {
        let (sender, receiver) = pipe::new()?;
        let writing = sender.into_raw_fd();
        if PIPE.compare_exchange(-1, writing, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // SAFETY: `writing` is ours, open, and no other code has it.
            unsafe { libc::close(writing) };
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let handler: extern "C" fn(libc::c_int) = on_signal;
        for signal in ASKING {
            if signal == libc::SIGHUP && disposition(signal)? == libc::SIG_IGN {
                continue;
            }
            set_disposition(signal, handler as *const () as libc::sighandler_t)?;
        }
        set_disposition(libc::SIGPIPE, libc::SIG_IGN)?;
        // Only a process with a controlling terminal can open this device (tty(4)).
        let hangup_stops = std::fs::File::open("/dev/tty").is_ok();
        Ok(Signals { receiver, hangup_stops })
    }

    /// To be registered for reading.
    pub fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// What the signals since the last call ask for. Empties the pipe, as an edge-triggered poll requires.
    pub fn drain(&mut self) -> Asked {
        let mut seen = Asked::default();
        let mut bytes = [0; 64];
        // Terminates: each byte read was one signal, and 64 KiB of them fill the pipe.
        loop {
            match self.receiver.read(&mut bytes) {
                Ok(0) => return seen,
                Ok(read) => {
                    for byte in &bytes[..read] {
                        if libc::c_int::from(*byte) == libc::SIGHUP && !self.hangup_stops {
                            seen.reload = true;
                        } else {
                            seen.stops = seen.stops.saturating_add(1);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Empty. The pipe has no other error, because its other end stays open.
                Err(_) => return seen,
            }
        }
    }
}

/// Runs between any two instructions of any thread: only async-signal-safe calls, and `errno` is restored (POSIX.1-2024
/// §2.4.3).
extern "C" fn on_signal(signal: libc::c_int) {
    let byte = signal as u8;
    // SAFETY: `write` is async-signal-safe and reads one byte of our stack. The descriptor stays open until the process
    // ends. errno's location belongs to this thread. A full pipe (65,536 unread signals) refuses the byte, which would add
    // no information.
    unsafe {
        let errno = errno_location();
        let before = *errno;
        libc::write(PIPE.load(Ordering::SeqCst), ptr::from_ref(&byte).cast(), 1);
        *errno = before;
    }
}

/// SAFETY of use: the location is valid for the calling thread until it ends.
#[cfg(any(target_os = "linux", target_os = "emscripten"))]
unsafe fn errno_location() -> *mut libc::c_int {
    // SAFETY: takes no argument and always returns a location.
    unsafe { libc::__errno_location() }
}

#[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
unsafe fn errno_location() -> *mut libc::c_int {
    // SAFETY: takes no argument and always returns a location.
    unsafe { libc::__error() }
}

#[cfg(any(target_os = "android", target_os = "openbsd", target_os = "netbsd"))]
unsafe fn errno_location() -> *mut libc::c_int {
    // SAFETY: takes no argument and always returns a location.
    unsafe { libc::__errno() }
}

fn disposition(signal: libc::c_int) -> io::Result<libc::sighandler_t> {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only reads. `now` is completely written on success, and all-zero is valid before.
    unsafe {
        match libc::sigaction(signal, ptr::null(), now.as_mut_ptr()) {
            0 => Ok(now.assume_init().sa_sigaction),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn set_disposition(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: all-zero is a valid `sigaction`, and its mask is emptied by the proper call. `handler` is SIG_IGN or a
    // function with the signature that an action without SA_SIGINFO requires. SA_RESTART keeps blocking calls of other
    // threads (fsync, file reads) from failing with EINTR.
    let done = unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        libc::sigemptyset(&raw mut action.sa_mask);
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, ptr::null_mut())
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Raises the soft limit of open files towards `wanted`, as far as the hard limit allows, and returns the new limit. Never
/// lowers it. Returns 0 if the system does not report it.
pub fn raise_open_files(wanted: u64) -> u64 {
    let Some(limit) = open_files() else { return 0 };
    if limit.rlim_cur >= wanted {
        return limit.rlim_cur;
    }
    let raised = libc::rlimit { rlim_cur: wanted.min(limit.rlim_max), rlim_max: limit.rlim_max };
    // SAFETY: reads our own struct. A refusal leaves the limit unchanged, which the next read shows.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) };
    open_files().map_or(limit.rlim_cur, |limit| limit.rlim_cur)
}

/// How many files may be open; 0 if the system does not report it.
pub fn open_files_max() -> u64 {
    open_files().map_or(0, |limit| limit.rlim_cur)
}

fn open_files() -> Option<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes our own struct.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (done == 0).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Interest, Poll, Token};
    use std::time::Duration;

    fn raise(signal: libc::c_int) {
        // SAFETY: `raise` runs the handler in this thread before it returns.
        assert_eq!(unsafe { libc::raise(signal) }, 0);
    }

    /// One test, because dispositions belong to the process.
    #[test]
    fn signals_become_bytes_and_wake_a_poll() {
        // The process may have been started with SIGHUP ignored (`nohup`), and it would stay ignored.
        set_disposition(libc::SIGHUP, libc::SIG_DFL).expect("set");
        let mut signals = Signals::install().expect("installed");
        signals.hangup_stops = true;
        let stops = |stops| Asked { stops, reload: false };
        assert_eq!(Signals::install().expect_err("once").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(signals.drain(), stops(0));

        let mut poll = Poll::new().expect("a poll");
        let mut events = Events::with_capacity(4);
        poll.registry().register(signals.receiver(), Token(7), Interest::READABLE).expect("registered");
        for round in 1..=3_u32 {
            for signal in ASKING.iter().take(round as usize) {
                raise(*signal);
            }
            poll.poll(&mut events, Some(Duration::from_secs(5))).expect("polled");
            assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(7)]);
            assert_eq!((signals.drain(), signals.drain()), (stops(round), stops(0)));
        }
        // Without a terminal SIGHUP asks for something else.
        signals.hangup_stops = false;
        [libc::SIGHUP, libc::SIGTERM, libc::SIGHUP].into_iter().for_each(raise);
        assert_eq!(signals.drain(), Asked { stops: 1, reload: true });
        signals.hangup_stops = true;
        // More signals than one buffer holds.
        (0..100).for_each(|_| raise(libc::SIGTERM));
        assert_eq!(signals.drain(), stops(100));

        // errno survives the handler, also when its write fails.
        (0..70_000).for_each(|_| raise(libc::SIGINT));
        // SAFETY: errno's location belongs to this thread.
        unsafe { *errno_location() = libc::ENOTDIR };
        raise(libc::SIGHUP);
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOTDIR));
        assert!(signals.drain().stops >= 4_096);

        raise(libc::SIGPIPE);
        assert_eq!(signals.drain(), stops(0));
        for signal in ASKING {
            // Ctrl-C ends the other tests again.
            set_disposition(signal, libc::SIG_DFL).expect("restored");
        }
    }

    #[test]
    fn the_limit_of_open_files_only_rises() {
        let before = open_files().expect("a limit");
        assert_eq!(raise_open_files(0), before.rlim_cur);
        assert_eq!(raise_open_files(before.rlim_cur), before.rlim_cur);
        assert_eq!(raise_open_files(u64::MAX), before.rlim_max);
        assert_eq!(open_files().expect("a limit").rlim_cur, before.rlim_max);
    }
}
