//! Named threads.
//!
//! Invariant: no thread ends unnoticed: each wakes the loop when it ends. A panic that no caller turns into an answer stops
//! the process, because a component in an unknown state would be missing from then on.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::inbox::{Completion, Inbox};

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
