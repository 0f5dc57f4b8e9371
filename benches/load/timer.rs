//! A timer of the kernel that wakes a poll at an exact time.
//!
//! `epoll` waits in whole milliseconds, so that requests that are due within one would be sent late and all at once. Owns the
//! descriptor. Elsewhere than on Linux there is none, and requests are sent up to a millisecond late, which the report shows.

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod kernel {
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};

    pub struct Timer(OwnedFd);

    impl Timer {
        pub fn new(registry: &Registry, token: Token) -> io::Result<Timer> {
            // SAFETY: the call takes no memory of ours, and the descriptor that it returns is nobody else's.
            let timer = unsafe {
                let fd = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC);
                if fd < 0 {
                    return Err(io::Error::last_os_error());
                }
                OwnedFd::from_raw_fd(fd)
            };
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Timer(timer))
        }

        /// It wakes the poll once, after `wait`.
        pub fn set(&self, wait: Duration) {
            let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let at = libc::timespec {
                tv_sec: libc::time_t::try_from(wait.as_secs()).unwrap_or(libc::time_t::MAX),
                // Zero would disarm it.
                tv_nsec: libc::c_long::from(wait.subsec_nanos().max(1) as i32),
            };
            let when = libc::itimerspec { it_interval: zero, it_value: at };
            // SAFETY: `when` lives longer than the call, which only reads it; the old value is not asked for.
            let result = unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &when, std::ptr::null_mut()) };
            assert_eq!(result, 0, "{}", io::Error::last_os_error());
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::io;
    use std::time::Duration;

    use mio::{Registry, Token};

    pub struct Timer(());

    impl Timer {
        pub fn new(_: &Registry, _: Token) -> io::Result<Timer> {
            Ok(Timer(()))
        }

        pub fn set(&self, _: Duration) {}
    }
}

pub use kernel::Timer;
