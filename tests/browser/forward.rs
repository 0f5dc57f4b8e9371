//! Forwarding and pinning in a real browser: a message is posted on with its file, and what is pinned is above the conversation.

use super::page::{PHONE, Page, by};
use super::{Chromium, MESSAGES, Stage, make_group, send, views};

/// Opens the menu of the newest message, by keys.
fn menu(c: &mut Chromium, page: &Page) {
    page.eval(c, "document.querySelector('[data-testid=messages]').focus()");
    page.press(c, "ArrowUp", 38);
    page.press(c, "Enter", 13);
    page.wait(c, "the menu", &by("menu"));
}

#[test]
fn a_message_is_forwarded_and_pinned() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob, eve) = (stage.sign_up("Ann"), stage.sign_up("Bob"), stage.sign_up("Eve"));
    let c = &mut stage.chromium;
    make_group(c, &ann, "Kitchen", &["Bob"]);
    send(c, &ann, "the plan is tea");
    ann.wait(c, "sent", &format!("{MESSAGES}.endsWith('sent the plan is tea')"));
    make_group(c, &ann, "Garden", &["Eve"]);
    ann.eval(c, "history.back()");
    ann.wait(c, "back", &format!("{MESSAGES}.endsWith('sent the plan is tea')"));

    // The other conversation is found by its name, and opened.
    menu(c, &ann);
    ann.click(c, "menu-forward");
    ann.wait(c, "both", "document.querySelectorAll('[data-testid=forward-to]').length === 2");
    views::check(c, &ann, "forward");
    ann.fill(c, "forward-search", "gard");
    ann.wait(c, "one", "document.querySelectorAll('[data-testid=forward-to]').length === 1");
    ann.click(c, "forward-to");
    let forwarded = format!(
        "{MESSAGES}.endsWith('the plan is tea') && {}?.textContent === 'Forwarded'",
        by("message-forwarded")
    );
    ann.wait(
        c,
        "there",
        &format!("document.querySelector('.chat-name').textContent === 'Garden' && {forwarded}"),
    );
    eve.click(c, "conversation");
    eve.wait(c, "received", &forwarded);
    // Others wrote it.
    ann.wait(c, "stored", "document.querySelector('article.message').dataset.state === 'sent'");
    menu(c, &ann);
    assert_eq!(ann.eval(c, &format!("String({})", by("menu-edit"))), "null");
    ann.press(c, "Escape", 27);

    // The admin pins; all see it, and only admins may change it.
    menu(c, &ann);
    ann.click(c, "menu-pin");
    let shown = |text: &str| {
        format!("{}?.hidden === false && {}.textContent.includes('{text}')", by("pins"), by("pins"))
    };
    ann.wait(c, "above", &shown("the plan is tea"));
    eve.wait(c, "for Eve too", &shown("the plan is tea"));
    menu(c, &eve);
    assert_eq!(eve.eval(c, &format!("String({})", by("menu-pin"))), "null");
    eve.press(c, "Escape", 27);
    for n in 0..30 {
        send(c, &ann, &format!("line {n}"));
        ann.wait(c, "sent", &format!("{MESSAGES}.endsWith('sent line {n}')"));
    }
    menu(c, &ann);
    ann.click(c, "menu-pin");
    eve.wait(c, "two", &shown("2/2"));
    views::check(c, &ann, "pinned");

    // On a phone: the bar leads to one after the other.
    eve.size(c, PHONE);
    eve.click(c, "pins-jump");
    let lit = |text: &str| format!("document.querySelector('.message.lit .body')?.textContent === '{text}'");
    eve.wait(c, "the newest", &lit("line 29"));
    eve.wait(c, "the one before", &shown("1/2"));
    eve.click(c, "pins-jump");
    eve.wait(c, "the first", &lit("the plan is tea"));
    eve.settle(c);
    eve.picture(c, "pinned-jump-phone-light");
    eve.eval(c, "location.reload()");
    eve.wait(c, "again", &shown("2/2"));

    // The list of them, from which the admin unpins; a deleted message is no longer pinned.
    ann.click(c, "pins-list");
    ann.wait(c, "both", "document.querySelectorAll('[data-testid=pinned-message]').length === 2");
    views::check(c, &ann, "pinned-list");
    ann.click(c, "unpin");
    eve.wait(c, "one", &format!("{} && !{}.textContent.includes('/')", shown("the plan is tea"), by("pins")));
    ann.click(c, "pinned-message");
    ann.wait(c, "there", &lit("the plan is tea"));
    ann.press(c, "Enter", 13);
    ann.click(c, "menu-delete");
    ann.click(c, "confirm-yes");
    for page in [&ann, &eve] {
        page.wait(c, "none", &format!("{}?.hidden === true", by("pins")));
    }
    for page in [&ann, &bob, &eve] {
        page.has_no_faults(c);
    }
}
