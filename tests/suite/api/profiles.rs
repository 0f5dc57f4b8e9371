//! Profiles found, listed, searched and changed, and blocks: each success, each refusal, and an attempt by another
//! member.

use crate::support::World;
use crate::support::http::{Person, Response};
use crate::support::socket::Frame;

fn refused(response: &Response) -> (u16, String) {
    (response.status, response.code())
}

fn not_found() -> (u16, String) {
    (404, "not_found".to_owned())
}

fn get(world: &mut World, person: &Person, path: &str) -> Response {
    world.ask_as(person, "GET", &format!("/api/v1/{path}"), None)
}

fn update(world: &mut World, person: &Person, body: &str) -> Response {
    world.ask_as(person, "PUT", "/api/v1/profile", Some(body))
}

fn set(world: &mut World, person: &Person, body: &str) {
    let answer = update(world, person, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn block(world: &mut World, method: &str, person: &Person, other: &str) -> u16 {
    world.ask_as(person, method, &format!("/api/v1/blocks/{other}"), None).status
}

fn post(world: &mut World, from: &Person, destination: &str, n: u32) -> Response {
    let body = format!(r#"{{{destination},"client_id":"01ARZ3NDEKTSV4RRFFQ69G{n:04}","body":"hi"}}"#);
    world.ask_as(from, "POST", "/api/v1/messages", Some(&body))
}

fn to(person: &Person) -> String {
    format!(r#""to":"{}""#, person.profile)
}

/// The ids of a list, in order.
fn ids(response: &Response) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.text());
    (0..).map(|n| response.at(&format!("data.{n}.id"))).take_while(|id| id != "null").collect()
}

#[test]
fn only_the_own_profile_has_all_fields() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let own = get(&mut world, &ann, "profile");
    assert_eq!(
        (own.status, own.at("data.member"), own.at("data.presence")),
        (200, ann.member.clone(), "true".into())
    );
    assert_eq!((own.at("data.is_private"), own.at("data.profile_image")), ("false".into(), "null".into()));
    let path = format!("profile/{}", ann.profile);
    assert_eq!(get(&mut world, &ann, &path).text(), own.text());
    let seen = get(&mut world, &bob, &path);
    assert_eq!((seen.at("data.id"), seen.at("data.member")), (ann.profile.clone(), "null".into()));
    assert!(seen.text().contains("\"member\":null") && !seen.text().contains("presence"), "{}", seen.text());
    for bad in ["profile/nonsense", "profile/01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        assert_eq!(refused(&get(&mut world, &bob, bad)), not_found(), "{bad}");
    }
    for path in ["/api/v1/profile", "/api/v1/profiles?ids=", "/api/v1/blocks", "/api/v1/some_nick"] {
        let answer = world.ask("GET", path, &[], None);
        assert_eq!(refused(&answer), (401, "unauthorized_access".into()), "{path}");
    }
}

/// A nick name is compared literally, and a private profile is hidden. The predecessor ran nick names as regular
/// expressions and showed private profiles to everyone.
#[test]
fn a_nick_name_is_not_a_pattern_and_a_private_profile_is_hidden() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    set(&mut world, &ann, r#"{"nick_name":"ann.lovelace"}"#);
    for name in ["ann.lovelace", "ANN.Lovelace", "ann.lovelace?source=search", "ann.lovelace?source=qr_code"]
    {
        let found = get(&mut world, &bob, name);
        assert_eq!((found.status, found.at("data.id")), (200, ann.profile.clone()), "{name}");
        assert_eq!(found.at("data.member"), "null");
    }
    for name in ["ann", "annxlovelace", "ann.%2A", ".%2A", "ann_lovelace", "ann.lovelace%00", "ann%25"] {
        assert_eq!(refused(&get(&mut world, &bob, name)), not_found(), "{name}");
    }
    let bad = get(&mut world, &bob, "ann.lovelace?source=magic");
    assert_eq!(refused(&bad), (422, "invalid_source".into()));

    set(&mut world, &ann, r#"{"is_private":true}"#);
    let by_id = format!("profile/{}", ann.profile);
    let listed = format!("profiles?ids={},{}", ann.profile, bob.profile);
    assert_eq!(refused(&get(&mut world, &bob, "ann.lovelace")), not_found());
    assert_eq!(refused(&get(&mut world, &bob, &by_id)), not_found());
    assert_eq!(ids(&get(&mut world, &bob, &listed)), [bob.profile.as_str()]);
    assert!(ids(&get(&mut world, &bob, "profiles?query=ann")).is_empty());
    assert_eq!(get(&mut world, &bob, "ann.lovelace?source=qr_code").at("data.id"), ann.profile, "scanned");
    assert_eq!(get(&mut world, &ann, "ann.lovelace").at("data.member"), ann.member, "oneself");
    assert_eq!(get(&mut world, &ann, &by_id).status, 200);
    // A member of one of her conversations sees her.
    assert_eq!(post(&mut world, &ann, &to(&bob), 1).status, 201);
    assert_eq!(get(&mut world, &bob, "ann.lovelace").status, 200);
    assert_eq!(get(&mut world, &bob, &by_id).status, 200);
    let carl = world.sign_up("carl");
    assert_eq!(refused(&get(&mut world, &carl, &by_id)), not_found());
}

#[test]
fn profiles_are_listed_by_ids_in_their_order() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let (a, b) = (&ann.profile, &bob.profile);
    let list = get(&mut world, &ann, &format!("profiles?ids={b},{a},{b},01ARZ3NDEKTSV4RRFFQ69G5FAV"));
    assert_eq!((ids(&list), list.at("next")), (vec![b.clone(), a.clone()], "null".into()));
    assert_eq!((list.at("data.0.member"), list.at("data.1.member")), ("null".into(), ann.member.clone()));
    let lower = get(&mut world, &ann, &format!("profiles?ids={}", b.to_lowercase()));
    assert_eq!(ids(&lower), [b.as_str()]);
    assert!(ids(&get(&mut world, &ann, "profiles?ids=")).is_empty());
    let many = |n: usize| format!("profiles?ids={}", vec![a.as_str(); n].join(","));
    assert_eq!(ids(&get(&mut world, &ann, &many(100))), [a.as_str()]);
    for bad in [&many(101), "profiles", "profiles?ids=x", "profiles?ids=,"] {
        assert_eq!(refused(&get(&mut world, &ann, bad)), (422, "invalid_ids".into()), "{bad}");
    }
}

#[test]
fn search_takes_the_beginning_of_a_name_literally() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let mut named = |nick: &str, name: &str| {
        let person = world.sign_up(nick);
        set(&mut world, &person, &format!(r#"{{"nick_name":"{nick}","display_name":"{name}"}}"#));
        person
    };
    let b = named("mona_b", "100% Mona");
    let a = named("mona_a", "Zed");
    let c = named("other", "MONA Élan");
    let d = named("other2", "mona");
    let found = |world: &mut World, query: &str| ids(&get(world, &ann, &format!("profiles?query={query}")));
    let all = [&a, &b, &d, &c].map(|person| person.profile.clone());
    assert_eq!(found(&mut world, "mona"), all, "nick names first, then names");
    assert_eq!(found(&mut world, "MONA"), all);
    assert_eq!(found(&mut world, "mona%20%C3%A9"), [c.profile.as_str()]);
    assert_eq!(found(&mut world, "100%25"), [b.profile.as_str()]);
    for none in ["%25", "_", "ona", ".*", "%22"] {
        assert!(found(&mut world, none).is_empty(), "{none}");
    }
    // The same page by page.
    let (mut pages, mut next) = (Vec::new(), String::new());
    loop {
        let page = get(&mut world, &ann, &format!("profiles?query=mona&limit=1{next}"));
        pages.extend(ids(&page));
        match page.at("next") {
            end if end == "null" => break,
            cursor => next = format!("&next={cursor}"),
        }
    }
    assert_eq!(pages, all);
    set(&mut world, &d, r#"{"is_private":true}"#);
    assert_eq!(found(&mut world, "mona"), [&a, &b, &c].map(|person| person.profile.clone()));
    let long = "x".repeat(65);
    for bad in ["", "%20", "%00", &long] {
        let answer = get(&mut world, &ann, &format!("profiles?query={bad}"));
        assert_eq!(refused(&answer), (422, "invalid_query".into()), "{bad}");
    }
    assert_eq!(refused(&get(&mut world, &ann, "profiles?query=a&limit=0")), (422, "invalid_limit".into()));
    let bad = get(&mut world, &ann, "profiles?query=a&next=zzz");
    assert_eq!(refused(&bad), (400, "error_parsing_data".into()));
}

#[test]
fn a_profile_is_changed_by_its_owner_within_the_rules() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let body =
        r#"{"display_name":" Ann É ","nick_name":"ann_1","is_private":true,"presence":false,"more":1}"#;
    let changed = update(&mut world, &ann, body);
    assert_eq!((changed.status, changed.at("data.display_name")), (200, " Ann É ".into()));
    assert_eq!(
        (changed.at("data.nick_name"), changed.at("data.is_private")),
        ("ann_1".into(), "true".into())
    );
    assert_eq!(
        (changed.at("data.presence"), changed.at("data.member")),
        ("false".into(), ann.member.clone())
    );
    assert_eq!(get(&mut world, &ann, "profile").text(), changed.text());
    assert_eq!(update(&mut world, &ann, "{}").text(), changed.text(), "nothing asked, nothing changed");
    assert_eq!(update(&mut world, &ann, r#"{"profile_image":null,"nick_name":null}"#).text(), changed.text());

    let mut check = |body: &str, expect: (u16, &str)| {
        let answer = update(&mut world, &bob, body);
        assert_eq!(refused(&answer), (expect.0, expect.1.to_owned()), "{body}");
    };
    check(r#"{"nick_name":"ann_1"}"#, (409, "nickname_taken"));
    for nick in
        ["ab", "1abc", "_abc", "abc.", "a..b", "a_.b", "Bob", "b b", "b-b", "user", "profiles", "", "é12"]
    {
        check(&format!(r#"{{"nick_name":"{nick}"}}"#), (422, "invalid_nickname"));
    }
    check(&format!(r#"{{"nick_name":"{}"}}"#, "a".repeat(26)), (422, "invalid_nickname"));
    check(&format!(r#"{{"display_name":"{}"}}"#, "a".repeat(65)), (422, "invalid_display_name"));
    check(r#"{"display_name":" "}"#, (422, "invalid_display_name"));
    check(r#"{"is_private":"yes"}"#, (422, "invalid_is_private"));
    check(r#"{"presence":1}"#, (422, "invalid_presence"));
    check(r#"{"profile_image":"x"}"#, (422, "invalid_profile_image"));
    check(r#"{"profile_image":"01ARZ3NDEKTSV4RRFFQ69G5FAV"}"#, (422, "invalid_profile_image"));
    check("[1]", (400, "error_parsing_data"));
    let anonymous = world.ask("PUT", "/api/v1/profile", &[], Some("{}"));
    assert_eq!(refused(&anonymous), (401, "unauthorized_access".into()));
    // A nick name that is no longer used is free.
    set(&mut world, &ann, r#"{"nick_name":"ann_2"}"#);
    set(&mut world, &bob, r#"{"nick_name":"ann_1"}"#);
}

fn texts(world: &mut World, conn: natter::server::contract::ConnId) -> Vec<String> {
    world
        .frames(conn)
        .into_iter()
        .filter_map(|frame| match frame {
            Frame::Text(text) => Some(text),
            _ => None,
        })
        .collect()
}

fn cursor_of(text: &str) -> String {
    let seq = text.split("\"seq\":").nth(1).expect("a seq");
    seq.chars().take_while(char::is_ascii_digit).collect()
}

#[test]
fn a_change_reaches_the_member_and_direct_peers_live_and_later() {
    let mut world = World::new();
    let (ann, bob, carl) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("carl"));
    // Before a conversation exists no other member gets the event.
    set(&mut world, &ann, r#"{"display_name":"Ann 0"}"#);
    assert_eq!(post(&mut world, &ann, &to(&bob), 1).status, 201);
    let sockets = [&ann, &bob, &carl].map(|person| world.open_socket(person, "/api/v1/ws"));
    let hello = texts(&mut world, sockets[1]);
    texts(&mut world, sockets[0]);
    texts(&mut world, sockets[2]);
    set(&mut world, &ann, r#"{"display_name":"Ann 1"}"#);
    set(&mut world, &ann, r#"{"presence":false}"#);
    set(&mut world, &ann, r#"{"nick_name":"ann_2"}"#);
    set(&mut world, &ann, r#"{"nick_name":"ann_2"}"#);
    let (own, peer, other) =
        (texts(&mut world, sockets[0]), texts(&mut world, sockets[1]), texts(&mut world, sockets[2]));
    assert_eq!((own.len(), peer.len(), other.len()), (3, 2, 0), "{own:?} {peer:?}");
    assert!(own.iter().chain(&peer).all(|text| text.starts_with(r#"{"event":"profile.updated","seq":"#)));
    assert!(
        own.iter().chain(&peer).all(|text| text.contains(r#""member":null"#) && !text.contains("presence"))
    );
    assert!(peer[0].contains("Ann 1") && peer[1].contains("ann_2"));
    assert_eq!((&own[0], &own[2]), (&peer[0], &peer[1]), "encoded once");

    // A replay has the same events, with the current profile.
    let epoch =
        hello[0].split("\"epoch\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an epoch");
    let replay = |world: &mut World, person: &Person, seq: &str| {
        let conn = world.open_socket(person, &format!("/api/v1/ws?cursor={epoch}:{seq}"));
        let mut all = texts(world, conn);
        all.retain(|text| text.contains("profile.updated"));
        all
    };
    let seen = replay(&mut world, &bob, &cursor_of(&hello[0]));
    assert_eq!(
        seen.iter().map(|text| cursor_of(text)).collect::<Vec<_>>(),
        [&peer[0], &peer[1]].map(|text| cursor_of(text))
    );
    assert!(seen.iter().all(|text| text.contains("Ann 1") && text.contains("ann_2")), "{seen:?}");
    assert_eq!(replay(&mut world, &ann, &cursor_of(&hello[0])).len(), 3);
    assert_eq!(replay(&mut world, &bob, "0").len(), 2, "not the one before the conversation");
    assert_eq!(replay(&mut world, &ann, "0").len(), 4);
    assert!(replay(&mut world, &carl, "0").is_empty());
    assert_eq!(replay(&mut world, &bob, &cursor_of(&peer[1])), Vec::<String>::new());

    // Two members of a block get no more events of each other, neither live nor in a replay.
    let last = cursor_of(&peer[1]);
    assert_eq!(block(&mut world, "PUT", &ann, &bob.profile), 204);
    set(&mut world, &ann, r#"{"display_name":"Ann 3"}"#);
    set(&mut world, &bob, r#"{"display_name":"Bob 3"}"#);
    let named = |texts: Vec<String>, name: &str| texts.iter().filter(|text| text.contains(name)).count();
    let received = [0, 1].map(|at| texts(&mut world, sockets[at]));
    assert_eq!(
        received.map(|texts| (named(texts.clone(), "Ann 3"), named(texts, "Bob 3"))),
        [(1, 0), (0, 1)]
    );
    assert_eq!(named(replay(&mut world, &bob, &last), "Ann 3"), 0);
    assert_eq!(named(replay(&mut world, &ann, &last), "Bob 3"), 0);
    assert_eq!(block(&mut world, "DELETE", &ann, &bob.profile), 204);
    assert_eq!(named(replay(&mut world, &bob, &last), "Ann 3"), 1, "the log has it");
}

#[test]
fn blocks_are_put_listed_and_removed_by_the_one_who_blocks() {
    let mut world = World::new();
    let (ann, bob, carl) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("carl"));
    for person in [&bob, &carl, &bob] {
        assert_eq!(block(&mut world, "PUT", &ann, &person.profile), 204);
    }
    let list = get(&mut world, &ann, "blocks");
    assert_eq!(
        (ids(&list), list.at("next")),
        (vec![carl.profile.clone(), bob.profile.clone()], "null".into())
    );
    assert_eq!(list.at("data.0.member"), "null");
    let first = get(&mut world, &ann, "blocks?limit=1");
    assert_eq!(ids(&first), [carl.profile.as_str()]);
    let second = get(&mut world, &ann, &format!("blocks?limit=1&next={}", first.at("next")));
    assert_eq!((ids(&second), second.at("next")), (vec![bob.profile.clone()], "null".into()));
    assert!(ids(&get(&mut world, &bob, "blocks")).is_empty(), "a blocked member does not learn of the block");
    assert_eq!(refused(&get(&mut world, &ann, "blocks?next=x")), (400, "error_parsing_data".into()));

    assert_eq!(block(&mut world, "DELETE", &bob, &ann.profile), 204, "he has no block to remove");
    assert_eq!(ids(&get(&mut world, &ann, "blocks")).len(), 2);
    for _ in 0..2 {
        assert_eq!(block(&mut world, "DELETE", &ann, &bob.profile), 204);
    }
    assert_eq!(ids(&get(&mut world, &ann, "blocks")), [carl.profile.as_str()]);
    for method in ["PUT", "DELETE"] {
        let ask =
            |world: &mut World, id: &str| world.ask_as(&ann, method, &format!("/api/v1/blocks/{id}"), None);
        assert_eq!(refused(&ask(&mut world, &ann.profile)), (422, "invalid_profile".into()));
        assert_eq!(refused(&ask(&mut world, "01ARZ3NDEKTSV4RRFFQ69G5FAV")), not_found());
        assert_eq!(refused(&ask(&mut world, "nonsense")), not_found());
        let anonymous = world.ask(method, &format!("/api/v1/blocks/{}", ann.profile), &[], None);
        assert_eq!(refused(&anonymous), (401, "unauthorized_access".into()));
    }
}

/// A block by id must not disclose which member a private profile belongs to.
#[test]
fn a_block_shows_no_private_profile() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    set(&mut world, &bob, r#"{"is_private":true}"#);
    assert_eq!(block(&mut world, "PUT", &ann, &bob.profile), 204);
    let list = get(&mut world, &ann, "blocks");
    assert_eq!((list.status, ids(&list).len(), list.at("next")), (200, 0, "null".into()));
    assert_eq!(refused(&post(&mut world, &bob, &to(&ann), 1)), not_found(), "it works");
    assert_eq!(block(&mut world, "DELETE", &ann, &bob.profile), 204);
    // In a shared conversation the profile is visible.
    assert_eq!(post(&mut world, &bob, &to(&ann), 2).status, 201);
    assert_eq!(block(&mut world, "PUT", &ann, &bob.profile), 204);
    assert_eq!(ids(&get(&mut world, &ann, "blocks")), [bob.profile.as_str()]);
}

#[test]
fn a_block_works_both_ways_at_once_until_it_is_removed() {
    let mut world = World::new();
    let (ann, bob, carl) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("carl"));
    let first = post(&mut world, &ann, &to(&bob), 1);
    let conversation = format!(r#""conversation":"{}""#, first.at("data.conversation"));
    assert_eq!(block(&mut world, "PUT", &ann, &bob.profile), 204);
    assert_eq!(block(&mut world, "PUT", &ann, &carl.profile), 204);
    for (n, from, other) in [(2, &ann, &bob), (3, &bob, &ann), (4, &carl, &ann), (5, &ann, &carl)] {
        assert_eq!(refused(&post(&mut world, from, &to(other), n)), not_found());
    }
    for (n, from) in [(6, &ann), (7, &bob)] {
        let answer = post(&mut world, from, &conversation, n);
        assert_eq!(refused(&answer), (403, "not_allowed".into()));
    }
    // No receipts: the other member does not learn of the reading.
    let socket = world.open_socket(&ann, "/api/v1/ws");
    texts(&mut world, socket);
    let path = format!("/api/v1/conversations/{}/read", first.at("data.conversation"));
    assert_eq!(world.ask_as(&bob, "POST", &path, Some(r#"{"n":1}"#)).status, 200);
    assert!(texts(&mut world, socket).is_empty());
    // The same after a restart, when the caches are empty.
    let mut world = world.restart();
    assert_eq!(refused(&post(&mut world, &bob, &to(&ann), 8)), not_found());
    assert_eq!(post(&mut world, &bob, &conversation, 9).status, 403);
    assert_eq!(block(&mut world, "DELETE", &ann, &bob.profile), 204);
    assert_eq!(post(&mut world, &bob, &conversation, 10).status, 201);
    assert_eq!(post(&mut world, &ann, &to(&bob), 11).status, 201);
    assert_eq!(refused(&post(&mut world, &carl, &to(&ann), 12)), not_found(), "still blocked");
}

/// `presence:false` or `is_private` hides read receipts both ways from the moment it is set.
#[test]
fn a_member_who_hides_neither_shows_nor_sees_receipts() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conversation = post(&mut world, &ann, &to(&bob), 1).at("data.conversation");
    let sockets = [&ann, &bob].map(|person| world.open_socket(person, "/api/v1/ws"));
    let path = format!("/api/v1/conversations/{conversation}/read");
    let mut n = 1;
    let mut received = |world: &mut World, body: &str, by: &Person| {
        set(world, by, body);
        n += 1;
        assert_eq!(post(world, &ann, &to(&bob), n).status, 201);
        for socket in sockets {
            texts(world, socket);
        }
        let read = format!(r#"{{"n":{n}}}"#);
        assert_eq!(world.ask_as(&bob, "POST", &path, Some(&read)).status, 200);
        sockets.map(|socket| texts(world, socket).len())
    };
    assert_eq!(received(&mut world, "{}", &ann), [1, 1]);
    assert_eq!(received(&mut world, r#"{"presence":false}"#, &bob), [0, 1]);
    assert_eq!(received(&mut world, r#"{"presence":true}"#, &bob), [1, 1]);
    assert_eq!(received(&mut world, r#"{"presence":false}"#, &ann), [0, 1]);
    assert_eq!(received(&mut world, r#"{"presence":true,"is_private":true}"#, &ann), [0, 1]);
    assert_eq!(received(&mut world, r#"{"is_private":false}"#, &ann), [1, 1]);
}

/// A page at a time, as long as the operator wants it.
#[test]
fn the_directory_has_whom_everybody_may_find() {
    let path = "/api/v1/directory";
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let off = world.ask_as(&ann, "GET", path, None);
    assert_eq!((off.status, off.code()), (404, "not_found".into()));
    let mut settings = crate::support::settings(crate::support::limits());
    settings.directory = true;
    let mut world = World::with(settings);
    let people = ["ann", "bob", "cy", "dan", "eve", "fay"].map(|name| world.sign_up(name));
    let [ann, bob, cy, dan, eve, fay] = &people;
    let names = |world: &mut World, person: &Person, query: &str| -> Vec<String> {
        let (mut names, mut next) = (Vec::new(), String::new());
        loop {
            let page = world.ask_as(person, "GET", &format!("{path}?limit=2{query}{next}"), None);
            assert_eq!(page.status, 200, "{}", page.text());
            assert!(!page.text().contains(&person.profile), "oneself");
            names.extend(
                (0..).map(|n| page.at(&format!("data.{n}.display_name"))).take_while(|name| name != "null"),
            );
            if page.at("next") == "null" {
                return names;
            }
            next = format!("&next={}", page.at("next"));
        }
    };
    assert_eq!(names(&mut world, ann, ""), ["bob", "cy", "dan", "eve", "fay"]);
    assert_eq!(names(&mut world, ann, "&query=DA"), ["dan"]);
    // A display name is found too, after the nick names.
    world.ask_as(fay, "PUT", "/api/v1/profile", Some(r#"{"display_name":"Dagmar"}"#));
    assert_eq!(names(&mut world, ann, "&query=da"), ["dan", "Dagmar"]);
    world.ask_as(bob, "PUT", "/api/v1/profile", Some(r#"{"is_private":true}"#));
    world.ask_as(ann, "PUT", &format!("/api/v1/blocks/{}", cy.profile), None);
    world.ask_as(dan, "PUT", &format!("/api/v1/blocks/{}", ann.profile), None);
    assert_eq!(names(&mut world, ann, ""), ["eve", "Dagmar"], "neither private nor blocked, both ways");
    assert_eq!(names(&mut world, ann, "&query=da"), ["Dagmar"]);
    assert_eq!(
        names(&mut world, cy, ""),
        ["dan", "eve", "Dagmar"],
        "who was blocked sees no more than the blocker"
    );
    let conn = world.connect_through("127.0.0.1", natter::server::contract::ListenerKind::Control);
    let who = format!(r#"{{"who":"{}"}}"#, eve.member);
    assert_eq!(world.ask_on(conn, "POST", "/admin/members/disable", &[], Some(&who)).status, 200);
    assert_eq!(names(&mut world, ann, ""), ["Dagmar"], "nor disabled");
    let long = format!("{path}?query={}", "x".repeat(65));
    assert_eq!(world.ask_as(ann, "GET", &long, None).code(), "invalid_query");
    assert_eq!(world.ask("GET", path, &[], None).status, 401);
}
