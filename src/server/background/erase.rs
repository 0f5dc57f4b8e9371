//! Messages of deleted members that are still to be erased. Whoever deletes an account sees it through and waits for it;
//! this is for what a crash or a closed connection left behind.
//! Invariant: an erasure that was begun goes on within a minute of any start, one bounded step after the other.

use crate::model::member::{EraseMessages, Erased};
use crate::model::operation::{Answer, Operation, Refusal};
use crate::server::calls::{Caller, Next};
use crate::server::core::Core;

/// Once a minute. Where nothing is left it costs one look at an empty table.
pub fn flush(core: &mut Core) {
    if !core.erasing && !core.draining {
        step(core);
    }
}

fn step(core: &mut Core) {
    core.erasing = true;
    let erase = EraseMessages { at: core.now.unix_ms };
    core.ask_store(Caller::Server, erase.into_command(), Next::Erasure);
}

pub fn done(core: &mut Core, result: Result<Answer, Refusal>) {
    core.erasing = false;
    // After a fault the next sweep tries again.
    let erased = result.ok().and_then(EraseMessages::from_answer);
    if erased == Some(Erased::Some) && !core.draining {
        step(core);
    }
}
