//! Named threads.
//!
//! Invariant: no thread ends unnoticed: each wakes the loop when it ends. A panic that no caller turns into an answer stops
//! the process, because a component in an unknown state would be missing from then on.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use super::inbox::{Completion, Inbox};
use crate::base::open_file::Closer;

pub type Thread = JoinHandle<()>;

pub fn spawn(name: &str, inbox: &Arc<Inbox>, run: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
    let (inbox, name) = (Arc::clone(inbox), name.to_owned());
    std::thread::Builder::new().name(name.clone()).spawn(move || {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            inbox.post(Completion::Fatal(format!("the {name} thread panicked")));
        }
        inbox.wake();
    })
}

/// A thread that closes files, until no sender exists any more. No code waits for its end: the end of the process closes
/// all files. Its queue has no bound of its own: the number of open files is bounded.
pub fn closer(inbox: &Arc<Inbox>) -> io::Result<Closer> {
    let (sender, files) = mpsc::channel();
    spawn("close", inbox, move || files.into_iter().for_each(drop))?;
    Ok(Arc::new(move |file| {
        // If the thread is gone, the file is closed here.
        let _ = sender.send(file);
    }))
}
