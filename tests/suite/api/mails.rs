//! Mails: what causes one, what it says, and what happens to it if it can't be delivered.

use std::time::Duration;

use natter::model::job::Delivery;
use natter::model::settings::Settings;

use super::codes::code_of;
use crate::support::http::Response;
use crate::support::{World, limits, settings};

fn sign_in(world: &mut World, fields: &[(&str, &str)], more: &str) -> Response {
    let body = format!(r#"{{"email":"ann@example.org","password":"correct horse ann's"{more}}}"#);
    let response = world.ask("POST", "/api/v1/user/sign-in", fields, Some(&body));
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

#[test]
fn a_sign_in_on_a_new_device_is_mailed_and_on_a_known_one_is_not() {
    let mut world = World::new();
    world.sign_up("ann");
    assert_eq!(world.mails.len(), 1);
    sign_in(&mut world, &[], "");
    assert_eq!(world.mails.len(), 1, "the device of the sign-up");
    sign_in(&mut world, &[("User-Agent", "Mozilla/5.0 (tablet)")], "");
    let mail = world.mails[1].clone();
    assert_eq!(
        (mail.to.expose().as_str(), mail.subject.expose().as_str()),
        ("ann@example.org", "New sign-in to your account")
    );
    for part in ["2026-11-22 13:03:54 UTC", "127.0.0.1", "Place: unknown", "Mozilla/5.0 (tablet)"] {
        assert!(mail.body.expose().contains(part), "{part} in {}", mail.body.expose());
    }
    sign_in(&mut world, &[("User-Agent", "Mozilla/5.0 (tablet)")], "");
    assert_eq!(world.mails.len(), 2);
    // With a device id the user agent does not matter.
    sign_in(&mut world, &[("User-Agent", "Mozilla/5.0 (tablet)")], r#","unique_id":"phone""#);
    sign_in(&mut world, &[("User-Agent", "updated/2")], r#","unique_id":"phone""#);
    assert_eq!(world.mails.len(), 3);
    // A wrong password causes no mail.
    let body = r#"{"email":"ann@example.org","password":"wrong","unique_id":"thief"}"#;
    assert_eq!(world.ask("POST", "/api/v1/user/sign-in", &[], Some(body)).status, 401);
    assert_eq!(world.mails.len(), 3);
}

#[test]
fn a_mail_is_in_the_language_of_the_request_that_caused_it() {
    let mut world = World::new();
    let ar = [("Accept-Language", "fr, ar-EG;q=0.9, en;q=0.5")];
    let body = r#"{"display_name":"ann","email":"ann@example.org","password":"correct horse ann's"}"#;
    assert_eq!(world.ask("POST", "/api/v1/user/sign-up", &ar, Some(body)).status, 201);
    assert!(world.mails[0].subject.expose().contains("رمز") && code_of(&world, "ann").len() == 6);
    sign_in(&mut world, &[("User-Agent", "x"), ar[0]], "");
    assert!(world.mails[1].body.expose().contains("المكان: غير معروف"), "{}", world.mails[1].body.expose());
    sign_in(&mut world, &[("User-Agent", "y"), ("Accept-Language", "fr")], "");
    assert_eq!(world.mails[2].subject.expose(), "New sign-in to your account");
}

#[test]
fn a_changed_password_is_mailed() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let body = r#"{"password":"correct horse ann's","new_password":"a new fine password","confirm_password":"a new fine password"}"#;
    let changed = world.ask_as(&ann, "PUT", "/api/v1/user/password", Some(body));
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(
        (world.mails.len(), world.mails[1].subject.expose().as_str()),
        (2, "Your password was changed")
    );
    let refused = world.ask_as(&ann, "PUT", "/api/v1/user/password", Some(body));
    assert_eq!((refused.status, world.mails.len()), (401, 2));
}

/// Mail is sent after the response. In the predecessor SMTP ran inside the request, and a failed mail was a 400, though
/// the account existed.
#[test]
fn a_mail_that_fails_fails_no_request_and_is_tried_again() {
    let mut world = World::new();
    world.deliveries = [Delivery::Failed; 3].into();
    world.sign_up("ann");
    let tries = |world: &World| 3 - world.deliveries.len();
    assert_eq!((tries(&world), world.mails.len()), (1, 0));
    for (rest, expect) in [(14, 1), (1, 2), (59, 2), (1, 3)] {
        world.pass(Duration::from_secs(rest));
        assert_eq!(tries(&world), expect, "{rest} s later");
    }
    assert!(world.mails.is_empty());
    world.pass(Duration::from_secs(240));
    assert_eq!(world.mails.len(), 1);
    world.pass(Duration::from_secs(7_200));
    assert_eq!(world.mails.len(), 1, "sent once");
}

#[test]
fn a_mail_waits_through_a_restart() {
    let mut world = World::new();
    world.deliveries = [Delivery::Failed].into();
    let ann = world.sign_up("ann");
    assert!(world.mails.is_empty());
    let mut world = world.restart();
    world.pass(Duration::from_secs(15));
    assert_eq!(world.mails.len(), 1);
    let body = format!(r#"{{"code":"{}"}}"#, code_of(&world, "ann"));
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/verify/check", Some(&body)).status, 200);
    let mut world = world.restart();
    world.pass(Duration::from_secs(600));
    assert_eq!(world.mails.len(), 1, "erased after it was sent");
}

/// A client that waits for a code learns where it is delivered; a response without a code does not mention it.
#[test]
fn without_a_mail_server_the_response_says_that_the_code_is_in_the_file() {
    let mut world = World::with(Settings { mail_to_file: true, ..settings(limits()) });
    let ann = r#"{"display_name":"Ann","email":"ann@example.org","password":"a long password"}"#;
    let up = world.ask("POST", "/api/v1/user/sign-up", &[], Some(ann));
    assert_eq!((up.status, up.at("delivery")), (201, "file".to_owned()));
    let access = up.at("data.token.access");
    let bearer = format!("Bearer {access}");
    let reset = r#"{"email":"nobody@example.org"}"#;
    let reset = world.ask("POST", "/api/v1/user/reset/code", &[], Some(reset));
    let renew = world.ask("POST", "/api/v1/user/verify/renew", &[("Authorization", &bearer)], None);
    for answer in [reset, renew] {
        assert_eq!((answer.status, answer.text()), (201, r#"{"data":null,"delivery":"file"}"#));
    }
    let sign_in = r#"{"email":"ann@example.org","password":"a long password"}"#;
    let sign_in = world.ask("POST", "/api/v1/user/sign-in", &[], Some(sign_in));
    assert!(sign_in.status == 200 && !sign_in.text().contains("delivery"), "{}", sign_in.text());
}

#[test]
fn a_mail_is_discarded_after_a_day_and_counted() {
    let given_up = |world: &mut World| {
        let text = world.ask("GET", "/metrics", &[], None);
        let line =
            text.text().lines().find(|line| line.contains("kind=\"mail\"")).expect("a count").to_owned();
        line.rsplit(' ').next().expect("a number").to_owned()
    };
    let mut world = World::new();
    world.deliveries = [Delivery::Failed; 100].into();
    world.sign_up("ann");
    world.pass(Duration::from_secs(22 * 3_600));
    assert_eq!(given_up(&mut world), "0");
    world.pass(Duration::from_secs(2 * 3_600));
    assert_eq!(given_up(&mut world), "1");
    let tries = 100 - world.deliveries.len();
    world.pass(Duration::from_secs(24 * 3_600));
    assert_eq!(100 - world.deliveries.len(), tries, "the row is gone");
    assert!((20..40).contains(&tries), "{tries}");

    // Only the operator can correct it, so it is counted at once, and tried again for as long as any other.
    let mut world = World::new();
    world.deliveries = [Delivery::Blocked].into();
    world.sign_up("ann");
    assert_eq!((given_up(&mut world), world.mails.len()), ("1".to_owned(), 0));
    world.pass(Duration::from_secs(600));
    assert_eq!((given_up(&mut world), world.mails.len()), ("1".to_owned(), 1));

    let mut world = World::new();
    world.deliveries = [Delivery::Refused].into();
    world.sign_up("ann");
    assert_eq!(given_up(&mut world), "1", "what the server refuses for good is not tried again");
    world.pass(Duration::from_secs(24 * 3_600));
    assert!(world.mails.is_empty() && world.deliveries.is_empty());
}

#[test]
fn a_newer_code_replaces_one_that_waits() {
    let mut world = World::new();
    world.deliveries = [Delivery::Failed; 4].into();
    let ann = world.sign_up("ann");
    world.pass(Duration::from_secs(70));
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/verify/code", None).status, 201);
    world.deliveries.clear();
    world.pass(Duration::from_secs(3_600));
    assert_eq!(world.mails.len(), 1, "an invalid code is not mailed");
}

#[test]
fn each_of_many_mails_is_sent_once() {
    let mut world = World::new();
    world.deliveries = [Delivery::Failed; 30].into();
    for n in 0..30 {
        world.sign_up(&format!("p{n}"));
    }
    assert!(world.mails.is_empty());
    world.pass(Duration::from_secs(60));
    let mut to: Vec<&str> = world.mails.iter().map(|mail| mail.to.expose().as_str()).collect();
    to.sort_unstable();
    to.dedup();
    assert_eq!((to.len(), world.mails.len()), (30, 30));
}

/// Moves the one held command of this name to the front.
fn next_is(world: &mut World, name: &str) {
    let index = world.asked.iter().position(|command| command.name() == name);
    let command =
        world.asked.remove(index.unwrap_or_else(|| panic!("no {name} is held"))).expect("a command");
    world.asked.push_front(command);
}

/// A read of the outbox that began before the result of a mail was written still has its row.
#[test]
fn a_read_older_than_the_result_does_not_send_a_mail_twice() {
    let mut world = World::new();
    world.deliveries = [Delivery::Failed].into();
    world.sign_up("ann");
    world.pass(Duration::from_secs(1));
    world.holds = true;
    world.pass(Duration::from_secs(15));
    next_is(&mut world, "FetchMail");
    world.release(1);
    assert_eq!(world.mails.len(), 1, "sent, and its result waits to be written");
    world.pass(Duration::from_secs(120));
    next_is(&mut world, "FetchMail");
    let old = world.look();
    next_is(&mut world, "MailSent");
    world.release(1);
    world.deliver(old);
    world.holds = false;
    let held = world.asked.len();
    world.release(held);
    world.pass(Duration::from_secs(120));
    assert_eq!(world.mails.len(), 1);
}

fn with_places() -> World {
    let proxies = natter::base::network::Networks::new(vec![
        natter::base::network::Network::parse("127.0.0.1").expect("a network"),
    ]);
    World::with(Settings { places: true, trusted_proxies: proxies, ..settings(limits()) })
}

const FROM: (&str, &str) = ("X-Forwarded-For", "8.8.4.4");

#[test]
fn a_geolocation_is_in_the_session_and_the_mail() {
    let mut world = with_places();
    world.places.insert("8.8.4.4".parse().expect("an address"), "Cairo, Egypt".to_owned());
    world.sign_up("ann");
    assert!(!world.trace.contains(&"find_place"), "a private address is not looked up");
    let signed_in = sign_in(&mut world, &[FROM, ("User-Agent", "x")], "");
    let mail = world.mails.last().expect("a mail");
    assert!(
        mail.body.expose().contains("Place: Cairo, Egypt") && mail.body.expose().contains("8.8.4.4"),
        "{}",
        mail.body.expose()
    );
    assert_eq!(world.mails.len(), 2, "sent as soon as the geolocation is known, not later");
    let bearer = format!("Bearer {}", signed_in.at("data.token.access"));
    let list = world.ask("GET", "/api/v1/user/sessions", &[("Authorization", &bearer)], None);
    assert_eq!(list.at("data.0.place"), "Cairo, Egypt");
    assert_eq!(list.at("data.1.place"), "null");
}

#[test]
fn an_unknown_geolocation_delays_nothing() {
    let mut world = with_places();
    world.sign_up("ann");
    sign_in(&mut world, &[FROM, ("User-Agent", "x")], "");
    assert_eq!(world.mails.len(), 2);
    assert!(world.mails[1].body.expose().contains("Place: unknown"), "{}", world.mails[1].body.expose());
}

#[test]
fn a_look_up_that_never_ends_delays_the_mail_by_seconds_only() {
    let mut world = with_places();
    world.sign_up("ann");
    world.lookups_hang = true;
    let signed_in = sign_in(&mut world, &[FROM, ("User-Agent", "x")], "");
    assert_eq!((signed_in.status, world.mails.len()), (200, 1), "the sign-in waits for nothing");
    world.pass(Duration::from_millis(9_999));
    assert_eq!(world.mails.len(), 1);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.mails.len(), 2);
    // The row survives a restart in between.
    let mut world = with_places();
    world.sign_up("ann");
    world.lookups_hang = true;
    sign_in(&mut world, &[FROM, ("User-Agent", "x")], "");
    let mut world = world.restart();
    world.pass(Duration::from_secs(10));
    assert_eq!(world.mails.len(), 2);
}
