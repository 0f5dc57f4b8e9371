//! An open file whose last user does not wait for its close.
//!
//! Closing the last descriptor of a file that was deleted frees its blocks, which may take seconds for a large one. Owns
//! the file, and hands it to its closer when it is dropped. The closer is chosen when the file is opened.

use std::fmt;
use std::fs::File;
use std::ops::Deref;
use std::sync::Arc;

/// Takes files without users, to close them. Must not block.
pub type Closer = Arc<dyn Fn(File) + Send + Sync>;

pub struct OpenFile {
    /// `None` while it is dropped.
    file: Option<File>,
    closer: Closer,
}

impl OpenFile {
    pub fn new(file: File, closer: Closer) -> OpenFile {
        OpenFile { file: Some(file), closer }
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        self.file.as_ref().expect("an open file until it is dropped")
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            (self.closer)(file);
        }
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn the_last_user_hands_the_file_over() {
        let (sender, closed) = mpsc::channel();
        let closer: Closer = Arc::new(move |file| sender.send(file).expect("a receiver"));
        let file = Arc::new(OpenFile::new(File::open("/dev/null").expect("a device"), closer));
        let other = Arc::clone(&file);
        drop(file);
        assert!(closed.try_recv().is_err(), "it still has a user");
        drop(other);
        assert!(closed.try_recv().is_ok());
    }
}
