//! Retention: how long messages and uploads are kept, and what becomes of older ones.
//!
//! Owns the rows of the storage contract and how the time of the server and that of a group go together. Leaves to
//! `server/background/retention.rs` when they are asked.
//! Invariant: a write names its time and the time of the server, so that all nodes of a cluster erase the same.

#![warn(missing_docs)]

use super::id::{ConversationId, UploadId};
use super::upload::DeleteUpload;
use crate::base::time::UnixMs;
#[cfg(doc)]
use crate::limits::UNSHOWN_KEPT_MS;

/// Days that the admin of a group may set at most.
pub const KEPT_DAYS_MAX: u32 = 36_500;

const DAY_MS: u64 = 86_400_000;

/// What is older than the answer at the time `at` is erased: the shorter of the two times decides. `None`: nothing is.
pub fn limit(at: UnixMs, kept_ms: Option<u64>, kept_days: Option<u64>) -> Option<UnixMs> {
    let of_group = kept_days.map(|days| days.saturating_mul(DAY_MS));
    let kept = [kept_ms, of_group].into_iter().flatten().min()?;
    Some(UnixMs(at.0.saturating_sub(kept)))
}

/// A page of what is too old: conversations with such messages, then uploads, then those that nothing shows.
#[derive(Clone, Copy, Debug)]
pub struct FindOld {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// Milliseconds that messages are kept; `None`: only groups have such a time.
    pub messages_kept: Option<u64>,
    /// The same of uploads.
    pub uploads_kept: Option<u64>,
    /// The page begins after this.
    pub after: OldPlace,
    /// Uploads up to this time and key that nothing shows were found before.
    pub unshown_after: (u64, u64),
}

/// A place among what may be too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldPlace {
    /// After the conversation with this key.
    Conversation(u64),
    /// After all conversations, and after the upload of this time with this key.
    Upload(u64, u64),
    /// After all of those, and after the upload of this time with this key, among those that nothing shows.
    Unshown(u64, u64),
}

/// Something with content that is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// A conversation with such messages.
    Conversation(ConversationId),
    /// An upload.
    Upload(UploadId),
}

/// The answer to [`FindOld`].
#[derive(Clone, Debug, Default)]
pub struct OldPage {
    /// What was found.
    pub found: Vec<Old>,
    /// Uploads that nothing has shown for [`UNSHOWN_KEPT_MS`]. Their deletion is refused if something shows them by then.
    pub unshown: Vec<DeleteUpload>,
    /// The time and the key of the last upload that was looked at for that.
    pub unshown_through: Option<(u64, u64)>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<OldPlace>,
}

/// One bounded step that erases what is too old of a conversation, or an upload. Its messages become tombstones; a message that had other
/// content than the upload keeps that. The answer is whether more is left of it.
#[derive(Clone, Copy, Debug)]
pub struct EraseOld {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// Of what.
    pub old: Old,
    /// Milliseconds that such things are kept; `None`: only a group has such a time.
    pub kept: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_time_decides() {
        let at = UnixMs(10 * DAY_MS);
        for (kept_ms, days, expect) in [
            (None, None, None),
            (Some(DAY_MS), None, Some(9 * DAY_MS)),
            (None, Some(2), Some(8 * DAY_MS)),
            (Some(DAY_MS), Some(2), Some(9 * DAY_MS)),
            (Some(3 * DAY_MS), Some(2), Some(8 * DAY_MS)),
            (Some(11 * DAY_MS), None, Some(0)),
            (None, Some(u64::MAX), Some(0)),
        ] {
            assert_eq!(limit(at, kept_ms, days), expect.map(UnixMs), "{kept_ms:?} {days:?}");
        }
    }
}
