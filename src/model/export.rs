//! Everything stored about one member, as lines of JSON, a page at a time.

use super::id::{MemberId, ProfileId};
use super::settings::UrlSigner;

/// Where the next page begins: a section and a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportCursor {
    Account,
    /// Behind this key; 0 for the first. So in the sections below.
    Sessions(u64),
    Blocks(u64),
    Uploads(u64),
    Conversations(u64),
    Messages(MessageCursor),
    /// Behind this message and emoji.
    Reactions(u64, String),
}

/// A place among the messages of one sender, which are taken conversation by conversation: behind message `n` of the
/// conversation of this key. The default is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCursor {
    pub conversation: u64,
    pub n: u64,
}

/// One bounded page. `Unauthorized` when the member is gone.
#[derive(Clone, Debug)]
pub struct ExportAccount {
    pub member: MemberId,
    pub profile: ProfileId,
    pub cursor: ExportCursor,
    /// Signs what is shown, as of this moment (Unix s): the lines are written by storage.
    pub urls: UrlSigner,
    pub unix_s: u64,
}

#[derive(Clone, Debug)]
pub struct ExportPage {
    /// Whole lines: `{"kind":…,"data":{…}}`. None at all where a page's time went into looking for the next: the next page
    /// goes on from there.
    pub lines: Vec<u8>,
    /// `None` behind the last line.
    pub next: Option<ExportCursor>,
}
