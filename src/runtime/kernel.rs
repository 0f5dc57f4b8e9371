//! System calls that std does not offer: sendfile, early writeback, a longer accept queue.
//!
//! Owns these calls. Does not decide when they are made.
//! Invariant: no pointer outlives its call, and a descriptor is borrowed for exactly that long.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Sends up to `len` bytes of `file` from `offset`. Returns how many the socket accepted, 0 at the end of the file. Blocks
/// for bytes that are not in the page cache.
#[cfg(target_os = "linux")]
pub fn send_file(
    socket: &mut (impl AsFd + Write),
    file: &File,
    offset: u64,
    len: usize,
) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    let mut at = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let (to, from) = (socket.as_fd().as_raw_fd(), file.as_fd().as_raw_fd());
    // SAFETY: both descriptors are open while they are borrowed, and `at` lives through the call.
    let sent = unsafe { libc::sendfile(to, from, &raw mut at, len) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The same by a copy, for systems whose call is missing or different.
#[cfg(not(target_os = "linux"))]
pub fn send_file(
    socket: &mut (impl AsFd + Write),
    file: &File,
    offset: u64,
    len: usize,
) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; len.min(crate::limits::READ_BUFFER)];
    let read = file.read_at(&mut bytes, offset)?;
    if read == 0 { Ok(0) } else { socket.write(&bytes[..read]) }
}

/// Bytes that this process may still write to the file system of a folder. `None` if the system does not report it.
pub fn free_bytes(folder: &std::path::Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut stats = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a NUL and lives through the call, and so does the memory for the answer, which is read
    // only after the kernel filled it.
    let stats = unsafe {
        if libc::statvfs(path.as_ptr(), stats.as_mut_ptr()) != 0 {
            return None;
        }
        stats.assume_init()
    };
    // The types of these fields differ between systems.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    (stats.f_bavail as u64).checked_mul(stats.f_frsize as u64)
}

/// Whether this process may write to a file, or make files in a folder, as far as the kernel says so without a try.
pub fn may_write(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path ends with a NUL and lives through the call.
    match unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK, libc::AT_EACCESS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks the kernel to begin writing the dirty pages of a file, so that a later sync has less to wait for. Its result is
/// ignored: a failure here shows at the sync, which is the one that counts.
pub fn begin_writing(file: &File) {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        // SAFETY: the descriptor is open while it is borrowed. The call takes no pointer.
        unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

/// Sets how many connections may wait for `accept`. The kernel limits it to `net.core.somaxconn`. The socket already
/// listens.
pub fn set_backlog(listener: &impl AsFd, connections: i32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open while it is borrowed. The call takes no pointer.
    match unsafe { libc::listen(listener.as_fd().as_raw_fd(), connections) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// An option of a socket, of the level SOL_SOCKET, whose value is an integer.
pub fn socket_option(socket: &impl AsFd, option: libc::c_int) -> io::Result<libc::c_int> {
    use std::os::fd::AsRawFd;
    let mut value: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open while it is borrowed; the kernel writes at most `size` bytes to `value`, which lives through
    // the call.
    let done = unsafe {
        let value = (&raw mut value).cast();
        libc::getsockopt(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, option, value, &raw mut size)
    };
    if done == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// A terminal that does not show what is typed, until this is dropped.
pub struct Unseen {
    before: libc::termios,
}

impl Unseen {
    /// `None` if stdin is no terminal.
    pub fn stdin() -> Option<Unseen> {
        // SAFETY: all bytes of a termios may be 0, the kernel fills it, and it lives through the calls.
        unsafe {
            let mut before: libc::termios = std::mem::zeroed();
            if libc::tcgetattr(libc::STDIN_FILENO, &raw mut before) != 0 {
                return None;
            }
            let unseen = libc::termios { c_lflag: before.c_lflag & !libc::ECHO, ..before };
            (libc::tcsetattr(libc::STDIN_FILENO, libc::TCSAFLUSH, &raw const unseen) == 0)
                .then_some(Unseen { before })
        }
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // SAFETY: as above. If it fails, the terminal is gone.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSAFLUSH, &raw const self.before) };
    }
}

/// The nice value of threads whose work is long while a member waits for it. At 10, a sign-in on the core of a busy loop took five
/// seconds.
pub const NICE_AWAITED: libc::c_int = 3;
/// The nice value of threads whose work nobody waits for. Not higher: such a thread may hold a lock for a moment that the loop waits for.
pub const NICE_UNAWAITED: libc::c_int = 10;

/// Lowers the priority of this thread. If the system refuses, the thread continues unchanged.
pub fn lower_priority(nice: libc::c_int) {
    // SAFETY: a call without pointers. On Linux 0 is the calling thread; elsewhere it would be the process.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, nice);
    }
}

/// Names of hosts are looked up in `/etc/hosts` and in the DNS alone: glibc would load the other sources of
/// `/etc/nsswitch.conf` as plug-ins, of which a static program must not load those of another version of glibc. Call it
/// before the first thread is started.
pub fn look_up_without_plugins() {
    #[cfg(all(target_os = "linux", target_env = "gnu", target_feature = "crt-static"))]
    {
        unsafe extern "C" {
            fn __nss_configure_lookup(
                database: *const libc::c_char,
                line: *const libc::c_char,
            ) -> libc::c_int;
        }
        // SAFETY: a function of <nss.h> with two texts that it only reads; no other thread runs yet.
        let failed = unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
        assert!(failed == 0, "both sources are a part of glibc");
    }
}

/// Returns memory that is not needed now to the system. May take milliseconds.
pub fn return_memory() {
    trim_memory();
    release_code_pages();
}

/// Returns freed memory: the allocator would keep it.
fn trim_memory() {
    // SAFETY: a call without pointers that is allowed at any time in any thread.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Releases the pages of code, of which most were needed by the start alone: they count as memory of the process while
/// they are mapped, and are some of the eight megabytes of an idle server. Pages that are needed again are in the page
/// cache.
#[cfg(target_os = "linux")]
fn release_code_pages() {
    // Without /proc no page is released, which has no other effect.
    for line in std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines() {
        let Some((start, end)) = code_mapping(line) else { continue };
        // SAFETY: a private mapping of a file that is never written to, because it is executable and not writable: each
        // page is read from the file again at its next use.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
}

#[cfg(not(target_os = "linux"))]
fn release_code_pages() {}

/// The address range of a line of `/proc/self/maps` that maps the code of a file: `55d0c0a00000-55d0c0e00000 r-xp 00170000
/// fe:00 1234  /bin/natter`.
#[cfg(target_os = "linux")]
fn code_mapping(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, kind, path) = (fields.next()?, fields.next()?, fields.nth(3)?);
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    (kind == "r-xp" && path.starts_with('/') && start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::testing::Folder;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_file_is_sent_from_an_offset_up_to_its_end() {
        let folder = Folder::new();
        let path = folder.join("file");
        std::fs::write(&path, b"0123456789").expect("a file");
        let file = File::open(&path).expect("a file");
        begin_writing(&file);
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        assert_eq!(send_file(&mut ours, &file, 3, 4).expect("sent"), 4);
        assert_eq!(send_file(&mut ours, &file, 8, 100).expect("sent"), 2);
        assert_eq!(send_file(&mut ours, &file, 10, 1).expect("sent"), 0, "there is no more");
        assert!(send_file(&mut ours, &file, u64::MAX, 1).is_err());
        ours.set_nonblocking(true).expect("a flag");
        let full = std::iter::repeat_with(|| send_file(&mut ours, &file, 0, 10)).find_map(Result::err);
        assert_eq!(full.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        drop(ours);
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).expect("read");
        assert!(all.starts_with(b"3456890123456789"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_the_code_pages_of_files_are_released() {
        let code = "55d0c0a00000-55d0c0e00000 r-xp 00170000 fe:00 1234                       /bin/natter";
        assert_eq!(code_mapping(code), Some((0x55d0_c0a0_0000, 0x55d0_c0e0_0000)));
        for other in [
            "",
            "55d0c0a00000-55d0c0e00000 r--p 00170000 fe:00 1234 /bin/natter", // may hold relocated data
            "55d0c0a00000-55d0c0e00000 rwxp 00170000 fe:00 1234 /bin/natter",
            "7ffd4a5d8000-7ffd4a5da000 r-xp 00000000 00:00 0 [vdso]",
            "7ffd4a5d8000-7ffd4a5da000 r-xp 00000000 00:00 0",
        ] {
            assert_eq!(code_mapping(other), None, "{other}");
        }
        release_code_pages(); // the code still runs
    }
}
