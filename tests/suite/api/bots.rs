//! Bots and incoming hooks: who makes them, what their tokens permit, when these end, and what a call of a hook posts.

use std::time::Duration;

use natter::base::crypto::{HmacKey, sha256};
use natter::base::id::Id;
use natter::limits::HOOK_BODY_MAX;
use natter::model::bot::{BOT_TOKENS_MAX, TOKEN_NAME_MAX};

use crate::support::World;
use crate::support::http::{Person, Response};

const BOTS: &str = "/api/v1/bots";

fn refused(response: &Response) -> (u16, String) {
    (response.status, response.code())
}

/// A bot, as a member that has its token.
fn bot(world: &mut World, name: &str) -> Person {
    let made = world.ask_operator("POST", "/admin/bots", Some(&format!(r#"{{"display_name":"{name}"}}"#)));
    assert_eq!((made.status, made.at("data.active")), (201, "true".into()), "{}", made.text());
    let profile = made.at("data.profile.id");
    let token =
        world.ask_operator("POST", &format!("/admin/bots/{profile}/tokens"), Some(r#"{"name":"first"}"#));
    let access = token.at("data.token");
    Person { profile, member: token.at("data.id"), access, refresh: String::new() }
}

fn group(world: &mut World, admin: &Person, members: &[&Person]) -> String {
    let ids: Vec<String> = members.iter().map(|person| format!("\"{}\"", person.profile)).collect();
    let body = format!(r#"{{"title":"Tea","members":[{}]}}"#, ids.join(","));
    world.ask_as(admin, "POST", "/api/v1/conversations", Some(&body)).at("data.id")
}

fn hook(world: &mut World, bot: &Person, conversation: &str) -> String {
    let body = format!(r#"{{"name":"disk","conversation":"{conversation}"}}"#);
    let made = world.ask_operator("POST", &format!("/admin/bots/{}/tokens", bot.profile), Some(&body));
    assert_eq!(made.status, 201, "{}", made.text());
    let url = made.at("data.url");
    assert!(url.ends_with(&format!("/hooks/{}", made.at("data.token"))), "{url}");
    format!("/hooks/{}", made.at("data.token"))
}

/// A call with a body of any type.
fn call(world: &mut World, path: &str, fields: &[(&str, &str)], body: &str) -> Response {
    let conn = world.connect();
    let length = body.len().to_string();
    let fields = [fields, &[("Content-Length", length.as_str())]].concat();
    let head = crate::support::http::request("POST", path, &fields, None);
    world.send(conn, &[&head, body.as_bytes()].concat());
    let mut bytes = world.take(conn);
    let response = crate::support::http::next_response(&mut bytes, false).expect("a response");
    world.reset(conn);
    response
}

fn newest(world: &mut World, person: &Person, conversation: &str) -> (String, String) {
    let path = format!("/api/v1/conversations/{conversation}/messages?limit=1");
    let page = world.ask_as(person, "GET", &path, None);
    (page.at("data.0.body"), page.at("data.0.sender"))
}

#[test]
fn a_bot_takes_part_where_it_is_a_member_and_nowhere_else() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let disk = bot(&mut world, "Disk_watch");
    let me = world.ask_as(&disk, "GET", "/api/v1/user/me", None);
    assert_eq!(
        (me.at("data.member.bot"), me.at("data.member.email"), me.at("data.profile.nick_name")),
        ("true".into(), "null".into(), "disk_watch".into())
    );
    let private = group(&mut world, &ann, &[&bob]);
    let shared = group(&mut world, &ann, &[&disk]);
    let post = |conversation: &str, id: u32| {
        format!(
            r#"{{"conversation":"{conversation}","client_id":"{}","body":"hi"}}"#,
            <Id>::from_u128(id.into())
        )
    };
    assert_eq!(world.ask_as(&disk, "POST", "/api/v1/messages", Some(&post(&shared, 1))).status, 201);
    assert_eq!(newest(&mut world, &ann, &shared), ("hi".into(), disk.profile.clone()));
    let out = world.ask_as(&disk, "POST", "/api/v1/messages", Some(&post(&private, 2)));
    assert_eq!(refused(&out), (404, "not_found".into()));
    let list = world.ask_as(&disk, "GET", "/api/v1/conversations", None);
    assert_eq!((list.at("data.0.id"), list.at("data.1")), (shared.clone(), "null".into()));
    // Wherever others see it, it is marked, and nobody else is.
    let members = world.ask_as(&ann, "GET", &format!("/api/v1/conversations/{shared}/members"), None);
    let marks: Vec<String> = (0..2).map(|n| members.at(&format!("data.{n}.profile.bot"))).collect();
    assert_eq!(marks.iter().filter(|mark| *mark == "true").count(), 1, "{}", members.text());
    let found = world.ask_as(&bob, "GET", "/api/v1/disk_watch", None);
    assert_eq!((found.status, found.at("data.bot")), (200, "true".into()));
    // What is for people.
    for (method, path) in [
        ("GET", "/api/v1/user/sessions"),
        ("GET", "/api/v1/user/export"),
        ("POST", "/api/v1/user/ticket"),
        ("DELETE", "/api/v1/user/sessions"),
        ("GET", "/api/v1/push"),
        ("GET", "/api/v1/invites"),
        ("GET", BOTS),
        ("GET", "/api/v1/profiles?query=bob"),
        ("GET", "/api/v1/bob"),
    ] {
        assert_eq!(refused(&world.ask_as(&disk, method, path, None)), (403, "not_allowed".into()), "{path}");
    }
    let by_id = format!("/api/v1/profiles?ids={}", ann.profile);
    assert_eq!(world.ask_as(&disk, "GET", &by_id, None).at("data.0.id"), ann.profile);
    let promoted = world.ask_operator("POST", "/admin/members/promote", Some(r#"{"who":"disk_watch"}"#));
    assert_eq!(refused(&promoted), (403, "not_allowed".into()));
}

#[test]
fn its_streams_end_with_its_token() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let disk = bot(&mut world, "disk");
    let shared = group(&mut world, &ann, &[&disk]);
    let socket = world.open_socket(&disk, "/api/v1/ws");
    world.texts(socket);
    let body = format!(
        r#"{{"conversation":"{shared}","client_id":"{}","body":"are you there?"}}"#,
        <Id>::from_u128(9)
    );
    world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body));
    assert!(world.texts(socket).iter().any(|text| text.contains("are you there?")));
    let events = world.ask_as(&disk, "GET", "/api/v1/events", None);
    assert!(events.text().contains("are you there?"), "{}", events.text());
    // A token has no end, also where an access token has one, and outlives a restart.
    world.pass(Duration::from_secs(86_400));
    let mut world = world.restart();
    assert_eq!(world.ask_as(&disk, "GET", "/api/v1/conversations", None).status, 200);
    let socket = world.open_socket(&disk, "/api/v1/ws");
    world.texts(socket);
    let tokens = format!("/admin/bots/{}/tokens", disk.profile);
    world.pass(Duration::from_secs(120));
    let listed = world.ask_operator("GET", &tokens, None);
    assert_eq!((listed.at("data.0.name"), listed.at("data.0.token")), ("first".into(), "null".into()));
    assert!(listed.at("data.0.last_used_at") > listed.at("data.0.created_at"), "{}", listed.text());
    let one = format!("{tokens}/{}", listed.at("data.0.id"));
    assert_eq!(world.ask_operator("DELETE", &one, None).status, 204);
    assert!(world.is_closed(socket) || world.close_code(socket) == Some(4401), "its streams end");
    assert_eq!(world.ask_as(&disk, "GET", "/api/v1/conversations", None).status, 401);
    assert_eq!(refused(&world.ask_operator("DELETE", &one, None)), (404, "not_found".into()));
    let mut world = world.restart();
    assert_eq!(world.ask_as(&disk, "GET", "/api/v1/conversations", None).status, 401);
    // With its bot all of them end.
    let spare = bot(&mut world, "spare");
    world.ask_operator("POST", "/admin/members/disable", Some(r#"{"who":"spare"}"#));
    assert_eq!(world.ask_as(&spare, "GET", "/api/v1/conversations", None).status, 401);
    let token = world.ask_operator(
        "POST",
        &format!("/admin/bots/{}/tokens", spare.profile),
        Some(r#"{"name":"late"}"#),
    );
    assert_eq!(refused(&token), (403, "not_allowed".into()));
    world.ask_operator("POST", "/admin/members/delete", Some(r#"{"who":"spare"}"#));
    let list = world.ask_operator("GET", "/admin/bots", None);
    assert_eq!((list.at("data.0.profile.nick_name"), list.at("data.1")), ("disk".into(), "null".into()));
}

#[test]
fn bots_are_managed_by_the_admins_of_the_server() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    world.ask_operator("POST", "/admin/members/promote", Some(&format!(r#"{{"who":"{}"}}"#, ann.member)));
    let disk = bot(&mut world, "disk");
    let one = format!("{BOTS}/{}/tokens", disk.profile);
    let token = format!("{one}/{}", disk.member);
    for (method, path, body) in [
        ("POST", BOTS, Some(r#"{"display_name":"x"}"#)),
        ("GET", BOTS, None),
        ("POST", one.as_str(), Some(r#"{"name":"x"}"#)),
        ("GET", one.as_str(), None),
        ("DELETE", token.as_str(), None),
    ] {
        assert_eq!(refused(&world.ask_as(&bob, method, path, body)), (403, "not_allowed".into()), "{path}");
    }
    let made = world.ask_as(&ann, "POST", BOTS, Some(r#"{"display_name":"Tea maker"}"#));
    assert_eq!(
        (made.status, made.at("data.profile.bot"), made.at("data.profile.member")),
        (201, "true".into(), "null".into())
    );
    let list = world.ask_as(&ann, "GET", &format!("{BOTS}?limit=1"), None);
    let more = world.ask_as(&ann, "GET", &format!("{BOTS}?limit=1&next={}", list.at("next")), None);
    assert_eq!(
        (list.at("data.0.profile.nick_name"), more.at("data.0.profile.display_name"), more.at("next")),
        ("disk".into(), "Tea maker".into(), "null".into())
    );
    // A person is no bot, and a bot is in no conversation by itself.
    let of_bob = format!("{BOTS}/{}/tokens", bob.profile);
    assert_eq!(
        refused(&world.ask_as(&ann, "POST", &of_bob, Some(r#"{"name":"x"}"#))),
        (404, "not_found".into())
    );
    let private = group(&mut world, &ann, &[&bob]);
    let body = format!(r#"{{"name":"x","conversation":"{private}"}}"#);
    let hook = world.ask_as(&ann, "POST", &one, Some(&body));
    assert_eq!(refused(&hook), (422, "invalid_conversation".into()));
    for name in ["", "a\\nb", &"x".repeat(TOKEN_NAME_MAX + 1)] {
        let named = world.ask_as(&ann, "POST", &one, Some(&format!(r#"{{"name":"{name}"}}"#)));
        assert_eq!(refused(&named), (422, "invalid_name".into()), "{name:?}");
    }
    // Only hashes are stored.
    let conn = rusqlite::Connection::open(world.dir.path().join("natter.db")).expect("the database");
    let hash: [u8; 32] =
        conn.query_row("SELECT hash FROM bot_tokens", [], |row| row.get(0)).expect("one token");
    assert_eq!(hash, sha256(disk.access.as_bytes()));
    let mut count = 1;
    let last = loop {
        world.pass(Duration::from_secs(1));
        let made = world.ask_as(&ann, "POST", &one, Some(r#"{"name":"x"}"#));
        if made.status != 201 {
            break made;
        }
        count += 1;
    };
    assert_eq!((refused(&last), count), ((413, "quota_exceeded".into()), BOT_TOKENS_MAX));
}

#[test]
fn a_call_of_a_hook_is_a_message() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let disk = bot(&mut world, "disk");
    let tea = group(&mut world, &ann, &[&disk]);
    let path = hook(&mut world, &disk, &tea);
    let json = ("Content-Type", "application/json");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let github = r#"{"repository":{"full_name":"ann/tea"},"sender":{"login":"bob"},"action":"opened","issue":{"number":7,"title":"Leak","html_url":"https://github.com/ann/tea/7"}}"#;
    let line = r#"ann/tea: bob opened issue #7 "Leak" https://github.com/ann/tea/7"#;
    let payload = format!("payload={}", natter_percent(github));
    let alerts = r#"{"alerts":[{"status":"firing","labels":{"alertname":"DiskFull"}}]}"#;
    let event = ("X-GitHub-Event", "issues");
    let mention =
        format!("disk @{}", world.ask_as(&ann, "GET", "/api/v1/profile", None).at("data.nick_name"));
    let said = format!(r#"{{"body":"{mention}","text":"x"}}"#);
    for (fields, body, expect) in [
        (&[form][..], "disk full", "disk full"),
        (&[], "disk full\n", "disk full"),
        (&[("Content-Type", "text/plain")], "a=b&c=%20", "a=b&c=%20"),
        (&[json], said.as_str(), mention.as_str()),
        (&[json], r#"{"text":"as others say"}"#, "as others say"),
        (&[json], alerts, "firing: DiskFull"),
        (&[json, event], github, line),
        (&[form, event], payload.as_str(), line),
    ] {
        let posted = call(&mut world, &path, fields, body);
        assert_eq!(posted.status, 201, "{body}: {}", posted.text());
        assert_eq!(newest(&mut world, &ann, &tea), (expect.to_owned(), disk.profile.clone()));
    }
    let page = world.ask_as(&ann, "GET", &format!("/api/v1/conversations/{tea}/messages"), None);
    let mentioned = (0..).map(|n| page.at(&format!("data.{n}"))).take_while(|message| message != "null");
    assert_eq!(mentioned.filter(|message| message.contains("\"mentions\"")).count(), 1);
    // A reply, and a file of the bot.
    let first = page.at("data.1.id");
    let conn = world.connect();
    let bearer = format!("Bearer {}", disk.access);
    let fields = [("Authorization", bearer.as_str()), ("X-Filename", "a.txt"), ("Content-Length", "4")];
    world.send(
        conn,
        &[&crate::support::http::request("POST", "/api/v1/uploads", &fields, None)[..], b"text"].concat(),
    );
    let mut bytes = world.take(conn);
    let file = crate::support::http::next_response(&mut bytes, false).expect("a response").at("data.id");
    let body = format!(r#"{{"attachments":["{file}"],"reply_to":"{first}"}}"#);
    assert_eq!(call(&mut world, &path, &[json], &body).status, 201);
    let page = world.ask_as(&ann, "GET", &format!("/api/v1/conversations/{tea}/messages?limit=1"), None);
    assert_eq!((page.at("data.0.attachments.0.id"), page.at("data.0.reply_to")), (file, first));
    // What posts nothing.
    let long = "x".repeat(HOOK_BODY_MAX + 1);
    for (fields, body, status, code) in [
        (&[][..], "", 422, "invalid_body"),
        (&[], " \n", 422, "invalid_body"),
        (&[json], "{}", 422, "invalid_body"),
        (&[json], r#"{"body":7}"#, 422, "invalid_body"),
        (&[json], "[]", 400, "error_parsing_data"),
        (&[json], "{", 400, "error_parsing_data"),
        (&[form, event], "payload=%7B", 400, "error_parsing_data"),
        (&[form, event], "x=1", 400, "error_parsing_data"),
        (&[], &long, 413, "too_large"),
    ] {
        assert_eq!(refused(&call(&mut world, &path, fields, body)), (status, code.into()), "{fields:?}");
    }
    // The longest body fits, and its text is cut.
    world.pass(Duration::from_secs(10));
    assert_eq!(call(&mut world, &path, &[], &long[1..]).status, 201);
    let (body, _) = newest(&mut world, &ann, &tea);
    assert!(body.ends_with('…') && body.chars().count() == 4_000);
}

fn natter_percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn a_repeated_call_posts_nothing() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let disk = bot(&mut world, "disk");
    let tea = group(&mut world, &ann, &[&disk]);
    let (path, other) = (hook(&mut world, &disk, &tea), hook(&mut world, &disk, &tea));
    let key = [("Idempotency-Key", "job 7")];
    let first = call(&mut world, &path, &key, "once");
    let mut world = world.restart();
    let again = call(&mut world, &path, &key, "another text");
    assert_eq!(
        (first.status, again.status, again.at("duplicate"), again.at("data")),
        (201, 200, "true".into(), first.at("data"))
    );
    assert_eq!(call(&mut world, &other, &key, "of another hook").status, 201);
    let delivery = [("X-GitHub-Delivery", "1")];
    let statuses = [(); 2].map(|()| call(&mut world, &path, &delivery, "x").status);
    assert_eq!(statuses, [201, 200]);
    let statuses = [(); 2].map(|()| call(&mut world, &path, &[], "x").status);
    assert_eq!(statuses, [201, 201], "without a key each is a new one");
    // As the contract says how it is made.
    let token = path.trim_start_matches("/hooks/");
    let half: [u8; 16] = HmacKey::new(token.as_bytes()).sign(b"job 7")[..16].try_into().expect("half");
    let message = format!("/api/v1/messages/{}", first.at("data.id"));
    let message = world.ask_as(&ann, "GET", &message, None);
    assert_eq!(message.at("data.client_id"), <Id>::from_bytes(half).to_string());
}

#[test]
fn a_hook_permits_nothing_else_and_ends() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let disk = bot(&mut world, "disk");
    let tea = group(&mut world, &ann, &[&disk]);
    let path = hook(&mut world, &disk, &tea);
    let token = path.trim_start_matches("/hooks/").to_owned();
    let as_bearer = Person { access: token.clone(), ..disk.clone() };
    assert_eq!(world.ask_as(&as_bearer, "GET", "/api/v1/conversations", None).status, 401);
    let unknown = (404, "not_found".to_owned());
    for token in ["nh_AAAAAAAAAAAAAAAAAAAAAA", "x", disk.access.as_str()] {
        assert_eq!(refused(&call(&mut world, &format!("/hooks/{token}"), &[], "x")), unknown);
    }
    let get = world.ask("GET", &path, &[], None);
    assert_eq!((get.status, get.field("Allow")), (405, Some("OPTIONS, POST")));
    let member = format!("/api/v1/conversations/{tea}/members/{}", disk.profile);
    world.ask_as(&ann, "DELETE", &member, None);
    assert_eq!(refused(&call(&mut world, &path, &[], "x")), unknown, "of a bot that has left");
    world.ask_as(&ann, "PUT", &member, Some("{}"));
    assert_eq!(call(&mut world, &path, &[], "x").status, 201);
    let tokens = format!("/admin/bots/{}/tokens", disk.profile);
    let listed = world.ask_operator("GET", &tokens, None);
    assert_eq!((listed.at("data.1.name"), listed.at("data.1.conversation")), ("disk".into(), tea.clone()));
    world.ask_operator("DELETE", &format!("{tokens}/{}", listed.at("data.1.id")), None);
    assert_eq!(refused(&call(&mut world, &path, &[], "x")), unknown, "of one that was revoked");
}

#[test]
fn a_bot_has_its_own_rate_and_unknown_tokens_that_of_their_address() {
    let mut limits = crate::support::limits();
    limits.rate_limit = true;
    let mut world = World::with(crate::support::settings(limits));
    let ann = world.sign_up("ann");
    let disk = bot(&mut world, "disk");
    let tea = group(&mut world, &ann, &[&disk]);
    let path = hook(&mut world, &disk, &tea);
    let posted = (0..).take_while(|_| call(&mut world, &path, &[], "x").status == 201).count();
    assert_eq!(posted, 60, "the burst of RATE_BOTS");
    assert_eq!(refused(&call(&mut world, &path, &[], "x")), (429, "rate_limited".into()));
    // The bot itself has no other one, and people have theirs.
    let body =
        |id: u128| format!(r#"{{"conversation":"{tea}","client_id":"{}","body":"hi"}}"#, <Id>::from_u128(id));
    assert_eq!(world.ask_as(&disk, "POST", "/api/v1/messages", Some(&body(1))).status, 429);
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body(2))).status, 201);
    world.pass(Duration::from_secs(1));
    let posted = (0..).take_while(|_| call(&mut world, &path, &[], "x").status == 201).count();
    assert_eq!(posted, 5, "a second of RATE_BOTS");
    world.pass(Duration::from_secs(60));
    let unknown = (0..).take_while(|_| call(&mut world, "/hooks/nh_unknown", &[], "x").status == 404).count();
    assert_eq!(unknown, 100, "the burst of RATE_ADDRESS");
    assert_eq!(call(&mut world, &path, &[], "x").status, 201, "a known one is not counted there");
}
