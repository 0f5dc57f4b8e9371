//! Scripts of the world in a real browser: input methods, text direction, local clocks.

use super::chromium::Chromium;
use super::page::{Page, by};
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

/// What is marked is drawn as elements, a link to a message leads to it, and a search highlights what it found.
fn marks_and_message_links(c: &mut Chromium, ann: &Page) {
    let body = "[...document.querySelectorAll('[data-testid=message-body]')].at(-1)";
    // A key marks what is selected.
    ann.fill(c, "composer-input", "bold");
    ann.eval(c, &format!("{}.select()", by("composer-input")));
    let key = |key| {
        format!(
            "new KeyboardEvent('keydown', {{ key: '{key}', ctrlKey: true, bubbles: true, cancelable: true }})"
        )
    };
    ann.eval(c, &format!("{}.dispatchEvent({})", by("composer-input"), key("b")));
    assert_eq!(ann.eval(c, &format!("{}.value", by("composer-input"))), "**bold**");
    let text = "**bold** <b>\n> quoted *words*\n\n- one\n- `two`\n```js\nlet a;\n```";
    ann.fill(c, "composer-input", text);
    ann.eval(c, &enter(13));
    ann.wait(c, "a list", &format!("{body}?.querySelectorAll('li').length === 2"));
    let drawn = format!(
        "['strong', 'b', 'blockquote em', 'li code', 'pre'].map((it) => {body}.querySelector(it)?.textContent ?? '-').join('|')"
    );
    assert_eq!(ann.eval(c, &drawn), "bold|-|words|two|let a;");
    ann.wait(
        c,
        "its line in the list",
        &format!(
            "{}?.textContent === 'You: bold <b> quoted words one two let a;'",
            by("conversation-preview")
        ),
    );

    // The address of the first message.
    let first = ann.eval(c, "location.origin + '/#/c/' + document.querySelector('[data-testid=chat]').dataset.conversation + '/1'");
    send(c, ann, &format!("see {first}"));
    ann.wait(c, "a link", &format!("{}?.textContent.includes('Bob')", by("message-link")));
    ann.click(c, "message-link");
    ann.wait(c, "the message", "document.activeElement?.dataset.n === '1'");

    // An emoji by its name and the keyboard; its table is loaded when it is first used.
    let loaded = "performance.getEntriesByType('resource').some((it) => it.name.endsWith('/emoji.txt'))";
    assert_eq!(ann.eval(c, loaded), "false");
    ann.fill(c, "composer-input", "well ");
    ann.click(c, "composer-emoji");
    ann.wait(c, "all of them", "document.querySelectorAll('[data-testid=emoji]').length > 1800");
    ann.wait(c, "the field", &format!("document.activeElement === {}", by("emoji-search")));
    ann.must(c, "Input.insertText", r#"{"text":"بيتزا"}"#);
    ann.wait(c, "one", "document.querySelectorAll('[data-testid=emoji]').length === 1");
    ann.press(c, "ArrowDown", 40);
    ann.wait(c, "the emoji", "document.activeElement?.ariaLabel === 'pizza'");
    ann.press(c, "Enter", 13);
    ann.wait(c, "written", &format!("{}.value === 'well 🍕'", by("composer-input")));
    ann.fill(c, "composer-input", "");

    // The search in the conversation, by its key.
    ann.eval(c, &format!("document.body.dispatchEvent({})", key("f")));
    ann.wait(c, "the search", &format!("document.activeElement === {}", by("search")));
    ann.fill(c, "search", "QUOTED");
    ann.click(c, "found-message");
    ann.wait(c, "the words", "[...(CSS.highlights.get('found') ?? [])].join() === 'quoted'");
    ann.click(c, "search-clear");
    assert_eq!(ann.eval(c, "CSS.highlights.has('found')"), "false");
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

    marks_and_message_links(c, &ann);

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
