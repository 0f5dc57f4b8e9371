//! Disks that lose their power, and one that is full: ext4 on a loop device over a sparse file.
//!
//! A power cut is the kernel's own: FS_IOC_SHUTDOWN without a flush. From that moment nothing more reaches the device, neither data that
//! was not synced nor the journal in memory; the next mount recovers what the journal has. What the file system gave to the device stays:
//! a device that forgets what was not flushed is not played here, because ext4 flushes at each sync.
//! Invariant: a disk is unmounted with its value.

#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::room::run;

/// `_IOR('X', 125, __u32)` of the kernel, and its argument for "without the journal".
const FS_IOC_SHUTDOWN: libc::Ioctl = 0x8004_587d_u32 as libc::Ioctl;
const NO_LOG_FLUSH: u32 = 2;
/// Bytes of the filler that are written at once.
const PIECE: usize = 4_096;
/// The name of the file that fills a disk.
const FILLER: &str = "filler";

pub struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    /// `None` if this process may not mount one.
    pub fn make(image: &Path, mounted: &Path, bytes: u64) -> Option<Disk> {
        File::create(image).and_then(|file| file.set_len(bytes)).expect("a sparse file");
        fs::create_dir_all(mounted).expect("a folder");
        let lazy = "lazy_itable_init=1,lazy_journal_init=1";
        run("mkfs.ext4", &["-q", "-F", "-E", lazy, image.to_str().expect("a path")])?;
        let disk = Disk { image: image.to_owned(), mounted: mounted.to_owned() };
        disk.mount().then_some(disk)
    }

    /// Where data is kept: not the root of the file system, which has a folder of its own.
    pub fn folder(&self) -> PathBuf {
        self.mounted.join("data")
    }

    fn mount(&self) -> bool {
        let (image, mounted) = (self.image.to_str().expect("a path"), self.mounted.to_str().expect("a path"));
        run("mount", &["-t", "ext4", "-o", "loop", image, mounted]).is_some()
    }

    /// Nothing reaches the device from now on.
    pub fn cut_power(&self) {
        let folder = File::open(&self.mounted).expect("a mounted disk");
        // SAFETY: the argument is a number that lives longer than the call, which only reads it.
        let result = unsafe { libc::ioctl(folder.as_raw_fd(), FS_IOC_SHUTDOWN, &NO_LOG_FLUSH) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    /// The machine starts again. Nobody has a file open here.
    pub fn come_back(&self) {
        run("umount", &[self.mounted.to_str().expect("a path")]).expect("it is unmounted");
        assert!(self.mount(), "mounted again");
    }

    pub fn fill(&self) {
        let mut file = File::create(self.mounted.join(FILLER)).expect("a file");
        while file.write_all(&[b'x'; PIECE]).is_ok() {}
    }

    pub fn free(&self) {
        fs::remove_file(self.mounted.join(FILLER)).expect("the filler");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, because a process that a failed run left has open files here.
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).output();
    }
}
