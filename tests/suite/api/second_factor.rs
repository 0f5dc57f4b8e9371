//! The second factor: an app's codes and recovery codes, each once, and no way around them.

use std::time::Duration;

use natter::base::totp;
use natter::limits::Limits;

use super::codes::code_of;
use crate::support::World;
use crate::support::http::{Person, Response, base32_bytes};

const PATH: &str = "/api/v1/user/second-factor";
const STEP: Duration = Duration::from_secs(30);

fn world() -> World {
    World::with(crate::support::settings(Limits { access_ttl: 1 << 30, ..crate::support::limits() }))
}

fn shown(world: &World, secret: &[u8]) -> String {
    totp::shown(secret, world.now.unix_s())
}

fn wrong(code: &str) -> String {
    format!("{:06}", (code.parse::<u32>().expect("digits") + 1) % 1_000_000)
}

fn password(name: &str) -> String {
    format!("correct horse {name}'s")
}

fn begin(world: &mut World, who: &Person) -> (Vec<u8>, String) {
    let begun = world.ask_as(who, "POST", PATH, None);
    assert_eq!(begun.status, 200, "{}", begun.text());
    (base32_bytes(&begun.at("data.secret")), begun.at("data.setup"))
}

fn change(world: &mut World, who: &Person, (method, path): (&str, &str), name: &str, rest: &str) -> Response {
    let body = format!(r#"{{"password":"{}",{rest}}}"#, password(name));
    world.ask_as(who, method, path, Some(&body))
}

fn confirm(world: &mut World, who: &Person, name: &str, code: &str, setup: &str) -> Response {
    change(world, who, ("PUT", PATH), name, &format!(r#""code":"{code}","setup":"{setup}""#))
}

/// Enrols; returns the secret and the recovery codes.
fn enrol(world: &mut World, who: &Person, name: &str) -> (Vec<u8>, Vec<String>) {
    let (secret, setup) = begin(world, who);
    let code = shown(world, &secret);
    let on = confirm(world, who, name, &code, &setup);
    assert_eq!((on.status, on.at("data.member.second_factor")), (200, "true".into()), "{}", on.text());
    let codes = (0..10).map(|i| on.at(&format!("data.recovery_codes.{i}"))).collect();
    world.pass(STEP);
    (secret, codes)
}

fn sign_in(world: &mut World, name: &str, code: Option<&str>) -> Response {
    let code = code.map(|code| format!(r#","code":"{code}""#)).unwrap_or_default();
    let body = format!(r#"{{"email":"{name}@example.org","password":"{}"{code}}}"#, password(name));
    world.ask("POST", "/api/v1/user/sign-in", &[], Some(&body))
}

fn refused(answer: &Response) -> (u16, String) {
    (answer.status, answer.code())
}

#[test]
fn a_sign_in_needs_a_code_once_it_is_on_and_takes_each_once() {
    let mut world = world();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let begun = world.ask_as(&ann, "POST", PATH, None);
    let (text, setup) = (begun.at("data.secret"), begun.at("data.setup"));
    let uri =
        format!("otpauth://totp/127.0.0.1%3A8080:ann%40example.org?secret={text}&issuer=127.0.0.1%3A8080");
    assert_eq!((begun.at("data.uri"), text.len()), (uri, 32));
    let key = base32_bytes(&text);
    let code = shown(&world, &key);
    // Nothing is on before it is confirmed.
    assert_eq!(sign_in(&mut world, "ann", None).status, 200);
    let refusal = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(refused(&confirm(&mut world, &ann, "ann", &wrong(&code), &setup)), refusal(400, "code_wrong"));
    assert_eq!(
        refused(&confirm(&mut world, &ann, "bob", &code, &setup)),
        refusal(401, "email_password_wrong")
    );
    assert_eq!(
        refused(&confirm(&mut world, &bob, "bob", &code, &setup)),
        refusal(422, "invalid_setup"),
        "another's"
    );
    assert_eq!(refused(&confirm(&mut world, &ann, "ann", &code, "AAAA")), refusal(422, "invalid_setup"));
    let on = confirm(&mut world, &ann, "ann", &code, &setup);
    assert_eq!((on.status, on.at("data.recovery_codes.10")), (200, "null".into()), "{}", on.text());
    let recovery = on.at("data.recovery_codes.3");

    assert_eq!(refused(&sign_in(&mut world, "ann", None)), refusal(401, "second_factor_required"));
    assert_eq!(
        refused(&sign_in(&mut world, "ann", Some(&code))),
        refusal(400, "code_wrong"),
        "it has confirmed"
    );
    world.pass(STEP);
    let next = shown(&world, &key);
    let body = format!(r#"{{"email":"ann@example.org","password":"no","code":"{next}"}}"#);
    let answer = world.ask("POST", "/api/v1/user/sign-in", &[], Some(&body));
    assert_eq!(refused(&answer), refusal(401, "email_password_wrong"), "the code alone");
    // Blanks make no difference.
    let (left, right) = next.split_at(3);
    assert_eq!(sign_in(&mut world, "ann", Some(&format!("{left} {right}"))).status, 200);
    assert_eq!(refused(&sign_in(&mut world, "ann", Some(&next))), refusal(400, "code_wrong"), "again");
    let typed = recovery.replace('-', "").to_ascii_lowercase();
    let signed = sign_in(&mut world, "ann", Some(&typed));
    assert_eq!((signed.status, signed.at("data.member.recovery_codes")), (200, "9".into()), "{recovery}");
    assert_eq!(refused(&sign_in(&mut world, "ann", Some(&recovery))), refusal(400, "code_wrong"), "again");
    assert_eq!(refused(&sign_in(&mut world, "ann", Some("AAAA-BBBB-CCCC-DDDD"))), refusal(400, "code_wrong"));
    let me = world.ask_as(&ann, "GET", "/api/v1/user/me", None);
    assert_eq!(
        (me.at("data.member.second_factor"), me.at("data.member.recovery_codes")),
        ("true".into(), "9".into())
    );
    assert_eq!(refused(&world.ask_as(&ann, "POST", PATH, None)), refusal(403, "not_allowed"));
    world.pass(STEP);
    let code = shown(&world, &key);
    assert_eq!(refused(&confirm(&mut world, &ann, "ann", &code, &setup)), refusal(403, "not_allowed"));
    // Sessions go on, and nobody else is asked for a code.
    assert_eq!(sign_in(&mut world, "bob", None).status, 200);
    assert_eq!(sign_in(&mut world, "bob", Some("1")).status, 200);
}

#[test]
fn an_old_setup_is_no_setup() {
    let mut world = world();
    let ann = world.sign_up("ann");
    let (secret, setup) = begin(&mut world, &ann);
    world.pass(Duration::from_secs(3_601));
    let code = shown(&world, &secret);
    assert_eq!(refused(&confirm(&mut world, &ann, "ann", &code, &setup)), (422, "invalid_setup".into()));
}

#[test]
fn guesses_of_codes_are_few_also_from_a_known_device() {
    let mut world = world();
    let ann = world.sign_up("ann");
    let (secret, recovery) = enrol(&mut world, &ann, "ann");
    let guess = |world: &mut World, code: &str| {
        let body = format!(
            r#"{{"email":"ann@example.org","password":"{}","code":"{code}","unique_id":"phone"}}"#,
            password("ann")
        );
        world.ask("POST", "/api/v1/user/sign-in", &[], Some(&body))
    };
    let code = shown(&world, &secret);
    assert_eq!(guess(&mut world, &code).status, 200, "the device is known from now on");
    world.pass(STEP);
    for i in 0..10 {
        let code = if i % 2 == 0 { wrong(&shown(&world, &secret)) } else { "AAAABBBBCCCCDDDD".to_owned() };
        assert_eq!(guess(&mut world, &code).status, 400, "{i}");
    }
    let code = shown(&world, &secret);
    for right in [&code, &recovery[0]] {
        let refused = guess(&mut world, right);
        assert_eq!((refused.status, refused.field("Retry-After").is_some()), (429, true));
    }
    world.pass(Duration::from_secs(901));
    let code = shown(&world, &secret);
    assert_eq!(guess(&mut world, &code).status, 200);
}

#[test]
fn a_password_reset_is_no_way_around_it() {
    let mut world = world();
    let ann = world.sign_up("ann");
    let (secret, _) = enrol(&mut world, &ann, "ann");
    let body = r#"{"email":"ann@example.org"}"#;
    assert_eq!(world.ask("POST", "/api/v1/user/reset/code", &[], Some(body)).status, 201);
    world.pass(Duration::from_secs(1));
    let mailed = code_of(&world, "ann");
    let body = format!(r#"{{"email":"ann@example.org","code":"{mailed}","password":"{}"}}"#, password("ann"));
    assert_eq!(world.ask("POST", "/api/v1/user/reset/password", &[], Some(&body)).status, 200);
    assert_eq!(refused(&sign_in(&mut world, "ann", None)), (401, "second_factor_required".into()));
    assert_eq!(refused(&sign_in(&mut world, "ann", Some(&mailed))), (400, "code_wrong".into()));
    let code = shown(&world, &secret);
    assert_eq!(sign_in(&mut world, "ann", Some(&code)).status, 200);
}

#[test]
fn it_is_renewed_and_removed_with_password_and_code_or_by_the_operator() {
    let mut world = world();
    let ann = world.sign_up("ann");
    let renew = ("POST", "/api/v1/user/second-factor/recovery");
    for which in [renew, ("DELETE", PATH)] {
        let none = change(&mut world, &ann, which, "ann", r#""code":"000000""#);
        assert_eq!(refused(&none), (404, "not_found".into()));
    }
    let (secret, old) = enrol(&mut world, &ann, "ann");
    for which in [renew, ("DELETE", PATH)] {
        let code = shown(&world, &secret);
        let with = |code: &str| format!(r#""code":"{code}""#);
        let refusals = [
            change(&mut world, &ann, which, "ann", &with(&wrong(&code))),
            change(&mut world, &ann, which, "bob", &with(&code)),
            change(&mut world, &ann, which, "ann", r#""code":null"#),
        ];
        assert_eq!(refusals.map(|answer| answer.status), [400, 401, 422]);
    }
    let code = shown(&world, &secret);
    let renewed = change(&mut world, &ann, renew, "ann", &format!(r#""code":"{code}""#));
    assert_eq!((renewed.status, renewed.at("data.member.recovery_codes")), (200, "10".into()));
    assert_eq!(sign_in(&mut world, "ann", Some(&old[0])).status, 400, "of before");
    let new = renewed.at("data.recovery_codes.0");
    let off = change(&mut world, &ann, ("DELETE", PATH), "ann", &format!(r#""code":"{new}""#));
    assert_eq!((off.status, off.at("data.member.second_factor")), (200, "null".into()), "{}", off.text());
    assert_eq!(sign_in(&mut world, "ann", None).status, 200);

    enrol(&mut world, &ann, "ann");
    assert_eq!(sign_in(&mut world, "ann", None).status, 401);
    let who = Some(r#"{"who":"ann@example.org"}"#);
    assert_eq!(world.ask_operator("GET", "/admin/members", None).at("data.0.second_factor"), "true");
    let path = "/admin/members/second-factor-off";
    let off = world.ask_operator("POST", path, who);
    assert_eq!((off.status, off.at("data.second_factor")), (200, "null".into()));
    assert_eq!(world.ask_operator("POST", path, who).status, 200, "there is none any more");
    assert_eq!(sign_in(&mut world, "ann", None).status, 200);
    assert_eq!(world.ask("POST", path, &[], who).status, 404, "not for clients");
}

/// Whoever changes it or signs in around the app is seen by the mailbox: one mail for each cause, none for a refusal.
#[test]
fn each_change_and_each_recovery_code_is_mailed_once() {
    let mut world = world();
    let ann = world.sign_up("ann");
    let mut told = world.mails.len();
    let mut check = |world: &World, subjects: &[&str]| {
        let new: Vec<&str> = world.mails[told..].iter().map(|mail| mail.subject.expose().as_str()).collect();
        assert_eq!(new, subjects);
        assert!(world.mails[told..].iter().all(|mail| mail.to.expose() == "ann@example.org"));
        told = world.mails.len();
    };
    let (secret, codes) = enrol(&mut world, &ann, "ann");
    check(&world, &["Two-step sign-in was turned on"]);
    // A code of the app is the usual way, and a refused one no change.
    let code = shown(&world, &secret);
    assert_eq!(sign_in(&mut world, "ann", Some(&code)).status, 200);
    assert_eq!(sign_in(&mut world, "ann", Some("AAAA-AAAA-AAAA-AAAA")).status, 400);
    check(&world, &[]);
    assert_eq!(sign_in(&mut world, "ann", Some(&codes[0])).status, 200);
    check(&world, &["A recovery code was used"]);
    assert_eq!(sign_in(&mut world, "ann", Some(&codes[0])).status, 400);
    check(&world, &[]);
    let renew = ("POST", "/api/v1/user/second-factor/recovery");
    // With a recovery code, the renewal is the one cause.
    let renewed = change(&mut world, &ann, renew, "ann", &format!(r#""code":"{}""#, codes[1]));
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    check(&world, &["You have new recovery codes"]);
    let new = renewed.at("data.recovery_codes.0");
    let off = change(&mut world, &ann, ("DELETE", PATH), "ann", &format!(r#""code":"{new}""#));
    assert_eq!(off.status, 200, "{}", off.text());
    check(&world, &["Two-step sign-in was turned off"]);
    // By the operator too, and not if there was none.
    enrol(&mut world, &ann, "ann");
    let who = Some(r#"{"who":"ann@example.org"}"#);
    for _ in 0..2 {
        assert_eq!(world.ask_operator("POST", "/admin/members/second-factor-off", who).status, 200);
    }
    check(&world, &["Two-step sign-in was turned on", "Two-step sign-in was turned off"]);
    let set = Some(r#"{"who":"ann@example.org","password":"another horse"}"#);
    assert_eq!(world.ask_operator("POST", "/admin/members/password", set).status, 200);
    check(&world, &["Your password was changed"]);
}

/// The bounds of the schema: below, at and above.
#[test]
fn a_code_has_1_to_64_characters() {
    let mut world = world();
    let ann = world.sign_up("ann");
    let (secret, _) = enrol(&mut world, &ann, "ann");
    let blanks = |count: usize| " ".repeat(count);
    let code = shown(&world, &secret);
    for (text, expect) in [
        (String::new(), (422, "invalid_code")),
        (format!("{code}{}", blanks(59)), (422, "invalid_code")),
        (blanks(65), (422, "invalid_code")),
        ("é".repeat(65), (422, "invalid_code")),
        ("é".repeat(64), (400, "code_wrong")),
        (blanks(64), (400, "code_wrong")),
    ] {
        let expect = (expect.0, expect.1.to_owned());
        assert_eq!(refused(&sign_in(&mut world, "ann", Some(&text))), expect, "{text:?}");
        let removed = change(&mut world, &ann, ("DELETE", PATH), "ann", &format!(r#""code":"{text}""#));
        assert_eq!(refused(&removed), expect, "{text:?}");
    }
    assert_eq!(sign_in(&mut world, "ann", Some(&format!("{code}{}", blanks(58)))).status, 200);
}
