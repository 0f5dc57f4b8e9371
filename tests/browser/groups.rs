//! The life of a group in a real browser: its changes are told, newcomers see what they may, and who has read is asked for.

use super::page::{PHONE, by};
use super::{MESSAGES, Stage, make_group, send};

/// What the conversation tells of its group.
const TOLD: &str =
    "[...document.querySelectorAll('[data-testid=system-message]')].map((it) => it.textContent).join(' | ')";

#[test]
fn a_group_tells_its_changes_hides_its_past_and_says_who_has_read() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob, eve) = (stage.sign_up("Ann"), stage.sign_up("Bob"), stage.sign_up("Eve"));
    let c = &mut stage.chromium;
    make_group(c, &ann, "Kitchen", &["Bob"]);
    ann.wait(c, "made", &format!("{TOLD} === 'You created the group with Bob'"));
    bob.wait(
        c,
        "in the list, and nothing is unread",
        &format!(
            "{}?.textContent === 'Ann created the group with you' && !{}",
            by("conversation-preview"),
            by("unread-count")
        ),
    );
    send(c, &ann, "before Eve");
    ann.wait(c, "sent", &format!("{MESSAGES} === '2 sent before Eve'"));

    // The admin hides what was said from those who join later, and renames the group.
    ann.click(c, "chat-info");
    ann.wait(c, "shown to newcomers", &format!("{}?.checked === true", by("info-history")));
    ann.click(c, "info-history");
    ann.wait(c, "hidden", &format!("{}.checked === false", by("info-history")));
    let choose = format!(
        "{{ const kept = {}; kept.value = '30'; kept.dispatchEvent(new Event('change')); }}",
        by("info-kept")
    );
    ann.eval(c, &choose);
    ann.click(c, "confirm-yes");
    ann.wait(c, "asked", &format!("!{}", by("confirm-yes")));
    ann.fill(c, "info-title", "Garden");
    ann.click(c, "info-rename");
    ann.click(c, "info-add");
    ann.fill(c, "people-search", "Eve");
    ann.click(c, "person");
    ann.click(c, "add-submit");
    ann.wait(c, "three", "document.querySelectorAll('[data-testid=member]').length === 3");
    ann.click(c, "info-dialog-close");
    ann.wait(c, "told", &format!("{TOLD}.endsWith('You renamed the group to “Garden” | You added Eve')"));
    bob.click(c, "conversation");
    bob.wait(c, "told too", &format!("{TOLD}.endsWith('Ann renamed the group to “Garden” | Ann added Eve')"));
    eve.click(c, "conversation");
    eve.wait(c, "only what is said since", &format!("{TOLD} === 'Ann added you' && {MESSAGES} === ''"));
    eve.wait(c, "and why", "document.querySelector('.beginning')?.textContent.includes('Earlier messages')");
    eve.click(c, "chat-info");
    eve.wait(
        c,
        "how long messages are kept",
        &format!("{}?.textContent.endsWith('30 days')", by("info-kept")),
    );
    eve.click(c, "info-dialog-close");
    eve.settle(c);
    eve.picture(c, "group-hidden-desktop-light");

    // By keys: the menu of a message, and who has read it.
    send(c, &ann, "welcome");
    bob.wait(c, "received", &format!("{MESSAGES}.endsWith('welcome')"));
    ann.wait(c, "sent", &format!("{MESSAGES}.endsWith('sent welcome')"));
    bob.wait(c, "read", &format!("!{}", by("unread-count")));
    eve.size(c, PHONE);
    eve.wait(c, "received", &format!("{MESSAGES}.endsWith('welcome')"));
    ann.eval(c, "document.querySelector('[data-testid=messages]').focus()");
    ann.press(c, "ArrowUp", 38);
    ann.press(c, "Enter", 13);
    ann.click(c, "menu-read-by");
    ann.wait(c, "Bob has read it", &format!("{}?.textContent.includes('Bob')", by("reader")));
    ann.settle(c);
    ann.picture(c, "group-read-by-desktop-light");
    ann.click(c, "read-by-dialog-close");
    for page in [&ann, &bob, &eve] {
        page.has_no_faults(c);
    }
}
