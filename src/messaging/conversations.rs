//! The handlers of conversation.list and conversation.read.
//!
//! Owns what a request may contain and how the list is encoded. Storage owns unread counts, order and membership.

use crate::model::conversation::{ConversationCursor, ListConversations, MarkRead};
use crate::model::handler::{Actor, Ctx, Cursor, Reply, Request, Step};
use crate::model::problem::Problem;
use crate::model::settings::SignUrls;

/// GET /conversations, op `conversation.list`. In addition to the list the response has the cursor at which a stream
/// continues it.
pub fn list(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let limit = request.params.limit()?;
    let after = request.params.next(read_next)?;
    let archived = request.params.flag("archived")?;
    let list = ListConversations { at: ctx.now.unix_ms, viewer: actor.profile, after, archived, limit };
    Ok(Step::store(list, |ctx, mut page| {
        page.conversations.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        // A cursor of what a power cut may still take away would name other events afterwards.
        let cursor = ctx.proven.then(|| Cursor { epoch: ctx.epoch.to_owned(), seq: page.as_of }.to_string());
        Reply::list(&page.conversations, page.next.map(write_next))
            .beside("cursor", &cursor)
            .beside("unread_total", &page.unread_total)
            .beside("archived_total", &page.archived_total)
            .step()
    }))
}

/// `c<seq>`: the page after the conversation whose last activity was at seq. `p<seq>` if it is pinned.
fn write_next(cursor: ConversationCursor) -> String {
    let kind = if cursor.pinned { 'p' } else { 'c' };
    format!("{kind}{}", cursor.activity)
}

fn read_next(text: &str) -> Option<ConversationCursor> {
    let pinned = text.starts_with('p');
    let activity = super::read_number(text.strip_prefix(['c', 'p'])?)?;
    Some(ConversationCursor { pinned, activity })
}

/// POST /conversations/{conversation}/read, op `conversation.read`.
pub fn read(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let conversation = request.params.required_id("conversation")?;
    let n = request.params.required_number("n")?;
    let mark = MarkRead { at: ctx.now.unix_ms, reader: actor.profile, conversation, n };
    Ok(Step::store(mark, |_, marked| Reply::ok(&marked).step()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use crate::model::conversation::{
        Conversation, ConversationPage, ConversationType, Marked, UnreadMentions,
    };
    use crate::model::handler::Handler;
    use crate::model::operation::{Answer, Command, Read, Refusal, Write};
    use crate::model::preferences::Preferences;
    use crate::model::profile::Profile;
    use crate::model::testing::{Stage, UNIX_MS, problem, text};
    use crate::model::upload::Image;

    const LIST: Handler = Handler::Member(list);
    const READ: Handler = Handler::Member(read);

    fn direct() -> Conversation {
        Conversation {
            id: Id::from_u128(20),
            kind: ConversationType::Direct,
            title: None,
            image: None,
            members_count: 2,
            peer: Some(Profile {
                id: Id::from_u128(30),
                member: None,
                display_name: "Bo".to_owned(),
                nick_name: "bo1234".to_owned(),
                profile_image: Some(Image {
                    upload: Id::from_u128(40),
                    name: "p.png".to_owned(),
                    url: String::new(),
                }),
                is_private: false,
                created_at: UNIX_MS,
                presence: None,
                bot: false,
            }),
            last_message: None,
            unread: 3,
            read_n: 4,
            last_n: 7,
            own: Preferences::default(),
            peer_read_n: None,
            role: None,
            history: None,
            messages_kept: None,
            erased_n: None,
            first_n: None,
            mentions: UnreadMentions::default(),
        }
    }

    #[test]
    fn the_list_comes_with_its_stream_cursor() {
        let mut stage = Stage::new();
        let step = stage.ask_at(LIST, &[], "limit=1&next=p88&archived=false", "");
        let step = stage.answer(step, |command| {
            let Command::Read(Read::ListConversations(list)) = command else { panic!("{command:?}") };
            let after = Some(ConversationCursor { pinned: true, activity: 88 });
            assert_eq!((list.at, list.viewer, list.limit), (UNIX_MS, Id::from_u128(12), 1));
            assert_eq!((list.after, list.archived), (after, Some(false)));
            Answer::ListConversations(Box::new(ConversationPage {
                conversations: vec![direct()],
                next: Some(ConversationCursor { pinned: false, activity: 77 }),
                as_of: 90,
                unread_total: 5,
                archived_total: 2,
            }))
        });
        let (status, body) = text(step);
        assert_eq!(status, 200);
        let url = stage.settings.urls.url(Id::from_u128(40), "p.png", UNIX_MS.s());
        let (id, peer) = (<Id>::from_u128(20), <Id>::from_u128(30));
        assert_eq!(
            body,
            format!(
                r#"{{"data":[{{"id":"{id}","type":"direct","title":null,"image":null,"members_count":2,"peer":{{"id":"{peer}","member":null,"display_name":"Bo","nick_name":"bo1234","profile_image":"{url}","is_private":false,"created_at":"2026-11-22T13:03:54.120Z"}},"last_message":null,"unread":3,"read_n":4,"last_n":7,"muted":false}}],"next":"c77","cursor":"k3:90","unread_total":5,"archived_total":2}}"#
            )
        );
    }

    #[test]
    fn a_list_with_bad_params_is_refused() {
        for next in ["", "88", "c", "c-1", "c+1", "b1", "c1 ", "c99999999999999999999"] {
            let step = Stage::new().ask_at(LIST, &[], &format!("next={next}"), "");
            assert_eq!(problem(step), (400, "error_parsing_data".to_owned()), "{next}");
        }
        let step = Stage::new().ask_at(LIST, &[], "limit=0", "");
        assert_eq!(problem(step), (422, "invalid_limit".to_owned()));
    }

    #[test]
    fn a_reading_is_marked_for_the_actor() {
        let mut stage = Stage::new();
        let path = [("conversation", <Id>::from_u128(20).to_string())];
        let step = stage.ask_at(READ, &path, "", r#"{"n":7,"profile":"someone else"}"#);
        let step = stage.answer(step, |command| {
            let Command::Write(Write::MarkRead(mark)) = command else { panic!("{command:?}") };
            let expect = (UNIX_MS, Id::from_u128(12), Id::from_u128(20), 7);
            assert_eq!((mark.at, mark.reader, mark.conversation, mark.n), expect);
            Answer::MarkRead(Box::new(Marked { read_n: 7, unread: 0, mentions: UnreadMentions::default() }))
        });
        assert_eq!(text(step), (200, r#"{"data":{"read_n":7,"unread":0}}"#.to_owned()));
        let step = stage.ask_at(READ, &path, "", r#"{"n":7}"#);
        assert_eq!(problem(stage.refuse(step, Refusal::NotFound)), (404, "not_found".to_owned()));
        for bad in ["{}", r#"{"n":-1}"#, r#"{"n":"7"}"#, r#"{"n":1.5}"#, r#"{"n":null}"#] {
            let step = stage.ask_at(READ, &path, "", bad);
            assert_eq!(problem(step), (422, "invalid_n".to_owned()), "{bad}");
        }
    }
}
