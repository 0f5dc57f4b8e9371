//! The flag with which a file is opened only where its name is no symbolic link: what is written to a folder of ours must
//! not land elsewhere.

pub const NO_FOLLOW: i32 = libc::O_NOFOLLOW;
