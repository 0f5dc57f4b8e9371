//! The contract, row by row, against the complete server without a socket.

mod admin;
mod bots;
mod deletion;
mod digests;
mod profiles;
mod push;
mod sessions;

mod documents;
mod export;
mod files;
mod forwarding;
mod groups;
mod hooks;
mod invites;
mod mentions;
mod moderation;
mod opening;
mod pins;
mod preferences;
mod presence;
mod previews;
mod retention;
mod search;
mod second_factor;
mod tour;

mod codes;
mod site;
mod system_messages;

mod mails;

mod attachments;
mod uploads;
mod verified;

use crate::support::World;

#[test]
fn two_people_chat_over_http() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let body = format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","body":"hi"}}"#, bob.profile);
    let posted = world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body));
    assert_eq!(posted.status, 201, "{}", posted.text());
    let again = world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body));
    assert_eq!(
        (again.status, again.at("duplicate"), again.at("data")),
        (200, "true".into(), posted.at("data"))
    );
    let list = world.ask_as(&bob, "GET", "/api/v1/conversations", None);
    assert_eq!(
        (list.status, list.at("data.0.unread"), list.at("unread_total")),
        (200, "1".into(), "1".into())
    );
    let conversation = list.at("data.0.id");
    let messages = world.ask_as(&bob, "GET", &format!("/api/v1/conversations/{conversation}/messages"), None);
    assert_eq!((messages.at("data.0.body"), messages.at("next")), ("hi".into(), "null".into()));
    let read =
        world.ask_as(&bob, "POST", &format!("/api/v1/conversations/{conversation}/read"), Some(r#"{"n":5}"#));
    assert_eq!((read.at("data.read_n"), read.at("data.unread")), ("1".into(), "0".into()));
    assert_eq!(world.server.load(), (0, 0, 0));
}
