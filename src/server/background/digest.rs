//! Digests: finds who wants a mail about what is unread and was away, a page of members at a time, and has the mails written.
//!
//! Owns where the next page begins. Leaves to storage for whom it is time, to the outbox the mails.
//! Invariant: nobody with an open stream gets one, and without a mail server nobody does.

use std::time::Duration;

use crate::model::mail::{FindDigests, WriteDigests};
use crate::model::operation::{Answer, Operation, Refusal};
use crate::server::background::tasks;
use crate::server::calls::{Caller, Next, Periodic, Task};
use crate::server::core::Core;

/// Between two pages, so that other work comes between them.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Digests {
    /// The page begins after this member.
    after: u64,
}

/// The duty of a cluster is this node's now: every member is looked at anew.
pub fn begin(core: &mut Core) {
    core.background.digests = Digests::default();
}

pub fn run(core: &mut Core) -> bool {
    if core.settings.mail_to_file || core.is_draining() {
        return false;
    }
    let find = FindDigests { at: core.now.unix_ms, after: core.background.digests.after };
    core.ask_store(Caller::Server, find.into_command(), Next::Task(Task::Run(Periodic::Digest)));
    true
}

/// A page was read, or its mails are written.
pub fn answered(core: &mut Core, result: Result<Answer, Refusal>) {
    let rest = |core: &Core| (core.background.digests.after > 0).then_some(PAUSE);
    let page = match result {
        Ok(Answer::FindDigests(page)) => page,
        Ok(_) => {
            tasks::wake(core, Periodic::Mail);
            let rest = rest(core);
            return tasks::ended(core, Periodic::Digest, rest);
        }
        Err(_) => return tasks::ended(core, Periodic::Digest, None),
    };
    core.background.digests.after = page.next.unwrap_or_default();
    let at = core.now.unix_ms;
    let mut mails = Vec::new();
    for (member, profile) in page.members {
        if core.streams.hub.of(profile).is_empty() && !core.streams.is_online(profile) {
            mails.push((member, core.entropy.id(at)));
        }
    }
    if mails.is_empty() {
        let rest = rest(core);
        return tasks::ended(core, Periodic::Digest, rest);
    }
    let write = WriteDigests { at, mails };
    core.ask_store(Caller::Server, write.into_command(), Next::Task(Task::Run(Periodic::Digest)));
}
