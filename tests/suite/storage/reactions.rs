//! Reactions: an emoji counts once, however it is spelled and however an older version stored it.

use natter::model::id::{MessageId, ProfileId};
use natter::model::message::{GetMessage, Message, React};
use natter::model::operation::Refusal;

use super::{Room, room};
use crate::store_kit::{Kit, Person};

const BARE: &str = "\u{2764}";
const QUALIFIED: &str = "\u{2764}\u{fe0f}";

fn react(kit: &mut Kit, person: Person, message: MessageId, emoji: &str, on: bool) -> Result<usize, Refusal> {
    let (at, emoji) = (kit.now_ms, emoji.to_owned());
    let (answer, events) = kit.write(React { at, actor: person.profile, message, emoji, on });
    answer.map(|_| events.len())
}

fn shown(kit: &mut Kit, person: Person, message: MessageId) -> Vec<(String, u64, Vec<ProfileId>)> {
    let message: Message = kit.read(GetMessage { viewer: person.profile, message }).expect("the message");
    message.reactions.into_iter().map(|one| (one.emoji, one.count, one.profiles)).collect()
}

#[test]
fn one_emoji_is_shown_fully_qualified_and_counted_once() {
    let Room { mut kit, ann, bob, first, .. } = room("emoji");
    assert_eq!(react(&mut kit, ann, first.id, BARE, true), Ok(1));
    assert_eq!(react(&mut kit, ann, first.id, BARE, true), Ok(0), "a repeat causes no event");
    assert_eq!(react(&mut kit, bob, first.id, BARE, true), Ok(1));
    let both = vec![ann.profile, bob.profile];
    assert_eq!(shown(&mut kit, bob, first.id), [(QUALIFIED.to_owned(), 2, both)]);
    assert_eq!(react(&mut kit, ann, first.id, BARE, false), Ok(1));
    assert_eq!(react(&mut kit, ann, first.id, BARE, false), Ok(0));
    assert_eq!(react(&mut kit, ann, first.id, "+1", false), Err(Refusal::Invalid("emoji")));
}

/// Older versions stored reactions as sent, and accepted any text.
#[test]
fn reactions_of_older_versions_keep_working() {
    let Room { mut kit, ann, bob, first, .. } = room("emoji-before");
    assert_eq!(react(&mut kit, ann, first.id, "\u{1f44d}", true), Ok(1));
    kit.close();
    let seq = first.seq;
    let key_of = |name| kit.sql_number(&format!("SELECT key FROM profiles WHERE nick_name = '{name}'"));
    let (ann_key, bob_key) = (key_of("ann"), key_of("bob"));
    for (emoji, key, at) in
        [(QUALIFIED, ann_key, 100), (BARE, bob_key, 101), (QUALIFIED, bob_key, 102), ("+1", ann_key, 103)]
    {
        kit.sql(&format!(
            "INSERT INTO reactions (message, emoji, profile, seq) VALUES ({seq}, '{emoji}', {key}, {at})"
        ));
    }
    kit.reopen();
    let thumb = ("\u{1f44d}".to_owned(), 1, vec![ann.profile]);
    let heart = (QUALIFIED.to_owned(), 2, vec![ann.profile, bob.profile]);
    let text = ("+1".to_owned(), 1, vec![ann.profile]);
    assert_eq!(shown(&mut kit, bob, first.id), [thumb.clone(), heart.clone(), text.clone()]);
    // In either spelling it exists already, and is removed completely.
    assert_eq!(react(&mut kit, ann, first.id, BARE, true), Ok(0));
    assert_eq!(shown(&mut kit, bob, first.id).len(), 3);
    assert_eq!(react(&mut kit, bob, first.id, BARE, false), Ok(1));
    let heart = (QUALIFIED.to_owned(), 1, vec![ann.profile]);
    assert_eq!(shown(&mut kit, bob, first.id), [thumb.clone(), heart.clone(), text]);
    assert_eq!(react(&mut kit, ann, first.id, "+1", false), Ok(1));
    assert_eq!(shown(&mut kit, bob, first.id), [thumb, heart]);
}
