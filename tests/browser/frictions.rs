//! Small things that members met: what is offered and cannot be had, what stays open, what only a mouse can do.

use super::chromium::PLAIN_HOST;
use super::*;

#[test]
fn a_text_is_copied_over_plain_http() {
    let Some(mut stage) = Stage::set() else { return };
    let url = format!("http://{PLAIN_HOST}:{}/", stage.plain().port());
    let (ann, _bob) = (stage.sign_up_at("Ann", &url), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    assert_eq!(ann.eval(c, "isSecureContext + ' ' + Boolean(navigator.clipboard)"), "false false");
    open_person(c, &ann, "Bob");
    send(c, &ann, "copy me");
    ann.wait(c, "sent", &shows(&["copy me".to_owned()], "sent"));
    ann.hover(c, &message("copy me"));
    ann.click(c, "message-more");
    ann.click(c, "menu-copy");
    ann.wait(c, "copied", &format!("{} === 'Copied'", text_of("toast")));
    ann.click(c, "composer-input");
    ann.press_with_ctrl(c, 'v', "paste");
    ann.wait(c, "pasted", &format!("{}.value === 'copy me'", by("composer-input")));
    ann.has_no_faults(c);
}

#[test]
fn back_closes_a_picture_and_a_press_outside_only_closes_a_menu() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, _bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");
    send(c, &ann, "first");
    ann.wait(c, "sent", &shows(&["first".to_owned()], "sent"));
    let picture = ann.picture(c, "frictions-to-be-sent");
    ann.choose(c, "composer-file", &picture);
    ann.click(c, "composer-send");
    ann.wait(c, "sent", "document.querySelectorAll('[data-state=sent]').length === 2");
    let open = ann.eval(c, "location.hash");

    for close in ["history.back()", "document.querySelector('[data-testid=lightbox-close]').click()"] {
        let before = ann.eval(c, "history.length");
        ann.click(c, "message-image");
        ann.wait(c, "large", &by("lightbox"));
        ann.eval(c, close);
        ann.wait(c, "closed", &format!("!{} && history.state === null", by("lightbox")));
        assert_eq!(ann.eval(c, "location.hash"), open, "{close}");
        assert!(ann.eval(c, &format!("history.length - {before} < 2")) == "true", "{close}");
        assert_eq!(ann.eval(c, &format!("Boolean({})", by("chat"))), "true");
    }
    // No dialog stays over a page that was left.
    ann.click(c, "chat-info");
    ann.wait(c, "the details", &by("info-dialog"));
    ann.eval(c, "history.back()");
    ann.wait(c, "nothing over the page", "!document.querySelector('dialog')");
    ann.eval(c, "history.forward()");
    ann.wait(c, "again", &by("chat"));

    ann.hover(c, &message("first"));
    ann.click(c, "message-more");
    ann.wait(c, "the menu", &by("menu"));
    ann.click(c, "chat-info");
    ann.wait(c, "no menu", &format!("!{}", by("menu")));
    assert_eq!(ann.eval(c, &by("info-dialog")), "null");
    // The next press is one again.
    ann.click(c, "chat-info");
    ann.wait(c, "the details", &by("info-dialog"));
    ann.has_no_faults(c);
}

#[test]
fn keys_search_edit_and_show_themselves() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, _bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;

    // Whoever was found and written to is in the list, and the search has done its work.
    ann.press_with_ctrl(c, 'k', "");
    ann.wait(c, "the search", &format!("document.activeElement === {}", by("search")));
    ann.fill(c, "search", "Bob");
    ann.click_on(c, "document.querySelector('[data-testid=found-person]')");
    ann.wait(c, "the composer", &by("composer-input"));
    send(c, &ann, "a mistale");
    ann.wait(c, "sent", &shows(&["a mistale".to_owned()], "sent"));
    ann.wait(
        c,
        "the list",
        &format!(
            "!{}.hidden && {}.hidden && {}.value === ''",
            by("conversations"),
            by("search-results"),
            by("search")
        ),
    );

    ann.click(c, "composer-input");
    ann.press(c, "ArrowUp", 38);
    ann.wait(c, "the last message", &format!("{}.value === 'a mistale'", by("composer-input")));
    ann.fill(c, "composer-input", "a mistake");
    ann.press(c, "Enter", 13);
    ann.wait(c, "changed", &shows(&["a mistake".to_owned()], "sent"));

    // A question mark in a text is one.
    let question = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: '?', bubbles: true, cancelable: true }))";
    ann.eval(c, question);
    assert_eq!(ann.eval(c, &by("shortcuts")), "null");
    ann.eval(c, "document.activeElement.blur()");
    ann.eval(c, question);
    ann.wait(c, "the shortcuts", &by("shortcuts"));
    ann.click(c, "shortcuts-close");
    ann.has_no_faults(c);
}

#[test]
fn only_what_can_be_had_is_offered() {
    let Some(mut stage) = Stage::with(&[("SIGN_UP", "closed")]) else { return };
    let page = stage.page("Ann");
    let c = &mut stage.chromium;
    page.wait(
        c,
        "closed",
        &format!("{} === 'This server does not take new members.'", text_of("sign-up-offer")),
    );
    assert_eq!(page.eval(c, &by("go-sign-up")), "null");
    page.has_no_faults(c);
}

#[test]
fn forced_colours_keep_the_borders_and_this_device_is_in_use() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");
    send(c, &ann, "mine");
    bob.click(c, "conversation");
    send(c, &bob, "theirs");
    ann.wait(c, "both", &shows(&["mine", "theirs"].map(str::to_owned), "sent"));
    ann.medium(c, "forced-colors", "active");
    let borders = "[...document.querySelectorAll('.bubble')].map((bubble) => { \
         const style = getComputedStyle(bubble); return style.borderTopStyle + ' ' + style.borderTopWidth; }).join()";
    assert_eq!(ann.eval(c, borders), "double 3px,solid 1px");
    ann.medium(c, "forced-colors", "none");

    ann.click(c, "open-settings");
    ann.click(c, "tab-devices");
    ann.wait(c, "in use", &format!("{}?.textContent.includes('Active now')", by("session")));
    ann.has_no_faults(c);
}
