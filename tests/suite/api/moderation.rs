//! Admins of the server and reports: who may do what, what it does, and the log of it.

use std::time::Duration;

use natter::model::job::Done;
use natter::model::measures::Gauge;
use natter::model::metrics::ErrorKind;
use natter::model::operation::Refusal;
use natter::model::report::{REASON_MAX, REPORT_KEPT_MS, REPORTS_OF_MEMBER_MAX};

use natter::server::contract::Input;

use crate::support::World;
use crate::support::http::{Person, Response, request, responses};

fn refused(response: &Response) -> (u16, String) {
    (response.status, response.code())
}

fn promote(world: &mut World, person: &Person) {
    let who = format!(r#"{{"who":"{}"}}"#, person.member);
    assert_eq!(world.ask_operator("POST", "/admin/members/promote", Some(&who)).status, 200);
}

/// A message to another one: its id and that of the conversation.
fn say(world: &mut World, from: &Person, to: &Person, client_id: u32, text: &str) -> (String, String) {
    let body = format!(r#"{{"to":"{}","client_id":"{client_id:026}","body":"{text}"}}"#, to.profile);
    let posted = world.ask_as(from, "POST", "/api/v1/messages", Some(&body));
    assert_eq!(posted.status, 201, "{}", posted.text());
    (posted.at("data.id"), posted.at("data.conversation"))
}

fn report(world: &mut World, by: &Person, message: &str, reason: &str) -> Response {
    let body = format!(r#"{{"reason":"{reason}"}}"#);
    world.ask_as(by, "POST", &format!("/api/v1/messages/{message}/report"), Some(&body))
}

fn sign_in(world: &mut World, email: &str, password: &str) -> u16 {
    let body = format!(r#"{{"email":"{email}","password":"{password}"}}"#);
    world.ask("POST", "/api/v1/user/sign-in", &[], Some(&body)).status
}

/// Every request of an admin, about a member, a message and a report that are there or not.
fn requests(who: &str, message: &str, report: &str) -> Vec<(&'static str, String, Option<String>)> {
    let body =
        |verb: &str| ("POST", format!("/api/v1/admin/members/{verb}"), Some(format!(r#"{{"who":"{who}"}}"#)));
    let mut all = vec![
        ("GET", "/api/v1/admin/members".to_owned(), None),
        ("GET", "/api/v1/admin/members?search=ann".to_owned(), None),
        (
            "POST",
            "/api/v1/admin/members".to_owned(),
            Some(r#"{"email":"new@example.org","password":"correct horse 9"}"#.to_owned()),
        ),
        (
            "POST",
            "/api/v1/admin/members/rename".to_owned(),
            Some(format!(r#"{{"who":"{who}","display_name":"Mud"}}"#)),
        ),
        ("DELETE", format!("/api/v1/admin/messages/{message}"), None),
        ("GET", "/api/v1/admin/reports".to_owned(), None),
        ("DELETE", format!("/api/v1/admin/reports/{report}"), None),
        ("GET", "/api/v1/admin/audit".to_owned(), None),
        ("GET", "/api/v1/admin/storage".to_owned(), None),
        ("GET", "/api/v1/admin/server".to_owned(), None),
        ("POST", "/api/v1/admin/backup".to_owned(), None),
    ];
    all.extend(["disable", "enable", "delete", "verify", "revoke", "reset-link"].map(body));
    all
}

fn database(world: &World) -> rusqlite::Connection {
    rusqlite::Connection::open(world.dir.path().join("natter.db")).expect("the database")
}

const NOTHING: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// The answer says nothing of what is there, and nothing is changed, hashed or written.
#[test]
fn a_member_who_is_no_admin_gets_one_answer_to_everything() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    let (message, _) = say(&mut world, &ann, &bob, 1, "hello");
    let reported = report(&mut world, &bob, &message, "spam").at("data.id");
    promote(&mut world, &ann);
    let before = world.ask_as(&ann, "GET", "/api/v1/admin/audit", None).text().to_owned();
    for (who, message, report) in [
        (bob.member.as_str(), message.as_str(), reported.as_str()),
        ("bob@example.org", NOTHING, NOTHING),
        ("nobody@example.org", NOTHING, NOTHING),
        (ann.member.as_str(), message.as_str(), reported.as_str()),
        (eve.member.as_str(), NOTHING, NOTHING),
    ] {
        for (method, path, body) in requests(who, message, report) {
            let answer = world.ask_as(&eve, method, &path, body.as_deref());
            assert_eq!(refused(&answer), (403, "not_allowed".into()), "{method} {path} {who}");
            let stranger = world.ask(method, &path, &[], body.as_deref());
            assert_eq!(refused(&stranger), (401, "unauthorized_access".into()), "{method} {path}");
        }
    }
    for verb in ["promote", "demote", "password", "sessions"] {
        let path = format!("/api/v1/admin/members/{verb}");
        let body = format!(r#"{{"who":"{}","password":"correct horse 9"}}"#, eve.member);
        for person in [&eve, &ann] {
            assert_eq!(
                world.ask_as(person, "POST", &path, Some(&body)).status,
                404,
                "the operator's alone: {path}"
            );
        }
    }
    let groups = world.ask_as(&ann, "GET", "/api/v1/admin/groups", None);
    assert_eq!(refused(&groups), (404, "not_found".into()));
    let after = world.ask_as(&ann, "GET", "/api/v1/admin/audit", None).text().to_owned();
    assert_eq!(before, after);
    assert_eq!(world.ask_as(&bob, "GET", "/api/v1/user/me", None).at("data.profile.display_name"), "bob");
    // Who is no admin any more is refused with the same token at once, and so is a bot.
    let who = format!(r#"{{"who":"{}"}}"#, ann.member);
    world.ask_operator("POST", "/admin/members/demote", Some(&who));
    assert_eq!(refused(&world.ask_as(&ann, "GET", "/api/v1/admin/audit", None)), (403, "not_allowed".into()));
    let bot =
        world.ask_operator("POST", "/admin/bots", Some(r#"{"display_name":"Disk"}"#)).at("data.profile.id");
    let token = world.ask_operator("POST", &format!("/admin/bots/{bot}/tokens"), Some(r#"{"name":"a"}"#));
    let bearer = format!("Bearer {}", token.at("data.token"));
    for (method, path, body) in requests(&bob.member, &message, &reported) {
        let answer = world.ask(method, &path, &[("Authorization", &bearer)], body.as_deref());
        assert_eq!(refused(&answer), (403, "not_allowed".into()), "{method} {path}");
    }
}

/// A compromised or angry admin can't take over or lock out the others.
#[test]
fn an_admin_is_the_operators() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    promote(&mut world, &ann);
    promote(&mut world, &bob);
    for who in [&ann.member, &bob.member] {
        for verb in ["disable", "enable", "delete", "verify", "revoke", "reset-link", "rename"] {
            let body = format!(r#"{{"who":"{who}","nick_name":"mud.mud"}}"#);
            let answer = world.ask_as(&ann, "POST", &format!("/api/v1/admin/members/{verb}"), Some(&body));
            assert_eq!(refused(&answer), (403, "not_allowed".into()), "{verb}");
        }
    }
    let who = format!(r#"{{"who":"{}"}}"#, bob.member);
    assert_eq!(world.ask_operator("POST", "/admin/members/disable", Some(&who)).status, 200);
    let answer = world.ask_as(&bob, "GET", "/api/v1/admin/audit", None);
    assert_eq!(answer.status, 401, "a disabled admin has no session");
}

#[test]
fn an_admin_finds_suspends_and_deletes_members() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    world.sign_up("carl");
    promote(&mut world, &ann);
    let found = world.ask_as(&ann, "GET", "/api/v1/admin/members?search=%20BOB", None);
    assert_eq!((found.at("data.0.email"), found.at("data.1")), ("bob@example.org".into(), "null".into()));
    assert_eq!(
        (found.at("data.0.display_name"), found.at("data.0.profile")),
        ("bob".into(), bob.profile.clone())
    );
    let page = world.ask_as(&ann, "GET", "/api/v1/admin/members?search=example.org&limit=2", None);
    let path = format!("/api/v1/admin/members?search=example.org&limit=2&next={}", page.at("next"));
    assert_eq!(world.ask_as(&ann, "GET", &path, None).at("data.0.email"), "carl@example.org");
    let none = world.ask_as(&ann, "GET", "/api/v1/admin/members?search=%25", None);
    assert_eq!(none.at("data.0"), "null", "no pattern");
    let socket = world.open_socket(&bob, "/api/v1/ws");
    let whom = format!(r#"{{"who":"{}"}}"#, bob.member);
    let disabled = world.ask_as(&ann, "POST", "/api/v1/admin/members/disable", Some(&whom));
    assert_eq!((disabled.status, disabled.at("data.active")), (200, "false".into()));
    assert_eq!(world.close_code(socket), Some(4401));
    assert_eq!(world.ask_as(&bob, "GET", "/api/v1/user/me", None).status, 401);
    assert_eq!(sign_in(&mut world, "bob@example.org", "correct horse bob's"), 401);
    let link = world.ask_as(&ann, "POST", "/api/v1/admin/members/reset-link", Some(&whom));
    assert_eq!(refused(&link), (403, "not_allowed".into()), "no way back for who is suspended");
    world.ask_as(&ann, "POST", "/api/v1/admin/members/enable", Some(&whom));
    assert_eq!(sign_in(&mut world, "bob@example.org", "correct horse bob's"), 200);
    let deleted = world.ask_as(&ann, "POST", "/api/v1/admin/members/delete", Some(&whom));
    assert_eq!(deleted.status, 200);
    let gone = world.ask_as(&ann, "POST", "/api/v1/admin/members/disable", Some(&whom));
    assert_eq!(refused(&gone), (404, "not_found".into()));
    let storage = world.ask_as(&ann, "GET", "/api/v1/admin/storage", None);
    assert_eq!((storage.status, storage.at("data.0")), (200, "null".into()));
    let server = world.ask_as(&ann, "GET", "/api/v1/admin/server", None);
    assert_eq!(
        (server.at("data.version"), server.at("data.errors.0")),
        (env!("CARGO_PKG_VERSION").into(), "null".into())
    );
}

#[test]
fn an_admin_asks_for_one_backup_at_a_time() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    promote(&mut world, &ann);
    world.backups_hang = true;
    let ask = |world: &mut World| world.ask_as(&ann, "POST", "/api/v1/admin/backup", None);
    let end = |world: &mut World, done: Done| {
        let ticket = world.backups_held.pop().expect("a backup");
        world.input(Input::Finished { ticket, done });
        world.ask_as(&ann, "GET", "/api/v1/admin/server", None)
    };
    let backup = |shown: &Response, name: &str| shown.at(&format!("data.backup.{name}"));
    let none = world.ask_as(&ann, "GET", "/api/v1/admin/server", None);
    assert_eq!(
        ["running", "last", "failed"].map(|name| backup(&none, name)),
        ["false".to_owned(), "null".to_owned(), "null".to_owned()]
    );
    assert_eq!((ask(&mut world).status, world.backups_held.len()), (202, 1));
    let running = world.ask_as(&ann, "GET", "/api/v1/admin/server", None);
    assert_eq!(backup(&running, "running"), "true");
    assert_eq!(refused(&ask(&mut world)), (409, "backup_running".into()));
    assert_eq!(world.backups_held.len(), 1);
    // The act of the one that was begun is in the log, once.
    let log = world.ask_as(&ann, "GET", "/api/v1/admin/audit", None);
    assert_eq!((log.at("data.0.act"), log.at("data.0.who")), ("backup".into(), ann.member.clone()));
    assert_eq!(log.at("data.1.act"), "member.promote");

    // What the worker sets is shown.
    let measures = world.measures();
    let sets = [(Gauge::BackupAt, 1_700_000_000), (Gauge::BackupBytes, 4_096), (Gauge::BackupRuns, 0)];
    sets.iter().for_each(|(gauge, value)| measures.set(*gauge, *value));
    let made = end(&mut world, Done::BackupEnded);
    assert_eq!(
        ["running", "last.at", "last.bytes", "last.verified", "failed"].map(|name| backup(&made, name)),
        ["false", "2023-11-14T22:13:20.000Z", "4096", "true", "null"].map(str::to_owned)
    );
    // A worker that panicked, and one that is not there, do not stop the next one.
    for (done, text, count) in [(Done::Failed, "", "null"), (Done::Busy, "no thread makes a backup now", "1")]
    {
        assert_eq!(ask(&mut world).status, 202);
        let failed = end(&mut world, done);
        assert_eq!(
            (backup(&failed, "running"), failed.at("data.errors.0.count")),
            ("false".into(), count.into())
        );
        assert!(backup(&failed, "failed.text").starts_with(text) && backup(&failed, "failed.at") != "null");
        assert_eq!(backup(&failed, "last.bytes"), "4096");
    }
    assert_eq!(ask(&mut world).status, 202);
}

#[test]
fn of_requests_for_a_backup_at_once_one_is_an_act() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    promote(&mut world, &ann);
    let bearer = format!("Bearer {}", ann.access);
    let ask = request("POST", "/api/v1/admin/backup", &[("Authorization", &bearer)], None);
    let begin = |world: &mut World| {
        world.holds = true;
        let conns = [0; 3].map(|_| world.connect());
        conns.iter().for_each(|conn| world.send(*conn, &ask));
        conns
    };
    let acts = |world: &mut World| {
        let log = world.ask_as(&ann, "GET", "/api/v1/admin/audit", None);
        log.text().matches("\"act\":\"backup\"").count()
    };
    world.backups_hang = true;
    let conns = begin(&mut world);
    // All may ask before one has written its act.
    world.release(3);
    world.release(1);
    world.holds = false;
    let answers = conns.map(|conn| responses(&mut world.take(conn), false).remove(0));
    let refusal = (409, "backup_running".to_owned());
    assert_eq!(answers[0].status, 202);
    assert_eq!([&answers[1], &answers[2]].map(refused), [refusal.clone(), refusal]);
    assert_eq!((world.backups_held.len(), acts(&mut world)), (1, 1));
    let ticket = world.backups_held.pop().expect("a backup");
    world.input(Input::Finished { ticket, done: Done::BackupEnded });

    // One whose act can't be written is none, and the next one is asked for anew.
    let [conn, ..] = begin(&mut world);
    world.release(3);
    world.refuse(Refusal::StorageFull);
    world.holds = false;
    let answer = responses(&mut world.take(conn), false).remove(0);
    assert_eq!((refused(&answer), world.backups_held.len()), ((507, "storage_full".to_owned()), 0));
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/admin/backup", None).status, 202);
    assert_eq!((world.backups_held.len(), acts(&mut world)), (1, 2));
}

#[test]
fn an_admin_sees_the_newest_error_of_each_kind() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    promote(&mut world, &ann);
    for (kind, count, text) in [
        (ErrorKind::Mail, 1, "send_mail failed".to_owned()),
        (ErrorKind::Commit, 3, "locked".to_owned()),
        (ErrorKind::Commit, 2, "disk I/O\nerror ".repeat(100)),
    ] {
        world.input(Input::BackgroundErrors { kind, count, text });
    }
    let shown = world.ask_as(&ann, "GET", "/api/v1/admin/server", None);
    let errors =
        [0, 1, 2].map(|at| ["kind", "count"].map(|name| shown.at(&format!("data.errors.{at}.{name}"))));
    assert_eq!(errors[..2], [["commit", "5"], ["mail", "1"]].map(|row| row.map(str::to_owned)));
    assert_eq!(shown.at("data.errors.2"), "null");
    let text = shown.at("data.errors.0.text");
    assert!(text.starts_with("disk I/O error disk I/O error") && text.chars().count() == 300, "{text}");
    assert_eq!(shown.at("data.errors.1.text"), "send_mail failed");
    assert!(shown.at("data.errors.1.last_at").starts_with("20"), "{}", shown.text());
}

#[test]
fn a_link_sets_a_password_once_within_a_day() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    promote(&mut world, &ann);
    let whom = format!(r#"{{"who":"{}"}}"#, bob.member);
    let make = |world: &mut World| {
        let made = world.ask_as(&ann, "POST", "/api/v1/admin/members/reset-link", Some(&whom));
        assert_eq!(made.status, 201, "{}", made.text());
        made.at("data.url").rsplit_once("/#/r/").expect("a link").1.to_owned()
    };
    let use_it = |world: &mut World, code: &str, password: &str| {
        let body = format!(r#"{{"link":"{code}","password":"{password}"}}"#);
        let answer = world.ask("POST", "/api/v1/user/reset/link", &[], Some(&body));
        (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
    };
    let first = make(&mut world);
    let second = make(&mut world);
    let wrong = (400, "code_wrong".to_owned());
    assert_eq!(use_it(&mut world, &first, "the best horse"), wrong, "replaced");
    for code in ["", "x", "AAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(use_it(&mut world, code, "the best horse"), wrong, "{code}");
    }
    assert_eq!(use_it(&mut world, &second, "bob@example.org"), (422, "invalid_password".to_owned()));
    assert_eq!(use_it(&mut world, &second, "the best horse"), (200, String::new()));
    assert_eq!(use_it(&mut world, &second, "the best horse"), wrong, "used");
    assert_eq!(world.ask_as(&bob, "GET", "/api/v1/user/me", None).status, 401);
    assert_eq!(sign_in(&mut world, "bob@example.org", "the best horse"), 200);
    let third = make(&mut world);
    world.pass(Duration::from_secs(86_401));
    assert_eq!(use_it(&mut world, &third, "another horse"), wrong, "too late");
}

#[test]
fn a_link_ends_with_what_it_stood_for() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    promote(&mut world, &ann);
    let whom = format!(r#"{{"who":"{}"}}"#, bob.member);
    let maker = format!(r#"{{"who":"{}"}}"#, ann.member);
    let password = r#"{"password":"correct horse bob's","new_password":"the best horse","confirm_password":"the best horse"}"#;
    let ends = |world: &mut World, what: &str, end: &dyn Fn(&mut World)| {
        let made = world.ask_as(&ann, "POST", "/api/v1/admin/members/reset-link", Some(&whom));
        assert_eq!(made.status, 201, "{what}: {}", made.text());
        let link = made.at("data.url").rsplit_once("/#/r/").expect("a link").1.to_owned();
        end(world);
        let body = format!(r#"{{"link":"{link}","password":"another horse"}}"#);
        let answer = world.ask("POST", "/api/v1/user/reset/link", &[], Some(&body));
        assert_eq!((answer.status, answer.code()), (400, "code_wrong".to_owned()), "{what}");
    };
    let operator = |world: &mut World, verb: &str, who: &str| {
        let answer = world.ask_operator("POST", &format!("/admin/members/{verb}"), Some(who));
        assert_eq!(answer.status, 200, "{verb}: {}", answer.text());
    };
    ends(&mut world, "a suspension", &|world| {
        operator(world, "disable", &whom);
        operator(world, "enable", &whom);
    });
    ends(&mut world, "a promotion: an admin can do nothing to an admin", &|world| {
        operator(world, "promote", &whom)
    });
    operator(&mut world, "demote", &whom);
    ends(&mut world, "its maker is no admin any more", &|world| {
        operator(world, "demote", &maker);
        operator(world, "promote", &maker);
    });
    ends(&mut world, "another password", &|world| {
        let signed = world.ask(
            "POST",
            "/api/v1/user/sign-in",
            &[],
            Some(r#"{"email":"bob@example.org","password":"correct horse bob's"}"#),
        );
        let bearer = format!("Bearer {}", signed.at("data.token.access"));
        let set = world.ask("PUT", "/api/v1/user/password", &[("Authorization", &bearer)], Some(password));
        assert!(set.status < 300, "{}", set.text());
    });
}

#[test]
fn a_report_keeps_its_copy_until_it_is_closed() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    promote(&mut world, &ann);
    let (message, _) = say(&mut world, &bob, &eve, 1, "buy now");
    // Only who can read it reports it, and not the own one.
    let carl = world.sign_up("carl");
    assert_eq!(refused(&report(&mut world, &carl, &message, "")), (404, "not_found".into()));
    assert_eq!(refused(&report(&mut world, &ann, &message, "")), (404, "not_found".into()), "an admin, too");
    assert_eq!(refused(&report(&mut world, &bob, &message, "")), (422, "invalid_message".into()));
    let long = "a".repeat(REASON_MAX + 1);
    assert_eq!(refused(&report(&mut world, &eve, &message, &long)), (422, "invalid_reason".into()));
    let made = report(&mut world, &eve, &message, &long[1..]);
    assert_eq!(made.status, 201, "{}", made.text());
    let again = report(&mut world, &eve, &message, "again");
    assert_eq!((again.status, again.at("data.id")), (200, made.at("data.id")), "folded");
    // Also after the sender has deleted it.
    assert_eq!(world.ask_as(&bob, "DELETE", &format!("/api/v1/messages/{message}"), None).status, 204);
    assert_eq!(refused(&report(&mut world, &bob, &message, "")), (422, "invalid_message".into()));
    let list = world.ask_as(&ann, "GET", "/api/v1/admin/reports", None);
    assert_eq!(
        (list.at("data.0.message.body"), list.at("data.0.message.deleted")),
        ("buy now".into(), "true".into())
    );
    assert_eq!(
        (list.at("data.0.person.profile"), list.at("data.0.reporter.profile")),
        (bob.profile.clone(), eve.profile.clone())
    );
    assert_eq!(list.at("data.1"), "null");
    let close = format!("/api/v1/admin/reports/{}", made.at("data.id"));
    assert_eq!(world.ask_as(&ann, "DELETE", &close, None).status, 204);
    assert_eq!(refused(&world.ask_as(&ann, "DELETE", &close, None)), (404, "not_found".into()));
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/admin/reports", None).at("data.0"), "null");
    assert!(!world.ask_as(&ann, "GET", "/api/v1/admin/audit", None).text().contains("buy now"));
}

#[test]
fn a_report_that_nobody_closes_is_erased_after_thirty_days() {
    let mut world = World::new();
    let (bob, eve) = (world.sign_up("bob"), world.sign_up("eve"));
    let (message, _) = say(&mut world, &bob, &eve, 1, "buy now");
    assert_eq!(report(&mut world, &eve, &message, "spam").status, 201);
    world.pass(Duration::from_millis(REPORT_KEPT_MS - 60_000));
    assert_eq!(world.ask_operator("GET", "/admin/reports", None).at("data.0.message.body"), "buy now");
    world.pass(Duration::from_millis(60_000));
    assert_eq!(world.ask_operator("GET", "/admin/reports", None).at("data.0"), "null");
    // The background task has erased the row: the same report is a new one.
    world.pass(Duration::from_secs(3_600));
    let eve = world.sign_in("eve");
    assert_eq!(report(&mut world, &eve, &message, "spam").status, 201);
}

#[test]
fn a_person_is_reported_and_a_flood_is_refused() {
    let mut world = World::new();
    let eve = world.sign_up("eve");
    let mut people = Vec::new();
    for n in 0..=REPORTS_OF_MEMBER_MAX {
        people.push(world.sign_up(&format!("person{n}")));
    }
    for (n, person) in people.iter().enumerate() {
        let path = format!("/api/v1/profile/{}/report", person.profile);
        let answer = world.ask_as(&eve, "POST", &path, None);
        let expect = if n < REPORTS_OF_MEMBER_MAX as usize { 201 } else { 413 };
        assert_eq!(answer.status, expect, "{n} {}", answer.text());
    }
    let own = format!("/api/v1/profile/{}/report", eve.profile);
    assert_eq!(refused(&world.ask_as(&eve, "POST", &own, None)), (422, "invalid_profile".into()));
    let nobody = format!("/api/v1/profile/{NOTHING}/report");
    assert_eq!(refused(&world.ask_as(&eve, "POST", &nobody, None)), (404, "not_found".into()));
    let first = world.ask_operator("GET", "/admin/reports?limit=1", None);
    assert_eq!(
        (first.at("data.0.message"), first.at("data.0.person.profile")),
        ("null".into(), people[0].profile.clone())
    );
    assert_ne!(first.at("next"), "null");
}

/// Any message, also one of two people. Everybody sees that it is deleted.
#[test]
fn an_admin_deletes_any_message_but_no_system_message() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    promote(&mut world, &ann);
    let (message, conversation) = say(&mut world, &bob, &eve, 1, "buy now");
    let path = format!("/api/v1/admin/messages/{message}");
    for _ in 0..2 {
        assert_eq!(world.ask_as(&ann, "DELETE", &path, None).status, 204);
    }
    let page = world.ask_as(&eve, "GET", &format!("/api/v1/conversations/{conversation}/messages"), None);
    assert_eq!((page.at("data.0.body"), page.at("data.0.n")), ("null".into(), "1".into()));
    assert_ne!(page.at("data.0.deleted_at"), "null");
    assert_eq!(
        world.ask_as(&ann, "GET", &format!("/api/v1/messages/{message}"), None).status,
        404,
        "it reads nothing"
    );
    let group = format!(r#"{{"title":"Tea","members":["{}"]}}"#, eve.profile);
    let group = world.ask_as(&bob, "POST", "/api/v1/conversations", Some(&group)).at("data.id");
    let page = world.ask_as(&bob, "GET", &format!("/api/v1/conversations/{group}/messages"), None);
    let system = format!("/api/v1/admin/messages/{}", page.at("data.0.id"));
    assert_eq!(refused(&world.ask_as(&ann, "DELETE", &system, None)), (403, "not_allowed".into()));
    let nothing = format!("/api/v1/admin/messages/{NOTHING}");
    assert_eq!(refused(&world.ask_as(&ann, "DELETE", &nothing, None)), (404, "not_found".into()));
}

#[test]
fn the_operator_deletes_a_group_for_all() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let body = format!(r#"{{"title":"Tea","members":["{}"]}}"#, bob.profile);
    let group = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&body)).at("data.id");
    for n in 0..150 {
        let body = format!(r#"{{"conversation":"{group}","client_id":"{n:026}","body":"secret"}}"#);
        assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).status, 201);
    }
    let list = world.ask_operator("GET", "/admin/groups", None);
    assert_eq!((list.at("data.0.title"), list.at("data.0.members")), ("Tea".into(), "2".into()));
    let path = format!("/admin/groups/{group}");
    let members = world.ask_operator("GET", &format!("{path}/members?limit=1"), None);
    assert_eq!(
        (members.at("data.0.role"), members.at("data.0.profile")),
        ("admin".into(), ann.profile.clone())
    );
    assert_ne!(members.at("next"), "null");
    let cursor = world.ask_as(&bob, "GET", "/api/v1/events?limit=1", None).at("cursor");
    assert_eq!(world.ask_operator("DELETE", &path, None).status, 204);
    assert_eq!(refused(&world.ask_operator("DELETE", &path, None)), (404, "not_found".into()));
    assert_eq!(world.ask_operator("GET", "/admin/groups", None).at("data.0"), "null");
    for person in [&ann, &bob] {
        let conversations = world.ask_as(person, "GET", "/api/v1/conversations", None);
        assert_eq!(conversations.at("data.0"), "null");
    }
    let missed = world.ask_as(&bob, "GET", &format!("/api/v1/events?cursor={cursor}"), None);
    assert!(missed.text().contains("member.removed"), "{}", missed.text());
    let left = "SELECT count(*) FROM messages WHERE body IS NOT NULL";
    let left: i64 = database(&world).query_row(left, [], |row| row.get(0)).expect("a number");
    assert_eq!(left, 0);
}

/// Each act of an admin or of the operator is a row, in the order in which they were done.
#[test]
fn every_act_is_in_the_log_with_who_and_whom() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    promote(&mut world, &ann);
    let (message, _) = say(&mut world, &bob, &ann, 1, "buy now");
    let reported = report(&mut world, &ann, &message, "spam").at("data.id");
    let whom = format!(r#"{{"who":"{}"}}"#, bob.member);
    let mut expect = vec!["member.promote"];
    for (verb, act) in [
        ("verify", "member.verify"),
        ("revoke", "member.revoke"),
        ("reset-link", "member.reset_link"),
        ("disable", "member.disable"),
        ("enable", "member.enable"),
    ] {
        let answer = world.ask_as(&ann, "POST", &format!("/api/v1/admin/members/{verb}"), Some(&whom));
        assert!((200..300).contains(&answer.status), "{verb} {}", answer.text());
        expect.push(act);
    }
    let mut ask = |method: &str, path: &str, body: Option<&str>, act: &'static str| {
        let answer = world.ask_as(&ann, method, path, body);
        assert!((200..300).contains(&answer.status), "{method} {path} {}", answer.text());
        expect.push(act);
        answer
    };
    let rename = format!(r#"{{"who":"{}","nick_name":"mud.mud"}}"#, bob.member);
    ask("POST", "/api/v1/admin/members/rename", Some(&rename), "member.rename");
    ask("DELETE", &format!("/api/v1/admin/messages/{message}"), None, "message.delete");
    ask("DELETE", &format!("/api/v1/admin/reports/{reported}"), None, "report.close");
    let invite = ask("POST", "/api/v1/invites", Some("{}"), "invite.create").at("data.id");
    ask("DELETE", &format!("/api/v1/invites/{invite}"), None, "invite.revoke");
    let bot =
        ask("POST", "/api/v1/bots", Some(r#"{"display_name":"Disk"}"#), "bot.create").at("data.profile.id");
    let tokens = format!("/api/v1/bots/{bot}/tokens");
    let token = ask("POST", &tokens, Some(r#"{"name":"first"}"#), "bot.token.create");
    ask("DELETE", &format!("{tokens}/{}", token.at("data.id")), None, "bot.token.revoke");
    let hook = format!("/api/v1/bots/{bot}/hook");
    ask("PUT", &hook, Some(r#"{"url":"https://bot.example.org/"}"#), "bot.url.set");
    ask("DELETE", &hook, None, "bot.url.remove");
    let added = r#"{"email":"new@example.org","password":"correct horse 9"}"#;
    ask("POST", "/api/v1/admin/members", Some(added), "member.add");
    ask("POST", "/api/v1/admin/members/delete", Some(&whom), "member.delete");
    for (verb, act) in [("password", "member.password"), ("demote", "member.demote")] {
        let body = format!(r#"{{"who":"{}","password":"the best horse"}}"#, ann.member);
        assert_eq!(world.ask_operator("POST", &format!("/admin/members/{verb}"), Some(&body)).status, 200);
        expect.push(act);
    }
    let log = world.ask_operator("GET", "/admin/audit?limit=100", None);
    let acts: Vec<String> = (0..expect.len()).rev().map(|n| log.at(&format!("data.{n}.act"))).collect();
    assert_eq!(acts, expect);
    assert_eq!(log.at(&format!("data.{}", expect.len())), "null");
    // The newest first: by the operator, about ann; then by ann, about an account of which only the id is left.
    assert_eq!((log.at("data.0.who"), log.at("data.0.whom")), ("null".into(), ann.member.clone()));
    assert_eq!((log.at("data.2.who"), log.at("data.2.whom")), (ann.member.clone(), bob.member.clone()));
    assert_eq!(log.at("data.2.whom_name"), "null");
    for secret in ["example.org", "horse", "mud", "buy now", &token.at("data.token"), "spam"] {
        assert!(!log.text().contains(secret), "{secret}: {}", log.text());
    }
    for change in ["DELETE FROM audit", "UPDATE audit SET act = ''"] {
        assert!(database(&world).execute(change, []).is_err(), "{change}");
    }
}

/// An id that is known says no more than everywhere else: a private profile is reported only by who can see it.
#[test]
fn a_hidden_profile_is_not_there_for_a_report_either() {
    let mut world = World::new();
    let (eve, bob) = (world.sign_up("eve"), world.sign_up("bob"));
    let hide = world.ask_as(&bob, "PUT", "/api/v1/profile", Some(r#"{"is_private":true}"#));
    assert_eq!(hide.status, 200, "{}", hide.text());
    let path = format!("/api/v1/profile/{}/report", bob.profile);
    let get = format!("/api/v1/profile/{}", bob.profile);
    assert_eq!(refused(&world.ask_as(&eve, "GET", &get, None)), (404, "not_found".into()));
    assert_eq!(refused(&world.ask_as(&eve, "POST", &path, None)), (404, "not_found".into()));
    assert_eq!(world.ask_operator("GET", "/admin/reports", None).at("data.0"), "null");
    // Who shares a conversation sees it, also after a block.
    say(&mut world, &bob, &eve, 1, "buy now");
    let block = format!("/api/v1/blocks/{}", bob.profile);
    assert_eq!(world.ask_as(&eve, "PUT", &block, None).status, 204);
    assert_eq!(world.ask_as(&eve, "POST", &path, None).status, 201);
}

/// The copy is what the reporter has seen; the newest text is read from the message as long as it is there.
#[test]
fn an_edit_after_the_report_reaches_the_moderator() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    promote(&mut world, &ann);
    let (message, _) = say(&mut world, &bob, &eve, 1, "buy now");
    assert_eq!(report(&mut world, &eve, &message, "spam").status, 201);
    let seen = |world: &mut World| {
        let list = world.ask_as(&ann, "GET", "/api/v1/admin/reports", None);
        ["body", "edited", "deleted"].map(|name| list.at(&format!("data.0.message.{name}")))
    };
    let expect = |edited: &str, deleted: &str| ["buy now", edited, deleted].map(str::to_owned);
    assert_eq!(seen(&mut world), expect("null", "false"));
    let path = format!("/api/v1/messages/{message}");
    for (text, edited) in [("have a nice day", "have a nice day"), ("buy now", "null"), ("bye", "bye")] {
        let body = format!(r#"{{"body":"{text}"}}"#);
        assert_eq!(world.ask_as(&bob, "PUT", &path, Some(&body)).status, 200);
        assert_eq!(seen(&mut world), expect(edited, "false"));
    }
    assert_eq!(world.ask_as(&bob, "DELETE", &path, None).status, 204);
    assert_eq!(seen(&mut world), expect("null", "true"), "an erased text is erased");
}

/// Nobody rewrites the log. Its bound is that of the schema, which deletes the oldest row and no other.
#[test]
fn the_log_keeps_its_newest_rows_and_no_row_is_changed() {
    const ROWS_MAX: i64 = 100_000;
    let mut world = World::new();
    let bob = world.sign_up("bob");
    let who = format!(r#"{{"who":"{}"}}"#, bob.member);
    let verbs = |world: &mut World, verbs: &[&str]| {
        for verb in verbs {
            let path = format!("/admin/members/{verb}");
            assert_eq!(world.ask_operator("POST", &path, Some(&who)).status, 200);
        }
    };
    verbs(&mut world, &["promote", "demote"]);
    // The rows between are as if they had been written.
    let fill = format!(
        "WITH RECURSIVE i (value) AS (VALUES (3) UNION ALL SELECT value + 1 FROM i WHERE value < {ROWS_MAX}) \
         INSERT INTO audit (key, at, act, detail) SELECT value, 1, 'backup', '' FROM i"
    );
    database(&world).execute_batch(&fill).expect("rows");
    let oldest = |world: &World| {
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        database(world).query_row("SELECT min(key), count(*) FROM audit", [], row).expect("a row")
    };
    assert_eq!(oldest(&world), (1, ROWS_MAX));
    verbs(&mut world, &["promote"]);
    assert_eq!(oldest(&world), (2, ROWS_MAX));
    verbs(&mut world, &["demote", "promote"]);
    assert_eq!(oldest(&world), (4, ROWS_MAX));
    let log = world.ask_operator("GET", "/admin/audit?limit=4", None);
    let acts = [0, 1, 2, 3].map(|at| log.at(&format!("data.{at}.act")));
    assert_eq!(acts, ["member.promote", "member.demote", "member.promote", "backup"].map(str::to_owned));
    for refused in ["DELETE FROM audit WHERE key = 4", "DELETE FROM audit", "UPDATE audit SET detail = 'x'"] {
        assert!(database(&world).execute_batch(refused).is_err(), "{refused}");
    }
    assert_eq!(oldest(&world), (4, ROWS_MAX));
}
