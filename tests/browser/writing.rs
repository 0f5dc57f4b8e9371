//! Scripts of the world in a real browser: input methods, text direction, local clocks.

use super::page::by;
use super::{MESSAGES, ONLINE, Stage, message, open_person, send};

/// An Enter as Safari sends it after a composition, and as any browser sends it otherwise.
fn enter(code: u32) -> String {
    format!(
        "{}.dispatchEvent(new KeyboardEvent('keydown', {{ key: 'Enter', code: 'Enter', keyCode: {code}, which: {code}, \
         bubbles: true, cancelable: true, isComposing: false }}))",
        by("composer-input")
    )
}

/// The distance of the first letter of each line of a message from the left and the right of its bubble.
fn sides(text: &str) -> String {
    format!(
        "(() => {{ const m = {}, box = m.querySelector('.bubble').getBoundingClientRect(); \
         const text = m.querySelector('[data-testid=message-body]').firstChild, range = document.createRange(); \
         return [0, text.data.indexOf('\\n') + 1].map((at) => {{ range.setStart(text, at); range.setEnd(text, at + 1); \
         const letter = range.getBoundingClientRect(); \
         return letter.left - box.left < box.right - letter.right ? 'left' : 'right'; }}).join(' '); }})()",
        message(text)
    )
}

#[test]
fn input_methods_directions_and_clocks() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, _bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");

    // The Enter that confirms a word sends nothing; the next one sends it.
    ann.fill(c, "composer-input", "日本");
    ann.eval(c, &enter(229));
    assert_eq!(ann.eval(c, &format!("{}.value", by("composer-input"))), "日本");
    ann.eval(c, &enter(13));
    ann.wait(c, "the word", &format!("{MESSAGES} === '1 sent 日本'"));

    // Each line begins at the side of its own direction.
    for (text, expect) in [
        ("a long line of latin letters\nمرحبا", "left right"),
        ("هذه رسالة طويلة بالعربية\nhello", "right left"),
    ] {
        send(c, &ann, &text.replace('\n', " "));
        ann.wait(c, "one line", &format!("!!{}", message(&text.replace('\n', " "))));
        ann.fill(c, "composer-input", text);
        ann.eval(c, &enter(13));
        ann.wait(c, "two lines", &format!("!!{}", message(text)));
        assert_eq!(ann.eval(c, &sides(text)), expect, "{text}");
    }

    // The clock of the browser's own locale.
    ann.must(c, "Emulation.setLocaleOverride", r#"{"locale":"de-DE"}"#);
    ann.must(c, "Page.reload", "{}");
    ann.wait(c, "again", ONLINE);
    ann.wait(c, "24 hours", "/^\\d{1,2}:\\d{2}$/.test(document.querySelector('.bubble time')?.textContent)");
    ann.must(c, "Emulation.setLocaleOverride", r#"{"locale":"en-US"}"#);
    ann.must(c, "Page.reload", "{}");
    ann.wait(c, "once more", ONLINE);
    ann.wait(c, "12 hours", "/[AP]M$/.test(document.querySelector('.bubble time')?.textContent)");
    ann.has_no_faults(c);
}
