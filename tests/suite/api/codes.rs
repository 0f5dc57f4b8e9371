//! Codes that verify an address or reset a password: each success, each refusal, and an attempt by another member.

use std::time::Duration;

use crate::support::World;
use crate::support::http::{Person, Response};

const VERIFY_CODE: &str = "/api/v1/user/verify/code";
const VERIFY_RENEW: &str = "/api/v1/user/verify/renew";
const VERIFY_CHECK: &str = "/api/v1/user/verify/check";
const RESET_CODE: &str = "/api/v1/user/reset/code";
const RESET_PASSWORD: &str = "/api/v1/user/reset/password";
const ALIAS: &str = "/api/v1/user/verify/reset/password";

/// The six digits in a mail.
pub fn digits(body: &str) -> String {
    let code = body.lines().find(|line| line.len() == 6 && line.bytes().all(|b| b.is_ascii_digit()));
    code.unwrap_or_else(|| panic!("no code in {body}")).to_owned()
}

/// The code in the newest mail to `name`.
pub fn code_of(world: &World, name: &str) -> String {
    digits(world.mail_to(&format!("{name}@example.org")).body.expose())
}

/// A code that differs from this one.
fn wrong(code: &str) -> String {
    if code == "000000" { "000001".to_owned() } else { "000000".to_owned() }
}

fn check(world: &mut World, person: &Person, code: &str) -> Response {
    world.ask_as(person, "POST", VERIFY_CHECK, Some(&format!(r#"{{"code":"{code}"}}"#)))
}

fn ask_reset(world: &mut World, email: &str) -> Response {
    world.ask("POST", RESET_CODE, &[], Some(&format!(r#"{{"email":"{email}"}}"#)))
}

fn reset(world: &mut World, path: &str, name: &str, code: &str, password: &str) -> Response {
    let body = format!(r#"{{"email":"{name}@example.org","code":"{code}","password":"{password}"}}"#);
    world.ask("POST", path, &[], Some(&body))
}

fn sign_in(world: &mut World, name: &str, password: &str) -> u16 {
    let body = format!(r#"{{"email":"{name}@example.org","password":"{password}"}}"#);
    world.ask("POST", "/api/v1/user/sign-in", &[], Some(&body)).status
}

fn refused(response: &Response) -> (u16, String) {
    (response.status, response.code())
}

fn code_wrong() -> (u16, String) {
    (400, "code_wrong".to_owned())
}

fn is_verified(world: &mut World, person: &Person) -> String {
    world.ask_as(person, "GET", "/api/v1/user/me", None).at("data.member.verified")
}

fn minute(world: &mut World) {
    world.pass(Duration::from_secs(60));
}

#[test]
fn the_code_mailed_at_sign_up_verifies_the_address_once() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    assert_eq!((world.mails.len(), is_verified(&mut world, &ann)), (1, "false".to_owned()));
    let code = code_of(&world, "ann");
    assert_eq!(refused(&check(&mut world, &ann, &wrong(&code))), code_wrong());
    let done = check(&mut world, &ann, &code);
    assert_eq!((done.status, done.text()), (200, r#"{"data":null}"#));
    assert_eq!(is_verified(&mut world, &ann), "true");
    assert_eq!(refused(&check(&mut world, &ann, &code)), code_wrong(), "a second use");
}

#[test]
fn a_newer_code_replaces_the_older_at_most_once_a_minute() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let first = code_of(&world, "ann");
    for path in [VERIFY_CODE, VERIFY_RENEW] {
        let asked = world.ask_as(&ann, "POST", path, None);
        assert_eq!((asked.status, asked.text()), (201, r#"{"data":null}"#));
    }
    assert_eq!(world.mails.len(), 1, "within a minute no second mail is sent");
    minute(&mut world);
    let asked = world.ask_as(&ann, "POST", VERIFY_RENEW, Some(r#"{"code_type":"email"}"#));
    assert_eq!((asked.status, asked.text()), (201, r#"{"data":null}"#));
    let second = code_of(&world, "ann");
    assert_eq!(world.mails.len(), 2);
    if first != second {
        assert_eq!(
            refused(&check(&mut world, &ann, &first)),
            code_wrong(),
            "the earlier code is no longer valid"
        );
    }
    assert_eq!(world.ask_as(&ann, "POST", VERIFY_CODE, None).status, 201);
    assert_eq!((world.mails.len(), check(&mut world, &ann, &second).status), (2, 200), "the old code stays");
}

#[test]
fn at_most_five_codes_an_hour_are_sent() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    for _ in 0..10 {
        minute(&mut world);
        assert_eq!(world.ask_as(&ann, "POST", VERIFY_CODE, None).status, 201);
    }
    assert_eq!(world.mails.len(), 5);
    // The first left the hour's window at its sixtieth minute: ten have passed.
    world.pass(Duration::from_secs(50 * 60 - 1));
    world.ask_as(&ann, "POST", VERIFY_CODE, None);
    assert_eq!(world.mails.len(), 5);
    world.pass(Duration::from_secs(1));
    // The access token has expired by now.
    let body = format!(r#"{{"refresh":"{}"}}"#, ann.refresh);
    let access = world.ask("POST", "/api/v1/user/refresh", &[], Some(&body)).at("data.access");
    let ann = Person { access, ..ann };
    assert_eq!(world.ask_as(&ann, "POST", VERIFY_CODE, None).status, 201);
    assert_eq!(world.mails.len(), 6);
}

#[test]
fn a_code_expires_after_five_minutes() {
    for (seconds, expect) in [(299, 200), (300, 400)] {
        let mut world = World::new();
        let ann = world.sign_up("ann");
        let code = code_of(&world, "ann");
        world.pass(Duration::from_secs(seconds));
        assert_eq!(check(&mut world, &ann, &code).status, expect, "{seconds} s");
    }
}

#[test]
fn a_code_is_invalid_after_the_fifth_wrong_try() {
    for (tries, expect) in [(4, 200), (5, 400)] {
        let mut world = World::new();
        let ann = world.sign_up("ann");
        let code = code_of(&world, "ann");
        for _ in 0..tries {
            assert_eq!(refused(&check(&mut world, &ann, &wrong(&code))), code_wrong());
        }
        assert_eq!(check(&mut world, &ann, &code).status, expect, "{tries} tries");
    }
}

#[test]
fn the_rules_of_requests_hold_for_codes() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    for path in [VERIFY_CODE, VERIFY_RENEW, VERIFY_CHECK] {
        assert_eq!(
            refused(&world.ask("POST", path, &[], Some("{}"))),
            (401, "unauthorized_access".to_owned()),
            "{path}"
        );
        assert_eq!(world.ask_as(&ann, "GET", path, None).status, 405);
    }
    for (path, body, code) in [
        (VERIFY_CODE, r#"{"code_type":1}"#, "invalid_code_type"),
        (VERIFY_CHECK, "{}", "invalid_code"),
        (VERIFY_CHECK, r#"{"code":123456}"#, "invalid_code"),
        (RESET_CODE, "{}", "invalid_email"),
        (RESET_CODE, r#"{"email":"nonsense"}"#, "invalid_email"),
        (RESET_PASSWORD, r#"{"code":"123456","password":"a fine password"}"#, "invalid_email"),
        (RESET_PASSWORD, r#"{"email":"ann@example.org","password":"a fine password"}"#, "invalid_code"),
        (RESET_PASSWORD, r#"{"email":"ann@example.org","code":"123456"}"#, "invalid_password"),
        (ALIAS, r#"{"email":"ann@example.org","code":"123456","password":"a"}"#, "invalid_password"),
        (
            RESET_PASSWORD,
            r#"{"email":"ann@example.org","code":"1","password":"ann@example.org"}"#,
            "invalid_password",
        ),
    ] {
        let answer = world.ask_as(&ann, "POST", path, Some(body));
        assert_eq!(refused(&answer), (422, code.to_owned()), "{path} {body}");
    }
    assert_eq!(refused(&check(&mut world, &ann, "not six digits")), code_wrong());
}

/// A code is checked for the member of the token. The predecessor took the member of a code from the body: codes were
/// checked for any member.
#[test]
fn a_code_of_another_member_never_works() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let (of_ann, of_bob) = (code_of(&world, "ann"), code_of(&world, "bob"));
    assert_ne!(of_ann, of_bob, "the seed of this test gives two different codes");
    let body = format!(
        r#"{{"code":"{of_ann}","member":"{}","member_id":"{0}","email":"ann@example.org"}}"#,
        ann.member
    );
    let answer = world.ask_as(&bob, "POST", VERIFY_CHECK, Some(&body));
    assert_eq!(refused(&answer), code_wrong());
    assert_eq!(
        (is_verified(&mut world, &ann), is_verified(&mut world, &bob)),
        ("false".into(), "false".into())
    );
    assert_eq!(
        (check(&mut world, &ann, &of_ann).status, check(&mut world, &bob, &of_bob).status),
        (200, 200)
    );
}

/// A code goes to the account's own address. The predecessor mailed codes to the address in the body.
#[test]
fn a_code_goes_to_the_member_of_the_token() {
    let mut world = World::new();
    let (ann, _) = (world.sign_up("ann"), world.sign_up("bob"));
    minute(&mut world);
    let body = r#"{"email":"bob@example.org","member":"x","member_id":"x","code_type":"reset_password"}"#;
    assert_eq!(world.ask_as(&ann, "POST", VERIFY_CODE, Some(body)).status, 201);
    let mail = world.mails.last().expect("a mail");
    assert_eq!((mail.to.expose().as_str(), mail.member.to_string()), ("ann@example.org", ann.member));
}

/// A code is bound to its purpose: one that verifies does not reset, and the reverse.
#[test]
fn a_code_of_another_purpose_never_works() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let verifies = code_of(&world, "ann");
    assert_eq!(ask_reset(&mut world, "ann@example.org").status, 201);
    let resets = code_of(&world, "ann");
    assert_ne!(verifies, resets, "the seed of this test gives two different codes");
    assert_eq!(
        refused(&reset(&mut world, RESET_PASSWORD, "ann", &verifies, "a new fine password")),
        code_wrong()
    );
    assert_eq!(refused(&check(&mut world, &ann, &resets)), code_wrong());
    assert_eq!(check(&mut world, &ann, &verifies).status, 200);
    assert_eq!(reset(&mut world, RESET_PASSWORD, "ann", &resets, "a new fine password").status, 200);
}

/// Codes are random. The predecessor's codes were the start of a ULID: the same for everyone for minutes, and
/// guessable.
#[test]
fn codes_are_random_and_never_stored() {
    let mut world = World::new();
    let mut codes = Vec::new();
    for name in ["ann", "bob", "cyd", "dan", "eve", "fay"] {
        world.sign_up(name);
        codes.push(code_of(&world, name));
    }
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), 6, "six at one moment are six different ones");
    let ulid = |code: &String| world.mails.iter().any(|mail| mail.id.to_string().contains(code.as_str()));
    assert!(!codes.iter().any(ulid));
    // Stored neither as a text nor as a number: only sealed and as an HMAC.
    for file in ["natter.db", "natter.db-wal"] {
        let bytes = std::fs::read(world.dir.path().join(file)).expect("a file of the database");
        for code in &codes {
            assert!(!bytes.windows(6).any(|six| six == code.as_bytes()), "{code} in {file}");
        }
    }
}

/// A reset sets the password. The predecessor's reset filtered on fields that were never stored, so it never worked.
#[test]
fn a_reset_works_and_ends_every_session() {
    for path in [RESET_PASSWORD, ALIAS] {
        let mut world = World::new();
        let ann = world.sign_up("ann");
        let bob = world.sign_up("bob");
        let socket = world.open_socket(&ann, "/api/v1/ws");
        let other = world.open_socket(&bob, "/api/v1/ws");
        world.frames(socket);
        let asked = ask_reset(&mut world, "Ann@Example.org");
        assert_eq!((asked.status, asked.text()), (201, r#"{"data":null}"#));
        let code = code_of(&world, "ann");
        let done = reset(&mut world, path, "ann", &code, "a new fine password");
        assert_eq!((done.status, done.text()), (200, r#"{"data":null}"#));
        assert_eq!(world.ask_as(&ann, "GET", "/api/v1/user/me", None).status, 401);
        let body = format!(r#"{{"refresh":"{}"}}"#, ann.refresh);
        assert_eq!(world.ask("POST", "/api/v1/user/refresh", &[], Some(&body)).status, 401);
        let closed = world.frames(socket);
        assert!(matches!(closed.last(), Some(crate::support::socket::Frame::Close(4401, _))), "{closed:?}");
        let others = world.frames(other);
        assert!(!others.iter().any(|frame| matches!(frame, crate::support::socket::Frame::Close(..))));
        assert_eq!(sign_in(&mut world, "ann", "correct horse ann's"), 401);
        assert_eq!(sign_in(&mut world, "ann", "a new fine password"), 200);
        assert_eq!(
            refused(&reset(&mut world, path, "ann", &code, "another fine one")),
            code_wrong(),
            "one use"
        );
        assert!(world.mail_to("ann@example.org").subject.expose().contains("password was changed"));
        // The old session stays ended after a restart.
        let mut world = world.restart();
        assert_eq!(world.ask_as(&ann, "GET", "/api/v1/user/me", None).status, 401);
    }
}

#[test]
fn a_reset_code_of_one_address_is_refused_for_another() {
    let mut world = World::new();
    world.sign_up("ann");
    world.sign_up("bob");
    ask_reset(&mut world, "ann@example.org");
    let code = code_of(&world, "ann");
    for name in ["bob", "nobody"] {
        assert_eq!(
            refused(&reset(&mut world, RESET_PASSWORD, name, &code, "a new fine password")),
            code_wrong()
        );
    }
    assert_eq!(sign_in(&mut world, "bob", "correct horse bob's"), 200);
    assert_eq!(reset(&mut world, RESET_PASSWORD, "ann", &code, "a new fine password").status, 200);
}

#[test]
fn reset_codes_have_five_tries_and_five_minutes_too() {
    let mut world = World::new();
    world.sign_up("ann");
    ask_reset(&mut world, "ann@example.org");
    let code = code_of(&world, "ann");
    for _ in 0..5 {
        let answer = reset(&mut world, RESET_PASSWORD, "ann", &wrong(&code), "a new fine password");
        assert_eq!(refused(&answer), code_wrong());
    }
    assert_eq!(
        refused(&reset(&mut world, RESET_PASSWORD, "ann", &code, "a new fine password")),
        code_wrong()
    );
    minute(&mut world);
    ask_reset(&mut world, "ann@example.org");
    let code = code_of(&world, "ann");
    world.pass(Duration::from_secs(300));
    assert_eq!(
        refused(&reset(&mut world, RESET_PASSWORD, "ann", &code, "a new fine password")),
        code_wrong()
    );
}

#[test]
fn only_a_right_code_shows_that_the_password_is_the_name() {
    let mut world = World::new();
    let body = r#"{"display_name":"Analytical Engine","email":"ann@example.org","password":"correct horse"}"#;
    assert_eq!(world.ask("POST", "/api/v1/user/sign-up", &[], Some(body)).status, 201);
    ask_reset(&mut world, "ann@example.org");
    let code = code_of(&world, "ann");
    let answer = reset(&mut world, RESET_PASSWORD, "ann", &wrong(&code), "analytical engine");
    assert_eq!(refused(&answer), code_wrong());
    let answer = reset(&mut world, RESET_PASSWORD, "ann", &code, "analytical engine");
    assert_eq!(refused(&answer), (422, "invalid_password".to_owned()));
    assert_eq!(
        reset(&mut world, RESET_PASSWORD, "ann", &code, "a new fine password").status,
        200,
        "still good"
    );
}

#[test]
fn a_reset_lets_the_owner_into_a_closed_account() {
    let mut world = World::new();
    world.sign_up("ann");
    for _ in 0..10 {
        assert_eq!(sign_in(&mut world, "ann", "wrong password"), 401);
    }
    assert_eq!(sign_in(&mut world, "ann", "correct horse ann's"), 429);
    ask_reset(&mut world, "ann@example.org");
    let code = code_of(&world, "ann");
    assert_eq!(reset(&mut world, RESET_PASSWORD, "ann", &code, "a new fine password").status, 200);
    assert_eq!(sign_in(&mut world, "ann", "a new fine password"), 200);
}

/// A reset does not disclose whether an account exists. In the predecessor texts and times did. Here both cases give
/// the same bytes, the same questions to storage and to workers, and as many bytes on the disk.
#[test]
fn known_and_unknown_addresses_cost_the_same() {
    let mut world = World::new();
    world.sign_up("ann");
    let wal = |world: &World| std::fs::metadata(world.dir.path().join("natter.db-wal")).expect("a WAL").len();
    let probe = |world: &mut World, email: &str| {
        world.trace.clear();
        let before = wal(world);
        let answer = ask_reset(world, email);
        // The mailer is asked after the response, outside of this path.
        let asked: Vec<&str> = world.trace.iter().copied().filter(|name| *name != "send_mail").collect();
        let headers: Vec<_> =
            answer.fields.iter().filter(|(name, _)| name != "X-Request-Id").cloned().collect();
        (answer.status, headers, answer.body, asked, wal(world) - before)
    };
    // First fresh, then refused within the minute; each on tables that have been written before.
    probe(&mut world, "warm@example.org");
    let known = probe(&mut world, "ann@example.org");
    let unknown = probe(&mut world, "nobody@example.org");
    assert_eq!(known, unknown);
    assert_eq!(known.3.first(), Some(&"IssueResetCode"));
    let (known, unknown) = (probe(&mut world, "ann@example.org"), probe(&mut world, "nobody@example.org"));
    assert_eq!(known, unknown);
    assert!(known.4 > 0, "a request that changes nothing writes to the disk too");
    assert_eq!(world.mails.iter().filter(|mail| mail.to.expose() == "ann@example.org").count(), 2);

    // The second half: a guess costs a read, a hash and a write, whichever address it names.
    let guess = |world: &mut World, name: &str| {
        world.trace.clear();
        let before = wal(world);
        let answer = reset(world, RESET_PASSWORD, name, "no code", "a new fine password");
        (answer.status, answer.body, std::mem::take(&mut world.trace), wal(world) - before)
    };
    let (known, unknown) = (guess(&mut world, "ann"), guess(&mut world, "nobody"));
    assert_eq!(known, unknown);
    assert_eq!(known.2, ["FindCredential", "hash_password", "ResetPassword"]);
}

/// A thousand unknown addresses leave a bounded number of rows and no mail.
#[test]
fn codes_for_unknown_addresses_leave_nothing() {
    let mut world = World::new();
    for n in 0..50 {
        assert_eq!(ask_reset(&mut world, &format!("nobody{n}@example.org")).status, 201);
    }
    assert!(world.mails.is_empty());
    assert_eq!(world.server.load().1, 0);
}

#[test]
fn codes_are_rate_limited_by_address_too() {
    use natter::limits::Limits;
    let mut world = World::with(crate::support::settings(Limits::default()));
    let statuses: Vec<u16> =
        (0..12).map(|n| ask_reset(&mut world, &format!("nobody{n}@example.org")).status).collect();
    assert_eq!(statuses, [[201; 10].as_slice(), &[429; 2]].concat());
}

#[test]
fn a_refusal_is_in_the_client_s_language() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    let fields = [("Authorization", bearer.as_str()), ("Accept-Language", "ar")];
    let answer = world.ask("POST", VERIFY_CHECK, &fields, Some(r#"{"code":"x"}"#));
    assert_eq!((answer.field("Content-Language"), answer.code()), (Some("ar"), "code_wrong".to_owned()));
    assert!(answer.at("title").contains("الرمز"), "{}", answer.text());
}

/// A second connection to the database, for changes that no route makes.
fn database(world: &World) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(world.dir.path().join("natter.db")).expect("the database");
    conn.pragma_update(None, "foreign_keys", true).expect("a pragma");
    conn
}

#[test]
fn a_disabled_member_has_no_way_back_by_a_code() {
    let mut world = World::new();
    world.sign_up("ann");
    ask_reset(&mut world, "ann@example.org");
    let code = code_of(&world, "ann");
    database(&world).execute("UPDATE members SET active = 0", []).expect("disabled");
    let answer = reset(&mut world, RESET_PASSWORD, "ann", &code, "a new fine password");
    assert_eq!(refused(&answer), code_wrong());
    minute(&mut world);
    let asked = ask_reset(&mut world, "ann@example.org");
    assert_eq!((asked.status, asked.text(), world.mails.len()), (201, r#"{"data":null}"#, 2));
}

#[test]
fn codes_and_mails_are_deleted_with_their_member() {
    use natter::model::job::Delivery;
    let mut world = World::new();
    world.deliveries = [Delivery::Failed, Delivery::Failed].into();
    let ann = world.sign_up("ann");
    ask_reset(&mut world, "ann@example.org");
    let conn = database(&world);
    let rows = |table: &str| -> i64 {
        conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("a count")
    };
    assert_eq!((rows("codes"), rows("outbox")), (2, 2));
    conn.execute("DELETE FROM members", []).expect("deleted");
    assert_eq!((rows("codes"), rows("outbox")), (0, 0));
    world.pass(Duration::from_secs(3_600));
    assert!(world.mails.is_empty());
    // Only the signature of the token is still valid.
    world.now.unix_ms.0 -= 3_600_000;
    for (path, body) in [(VERIFY_CODE, "{}"), (VERIFY_CHECK, r#"{"code":"123456"}"#)] {
        let answer = world.ask_as(&ann, "POST", path, Some(body));
        assert_eq!(refused(&answer), (401, "unauthorized_access".to_owned()), "{path}");
    }
}

#[test]
fn a_clock_that_was_set_back_does_not_lock_members_out() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    world.now.unix_ms.0 -= 1_000;
    assert_eq!(world.ask_as(&ann, "POST", VERIFY_CODE, None).status, 201);
    assert_eq!(world.mails.len(), 2, "a code with a later time does not delay a new one");
    let code = code_of(&world, "ann");
    assert_eq!(check(&mut world, &ann, &code).status, 200);
}
