//! Mentions in a real browser: a name is completed by keys and by touch, shown, counted and jumped to.

use super::page::{PHONE, by};
use super::{MESSAGES, Stage, make_group, send};

/// The nick names that are offered, and which of them is active.
const OFFERED: &str = "[...document.querySelectorAll('[data-testid=composer-name]')].map((row) => \
     (row.ariaSelected === 'true' ? '>' : '') + row.dataset.nick.replace(/\\d+$/, '')).join(' ')";

/// The mention of oneself is in sight.
const IN_SIGHT: &str = "(() => { const box = document.querySelector('.mention.me')?.getBoundingClientRect(); \
     return box && box.top > 0 && box.bottom < innerHeight; })()";

#[test]
fn a_name_is_completed_shown_counted_and_jumped_to() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    make_group(c, &ann, "Kitchen", &["Bob"]);
    ann.wait(c, "the composer", &by("composer-input"));

    // By keys: the field keeps the focus, and names the active option.
    ann.fill(c, "composer-input", "hello @");
    ann.wait(c, "everyone is offered", &format!("{OFFERED} === '>bob all'"));
    ann.settle(c);
    ann.picture(c, "mention-offers-desktop-light");
    ann.press(c, "ArrowDown", 40);
    ann.wait(c, "the second", &format!("{OFFERED} === 'bob >all'"));
    let active =
        "document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.dataset.nick";
    assert_eq!(ann.eval(c, active), "all");
    ann.press(c, "Escape", 27);
    ann.wait(c, "closed", &format!("{OFFERED} === '' && {}.hidden", by("composer-names")));
    ann.fill(c, "composer-input", "");
    ann.fill(c, "composer-input", "hello @bo");
    ann.wait(c, "Bob is offered", &format!("{OFFERED} === '>bob'"));
    ann.press(c, "Enter", 13);
    ann.wait(c, "completed", &format!("/^hello @bob\\d+ $/.test({}.value)", by("composer-input")));
    ann.press(c, "Enter", 13);
    ann.wait(c, "sent, with the name", &format!("{MESSAGES} === '2 sent hello @Bob '"));

    bob.wait(c, "the badge", &by("mention-mark"));
    bob.settle(c);
    bob.picture(c, "mention-list-desktop-light");
    bob.click(c, "conversation");
    bob.wait(c, "marked as his", "document.querySelector('.calls-me .mention.me')?.textContent === '@Bob'");
    bob.wait(c, "read", &format!("!{}", by("mention-mark")));

    // Among many new messages, on a phone: by touch.
    bob.size(c, PHONE);
    bob.click(c, "chat-back");
    for n in 0..24 {
        send(c, &ann, &format!("line {n}"));
        ann.wait(c, "sent", &format!("{MESSAGES}.endsWith('sent line {n}')"));
    }
    ann.fill(c, "composer-input", "@al");
    ann.wait(c, "all are offered", &format!("{OFFERED} === '>all'"));
    ann.click(c, "composer-name");
    ann.wait(c, "completed", &format!("{}.value === '@all '", by("composer-input")));
    ann.press(c, "Enter", 13);
    ann.wait(c, "sent", &format!("{MESSAGES}.endsWith('sent @all ')"));
    bob.wait(c, "the badge again", &by("mention-mark"));
    bob.click(c, "conversation");
    bob.wait(c, "the way to it", &format!("{}?.hidden === false", by("jump-mention")));
    bob.settle(c);
    bob.picture(c, "mention-jump-phone-light");
    bob.click(c, "jump-mention");
    bob.wait(c, "in sight", &IN_SIGHT.replace(".mention.me", ".lit .mention.me"));
    bob.wait(c, "read", &format!("{}.hidden === true", by("jump-mention")));
    bob.settle(c);
    bob.picture(c, "mention-lit-phone-light");
    ann.has_no_faults(c);
    bob.has_no_faults(c);
}
