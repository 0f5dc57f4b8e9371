//! The operator's requests through the control socket, which no other client can make.

use natter::model::operation::Refusal;
use natter::server::contract::ListenerKind;

use crate::support::World;
use crate::support::http::{Person, Response, request, responses};

fn refused(response: &Response) -> (u16, String) {
    (response.status, response.code())
}

fn sign_in(world: &mut World, email: &str, password: &str) -> Response {
    let body = format!(r#"{{"email":"{email}","password":"{password}"}}"#);
    world.ask("POST", "/api/v1/user/sign-in", &[], Some(&body))
}

const MEMBERS: &str = "/admin/members";

/// The export as it comes, with its chunks.
fn export(world: &mut World, person: &Person) -> String {
    let conn = world.connect();
    let bearer = format!("Bearer {}", person.access);
    world.send(conn, &request("GET", "/api/v1/user/export", &[("Authorization", &bearer)], None));
    String::from_utf8(world.take(conn)).expect("UTF-8")
}

#[test]
fn the_public_listener_has_no_admin_route() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let who = r#"{"who":"ann@example.org"}"#;
    for (method, path) in [
        ("GET", MEMBERS),
        ("POST", MEMBERS),
        ("OPTIONS", MEMBERS),
        ("POST", "/admin/members/disable"),
        ("POST", "/admin/members/enable"),
        ("POST", "/admin/members/promote"),
        ("POST", "/admin/members/demote"),
        ("POST", "/admin/members/delete"),
        ("POST", "/admin/backup"),
        ("POST", "/admin/invites"),
        ("GET", "/admin/invites"),
        ("POST", "/admin/invites/revoke"),
    ] {
        assert_eq!(refused(&world.ask(method, path, &[], Some(who))), (404, "not_found".into()), "{path}");
        assert_eq!(world.ask_as(&ann, method, path, Some(who)).status, 404, "{path}");
    }
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/user/me", None).status, 200);
    assert_eq!(world.ask_operator("GET", "/healthz", None).status, 200, "the same HTTP");
    assert_eq!(world.ask_operator("GET", "/api/v1/user/me", None).status, 401, "and the same rules");
}

#[test]
fn members_are_listed_page_by_page() {
    let mut world = World::new();
    for name in ["ann", "bob", "carl"] {
        world.sign_up(name);
    }
    let first = world.ask_operator("GET", "/admin/members?limit=2", None);
    assert_eq!((first.status, first.at("data.0.email")), (200, "ann@example.org".into()));
    assert_eq!((first.at("data.1.email"), first.at("data.2")), ("bob@example.org".into(), "null".into()));
    let path = format!("/admin/members?limit=2&next={}", first.at("next"));
    let second = world.ask_operator("GET", &path, None);
    assert_eq!((second.at("data.0.email"), second.at("next")), ("carl@example.org".into(), "null".into()));
    assert!(!first.text().contains("argon2"));
    let bad = world.ask_operator("GET", "/admin/members?next=z", None);
    assert_eq!(refused(&bad), (400, "error_parsing_data".into()));
}

#[test]
fn a_member_is_added_by_an_operator_even_while_sign_up_is_closed() {
    let mut settings = crate::support::settings(crate::support::limits());
    settings.sign_up = natter::model::settings::SignUpRule::Closed;
    let mut world = World::with(settings);
    let body = r#"{"email":"Ann.Lee@Example.org","password":"correct horse 9"}"#;
    let added = world.ask_operator("POST", MEMBERS, Some(body));
    assert_eq!(
        (added.status, added.at("data.email")),
        (201, "ann.lee@example.org".into()),
        "{}",
        added.text()
    );
    assert_eq!((added.at("data.verified"), added.at("data.active")), ("true".into(), "true".into()));
    let session = sign_in(&mut world, "ann.lee@example.org", "correct horse 9");
    assert_eq!((session.status, session.at("data.profile.display_name")), (200, "ann.lee".into()));
    let mut check = |body: &str, expect: (u16, &str)| {
        assert_eq!(
            refused(&world.ask_operator("POST", MEMBERS, Some(body))),
            (expect.0, expect.1.to_owned())
        );
    };
    check(body, (409, "email_taken"));
    check(r#"{"email":"x","password":"correct horse 9"}"#, (422, "invalid_email"));
    check(r#"{"email":"x@y","password":"short"}"#, (422, "invalid_password"));
    check(r#"{"email":"x@y"}"#, (422, "invalid_password"));
}

/// A disabled member is refused everywhere. The predecessor enforced `active` nowhere.
#[test]
fn a_disabled_member_is_refused_until_enabled() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let socket = world.open_socket(&ann, "/api/v1/ws");
    let by_mail = r#"{"who":"Ann@Example.org"}"#;
    let disabled = world.ask_operator("POST", "/admin/members/disable", Some(by_mail));
    assert_eq!((disabled.status, disabled.at("data.active")), (200, "false".into()));
    assert_eq!(world.close_code(socket), Some(4401));
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/user/me", None).status, 401);
    assert_eq!(world.ask_as(&bob, "GET", "/api/v1/user/me", None).status, 200);
    let refresh = format!(r#"{{"refresh":"{}"}}"#, ann.refresh);
    assert_eq!(world.ask("POST", "/api/v1/user/refresh", &[], Some(&refresh)).status, 401);
    let out = sign_in(&mut world, "ann@example.org", "correct horse ann's");
    assert_eq!(refused(&out), (401, "email_password_wrong".into()));
    let by_id = format!(r#"{{"who":"{}"}}"#, ann.member.to_lowercase());
    assert_eq!(world.ask_operator("POST", "/admin/members/enable", Some(&by_id)).at("data.active"), "true");
    assert_eq!(sign_in(&mut world, "ann@example.org", "correct horse ann's").status, 200);
    for (who, expect) in [
        (r#"{"who":"nobody@example.org"}"#, (404, "not_found")),
        (r#"{"who":"01ARZ3NDEKTSV4RRFFQ69G5FAV"}"#, (404, "not_found")),
        (r#"{"who":"nobody"}"#, (404, "not_found")),
        ("{}", (422, "invalid_who")),
    ] {
        for verb in ["disable", "enable", "promote", "demote", "delete"] {
            let answer = world.ask_operator("POST", &format!("/admin/members/{verb}"), Some(who));
            assert_eq!(refused(&answer), (expect.0, expect.1.to_owned()), "{verb} {who}");
        }
    }
}

/// Only the operator makes admins. A member that is none has no such field: the answers are as before.
#[test]
fn a_member_is_an_admin_from_promote_to_demote() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let nick = world.ask_as(&ann, "GET", "/api/v1/user/me", None).at("data.profile.nick_name");
    let mut check = |verb: &str, who: &str, expect: &str| {
        let body = format!(r#"{{"who":"{who}"}}"#);
        let changed = world.ask_operator("POST", &format!("/admin/members/{verb}"), Some(&body));
        assert_eq!((changed.status, changed.at("data.admin")), (200, expect.into()), "{verb} {who}");
        let me = world.ask_as(&ann, "GET", "/api/v1/user/me", None);
        assert_eq!(me.at("data.member.admin"), expect, "{verb} {who}");
        let other = world.ask_as(&bob, "GET", "/api/v1/user/me", None);
        assert_eq!(other.at("data.member.admin"), "null");
        let lines = export(&mut world, &ann);
        assert_eq!(lines.contains(r#""admin":true"#), expect == "true", "{lines}");
    };
    check("promote", &nick.to_uppercase(), "true");
    check("promote", "ann@example.org", "true");
    check("demote", &ann.member, "null");
    check("demote", &nick, "null");
}

#[test]
fn a_member_deleted_by_an_operator_has_no_account_and_the_messages_stay() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let body = format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","body":"hi"}}"#, bob.profile);
    let conversation = world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).at("data.conversation");
    let gone = world.ask_operator("POST", "/admin/members/delete", Some(r#"{"who":"ann@example.org"}"#));
    assert_eq!((gone.status, gone.at("data.id")), (200, ann.member.clone()));
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/user/me", None).status, 401);
    let list = world.ask_as(&bob, "GET", &format!("/api/v1/conversations/{conversation}/messages"), None);
    assert_eq!((list.at("data.0.body"), list.at("data.0.sender")), ("hi".into(), "null".into()));
    assert_eq!(world.ask_operator("GET", MEMBERS, None).at("data.1"), "null");
}

#[test]
fn each_copy_of_the_database_has_its_own_name_and_failures_are_reported() {
    let mut world = World::new();
    let copy = |answer: &Response| {
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.at("data.file")
    };
    let first = copy(&world.ask_operator("POST", "/admin/backup", None));
    let second = copy(&world.ask_operator("POST", "/admin/backup", None));
    assert_ne!(first, second);
    assert!(first.starts_with("natter.backup-") && !first.contains('/'), "{first}");
    for (refusal, expect) in [
        (Refusal::Busy, (503, "busy")),
        (Refusal::StorageFull, (507, "storage_full")),
        (Refusal::Unavailable, (503, "unavailable")),
    ] {
        world.holds = true;
        let conn = world.connect_through("127.0.0.1", ListenerKind::Control);
        world.send(conn, &request("POST", "/admin/backup", &[], None));
        // The row of the act can't be written: a backup is wanted all the more.
        world.refuse(Refusal::Unavailable);
        world.refuse(refusal);
        world.holds = false;
        let answer = responses(&mut world.take(conn), false).remove(0);
        assert_eq!(refused(&answer), (expect.0, expect.1.to_owned()));
        world.reset(conn);
    }
}
