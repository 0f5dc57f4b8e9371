//! Invites to groups and to the server: who makes them, what they permit, when they end, and what they tell a stranger.

use std::time::Duration;

use natter::model::settings::SignUpRule;

use crate::support::World;
use crate::support::http::{Person, Response, request};

const INVITES: &str = "/api/v1/invites";

fn world_with(rule: SignUpRule) -> World {
    let mut settings = crate::support::settings(crate::support::limits());
    settings.sign_up = rule;
    World::with(settings)
}

fn refused(response: &Response) -> (u16, String) {
    (response.status, response.code())
}

fn set_admin(world: &mut World, person: &Person, verb: &str) {
    let body = format!(r#"{{"who":"{}"}}"#, person.member);
    assert_eq!(
        world.ask_operator("POST", &format!("/admin/members/{verb}"), Some(&body)).status,
        200,
        "{verb}"
    );
}

fn group(world: &mut World, admin: &Person, members: &[&Person]) -> String {
    let ids: Vec<String> = members.iter().map(|person| format!("\"{}\"", person.profile)).collect();
    let body = format!(r#"{{"title":"Tea","members":[{}]}}"#, ids.join(","));
    world.ask_as(admin, "POST", "/api/v1/conversations", Some(&body)).at("data.id")
}

fn invite(world: &mut World, person: &Person, more: &str) -> Response {
    world.ask_as(person, "POST", INVITES, Some(&format!("{{{more}}}")))
}

/// The code of a new invite to a group.
fn code_to(world: &mut World, person: &Person, group: &str, uses: u32) -> String {
    let made = invite(world, person, &format!(r#""conversation":"{group}","uses":{uses}"#));
    assert_eq!(made.status, 201, "{}", made.text());
    made.at("data.code")
}

fn open(world: &mut World, person: &Person, code: &str) -> Response {
    world.ask_as(person, "POST", "/api/v1/invites/use", Some(&format!(r#"{{"invite":"{code}"}}"#)))
}

fn check(world: &mut World, code: &str) -> Response {
    world.ask("POST", "/api/v1/invites/check", &[], Some(&format!(r#"{{"invite":"{code}"}}"#)))
}

fn sign_up(world: &mut World, name: &str, code: &str) -> Response {
    let body = format!(
        r#"{{"display_name":"{name}","email":"{name}@example.org","password":"correct horse {name}'s","invite":"{code}"}}"#
    );
    world.ask("POST", "/api/v1/user/sign-up", &[], Some(&body))
}

fn listed(world: &mut World, person: &Person, group: &str) -> Response {
    world.ask_as(person, "GET", &format!("{INVITES}?conversation={group}"), None)
}

fn members(world: &mut World, person: &Person, group: &str) -> Vec<String> {
    let list = world.ask_as(person, "GET", &format!("/api/v1/conversations/{group}/members"), None);
    let count: usize = (0..).take_while(|n| list.at(&format!("data.{n}")) != "null").count();
    (0..count).map(|n| list.at(&format!("data.{n}.profile.id"))).collect()
}

/// The export as it comes, with its chunks.
fn export(world: &mut World, person: &Person) -> String {
    let conn = world.connect();
    let bearer = format!("Bearer {}", person.access);
    world.send(conn, &request("GET", "/api/v1/user/export", &[("Authorization", &bearer)], None));
    String::from_utf8(world.take(conn)).expect("UTF-8")
}

fn rows(world: &World) -> i64 {
    let conn = rusqlite::Connection::open(world.dir.path().join("natter.db")).expect("the database");
    conn.query_row("SELECT count(*) FROM invites", [], |row| row.get(0)).expect("a number")
}

const INVALID: (u16, &str) = (422, "invalid_invite");

fn assert_invalid(response: &Response, why: &str) {
    assert_eq!(refused(response), (INVALID.0, INVALID.1.to_owned()), "{why}");
}

#[test]
fn a_group_invite_lets_members_in_as_often_as_it_says_and_each_once() {
    let mut world = World::new();
    let (ann, bob, cy, dan) =
        (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("cy"), world.sign_up("dan"));
    let group = group(&mut world, &ann, &[]);
    let code = code_to(&mut world, &ann, &group, 2);
    assert_eq!(code.len(), 22);
    let shown = check(&mut world, &code);
    assert_eq!(
        (
            shown.at("data.conversation.title"),
            shown.at("data.conversation.members_count"),
            shown.at("data.sign_up")
        ),
        ("Tea".into(), "1".into(), "true".into())
    );
    let socket = world.open_socket(&ann, "/api/v1/ws");
    world.texts(socket);
    let joined = open(&mut world, &bob, &code);
    assert_eq!(
        (joined.status, joined.at("data.id"), joined.at("data.role")),
        (200, group.clone(), "member".into())
    );
    let told = world.texts(socket);
    assert!(told.iter().any(|text| text.contains("member.added") && text.contains(&bob.profile)), "{told:?}");
    // Again: neither a second membership nor a second use, and no event.
    assert_eq!(open(&mut world, &bob, &code).at("data.id"), group);
    assert!(world.texts(socket).iter().all(|text| !text.contains("member.added")));
    let list = listed(&mut world, &ann, &group);
    assert_eq!(
        (list.at("data.0.uses"), list.at("data.0.uses_max"), list.at("data.0.maker"), list.at("data.0.code")),
        ("1".into(), "2".into(), ann.profile.clone(), "null".into())
    );
    assert_eq!(open(&mut world, &cy, &code).status, 200);
    assert_invalid(&open(&mut world, &dan, &code), "used up");
    assert_eq!(listed(&mut world, &ann, &group).at("data.0"), "null", "the list has those that can be used");
    let all = [ann.profile.clone(), bob.profile.clone(), cy.profile.clone()];
    assert_eq!(members(&mut world, &ann, &group), all);
}

#[test]
fn every_invite_that_cannot_be_used_is_the_same_to_everybody() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let group = group(&mut world, &ann, &[]);
    let body = format!(r#""conversation":"{group}","expires_s":60"#);
    let expired = invite(&mut world, &ann, &body).at("data.code");
    world.pass(Duration::from_secs(61));
    let revoked = invite(&mut world, &ann, &format!(r#""conversation":"{group}""#));
    let path = format!("{INVITES}/{}", revoked.at("data.id"));
    assert_eq!(world.ask_as(&ann, "DELETE", &path, None).status, 204);
    assert_eq!(world.ask_as(&ann, "DELETE", &path, None).status, 404);
    let wrong = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
    let texts: Vec<String> = [expired, revoked.at("data.code"), wrong, "x".to_owned(), String::new()]
        .iter()
        .flat_map(|code| {
            // The address of an account is not confirmed by a code that is not valid.
            let answers =
                [check(&mut world, code), open(&mut world, &bob, code), sign_up(&mut world, "ann", code)];
            answers.map(|answer| answer.text().to_owned())
        })
        .collect();
    assert!(texts.iter().all(|text| *text == texts[0]) && texts[0].contains("invalid_invite"), "{texts:?}");
}

#[test]
fn only_admins_of_the_group_make_list_and_revoke_its_invites() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    let group = group(&mut world, &ann, &[&bob]);
    let id = invite(&mut world, &ann, &format!(r#""conversation":"{group}""#)).at("data.id");
    let path = format!("{INVITES}/{id}");
    for (person, create, revoke) in [(&bob, (403, "not_allowed"), 404), (&eve, (404, "not_found"), 404)] {
        let made = invite(&mut world, person, &format!(r#""conversation":"{group}""#));
        assert_eq!(refused(&made), (create.0, create.1.to_owned()));
        assert_eq!(refused(&listed(&mut world, person, &group)), (create.0, create.1.to_owned()));
        assert_eq!(world.ask_as(person, "DELETE", &path, None).status, revoke);
        // Nor one to the server.
        assert_eq!(refused(&invite(&mut world, person, "")), (403, "not_allowed".into()));
        assert_eq!(refused(&world.ask_as(person, "GET", INVITES, None)), (403, "not_allowed".into()));
    }
    let to_bob =
        format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","body":"hi"}}"#, bob.profile);
    let direct = world.ask_as(&ann, "POST", "/api/v1/messages", Some(&to_bob)).at("data.conversation");
    let made = invite(&mut world, &ann, &format!(r#""conversation":"{direct}""#));
    assert_eq!(refused(&made), (403, "not_allowed".into()));
    for (more, expect) in [
        (r#","uses":0"#, "invalid_uses"),
        (r#","uses":1001"#, "invalid_uses"),
        (r#","expires_s":59"#, "invalid_expires_s"),
        (r#","expires_s":31536001"#, "invalid_expires_s"),
    ] {
        let made = invite(&mut world, &ann, &format!(r#""conversation":"{group}"{more}"#));
        assert_eq!(refused(&made), (422, expect.to_owned()), "{more}");
    }
    // Any admin of the group sees and revokes all of them.
    let role = format!("/api/v1/conversations/{group}/members/{}", bob.profile);
    assert_eq!(world.ask_as(&ann, "PUT", &role, Some(r#"{"role":"admin"}"#)).status, 200);
    assert_eq!(listed(&mut world, &bob, &group).at("data.0.id"), id);
    assert_eq!(world.ask_as(&bob, "DELETE", &path, None).status, 204);
    assert_eq!(listed(&mut world, &ann, &group).at("data.0"), "null");
}

#[test]
fn the_invites_of_a_member_end_with_the_right_to_make_them() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    let group = group(&mut world, &ann, &[&bob]);
    let bob_path = format!("/api/v1/conversations/{group}/members/{}", bob.profile);
    let admin = Some(r#"{"role":"admin"}"#);
    let ends = |world: &mut World, how: &str, end: &dyn Fn(&mut World)| {
        assert_eq!(world.ask_as(&ann, "PUT", &bob_path, admin).status, 200, "{how}");
        let code = code_to(world, &bob, &group, 1);
        assert_eq!(check(world, &code).status, 200, "{how}");
        end(world);
        assert_invalid(&open(world, &eve, &code), how);
        // And it does not come back when the right does.
        assert_eq!(world.ask_as(&ann, "PUT", &bob_path, admin).status, 200, "{how}");
        assert_invalid(&check(world, &code), how);
    };
    ends(&mut world, "no admin", &|world| {
        assert_eq!(world.ask_as(&ann, "PUT", &bob_path, Some(r#"{"role":"member"}"#)).status, 200);
    });
    ends(&mut world, "left", &|world| assert_eq!(world.ask_as(&bob, "DELETE", &bob_path, None).status, 204));
    ends(&mut world, "removed", &|world| {
        assert_eq!(world.ask_as(&ann, "DELETE", &bob_path, None).status, 204)
    });
    ends(&mut world, "disabled", &|world| {
        let who = format!(r#"{{"who":"{}"}}"#, bob.member);
        assert_eq!(world.ask_operator("POST", "/admin/members/disable", Some(&who)).status, 200);
    });
    let who = format!(r#"{{"who":"{}"}}"#, bob.member);
    assert_eq!(world.ask_operator("POST", "/admin/members/enable", Some(&who)).status, 200);
    let bob = world.sign_in("bob");
    let code = code_to(&mut world, &bob, &group, 1);
    let body = Some(r#"{"password":"correct horse bob's"}"#);
    assert_eq!(world.ask_as(&bob, "DELETE", "/api/v1/user/me", body).status, 204);
    assert_invalid(&open(&mut world, &eve, &code), "deleted");
    assert_eq!(rows(&world), 0);
}

#[test]
fn a_block_and_a_removal_keep_a_member_out_of_the_group_and_its_size_is_a_limit() {
    let mut limits = crate::support::limits();
    limits.members_max = 3;
    let mut world = World::with(crate::support::settings(limits));
    let (ann, bob, cy, dan) =
        (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("cy"), world.sign_up("dan"));
    let group = group(&mut world, &ann, &[]);
    let code = code_to(&mut world, &ann, &group, 10);
    let block = format!("/api/v1/blocks/{}", bob.profile);
    assert_eq!(world.ask_as(&ann, "PUT", &block, None).status, 204);
    assert_invalid(&open(&mut world, &bob, &code), "blocked");
    assert_eq!(world.ask_as(&ann, "DELETE", &block, None).status, 204);
    assert_eq!(open(&mut world, &bob, &code).status, 200);
    let member = format!("/api/v1/conversations/{group}/members/{}", bob.profile);
    // Who leaves may come back, who was removed may not, until an admin adds them again.
    assert_eq!(world.ask_as(&bob, "DELETE", &member, None).status, 204);
    assert_eq!(open(&mut world, &bob, &code).status, 200);
    assert_eq!(world.ask_as(&ann, "DELETE", &member, None).status, 204);
    assert_invalid(&open(&mut world, &bob, &code), "removed");
    let fresh = code_to(&mut world, &ann, &group, 10);
    assert_invalid(&open(&mut world, &bob, &fresh), "removed, and another invite");
    assert_eq!(world.ask_as(&ann, "PUT", &member, None).status, 200);
    assert_eq!(world.ask_as(&bob, "DELETE", &member, None).status, 204);
    assert_eq!(open(&mut world, &bob, &code).status, 200);
    assert_eq!(open(&mut world, &cy, &code).status, 200);
    assert_eq!(refused(&open(&mut world, &dan, &code)), (422, "invalid_members".into()));
    assert_eq!(refused(&sign_up(&mut world, "eve", &code)), (422, "invalid_members".into()));
    assert_eq!(sign_up(&mut world, "eve", &fresh).code(), "invalid_members", "no account was made");
    assert_eq!(listed(&mut world, &ann, &group).at("data.0.uses"), "4");
}

#[test]
fn a_member_has_a_hundred_open_invites_and_pages_of_them() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let group = group(&mut world, &ann, &[]);
    let short = format!(r#""conversation":"{group}","expires_s":3600"#);
    for _ in 0..100 {
        assert_eq!(invite(&mut world, &ann, &short).status, 201);
    }
    assert_eq!(refused(&invite(&mut world, &ann, &short)), (413, "quota_exceeded".into()));
    let page = listed(&mut world, &ann, &group);
    assert_eq!((page.at("data.49.uses"), page.at("data.50")), ("0".into(), "null".into()));
    let path = format!("{INVITES}?conversation={group}&limit=60&next={}", page.at("next"));
    let rest = world.ask_as(&ann, "GET", &path, None);
    assert_eq!(
        (rest.at("data.49.uses_max"), rest.at("data.50"), rest.at("next")),
        ("1".into(), "null".into(), "null".into())
    );
    assert_eq!(
        refused(&world.ask_as(&ann, "GET", &format!("{INVITES}?next=i%2B5"), None)),
        (400, "error_parsing_data".into())
    );
    // Those that have expired do not count, and are not kept.
    world.pass(Duration::from_secs(3_600));
    let ann = world.sign_in("ann");
    assert_eq!(invite(&mut world, &ann, &short).status, 201);
    assert_eq!(rows(&world), 1);
}

#[test]
fn with_sign_up_by_invite_a_stranger_needs_one_that_admits() {
    let mut world = world_with(SignUpRule::Invite);
    let policy = world.ask("GET", "/api/v1/user/sign-up", &[], None);
    assert_eq!((policy.at("data.open"), policy.at("data.invite")), ("false".into(), "true".into()));
    let without = r#"{"display_name":"x","email":"x@example.org","password":"correct horse x's"}"#;
    let answer = world.ask("POST", "/api/v1/user/sign-up", &[], Some(without));
    assert_eq!(refused(&answer), (403, "sign_up_closed".into()));
    // The operator's is for one person unless it says more.
    let made = world.ask_operator("POST", "/admin/invites", None);
    assert_eq!(
        (made.status, made.at("data.uses_max"), made.at("data.maker")),
        (201, "1".into(), "null".into())
    );
    let code = made.at("data.code");
    assert!(made.at("data.url").ends_with(&format!("/#/i/{code}")), "{}", made.text());
    let shown = check(&mut world, &code);
    assert_eq!((shown.at("data.conversation"), shown.at("data.sign_up")), ("null".into(), "true".into()));
    let answer = sign_up(&mut world, "ann", &code);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let ann = Person::from_response(&answer);
    assert_invalid(&sign_up(&mut world, "bob", &code), "used");
    // A member that opens one to the server neither joins anything nor uses it.
    let two = world.ask_operator("POST", "/admin/invites", Some(r#"{"uses":2,"expires_s":60}"#));
    let opened = open(&mut world, &ann, &two.at("data.code"));
    assert_eq!((opened.status, opened.at("data")), (200, "null".into()));
    assert_eq!(world.ask_operator("GET", "/admin/invites", None).at("data.0.uses"), "0");
    // An address that is taken uses none.
    assert_eq!(refused(&sign_up(&mut world, "ann", &two.at("data.code"))), (409, "email_taken".into()));
    assert_eq!(sign_up(&mut world, "bob", &two.at("data.code")).status, 201);
    let revoke = format!(r#"{{"invite":"{}"}}"#, two.at("data.id"));
    assert_eq!(world.ask_operator("POST", "/admin/invites/revoke", Some(&revoke)).status, 204);
    assert_eq!(world.ask_operator("POST", "/admin/invites/revoke", Some(&revoke)).status, 404);
    assert_invalid(&sign_up(&mut world, "cy", &two.at("data.code")), "revoked");
    for path in ["/admin/invites", "/admin/invites/revoke"] {
        assert_eq!(world.ask_as(&ann, "POST", path, Some("{}")).status, 404, "{path}");
    }
}

#[test]
fn the_invite_of_a_group_admits_a_stranger_only_if_its_maker_is_an_admin_of_the_server() {
    let mut world = world_with(SignUpRule::Invite);
    let made = world.ask_operator("POST", "/admin/invites", Some(r#"{"uses":2}"#)).at("data.code");
    let ann = Person::from_response(&sign_up(&mut world, "ann", &made));
    let bob = Person::from_response(&sign_up(&mut world, "bob", &made));
    let group = group(&mut world, &ann, &[]);
    let code = code_to(&mut world, &ann, &group, 10);
    assert_eq!(check(&mut world, &code).at("data.sign_up"), "false");
    assert_eq!(refused(&sign_up(&mut world, "cy", &code)), (403, "sign_up_closed".into()));
    assert_eq!(open(&mut world, &bob, &code).at("data.id"), group, "a member joins by it");
    set_admin(&mut world, &ann, "promote");
    assert_eq!(check(&mut world, &code).at("data.sign_up"), "true");
    let answer = sign_up(&mut world, "cy", &code);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let cy = Person::from_response(&answer);
    assert_eq!(
        members(&mut world, &cy, &group),
        [ann.profile.clone(), bob.profile.clone(), cy.profile.clone()]
    );
    assert_eq!(listed(&mut world, &ann, &group).at("data.0.uses"), "2");
    // An admin of the server makes, lists and revokes those to the server, and they end with that right.
    let own = invite(&mut world, &ann, r#""uses":3"#);
    assert_eq!((own.status, own.at("data.conversation")), (201, "null".into()));
    let list = world.ask_as(&ann, "GET", INVITES, None);
    assert_eq!((list.at("data.0.id"), list.at("data.0.maker")), (own.at("data.id"), ann.profile.clone()));
    let lines = export(&mut world, &ann);
    assert_eq!(lines.matches(r#""kind":"invite""#).count(), 2, "{lines}");
    let lines = export(&mut world, &bob);
    assert!(!lines.contains(r#""kind":"invite""#), "{lines}");
    set_admin(&mut world, &ann, "demote");
    assert_invalid(&sign_up(&mut world, "dan", &own.at("data.code")), "its maker is no admin");
    assert_eq!(refused(&sign_up(&mut world, "dan", &code)), (403, "sign_up_closed".into()));
    assert_eq!(refused(&invite(&mut world, &ann, "")), (403, "not_allowed".into()));
}

#[test]
fn a_closed_server_takes_nobody_by_an_invite_and_an_open_one_everybody() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let made = world.ask_operator("POST", "/admin/invites", None);
    assert_eq!((made.status, sign_up(&mut world, "bob", &made.at("data.code")).status), (201, 201));
    assert_invalid(&sign_up(&mut world, "cy", &made.at("data.code")), "used, though none is needed");
    let group = group(&mut world, &ann, &[]);
    let code = code_to(&mut world, &ann, &group, 2);
    let dan = Person::from_response(&sign_up(&mut world, "dan", &code));
    assert_eq!(members(&mut world, &dan, &group).len(), 2);
    let mut closed = world_with(SignUpRule::Closed);
    assert_eq!(refused(&closed.ask_operator("POST", "/admin/invites", None)), (403, "sign_up_closed".into()));
    assert_eq!(refused(&sign_up(&mut closed, "ann", &code)), (403, "sign_up_closed".into()));
}

#[test]
fn guesses_have_the_rate_of_a_sign_up() {
    let limits = natter::limits::Limits::default();
    let burst = limits.rate_credentials.burst;
    let mut world = World::with(crate::support::settings(limits));
    let mut last = 0;
    for _ in 0..=burst {
        last = check(&mut world, "AAAAAAAAAAAAAAAAAAAAAA").status;
    }
    assert_eq!(last, 429);
}
