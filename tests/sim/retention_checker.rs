//! Checks retention: a step erases exactly what is older than its write says, in the order of the conversation, and nothing younger.
//!
//! Owns the prediction of a step. Leaves to `reference` that a tombstone is shown as one, with its `n` and `client_id`.
//! Invariant: all messages up to the `erased_n` of a conversation are tombstones.

use natter::base::time::UnixMs;
use natter::model::event::Fact;
use natter::model::id::{ConversationId, MessageId, UploadId};
use natter::model::operation::{Answer, Lane, Outcome};
use natter::model::retention::{EraseOld, Old, limit};

use super::answer_checker::check;
use super::reference::{Model, What};

/// Messages that one step erases at most.
const STEP: usize = 100;
/// From one sweep to the next, and what the last one took.
const SWEEP_MS: u64 = 3_700_000;

/// How long a run keeps things, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    pub messages: Option<u64>,
    pub uploads: Option<u64>,
}

impl Kept {
    pub fn is_some(&self) -> bool {
        self.messages.is_some() || self.uploads.is_some()
    }
}

/// When a message was posted, by its id.
fn posted_at(id: MessageId) -> UnixMs {
    id.unix_ms()
}

impl Model {
    /// `head`: that of the log before the step.
    pub(super) fn old_erased(&mut self, lane: Lane, erase: &EraseOld, outcome: &Outcome, head: u64) {
        let more = match erase.old {
            Old::Conversation(id) => self.old_messages_erased(lane, erase, id, outcome, head),
            Old::Upload(upload) => self.old_upload_erased(lane, erase, upload, outcome),
        };
        let Ok(Answer::EraseOld(answered)) = outcome.result else { panic!("{:?}", outcome.result) };
        assert_eq!(answered, more, "whether more is left of {:?}", erase.old);
    }

    fn old_messages_erased(
        &mut self,
        lane: Lane,
        erase: &EraseOld,
        id: ConversationId,
        outcome: &Outcome,
        head: u64,
    ) -> bool {
        let Some(known) = self.conversations.get(&id) else {
            check(outcome, Ok(()), 0, "retention");
            return false;
        };
        let before = limit(erase.at, erase.kept, known.kept_days).unwrap_or_default();
        let left = known.messages[known.erased_n as usize..].iter();
        let old = left.take_while(|message| posted_at(message.id) < before);
        let old: Vec<(u64, bool)> = old.map(|message| (message.seq, message.is_deleted())).collect();
        let more = old.len() > STEP;
        let old = &old[..old.len().min(STEP)];
        check(outcome, Ok(()), usize::from(!old.is_empty() && !more), "retention");
        for ((seq, _), rev) in old.iter().filter(|(_, is_deleted)| !is_deleted).zip(head + 1..) {
            self.erased_silently(*seq, rev);
        }
        let known = self.conversation(id);
        known.erased_n += old.len() as u64;
        let audience = known.members();
        match outcome.events.iter().next() {
            Some(event) => self.record(lane, event, What::Updated { conversation: id }, audience),
            // Each has a `rev`, which no event shows yet.
            None => self.head += old.iter().filter(|(_, is_deleted)| !is_deleted).count() as u64,
        }
        more
    }

    /// A message with an older file loses the file.
    fn old_upload_erased(
        &mut self,
        lane: Lane,
        erase: &EraseOld,
        upload: UploadId,
        outcome: &Outcome,
    ) -> bool {
        let before = limit(erase.at, erase.kept, None).unwrap_or_default();
        if self.uploaded_at(upload).is_none_or(|at| at >= before) {
            check(outcome, Ok(()), 0, "retention of an upload");
            return false;
        }
        let shown_by = self.shown_by(upload);
        let more = shown_by.len() > STEP;
        let shown_by = &shown_by[..shown_by.len().min(STEP)];
        check(outcome, Ok(()), shown_by.len(), "retention of an upload");
        for (event, seq) in outcome.events.iter().zip(shown_by) {
            assert!(matches!(&event.fact, Fact::MessageEdited(_)), "its text is younger: {:?}", event.fact);
            self.changed(lane, event, *seq, What::Edited { message: *seq }, |version| {
                version.attachments.retain(|attached| *attached != upload);
            });
        }
        self.erase_unless_shown(upload);
        more
    }

    /// What is older than it is kept, after a sweep at `at`.
    pub fn outlived(&self, kept: Kept, at: UnixMs) -> Option<String> {
        let at = UnixMs(at.0.saturating_sub(SWEEP_MS));
        for (id, known) in &self.conversations {
            let Some(before) = limit(at, kept.messages, known.kept_days) else { continue };
            let is_left =
                |message: &&super::history::Message| posted_at(message.id) < before && !message.is_deleted();
            // Only what follows a younger message, as the clock was set back, waits for that one.
            let first = known.messages.get(known.erased_n as usize);
            if first.is_some_and(|first| posted_at(first.id) < before) {
                return Some(format!("the message {} of {id}", known.erased_n + 1));
            }
            let within = known.messages[..known.erased_n as usize].iter().find(is_left);
            if let Some(message) = within {
                return Some(format!("the message {} of {id}, before erased_n", message.n));
            }
        }
        let before = limit(at, kept.uploads, None)?;
        self.all_uploads()
            .into_iter()
            .find(|upload| self.uploaded_at(*upload).is_some_and(|at| at < before))
            .map(|upload| format!("the upload {upload}"))
    }

    /// How many messages retention has erased.
    pub fn retained_away(&self) -> u64 {
        let silent = |message: &&super::history::Message| message.now().silent;
        self.conversations.values().flat_map(|known| &known.messages).filter(silent).count() as u64
    }
}
