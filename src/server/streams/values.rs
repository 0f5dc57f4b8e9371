//! The chats of a profile, read once for all of its value streams.
//!
//! Owns when the chats of a profile are read. Leaves to `sse` what each stream shows of them.
//! Invariant: at most one read of a profile is in flight, and its answer serves every stream that waited before it began.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Instant;

use crate::base::crypto::sha256;
use crate::base::json;
use crate::base::time::UnixS;
use crate::limits::PAGE_MAX;
use crate::model::conversation::{Chats, ListChats};
use crate::model::handler::{Actor, ValueForm};
use crate::model::id::ProfileId;
use crate::model::operation::{Answer, Flow, Operation, Refusal};
use crate::model::settings::{SignUrls, UrlSigner};
use crate::server::calls::Next;
use crate::server::core::Core;

/// Between two reads of one profile's chats: at most four a second. A stream that has shown nothing yet does not wait for it.
const READ_EVERY: std::time::Duration = std::time::Duration::from_millis(250);

#[derive(Default)]
pub struct Values {
    of: BTreeMap<ProfileId, Reading>,
}

struct Reading {
    /// How many reads were begun, which is the number of the one in flight.
    begun: u64,
    under_way: bool,
    /// The next read does not begin before this.
    next_at: Instant,
}

impl Values {
    /// The first read whose answer shows everything up to now.
    pub fn next_read(&self, profile: ProfileId) -> u64 {
        self.of.get(&profile).map_or(0, |reading| reading.begun) + 1
    }

    /// Forgets the profiles without a stream.
    pub fn forget_idle(&mut self, has_stream: impl Fn(ProfileId) -> bool) {
        self.of.retain(|profile, reading| reading.under_way || has_stream(*profile));
    }
}

/// What one read has found.
pub struct Found {
    /// Which read it was.
    pub number: u64,
    chats: Chats,
    counter: OnceCell<Text>,
    list: OnceCell<Text>,
}

/// A value as it is shown, and the hash of the part whose change is news.
pub struct Text {
    pub text: Vec<u8>,
    pub hash: [u8; 32],
}

impl Found {
    /// The value in one form, encoded once for all streams of that form.
    pub fn text(&self, form: ValueForm, urls: &UrlSigner, unix_s: UnixS) -> &Text {
        match form {
            ValueForm::ChatCounter => self.counter.get_or_init(|| {
                let text = json::to_vec(&self.chats.unread_conversations);
                Text { hash: sha256(&text), text }
            }),
            ValueForm::ChatList => self.list.get_or_init(|| {
                let mut chats = self.chats.chats.clone();
                // A signed URL changes every hour; that is not news.
                let hash = sha256(&json::to_vec(&chats));
                for chat in &mut chats {
                    chat.receiver.sign_urls(urls, unix_s);
                }
                Text { text: json::to_vec(&chats), hash }
            }),
        }
    }
}

/// Has the chats read, unless a read is in flight; if it must wait, returns until when. `at_once` is for a stream that shows
/// nothing yet.
pub fn want(core: &mut Core, actor: Actor, at_once: bool) -> Option<Instant> {
    let now = core.now.instant;
    let reading = core.streams.values.of.entry(actor.profile).or_insert(Reading {
        begun: 0,
        under_way: false,
        next_at: now,
    });
    if reading.under_way {
        return None;
    }
    if reading.next_at > now && !at_once {
        return Some(reading.next_at);
    }
    reading.under_way = true;
    reading.begun += 1;
    let list = ListChats { at: core.now.unix_ms, viewer: actor.profile, limit: PAGE_MAX };
    core.ask_read(Flow::of_account(actor.member), list, Next::Chats(actor.profile));
    None
}

/// A read has ended.
pub fn answered(
    core: &mut Core,
    profile: ProfileId,
    result: Result<Answer, Refusal>,
) -> Option<Result<Found, Refusal>> {
    let reading = core.streams.values.of.get_mut(&profile)?;
    reading.under_way = false;
    reading.next_at = core.now.instant + READ_EVERY;
    let number = reading.begun;
    Some(result.and_then(|answer| {
        let chats = ListChats::from_answer(answer).ok_or(Refusal::Internal)?;
        Ok(Found { number, chats, counter: OnceCell::new(), list: OnceCell::new() })
    }))
}
