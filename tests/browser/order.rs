//! What a member sets of a conversation for oneself, in a real browser and on two devices: the menu of the list and the details.

use super::chromium::Chromium;
use super::page::{PHONE, Page, by};
use super::{MESSAGES, ONLINE, PASSWORD, Stage, open_person, send, views};

/// The names in the list, top to bottom.
const LIST: &str = "[...document.querySelectorAll('.conversations .conversation-name')].map((it) => it.textContent).join(' ')";

/// The row of a person in the list.
fn row(name: &str) -> String {
    format!(
        "[...document.querySelectorAll('[data-testid=conversation]')]\
         .find((it) => it.querySelector('.conversation-name').textContent === '{name}')"
    )
}

fn part(name: &str, testid: &str) -> String {
    format!("{}?.querySelector('[data-testid={testid}]')", row(name))
}

/// Chooses from the menu of a row, as by the second button of a mouse.
fn choose(c: &mut Chromium, page: &Page, name: &str, item: &str) {
    page.wait(c, "the row", &row(name));
    page.eval(
        c,
        &format!(
            "{}.dispatchEvent(new MouseEvent('contextmenu', {{ bubbles: true, cancelable: true }})); 1",
            row(name)
        ),
    );
    page.wait(c, "the menu", &by("menu"));
    page.click(c, item);
}

fn sign_in(c: &mut Chromium, page: &Page, email: &str) {
    page.wait(c, "the form", &by("sign-in"));
    page.fill(c, "field-email", email);
    page.fill(c, "field-password", PASSWORD);
    page.click(c, "sign-in-submit");
    page.click(c, "verify-later");
    page.wait(c, "the connection", ONLINE);
}

#[test]
fn a_member_orders_conversations_for_oneself_on_all_devices() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob, eve) = (stage.sign_up("Ann"), stage.sign_up("Bob"), stage.sign_up("Eve"));
    let tablet = stage.page("Ann's tablet");
    let c = &mut stage.chromium;
    sign_in(c, &tablet, "ann@example.org");
    for (name, n) in [("Bob", 1), ("Eve", 2)] {
        open_person(c, &ann, name);
        send(c, &ann, "hello");
        ann.wait(c, "sent", &format!("{MESSAGES} === '1 sent hello' && {LIST}.split(' ').length === {n}"));
    }
    for (page, name) in [(&bob, "Ann"), (&eve, "Ann")] {
        page.wait(c, "in the list", &row(name));
        page.click_on(c, &row(name));
        page.wait(c, "read", &format!("{MESSAGES} === '1 sent hello'"));
    }
    let both = [&ann, &tablet];
    tablet.wait(c, "the list", &format!("{LIST} === 'Eve Bob'"));

    // Pinned: on top, on both devices; the row keeps the focus.
    choose(c, &ann, "Bob", "own-pin");
    for page in both {
        page.wait(c, "on top", &format!("{LIST} === 'Bob Eve' && {}", part("Bob", "pinned")));
    }
    ann.wait(c, "the focus", &format!("document.activeElement === {}", row("Bob")));

    // Marked as unread on one device, and read on the other.
    choose(c, &ann, "Bob", "own-unread");
    for page in both {
        page.wait(c, "the dot", &part("Bob", "unread-dot"));
    }
    tablet.click_on(c, &row("Bob"));
    for page in both {
        page.wait(c, "no dot", &format!("{} && !{}", row("Bob"), part("Bob", "unread-dot")));
    }

    // Muted for a time and archived: a message does not return it, until it is not muted any more.
    choose(c, &ann, "Eve", "own-mute");
    ann.click(c, "mute-hours");
    for page in both {
        page.wait(c, "muted", &format!("{}?.querySelector('.icon-mute')", row("Eve")));
    }
    choose(c, &tablet, "Eve", "own-archive");
    for page in both {
        page.wait(
            c,
            "archived",
            &format!("{LIST} === 'Bob' && {}?.textContent.endsWith('1')", by("archive")),
        );
    }
    send(c, &eve, "quiet");
    eve.wait(c, "sent", &format!("{MESSAGES}.endsWith('2 sent quiet')"));
    ann.click(c, "archive");
    ann.wait(
        c,
        "in the archive",
        &format!("{LIST} === 'Eve' && {}.textContent.includes('quiet')", row("Eve")),
    );
    ann.eval(c, "location.hash = '#/'");
    ann.wait(c, "no conversation", &by("stage-empty"));
    views::check(c, &ann, "order-archive");
    choose(c, &ann, "Eve", "own-mute");
    ann.wait(c, "the archive is empty", &format!("{LIST} === ''"));
    ann.click(c, "archive");
    for page in both {
        page.wait(c, "in the list", &format!("{LIST} === 'Bob Eve' && {}.hidden", by("archive")));
    }
    choose(c, &ann, "Bob", "own-archive");
    tablet.wait(c, "archived", &format!("{LIST} === 'Eve'"));
    send(c, &bob, "back");
    for page in both {
        page.wait(c, "back", &format!("{LIST} === 'Bob Eve' && {}.hidden", by("archive")));
    }

    // Cleared, from the details: empty for oneself, on both devices.
    ann.click_on(c, &row("Bob"));
    ann.wait(c, "both messages", &format!("{MESSAGES}.endsWith('2 sent back')"));
    ann.click(c, "chat-info");
    views::check(c, &ann, "order-info");
    ann.click(c, "info-clear");
    ann.wait(c, "the question", &by("confirm"));
    ann.click(c, "confirm-no");
    ann.click(c, "info-clear");
    ann.click(c, "confirm-yes");
    ann.click(c, "info-dialog-close");
    for page in both {
        page.wait(c, "empty", &format!("{} && {MESSAGES} === ''", by("messages")));
    }
    send(c, &bob, "news");
    let all = "/^1 \\w+ hello\\n2 \\w+ back\\n3 \\w+ news$/";
    bob.wait(c, "all of it", &format!("{all}.test({MESSAGES})"));
    for page in both {
        page.wait(c, "only what is new", &format!("{MESSAGES} === '3 sent news'"));
    }

    // Hidden, by a long press on a phone, until the next message.
    ann.size(c, PHONE);
    ann.eval(c, "location.hash = '#/'");
    ann.wait(c, "the list", &row("Bob"));
    ann.eval(
        c,
        &format!(
            "{}.dispatchEvent(new PointerEvent('pointerdown', {{ pointerType: 'touch', bubbles: true }})); 1",
            row("Bob")
        ),
    );
    ann.wait(c, "the menu", &by("menu"));
    ann.settle(c);
    ann.picture(c, "order-menu-phone-light");
    ann.eval(
        c,
        &format!(
            "{}.dispatchEvent(new PointerEvent('pointerup', {{ pointerType: 'touch', bubbles: true }})); 1",
            row("Bob")
        ),
    );
    ann.click(c, "own-hide");
    ann.click(c, "confirm-yes");
    for page in both {
        page.wait(c, "hidden", &format!("{LIST} === 'Eve'"));
    }
    send(c, &bob, "again");
    for page in both {
        page.wait(c, "returned", &format!("{LIST} === 'Bob Eve'"));
    }
    ann.click_on(c, &row("Bob"));
    ann.wait(c, "only that", &format!("{MESSAGES} === '4 sent again'"));
    for page in [&ann, &tablet, &bob, &eve] {
        page.has_no_faults(c);
    }
}
