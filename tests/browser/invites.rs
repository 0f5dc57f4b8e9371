//! Invites in the browser: an operator's link, the links of an admin, and what they lead to.

use super::*;
use crate::support::net::Http;

/// The form of one who opened a link and has no account, up to the page.
fn sign_up_by_link(c: &mut Chromium, page: &Page, name: &str, notice: &str) {
    page.wait(c, "the invite", &format!("{}?.includes({})", text_of("auth-notice"), json::to_string(notice)));
    complete_sign_up(c, page, name);
}

/// A row of the list. The form has the same name.
const ROW: &str = "document.querySelector('li[data-testid=invite]')";

/// Makes a link in the open dialog. Returns it.
fn make_link(c: &mut Chromium, page: &Page) -> String {
    page.click(c, "invite-submit");
    page.wait(c, "the code", &by("invite-qr"));
    page.wait(c, "the list", ROW);
    page.eval(c, &format!("{}.value", by("invite-link")))
}

#[test]
fn a_link_lets_people_in_and_into_the_group() {
    let env = [("SIGN_UP", "invite"), ("DIRECTORY", "on")];
    let Some(mut stage) = Stage::with(&env) else { return };
    let output = stage.launch.run(&["invite"]);
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let code = printed.rsplit('/').next().expect("a code").to_owned();
    let url = stage.url();

    // A stranger is told that an invite is needed; with one the form is there.
    let ann = stage.page("Ann");
    let c = &mut stage.chromium;
    ann.wait(
        c,
        "by invite",
        &format!("{} === 'This server takes new members by invite only.'", text_of("sign-up-offer")),
    );
    ann.go(c, &format!("{url}#/i/AAAAAAAAAAAAAAAAAAAAAA"));
    ann.wait(c, "not valid", &format!("{}?.includes('not valid')", text_of("auth-notice")));
    assert_eq!(ann.eval(c, "location.hash"), "");
    ann.go(c, &format!("{url}#/i/{code}"));
    sign_up_by_link(c, &ann, "Ann", "You are invited.");
    assert_eq!(ann.eval(c, "location.hash"), "#/");

    // An admin of the server has its links; each is shown once, and revoked.
    let promoted = stage.launch.run(&["member", "promote", "ann@example.org"]);
    assert!(promoted.status.success());
    ann.must(c, "Page.reload", "{}");
    ann.wait(c, "again", ONLINE);
    ann.click(c, "new-conversation");
    ann.wait(c, "admin", &by("new-invite"));
    ann.click(c, "new-invite");
    let link = make_link(c, &ann);
    assert!(link.starts_with(&format!("{url}#/i/")), "{link}");
    ann.click(c, "invite-revoke");
    ann.wait(c, "revoked", &format!("!{ROW}"));
    ann.click(c, "invites-dialog-close");

    // The link of a group, from its details.
    ann.click(c, "new-conversation");
    ann.click(c, "new-group");
    ann.fill(c, "field-title", "Tea");
    ann.click(c, "group-submit");
    ann.wait(c, "the group", &by("composer-input"));
    ann.click(c, "chat-info");
    ann.click(c, "info-invites");
    let link = make_link(c, &ann);
    let bob = Page::open(c, "Bob", &link);
    sign_up_by_link(c, &bob, "Bob", "You are invited to “Tea”");
    bob.wait(c, "in the group", &format!("{}?.includes('Tea')", text_of("chat-title")));
    send(c, &bob, "Hello from the link");
    bob.wait(c, "sent", &format!("{MESSAGES} === '3 sent Hello from the link'"));

    // A member who opens a link is asked, and joins.
    let mut http = Http::connect(stage.plain());
    let body = format!(r#"{{"email":"ann@example.org","password":"{PASSWORD}"}}"#);
    let answer = http.ask("POST", "/api/v1/user/sign-in", &[], Some(&body)).expect("an answer");
    let person = crate::support::http::Person::from_response(&answer);
    let made = http.ask_as(&person, "POST", "/api/v1/conversations", Some(r#"{"title":"Garden"}"#));
    let group = made.expect("an answer").at("data.id");
    let body = format!(r#"{{"conversation":"{group}"}}"#);
    let code =
        http.ask_as(&person, "POST", "/api/v1/invites", Some(&body)).expect("an answer").at("data.code");
    let c = &mut stage.chromium;
    bob.go(c, &format!("{url}#/i/{code}"));
    bob.click(c, "confirm-yes");
    bob.wait(c, "joined", &format!("{}?.includes('Garden')", text_of("chat-title")));

    // Whom everybody may find is in the directory.
    bob.click(c, "new-conversation");
    bob.wait(c, "Ann", &format!("{}?.textContent.includes('Ann')", by("directory")));
    bob.has_no_faults(c);
    ann.has_no_faults(c);
}
