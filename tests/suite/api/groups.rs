//! Groups, and messages that change: each route's success, each refusal, and an attempt by another member.

use natter::base::percent::encode;
use natter::base::secret::Secret;
use natter::base::time::UnixS;

use super::uploads::raw;
use crate::support::World;
use crate::support::http::{Person, Response};

struct Group {
    world: World,
    ann: Person,
    bob: Person,
    cat: Person,
    /// Not a member of the group.
    eve: Person,
    id: String,
}

/// Ann's group with Bob and Cat in it.
fn group() -> Group {
    let mut world = World::new();
    let [ann, bob, cat, eve] = ["ann", "bob", "cat", "eve"].map(|name| world.sign_up(name));
    let body = format!(r#"{{"title":"tea","members":["{}","{}"]}}"#, bob.profile, cat.profile);
    let made = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body));
    assert_eq!((made.status, made.at("data.type")), (201, "group".into()), "{}", made.text());
    assert_eq!((made.at("data.title"), made.at("data.members_count")), ("tea".into(), "3".into()));
    let id = made.at("data.id");
    Group { world, ann, bob, cat, eve, id }
}

impl Group {
    fn post(&mut self, from: &Person, text: &str, key: u8) -> Response {
        let client_id = format!("01ARZ3NDEKTSV4RRFFQ69G5F{key:02}");
        let body = format!(r#"{{"conversation":"{}","client_id":"{client_id}","body":"{text}"}}"#, self.id);
        self.world.ask_as(from, "POST", "/api/v1/messages", Some(&body))
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/conversations/{}{rest}", self.id)
    }

    fn ask(&mut self, who: &Person, method: &str, path: &str, body: Option<&str>) -> (u16, String) {
        let response = self.world.ask_as(who, method, path, body);
        let code = if response.status < 300 { String::new() } else { response.code() };
        (response.status, code)
    }

    /// The names of a person's events, oldest first, each with its subject.
    fn events(&mut self, who: &Person) -> Vec<String> {
        let log = self.world.ask_as(who, "GET", "/api/v1/events?limit=200", None);
        assert_eq!(log.status, 200);
        (0..).map(|i| log.at(&format!("data.{i}.event"))).take_while(|name| name != "null").collect()
    }
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn good(status: u16) -> (u16, String) {
    (status, String::new())
}

#[test]
fn a_group_is_made_once_for_a_client_id() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let body = format!(
        r#"{{"client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","title":"tea","members":["{0}","{0}","{1}"]}}"#,
        bob.profile, ann.profile
    );
    let first = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body));
    let again = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body));
    assert_eq!((first.status, first.at("data.members_count")), (201, "2".into()));
    assert_eq!(
        (again.status, again.at("duplicate"), again.at("data.id")),
        (200, "true".into(), first.at("data.id"))
    );
    for (body, status, code) in [
        (r#"{"members":[]}"#, 422, "invalid_title"),
        (r#"{"title":" "}"#, 422, "invalid_title"),
        (r#"{"title":"t","members":["x"]}"#, 422, "invalid_members"),
        (r#"{"title":"t","members":["01ARZ3NDEKTSV4RRFFQ69G5FAV"]}"#, 404, "not_found"),
        (r#"{"title":"t","client_id":"x"}"#, 422, "invalid_client_id"),
    ] {
        let response = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(body));
        assert_eq!((response.status, response.code().as_str()), (status, code), "{body}");
    }
}

#[test]
fn members_join_and_leave_and_the_last_admin_gets_a_successor() {
    let mut g = group();
    let (ann, bob, cat, eve) = (g.ann.clone(), g.bob.clone(), g.cat.clone(), g.eve.clone());
    let eve_path = g.path(&format!("/members/{}", eve.profile));
    assert_eq!(g.ask(&eve, "GET", &g.path(""), None), refused(404, "not_found"));
    assert_eq!(g.ask(&eve, "GET", &g.path("/members"), None), refused(404, "not_found"));
    assert_eq!(g.ask(&eve, "PUT", &eve_path, None), refused(404, "not_found"));
    assert_eq!(g.ask(&bob, "PUT", &eve_path, None), refused(403, "not_allowed"));
    assert_eq!(g.ask(&ann, "PUT", &eve_path, Some(r#"{"role":"king"}"#)), refused(422, "invalid_role"));
    assert_eq!(g.post(&ann, "before eve", 1).status, 201);
    assert_eq!(g.ask(&ann, "PUT", &eve_path, None), good(200));
    assert_eq!(g.ask(&ann, "PUT", &eve_path, None), good(200));
    assert_eq!(g.post(&ann, "with eve", 2).status, 201);
    // Her log begins with her joining. Earlier messages count as read and can be listed.
    assert_eq!(g.events(&eve), ["member.added", "message.posted", "message.posted"]);
    let seen = g.world.ask_as(&eve, "GET", &g.path(""), None);
    assert_eq!(
        (seen.at("data.unread"), seen.at("data.last_n"), seen.at("data.read_n")),
        ("1".into(), "4".into(), "2".into())
    );
    let list = g.world.ask_as(&eve, "GET", &g.path("/messages"), None);
    assert_eq!(list.at("data.1.body"), "before eve");
    let members = g.world.ask_as(&eve, "GET", &g.path("/members?limit=3"), None);
    assert_eq!((members.at("data.0.role"), members.at("data.1.role")), ("admin".into(), "member".into()));
    let rest = g.world.ask_as(&eve, "GET", &g.path(&format!("/members?next={}", members.at("next"))), None);
    assert_eq!((rest.at("data.0.profile.id"), rest.at("next")), (eve.profile.clone(), "null".into()));

    // After the removal she gets and reads nothing but the event of her own removal.
    assert_eq!(g.ask(&bob, "DELETE", &eve_path, None), refused(403, "not_allowed"));
    assert_eq!(g.ask(&ann, "DELETE", &eve_path, None), good(204));
    assert_eq!(g.post(&ann, "without eve", 3).status, 201);
    assert_eq!(g.events(&eve), ["member.removed"]);
    assert_eq!(g.ask(&eve, "GET", &g.path("/messages"), None), refused(404, "not_found"));
    assert_eq!(g.post(&eve, "no", 4).status, 404);

    // When the last admin leaves, the oldest member becomes admin.
    let ann_path = g.path(&format!("/members/{}", ann.profile));
    assert_eq!(g.ask(&ann, "PUT", &ann_path, Some(r#"{"role":"member"}"#)), refused(403, "not_allowed"));
    assert_eq!(g.ask(&ann, "DELETE", &ann_path, None), good(204));
    let members = g.world.ask_as(&cat, "GET", &g.path("/members"), None);
    assert_eq!(
        (members.at("data.0.profile.id"), members.at("data.0.role")),
        (bob.profile.clone(), "admin".into())
    );
    assert_eq!(g.ask(&bob, "PUT", &g.path(""), Some(r#"{"title":"coffee"}"#)), good(200));
    let names = g.events(&cat);
    let expect = [
        "conversation.created",
        "message.posted",
        "message.posted",
        "member.added",
        "message.posted",
        "message.posted",
        "member.removed",
        "message.posted",
        "message.posted",
        "member.removed",
        "message.posted",
        "member.added",
        "message.posted",
        "conversation.updated",
        "message.posted",
    ];
    assert_eq!(names, expect);
    assert_eq!(g.ask(&cat, "PUT", &g.path(""), Some(r#"{"title":"x"}"#)), refused(403, "not_allowed"));
    assert_eq!(g.ask(&cat, "PUT", &g.path(""), Some(r#"{"muted":true}"#)), good(200));
    let seen = |g: &mut Group, who: &Person| g.world.ask_as(who, "GET", &g.path(""), None).at("data.muted");
    assert_eq!((seen(&mut g, &cat), seen(&mut g, &bob)), ("true".into(), "false".into()));
}

#[test]
fn a_direct_conversation_takes_no_members() {
    let mut g = group();
    let (ann, bob, eve) = (g.ann.clone(), g.bob.clone(), g.eve.clone());
    let body = format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","body":"hi"}}"#, bob.profile);
    let posted = g.world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body));
    g.id = posted.at("data.conversation");
    let member = |person: &Person| format!("/members/{}", person.profile);
    assert_eq!(g.ask(&ann, "PUT", &g.path(&member(&eve)), None), refused(403, "not_allowed"));
    assert_eq!(g.ask(&ann, "DELETE", &g.path(&member(&ann)), None), refused(403, "not_allowed"));
    assert_eq!(g.ask(&ann, "PUT", &g.path(""), Some(r#"{"title":"x"}"#)), refused(403, "not_allowed"));
    assert_eq!(g.ask(&ann, "PUT", &g.path(""), Some(r#"{"muted":true}"#)), good(200));
    assert_eq!(g.ask(&ann, "GET", &g.path("/members"), None), good(200));
}

#[test]
fn messages_change_and_keep_their_position() {
    let mut g = group();
    let (ann, bob, cat, eve) = (g.ann.clone(), g.bob.clone(), g.cat.clone(), g.eve.clone());
    let posted = g.post(&bob, "helo", 1);
    let path = format!("/api/v1/messages/{}", posted.at("data.id"));
    let edit = Some(r#"{"body":"hello"}"#);
    assert_eq!(g.ask(&eve, "GET", &path, None), refused(404, "not_found"));
    assert_eq!(g.ask(&eve, "PUT", &path, edit), refused(404, "not_found"));
    assert_eq!(g.ask(&ann, "PUT", &path, edit), refused(403, "not_allowed"));
    assert_eq!(g.ask(&bob, "PUT", &path, Some(r#"{"body":" "}"#)), refused(422, "invalid_body"));
    assert_eq!(g.ask(&bob, "PUT", &path, Some("{}")), refused(422, "invalid_body"));
    let edited = g.world.ask_as(&bob, "PUT", &path, edit);
    assert_eq!(
        (edited.status, edited.at("data.body"), edited.at("data.n")),
        (200, "hello".into(), "2".into())
    );
    assert_eq!(edited.at("data.seq"), posted.at("data.seq"));
    assert!(edited.at("data.rev").parse::<u64>().ok() > edited.at("data.seq").parse().ok());
    assert_ne!(edited.at("data.edited_at"), "null");

    let thumb = format!("{path}/reactions/%F0%9F%91%8D");
    assert_eq!(g.ask(&eve, "PUT", &thumb, None), refused(404, "not_found"));
    assert_eq!(g.ask(&cat, "PUT", &thumb, None), good(200));
    let reacted = g.world.ask_as(&ann, "PUT", &thumb, None);
    assert_eq!(
        (reacted.at("data.reactions.0.emoji"), reacted.at("data.reactions.0.count")),
        ("👍".into(), "2".into())
    );
    assert_eq!(reacted.at("data.reactions.0.profiles.0"), cat.profile);
    let rev = reacted.at("data.rev");
    assert_eq!(g.world.ask_as(&ann, "PUT", &thumb, None).at("data.rev"), rev, "a repeat causes no event");
    assert_eq!(g.world.ask_as(&ann, "DELETE", &thumb, None).at("data.reactions.0.count"), "1");
    // Ten people and the joiners between them.
    let long = encode(&["\u{1f468}"; 10].join("\u{200d}"));
    assert_eq!(g.ask(&ann, "PUT", &format!("{path}/reactions/{long}"), None), refused(422, "invalid_emoji"));
    for none in ["e", "1", "%E2%80%8D", "%F0%9F%8F%BD", "%F0%9F%91%8D%F0%9F%91%8D"] {
        assert_eq!(
            g.ask(&ann, "PUT", &format!("{path}/reactions/{none}"), None),
            refused(422, "invalid_emoji")
        );
        assert_eq!(
            g.ask(&ann, "DELETE", &format!("{path}/reactions/{none}"), None),
            refused(422, "invalid_emoji")
        );
    }
    // One emoji in two spellings, shown in the fully qualified one.
    let hearts = ["%E2%9D%A4", "%E2%9D%A4%EF%B8%8F"].map(|heart| format!("{path}/reactions/{heart}"));
    assert_eq!(g.ask(&cat, "PUT", &hearts[0], None), good(200));
    let both = g.world.ask_as(&ann, "PUT", &hearts[1], None);
    assert_eq!(
        (both.at("data.reactions.1.emoji"), both.at("data.reactions.1.count")),
        ("❤️".into(), "2".into())
    );
    assert_eq!(g.ask(&cat, "DELETE", &hearts[1], None), good(200));
    assert_eq!(g.world.ask_as(&ann, "DELETE", &hearts[0], None).at("data.reactions.1"), "null");
    let animal = |i: u32| encode(&char::from_u32(0x1f400 + i).expect("an animal").to_string());
    for i in 1..20 {
        assert_eq!(g.ask(&ann, "PUT", &format!("{path}/reactions/{}", animal(i)), None), good(200));
    }
    let more = format!("{path}/reactions/{}", animal(20));
    assert_eq!(g.ask(&ann, "PUT", &more, None), refused(422, "invalid_emoji"));
    assert_eq!(g.ask(&ann, "PUT", &thumb, None), good(200), "a reaction that exists does not count again");

    let unread = |g: &mut Group| g.world.ask_as(&cat, "GET", &g.path(""), None).at("data.unread");
    assert_eq!(unread(&mut g), "1");
    assert_eq!(g.ask(&cat, "DELETE", &path, None), refused(403, "not_allowed"));
    assert_eq!(g.ask(&eve, "DELETE", &path, None), refused(404, "not_found"));
    // It is her group, so as an admin she may.
    assert_eq!(g.ask(&ann, "DELETE", &path, None), good(204));
    assert_eq!(g.ask(&bob, "DELETE", &path, None), good(204));
    assert_eq!(unread(&mut g), "0");
    let gone = g.world.ask_as(&cat, "GET", &path, None);
    assert_eq!(
        (gone.status, gone.at("data.body"), gone.at("data.reactions")),
        (200, "null".into(), "[]".into())
    );
    assert_eq!((gone.at("data.n"), gone.at("data.deleted_at") != "null"), ("2".into(), true));
    assert_eq!(g.ask(&bob, "PUT", &path, edit), refused(403, "not_allowed"));
    assert_eq!(g.ask(&cat, "PUT", &thumb, None), refused(403, "not_allowed"));
    // The same client_id is still the same message.
    let again = g.post(&bob, "helo", 1);
    assert_eq!(
        (again.status, again.at("duplicate"), again.at("data.body")),
        (200, "true".into(), "null".into())
    );
    let next = g.post(&bob, "next", 2);
    assert_eq!(next.at("data.n"), "3");
    let events = g.events(&cat);
    assert_eq!(events.first().map(String::as_str), Some("conversation.created"));
    assert_eq!(events.iter().filter(|name| *name == "message.deleted").count(), 1);
    assert_eq!(events.iter().filter(|name| *name == "message.edited").count(), 1);
    assert_eq!(
        g.ask(&cat, "GET", "/api/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV", None),
        refused(404, "not_found")
    );
}

/// Where a group hides what was said before, no way of reading a message shows it to a newcomer.
#[test]
fn newcomers_may_see_only_what_is_said_after_they_joined() {
    let mut g = group();
    let (ann, bob, eve) = (g.ann.clone(), g.bob.clone(), g.eve.clone());
    let file = raw(&mut g.world, &ann, "secret.txt", b"secret file");
    let file_path = file.at("data.url").split('?').next().expect("a path").to_owned();
    let old = format!(
        r#"{{"conversation":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5F90","body":"secret word","attachments":["{}"]}}"#,
        g.id,
        file.at("data.id")
    );
    let old = g.world.ask_as(&ann, "POST", "/api/v1/messages", Some(&old));
    assert_eq!(old.status, 201, "{}", old.text());
    let old = old.at("data.id");
    let path = format!("/api/v1/messages/{old}");
    assert_eq!(g.ask(&bob, "PUT", &g.path(""), Some(r#"{"history":"joined"}"#)), refused(403, "not_allowed"));
    assert_eq!(g.ask(&ann, "PUT", &g.path(""), Some(r#"{"history":"x"}"#)), refused(422, "invalid_history"));
    let set = g.world.ask_as(&ann, "PUT", &g.path(""), Some(r#"{"history":"joined"}"#));
    assert_eq!((set.at("data.history"), set.at("data.first_n")), ("joined".into(), "null".into()));
    assert_eq!(g.ask(&ann, "PUT", &g.path(&format!("/members/{}", eve.profile)), None), good(200));
    let live = g.world.open_socket(&eve, "/api/v1/ws");
    g.world.texts(live);
    assert_eq!(g.post(&bob, "a word", 91).status, 201);
    // Changes of what she does not see.
    assert_eq!(g.ask(&ann, "PUT", &path, Some(r#"{"body":"secret word again"}"#)), good(200));
    assert_eq!(g.ask(&bob, "PUT", &format!("{path}/reactions/%F0%9F%91%8D"), None), good(200));
    let answer = format!(
        r#"{{"conversation":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5F92","body":"re","reply_to":"{old}"}}"#,
        g.id
    );
    assert_eq!(g.world.ask_as(&bob, "POST", "/api/v1/messages", Some(&answer)).status, 201);

    let seen = g.world.ask_as(&eve, "GET", &g.path(""), None);
    let counts = ["first_n", "last_n", "read_n", "unread"].map(|name| seen.at(&format!("data.{name}")));
    assert_eq!(counts, ["3", "5", "2", "2"]);
    for query in ["", "?after=0", "?before=6", "?limit=3"] {
        let list = g.world.ask_as(&eve, "GET", &g.path(&format!("/messages{query}")), None);
        let positions = [0, 1, 2, 3].map(|i| list.at(&format!("data.{i}.n")));
        assert_eq!(
            (positions, list.at("next")),
            (["3", "4", "5", "null"].map(str::to_owned), "null".into()),
            "{query}"
        );
    }
    let list = g.world.ask_as(&eve, "GET", &g.path("/messages?before=3"), None);
    assert_eq!((list.at("data"), list.at("next")), ("[]".into(), "null".into()));
    assert_eq!(g.ask(&eve, "GET", &path, None), refused(404, "not_found"));
    assert_eq!(
        g.ask(&eve, "PUT", &format!("{path}/reactions/%F0%9F%91%8D"), None),
        refused(404, "not_found")
    );
    assert_eq!(g.ask(&eve, "DELETE", &path, None), refused(404, "not_found"));
    let reply = answer.replace("F92", "F93");
    let replied = g.world.ask_as(&eve, "POST", "/api/v1/messages", Some(&reply));
    assert_eq!((replied.status, replied.code()), (422, "invalid_reply_to".into()));
    assert_eq!(g.ask(&eve, "GET", &file_path, None), refused(404, "not_found"));
    assert_eq!(g.ask(&bob, "GET", &file_path, None), good(200));
    for (who, query, count) in [(&eve, "word", 1), (&bob, "word", 2), (&eve, "secret", 0)] {
        let found = g.world.ask_as(who, "GET", &format!("/api/v1/search?q={query}"), None);
        let bodies = (0..).map(|i| found.at(&format!("data.{i}.body"))).take_while(|body| body != "null");
        assert_eq!(bodies.count(), count, "{query}");
    }
    let live = g.world.texts(live);
    assert_eq!(live.len(), 2, "{live:?}");
    assert_eq!(g.events(&eve), ["member.added", "message.posted", "message.posted", "message.posted"]);
    for text in live.iter().chain([&g.world.ask_as(&eve, "GET", "/api/v1/events", None).text().to_owned()]) {
        assert!(!text.contains("secret"), "{text}");
    }

    // A deletion of what is hidden too; and who leaves and comes back is a newcomer.
    assert_eq!(g.ask(&ann, "DELETE", &path, None), good(204));
    assert_eq!(g.events(&eve).len(), 4);
    let own = g.post(&bob, "of bob", 94).at("data.id");
    let bob_path = g.path(&format!("/members/{}", bob.profile));
    assert_eq!(g.ask(&bob, "DELETE", &bob_path, None), good(204));
    assert_eq!(g.ask(&ann, "PUT", &bob_path, None), good(200));
    assert_eq!(g.ask(&bob, "GET", &format!("/api/v1/messages/{own}"), None), refused(404, "not_found"));
    let again = g.post(&bob, "of bob", 94);
    assert_eq!((again.at("duplicate"), again.at("data.body")), ("true".into(), "null".into()));
    // Shown again: for later newcomers.
    assert_eq!(g.ask(&ann, "PUT", &g.path(""), Some(r#"{"history":"all"}"#)), good(200));
    assert_eq!(g.world.ask_as(&eve, "GET", &g.path(""), None).at("data.first_n"), "3");
    assert_eq!(g.ask(&bob, "DELETE", &bob_path, None), good(204));
    assert_eq!(g.ask(&ann, "PUT", &bob_path, None), good(200));
    assert_eq!(g.ask(&bob, "GET", &format!("/api/v1/messages/{own}"), None), good(200));
}

/// The read marks of the members are in their list, where the two may see them.
#[test]
fn the_list_of_members_says_how_far_each_has_read() {
    let mut g = group();
    let (ann, bob, cat) = (g.ann.clone(), g.bob.clone(), g.cat.clone());
    assert_eq!(g.post(&ann, "hello", 1).status, 201);
    assert_eq!(g.ask(&bob, "POST", &g.path("/read"), Some(r#"{"n":2}"#)), good(200));
    let marks = |g: &mut Group, who: &Person| {
        let list = g.world.ask_as(who, "GET", &g.path("/members"), None);
        [0, 1, 2].map(|i| list.at(&format!("data.{i}.read_n")))
    };
    assert_eq!(marks(&mut g, &ann), ["2", "2", "0"]);
    assert_eq!(g.ask(&cat, "PUT", &format!("/api/v1/blocks/{}", ann.profile), None), good(204));
    assert_eq!(marks(&mut g, &ann), ["2", "2", "null"], "across a block");
    assert_eq!(g.ask(&bob, "PUT", "/api/v1/profile", Some(r#"{"presence":false}"#)), good(200));
    assert_eq!(marks(&mut g, &ann), ["2", "null", "null"], "receipts are hidden");
    assert_eq!(marks(&mut g, &bob), ["null", "null", "null"], "both ways");
}

/// In a group only the reader gets the event of a read mark: otherwise a thousand readers of one message would be a
/// million deliveries.
#[test]
fn a_thousand_readers_of_one_message_are_a_thousand_small_writes() {
    use natter::base::id::Id;
    use natter::model::conversation::{CreateConversation, MarkRead};
    use natter::model::member::{NewAccount, SignUp};
    use natter::model::message::{Destination, Message, PostMessage};
    use natter::model::operation::{Lane, Outcome, Write};
    use natter::model::session::NewSession;

    const MEMBERS: u128 = 1_000;
    let at = crate::support::START_MS;
    let mut world = World::new();
    let mut commit = |commands: Vec<Write>| -> Vec<Outcome> {
        let mut batch = commands.into_iter().map(|command| (Lane(0), command)).collect();
        let committed = world.store.commit(&mut batch);
        assert!(committed.outcomes.iter().all(|outcome| outcome.result.is_ok()));
        committed.outcomes
    };
    let profile = |i: u128| Id::from_u128(1_000_000 + i);
    let sign_up = |i: u128| SignUp {
        account: NewAccount {
            at,
            member: Id::from_u128(2_000_000 + i),
            profile: profile(i),
            email: Secret::new(format!("m{i}@example.org")),
            hash: Secret::new(String::new()),
            display_name: format!("m{i}").into(),
            nick_names: vec![format!("m{i}")],
        },
        session: NewSession {
            id: Id::from_u128(3_000_000 + i),
            access_uuid: Id::from_u128(4_000_000 + i),
            refresh_uuid: Id::from_u128(5_000_000 + i),
            unique_id: None,
            user_agent: String::new(),
            address: String::new(),
            access_expire: UnixS(0),
            refresh_expire: UnixS(0),
        },
        code: None,
        invite: None,
    };
    commit((0..MEMBERS).map(|i| sign_up(i).into()).collect());
    let group = Id::from_u128(9);
    let create = CreateConversation {
        at,
        creator: profile(0),
        client_id: None,
        id: group,
        title: "all".to_owned(),
        members: (1..MEMBERS).map(profile).collect(),
        members_max: MEMBERS as usize,
    };
    commit(vec![create.into()]);
    let draft = Message {
        client_id: Id::from_u128(7),
        sender: Some(profile(0)),
        body: Some("hello, all".to_owned()),
        created_at: at,
        ..Message::default()
    };
    let post = PostMessage {
        draft: draft.into(),
        destination: Destination::Conversation(group),
        attachments: [].into(),
        conversation_if_new: group,
        random: 0,
    };
    let posted = commit(vec![post.into()]);
    assert_eq!(posted[0].events[0].audience.profiles.len(), MEMBERS as usize);
    let read = |i| MarkRead { at, reader: profile(i), conversation: group, n: 1 }.into();
    let marked = commit((1..MEMBERS).map(read).collect());
    let deliveries: usize =
        marked.iter().flat_map(|outcome| &outcome.events).map(|event| event.audience.profiles.len()).sum();
    assert_eq!(deliveries, MEMBERS as usize - 1);
}
