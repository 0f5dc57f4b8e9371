//! Everything that is stored about one member, as lines of JSON, a page at a time.

use super::id::{MemberId, ProfileId};
use super::settings::UrlSigner;
use crate::base::time::UnixS;

/// Where the next page begins: a section and a position in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportCursor {
    /// The member and the profile.
    Account,
    /// After this key; 0 for the first. The sections below do the same.
    Sessions(u64),
    /// The blocks.
    Blocks(u64),
    /// The invites that the member made and that can still be used.
    Invites(u64),
    /// The uploads.
    Uploads(u64),
    /// The conversations.
    Conversations(u64),
    /// The messages that the member sent.
    Messages(MessageCursor),
    /// After this message and emoji.
    Reactions(u64, String),
}

/// A position among the messages of one sender, which are read conversation by conversation: after message `n` of the
/// conversation of this key. The default is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCursor {
    /// The key of the conversation; 0 before the first.
    pub conversation: u64,
    /// The `n` of the last message that was exported.
    pub n: u64,
}

/// One bounded page. `Unauthorized` if the member was deleted.
#[derive(Clone, Debug)]
pub struct ExportAccount {
    /// The member.
    pub member: MemberId,
    /// The profile.
    pub profile: ProfileId,
    /// Where the page begins.
    pub cursor: ExportCursor,
    /// Signs the URLs in the lines, which storage writes.
    pub urls: UrlSigner,
    /// The time of the signatures, Unix s.
    pub unix_s: UnixS,
}

/// The answer to [`ExportAccount`].
#[derive(Clone, Debug)]
pub struct ExportPage {
    /// Complete lines: `{"kind":…,"data":{…}}`. There is none if the search for the next one took all the time of the page: the next
    /// page continues from there.
    pub lines: Vec<u8>,
    /// `None` after the last line.
    pub next: Option<ExportCursor>,
}
