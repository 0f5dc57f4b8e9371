//! The flag that makes an open fail if the file's name is a symbolic link.
//!
//! Files in the server's folders are opened with it, so that a link cannot lead a write to another folder.

pub const NO_FOLLOW: i32 = libc::O_NOFOLLOW;
