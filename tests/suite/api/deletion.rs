//! account.delete: what is deleted, what stays, what can't be read any more, and an attempt by another member.

use std::time::Duration;

use crate::support::World;
use crate::support::http::{Person, Response};

const ME: &str = "/api/v1/user/me";

fn refused(response: &Response) -> (u16, String) {
    (response.status, response.code())
}

fn delete(world: &mut World, person: &Person, body: &str) -> Response {
    world.ask_as(person, "DELETE", ME, Some(body))
}

fn post(world: &mut World, from: &Person, destination: &str, n: u32, text: &str) -> Response {
    let body = format!(r#"{{{destination},"client_id":"01ARZ3NDEKTSV4RRFFQ69{n:05}","body":"{text}"}}"#);
    world.ask_as(from, "POST", "/api/v1/messages", Some(&body))
}

fn to(person: &Person) -> String {
    format!(r#""to":"{}""#, person.profile)
}

fn messages(world: &mut World, person: &Person, conversation: &str) -> Response {
    world.ask_as(person, "GET", &format!("/api/v1/conversations/{conversation}/messages"), None)
}

/// The files in the database's folder that contain these bytes: the database, its WAL, uploads, and all others.
pub fn on_disk(world: &World, needle: &str) -> Vec<String> {
    in_folder(world.dir.path(), needle)
}

fn in_folder(folder: &std::path::Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(in_folder(&path, needle));
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        if bytes.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle.as_bytes())) {
            found.push(path.file_name().expect("a name").to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn an_account_is_deleted_and_its_messages_stay_without_a_sender() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conversation = post(&mut world, &ann, &to(&bob), 1, "from ann").at("data.conversation");
    assert_eq!(post(&mut world, &bob, &to(&ann), 2, "from bob").status, 201);
    let socket = world.open_socket(&ann, "/api/v1/ws");
    let body = r#"{"password":"correct horse ann's"}"#;
    let gone = delete(&mut world, &ann, body);
    assert_eq!((gone.status, gone.body.len()), (204, 0), "{}", gone.text());
    assert_eq!(world.close_code(socket), Some(4401));

    for path in [ME, "/api/v1/profile", "/api/v1/conversations"] {
        assert_eq!(refused(&world.ask_as(&ann, "GET", path, None)), (401, "unauthorized_access".into()));
    }
    let refresh = format!(r#"{{"refresh":"{}"}}"#, ann.refresh);
    assert_eq!(world.ask("POST", "/api/v1/user/refresh", &[], Some(&refresh)).status, 401);
    let sign_in = r#"{"email":"ann@example.org","password":"correct horse ann's"}"#;
    let back = world.ask("POST", "/api/v1/user/sign-in", &[], Some(sign_in));
    assert_eq!(refused(&back), (401, "email_password_wrong".into()));

    let profile = world.ask_as(&bob, "GET", &format!("/api/v1/profile/{}", ann.profile), None);
    assert_eq!(refused(&profile), (404, "not_found".into()));
    let list = messages(&mut world, &bob, &conversation);
    assert_eq!((list.at("data.0.body"), list.at("data.0.sender")), ("from ann".into(), "null".into()));
    assert_eq!((list.at("data.0.n"), list.at("data.0.deleted_at")), ("1".into(), "null".into()));
    assert_eq!(list.at("data.1.sender"), bob.profile);
    let conversations = world.ask_as(&bob, "GET", "/api/v1/conversations", None);
    assert_eq!(
        (conversations.at("data.0.id"), conversations.at("data.0.peer")),
        (conversation, "null".into())
    );
    assert_eq!(refused(&post(&mut world, &bob, &to(&ann), 3, "hello?")), (404, "not_found".into()));

    // Another member can take the address and the nick name.
    let again = world.sign_up("ann");
    assert_ne!((&again.member, &again.profile), (&ann.member, &ann.profile));
    assert_eq!(world.ask_as(&again, "GET", "/api/v1/conversations", None).at("data.0"), "null");
}

#[test]
fn the_deletion_of_an_account_needs_its_password() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    for (method, path) in [("DELETE", ME), ("POST", "/api/v1/user/delete")] {
        let mut check = |person: &Person, body: &str, expect: (u16, &str)| {
            let answer = world.ask_as(person, method, path, Some(body));
            assert_eq!(refused(&answer), (expect.0, expect.1.to_owned()), "{body}");
        };
        check(&ann, "{}", (422, "invalid_password"));
        check(&ann, r#"{"password":7}"#, (422, "invalid_password"));
        check(&ann, r#"{"password":"wrong"}"#, (401, "email_password_wrong"));
        check(&bob, r#"{"password":"correct horse ann's"}"#, (401, "email_password_wrong"));
        check(&ann, r#"{"password":"correct horse ann's","messages":"burn"}"#, (422, "invalid_messages"));
        check(&ann, "nonsense", (400, "error_parsing_data"));
        let anonymous = world.ask(method, path, &[], Some(r#"{"password":"correct horse ann's"}"#));
        assert_eq!(refused(&anonymous), (401, "unauthorized_access".into()));
    }
    assert_eq!(world.ask_as(&ann, "GET", ME, None).status, 200);
    let body = r#"{"password":"correct horse ann's","messages":"keep"}"#;
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/delete", Some(body)).status, 204);
    assert_eq!(world.ask_as(&ann, "GET", ME, None).status, 401);
}

/// More messages than one step erases: each becomes a tombstone at its position, and members get an event for each.
#[test]
fn with_erase_every_message_becomes_a_tombstone() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conversation = post(&mut world, &bob, &to(&ann), 0, "from bob").at("data.conversation");
    for n in 1..=230 {
        assert_eq!(post(&mut world, &ann, &to(&bob), n, "from ann").status, 201);
    }
    let socket = world.open_socket(&bob, "/api/v1/ws");
    let body = r#"{"password":"correct horse ann's","messages":"erase"}"#;
    assert_eq!(delete(&mut world, &ann, body).status, 204);
    let received = world.texts(socket);
    assert_eq!(received.iter().filter(|text| text.contains("message.deleted")).count(), 230);
    let list = messages(&mut world, &bob, &conversation);
    for index in 0..50 {
        let at = |name: &str| list.at(&format!("data.{index}.{name}"));
        assert_eq!((at("body"), at("sender")), ("null".into(), "null".into()), "{index}");
        assert_ne!(at("deleted_at"), "null");
    }
    assert_eq!(list.at("data.49.n"), "231", "every position stays");
    let path = format!("/api/v1/conversations/{conversation}/messages?before=2");
    let first = world.ask_as(&bob, "GET", &path, None);
    assert_eq!(first.at("data.0.body"), "from bob", "messages of other members stay");
}

/// Groups that the member left long before, by itself or not, get tombstones too.
#[test]
fn with_erase_also_in_groups_that_were_left_before() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let groups = [&ann, &bob].map(|by| {
        let body = format!(r#"{{"title":"g","members":["{}"]}}"#, ann.profile);
        let group = world.ask_as(&bob, "POST", "/api/v1/conversations", Some(&body)).at("data.id");
        let destination = format!(r#""conversation":"{group}""#);
        let n = if by.profile == ann.profile { 0 } else { 10 };
        assert_eq!(post(&mut world, &bob, &destination, n + 1, "from bob").status, 201);
        assert_eq!(post(&mut world, &ann, &destination, n + 2, "from ann").status, 201);
        let member = format!("/api/v1/conversations/{group}/members/{}", ann.profile);
        assert_eq!(world.ask_as(by, "DELETE", &member, None).status, 204);
        group
    });
    let mut world = world.restart();
    let socket = world.open_socket(&bob, "/api/v1/ws");
    world.texts(socket);
    let body = r#"{"password":"correct horse ann's","messages":"erase"}"#;
    assert_eq!(delete(&mut world, &ann, body).status, 204);
    let received = world.texts(socket);
    assert_eq!(received.iter().filter(|text| text.contains("message.deleted")).count(), 2, "{received:?}");
    for (group, (kind, about)) in groups.into_iter().zip([("left", "0"), ("removed", "1")]) {
        let list = messages(&mut world, &bob, &group);
        assert_eq!(
            (list.at("data.1.body"), list.at("data.1.deleted_at")),
            ("from bob".into(), "null".into())
        );
        assert_eq!((list.at("data.2.body"), list.at("data.2.sender")), ("null".into(), "null".into()));
        assert_ne!(list.at("data.2.deleted_at"), "null");
        // What is told of the member stays, without its name.
        let told = ["kind", "deleted_at", "profiles", "profiles_count"]
            .map(|name| list.at(&format!("data.3.{name}")));
        assert_eq!(told, [kind, "null", "[]", about]);
        assert_eq!(list.at("data.4"), "null");
    }
}

/// Each peer of a direct conversation gets an event that it changed, live and in a later replay, and finds no member
/// there.
#[test]
fn direct_peers_get_an_event_for_the_deletion() {
    let mut world = World::new();
    let [ann, bob, carl, eve] = ["ann", "bob", "carl", "eve"].map(|name| world.sign_up(name));
    let conversation = post(&mut world, &ann, &to(&bob), 1, "from ann").at("data.conversation");
    assert_eq!(post(&mut world, &carl, &to(&ann), 2, "from carl").status, 201);
    assert_eq!(post(&mut world, &bob, &to(&eve), 3, "hello eve").status, 201);
    // A peer that was deleted earlier gets no event.
    assert_eq!(delete(&mut world, &carl, r#"{"password":"correct horse carl's"}"#).status, 204);
    let [live, stranger] = [&bob, &eve].map(|person| world.open_socket(person, "/api/v1/ws"));
    let hello = world.texts(live);
    assert!(!hello.is_empty() && !world.texts(stranger).is_empty());
    assert_eq!(delete(&mut world, &ann, r#"{"password":"correct horse ann's"}"#).status, 204);
    let received = world.texts(live);
    assert_eq!(received.len(), 1, "{received:?}");
    let expect = format!(
        r#""data":{{"id":"{conversation}","type":"direct","title":null,"image":null,"members_count":2}}}}"#
    );
    assert!(
        received[0].starts_with(r#"{"event":"conversation.updated","seq":"#)
            && received[0].ends_with(&expect),
        "{received:?}"
    );
    assert!(world.texts(stranger).is_empty());
    let log = world.ask_as(&bob, "GET", "/api/v1/events", None);
    assert!(log.text().contains(&received[0]), "{}", log.text());
    let path = format!("/api/v1/conversations/{conversation}");
    assert_eq!(world.ask_as(&bob, "GET", &path, None).at("data.peer"), "null");
}

#[test]
fn groups_are_left_and_keep_an_admin() {
    let mut world = World::new();
    let (ann, bob, carl) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("carl"));
    let body = format!(r#"{{"title":"g","members":["{}","{}"]}}"#, bob.profile, carl.profile);
    let made = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body));
    let group = made.at("data.id");
    let destination = format!(r#""conversation":"{group}""#);
    assert_eq!(post(&mut world, &ann, &destination, 1, "from ann").status, 201);
    assert_eq!(delete(&mut world, &ann, r#"{"password":"correct horse ann's"}"#).status, 204);
    let members = world.ask_as(&bob, "GET", &format!("/api/v1/conversations/{group}/members"), None);
    assert_eq!((members.at("data.2"), members.at("data.0.role")), ("null".into(), "admin".into()));
    let list = messages(&mut world, &bob, &group);
    let group = world.ask_as(&bob, "GET", &format!("/api/v1/conversations/{group}"), None);
    assert_eq!(
        (group.at("data.members_count"), group.at("data.last_message.sender")),
        ("2".into(), bob.profile.clone())
    );
    let told = [1, 2, 3].map(|i| ["kind", "sender"].map(|name| list.at(&format!("data.{i}.{name}"))));
    assert_eq!(told, [["null", "null"], ["left", "null"], ["promoted", &bob.profile]]);
    assert_eq!(post(&mut world, &carl, &destination, 2, "from carl").status, 201);
}

/// Deletion really erases: within a minute no file of the database contains the address, the names, or with `erase` the
/// texts.
#[test]
fn no_file_contains_what_was_erased() {
    let mut world = World::new();
    let bob = world.sign_up("bob");
    let body =
        r#"{"display_name":"Zanzibar Quux","email":"zebra.unique@example.net","password":"correct horse z"}"#;
    let up = world.ask("POST", "/api/v1/user/sign-up", &[("User-Agent", "xylophone/9")], Some(body));
    assert_eq!(up.status, 201);
    let zoe = Person {
        profile: up.at("data.profile.id"),
        member: up.at("data.member.id"),
        access: up.at("data.token.access"),
        refresh: up.at("data.token.refresh"),
    };
    let nick = up.at("data.profile.nick_name");
    // Long enough for overflow pages, in a conversation with texts of others around them.
    let words = "flabbergasted ".repeat(250);
    for n in 0..20 {
        assert_eq!(post(&mut world, &zoe, &to(&bob), n, &words).status, 201);
        assert_eq!(post(&mut world, &bob, &to(&zoe), 100 + n, "bobs own words").status, 201);
    }
    let secrets = ["zebra.unique", "zanzibar", nick.as_str(), "xylophone", "flabbergasted"];
    for secret in secrets {
        assert!(!on_disk(&world, secret).is_empty(), "{secret} is there before");
    }
    let body = r#"{"password":"correct horse z","messages":"erase"}"#;
    assert_eq!(delete(&mut world, &zoe, body).status, 204);
    let later = world.now.instant + Duration::from_secs(59);
    world.maintain(later);
    for secret in secrets {
        assert_eq!(on_disk(&world, secret), Vec::<String>::new(), "{secret}");
    }
    assert!(!on_disk(&world, "bobs own words").is_empty());
    assert!(!on_disk(&world, "bob@example.org").is_empty());
}

/// Many erasures share one checkpoint, which comes within a minute.
#[test]
fn erasures_share_their_checkpoints() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let erase = |world: &mut World, n: u32, text: &str| {
        let id = post(world, &ann, &to(&bob), n, text).at("data.id");
        assert_eq!(world.ask_as(&ann, "DELETE", &format!("/api/v1/messages/{id}"), None).status, 204);
    };
    erase(&mut world, 1, "firstword");
    let start = world.now.instant;
    world.maintain(start);
    assert!(on_disk(&world, "firstword").is_empty());
    erase(&mut world, 2, "secondword");
    world.maintain(start + Duration::from_secs(14));
    assert_eq!(on_disk(&world, "secondword"), ["natter.db-wal"]);
    world.maintain(start + Duration::from_secs(15));
    assert!(on_disk(&world, "secondword").is_empty());
}

/// A crash in the middle leaves nothing: the next start continues.
#[test]
fn an_interrupted_erasure_is_completed() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conversation = post(&mut world, &bob, &to(&ann), 0, "from bob").at("data.conversation");
    for n in 1..=150 {
        assert_eq!(post(&mut world, &ann, &to(&bob), n, "from ann").status, 201);
    }
    // The account is deleted, and the process ends before a message is erased.
    let member = natter::model::id::MemberId::parse(&ann.member).expect("an id");
    let write = natter::model::operation::Write::from(natter::model::member::DeleteAccount {
        at: world.now.unix_ms,
        member,
        proven: None,
        by: None,
        leftovers: natter::model::member::Leftovers::Erase,
    });
    let lane = natter::model::operation::Lane(9);
    let done = world.store.commit(&mut vec![(lane, write)]);
    assert!(done.outcomes[0].result.is_ok(), "{:?}", done.outcomes[0].result);
    let mut world = world.restart();
    assert_eq!(messages(&mut world, &bob, &conversation).at("data.0.body"), "from ann");
    world.pass(Duration::from_secs(60));
    let path = format!("/api/v1/conversations/{conversation}/messages?limit=200");
    let list = world.ask_as(&bob, "GET", &path, None);
    assert_eq!(list.at("data.0.body"), "from bob");
    assert!((1..=150).all(|n| list.at(&format!("data.{n}.body")) == "null"), "{}", list.text());
}
