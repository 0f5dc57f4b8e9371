//! Nick names that became reserved while members had them.

use natter::model::event::{Fact, LogPage, ReadLog};
use natter::model::mail::{Content, FetchMail};
use natter::model::message::Destination;
use natter::model::profile::ListProfiles;

use crate::store_kit::Kit;

#[test]
fn the_member_gets_another_name_an_event_and_one_mail() {
    let mut kit = Kit::new("reserved");
    let (holder, other) = (kit.person("bots"), kit.person("robots"));
    kit.say(holder.profile, Destination::To(other.profile), "beep");
    let head = kit.say(other.profile, Destination::To(holder.profile), "boop").seq;
    let mut names = Vec::new();
    // The second start finds nothing to do, also after a crash.
    for _ in 0..2 {
        kit.crash();
        kit.reopen();
        let list = ListProfiles { viewer: other.profile, ids: vec![holder.profile, other.profile] };
        let nick_names: Vec<_> =
            kit.read(list).expect("profiles").into_iter().map(|one| one.nick_name).collect();
        names.push(nick_names);
        let mails = kit.read(FetchMail { at: kit.now_ms, limit: 9 }).expect("the outbox").mails;
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].to.as_ref().map(|to| to.email.expose().as_str()), Some("bots@example.org"));
        let Content::NickNameChanged(old_name) = &mails[0].content else { panic!("{:?}", mails[0]) };
        assert_eq!(old_name, &names[0][0]);
        for profile in [holder.profile, other.profile] {
            let read = ReadLog { profile, after: head, from_oldest: false, limit: 9 };
            let LogPage::Events { events, .. } = kit.read(read).expect("the log") else { panic!("a reset") };
            let facts: Vec<_> = events.iter().map(|(_, fact)| fact).collect();
            assert!(
                matches!(facts[..], [Fact::ProfileUpdated(now)] if now.nick_name == names[0][0]),
                "{facts:?}"
            );
        }
    }
    assert_eq!(names[0], names[1]);
    assert_eq!(names[0][1], "robots");
    let (front, digits) = names[0][0].split_at(4);
    assert!(front == "bots" && digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit()), "{names:?}");
}
