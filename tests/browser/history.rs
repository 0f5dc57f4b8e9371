//! A conversation on the screen stays correct: in several tabs, across a killed server, far up in its history, and
//! after a refusal.

use super::*;

/// Positions, states and texts, as one text.
fn seen(c: &mut Chromium, page: &Page) -> String {
    page.eval(c, MESSAGES)
}

#[test]
fn two_tabs_and_a_killed_server_keep_one_order() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let url = stage.url();
    let two = ann.tab(&mut stage.chromium, "Ann, second tab", &url);
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");
    send(c, &ann, "first");
    ann.wait(c, "sent", &shows(&["first".to_owned()], "sent"));
    for page in [&two, &bob] {
        page.click(c, "conversation");
    }

    // Both tabs write, in turn: all pages show one order.
    let mut said = vec!["first".to_owned()];
    for i in 0..5 {
        for (page, name) in [(&ann, "left"), (&two, "right")] {
            said.push(format!("{name} {i}"));
            send(c, page, &said[said.len() - 1]);
        }
    }
    let whole = format!(
        "document.querySelectorAll('[data-testid=message][data-state=sent]').length === {} && \
         !document.querySelector('[data-state=sending]')",
        said.len()
    );
    for page in [&ann, &two, &bob] {
        page.wait(c, "all of them", &whole);
    }
    let order = seen(c, &bob);
    assert_eq!(seen(c, &ann), order);
    assert_eq!(seen(c, &two), order);
    for side in ["left", "right"] {
        let own: Vec<_> =
            order.lines().filter(|line| line.contains(side)).map(|line| line.split_once(side)).collect();
        let numbers: Vec<_> = own.iter().map(|found| found.expect("a side").1.trim()).collect();
        assert_eq!(numbers, ["0", "1", "2", "3", "4"], "{order}");
    }

    // A message read in one tab is read in the other.
    for page in [&ann, &two] {
        page.eval(c, "location.hash = '#/'");
    }
    send(c, &bob, "unread");
    for page in [&ann, &two] {
        page.wait(c, "one unread", &format!("{} === '1'", text_of("unread-count")));
    }
    ann.click(c, "conversation");
    two.wait(c, "read", &format!("!{}", by("unread-count")));

    // Messages that one tab could not send are sent by the other.
    ann.offline(c, true);
    ann.wait(c, "noticed", &format!("!({ONLINE})"));
    send(c, &ann, "by the other tab");
    bob.wait(c, "sent", &message("by the other tab"));
    ann.offline(c, false);
    ann.wait(c, "back", ONLINE);

    // The server is killed, messages are written, and the tabs are closed: no message is lost.
    stage.natter.kill();
    ann.wait(c, "noticed", &format!("!({ONLINE})"));
    for text in ["queued 1", "queued 2", "queued 3"] {
        send(c, &ann, text);
    }
    ann.wait(c, "waiting", "document.querySelectorAll('[data-state=sending]').length === 3");
    for page in [&ann, &two] {
        page.must(c, "Page.navigate", r#"{"url":"about:blank"}"#);
    }
    stage.natter = stage.launch.start();
    ann.go(c, &url);
    bob.wait(c, "the last", &message("queued 3"));
    ann.wait(c, "in", ONLINE);
    ann.click(c, "conversation");
    ann.wait(c, "the last", &format!("{}?.dataset.state === 'sent'", message("queued 3")));
    assert_eq!(seen(c, &ann), seen(c, &bob));
    let end = ["unread", "by the other tab", "queued 1", "queued 2", "queued 3"];
    let places: Vec<_> = end.iter().enumerate().map(|(i, text)| format!("{} sent {text}", i + 12)).collect();
    assert!(seen(c, &bob).ends_with(&places.join("\n")), "{}", seen(c, &bob));

    // Signing out in one tab signs the other out.
    two.go(c, &url);
    two.wait(c, "in", ONLINE);
    ann.click(c, "open-settings");
    ann.click(c, "tab-account");
    ann.click(c, "sign-out");
    two.wait(c, "out", &by("sign-in"));
    for page in [&ann, &two, &bob] {
        page.has_no_faults(c);
    }
}

/// `n` and top of the first visible message.
const IN_SIGHT: &str = "(() => { const edge = document.querySelector('[data-testid=messages]').getBoundingClientRect().top; \
     const first = [...document.querySelectorAll('[data-testid=message]')].find((m) => m.getBoundingClientRect().bottom > edge); \
     return first.dataset.n + ' ' + Math.round(first.getBoundingClientRect().top); })()";

#[test]
fn scrolling_loads_older_messages_and_keeps_the_position() {
    const SAID: u32 = 160;
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    open_person(c, &bob, "Ann");
    send(c, &bob, "message 1");
    bob.wait(c, "sent", &shows(&["message 1".to_owned()], "sent"));
    // Over HTTP: to type them all would take too long.
    bob.eval(
        c,
        &format!(
            "(async () => {{ const {{access}} = JSON.parse(localStorage.getItem('natter.token')); \
             const conversation = document.querySelector('[data-testid=chat]').dataset.conversation; \
             for (let i = 2; i <= {SAID}; i++) await fetch('/api/v1/messages', {{method: 'POST', \
             headers: {{Authorization: 'Bearer ' + access, UniqueId: localStorage.getItem('natter.device'), 'Content-Type': 'application/json'}}, \
             body: JSON.stringify({{conversation, client_id: String(i).padStart(26, '0'), body: 'message ' + i + '\\nand more'.repeat(i % 4)}})}}); return 1; }})()"
        ),
    );

    // Many unread messages: the conversation opens at the first of them.
    ann.wait(c, "all unread", &format!("{}?.dataset.unread === '{SAID}'", by("conversation")));
    ann.click(c, "conversation");
    ann.wait(
        c,
        "the first unread",
        &format!("{} && document.querySelector('[data-n=\"1\"]')", by("unread-divider")),
    );
    ann.click(c, "jump-latest");
    ann.wait(c, "the last", &format!("document.querySelector('[data-n=\"{SAID}\"]')"));
    ann.wait(c, "all read", &format!("{}?.dataset.unread === '0'", by("conversation")));

    // A new page loads the newest messages, and older ones as it is scrolled: nothing jumps, nothing is missing.
    ann.must(c, "Page.reload", "{}");
    ann.wait(c, "again", &format!("{ONLINE} && document.querySelector('[data-n=\"{SAID}\"]')"));
    assert_eq!(ann.eval(c, "document.querySelector('[data-n=\"1\"]')"), "null");
    // The newest messages exist a moment before the page is scrolled to them.
    ann.wait(
        c,
        "the end in sight",
        "(() => { const list = document.querySelector('[data-testid=messages]'); \
         return list.scrollTop > 0 && list.scrollTop + list.clientHeight > list.scrollHeight - 2; })()",
    );
    ann.settle(c);
    let climbed = ann.eval(
        c,
        "(async () => { const list = document.querySelector('[data-testid=messages]'); let worst = 0; \
         const frame = () => new Promise((done) => requestAnimationFrame(done)); \
         for (let i = 0; i < 600 && !(document.querySelector('[data-n=\"1\"]') && list.scrollTop === 0); i++) { \
           const edge = list.getBoundingClientRect().top; \
           const mark = [...document.querySelectorAll('[data-testid=message]')].find((m) => m.getBoundingClientRect().bottom > edge); \
           const top = mark.getBoundingClientRect().top, at = list.scrollTop; \
           list.scrollTop -= 300; const moved = at - list.scrollTop; await frame(); await frame(); \
           worst = Math.max(worst, Math.abs(mark.getBoundingClientRect().top - top - moved)); } \
         const ns = [...document.querySelectorAll('[data-testid=message]')].map((m) => Number(m.dataset.n)); \
         return [worst < 2 || worst, ns.length, ns.every((n, i) => n === i + 1)].join(' '); })()",
    );
    assert_eq!(climbed, format!("true {SAID} true"));

    // Messages that arrive below move nothing and are counted; to leave and to come back changes nothing.
    ann.eval(c, "document.querySelector('[data-n=\"40\"]').scrollIntoView({block: 'center'})");
    ann.settle(c);
    let place = ann.eval(c, IN_SIGHT);
    send(c, &bob, "while you read");
    ann.wait(c, "counted", &format!("{} === '1 new message'", text_of("jump-latest")));
    assert_eq!(ann.eval(c, IN_SIGHT), place);
    ann.click(c, "jump-latest");
    ann.wait(c, "read", &format!("{}?.dataset.unread === '0'", by("conversation")));
    ann.eval(c, "document.querySelector('[data-n=\"40\"]').scrollIntoView({block: 'center'})");
    ann.settle(c);
    let place = ann.eval(c, IN_SIGHT);
    ann.eval(c, "location.hash = '#/'");
    ann.wait(c, "left", &by("stage-empty"));
    ann.click(c, "conversation");
    ann.wait(c, "as it was left", &format!("{} && {IN_SIGHT} === '{place}'", by("messages")));
    for page in [&ann, &bob] {
        page.has_no_faults(c);
    }
}

#[test]
fn pasted_pictures_are_sent_and_a_refused_message_can_be_retried() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");

    // Three pictures at once, and one removed again.
    ann.fill(c, "composer-input", "Which one?");
    ann.eval(
        c,
        &format!(
            "(async () => {{ const pasted = new DataTransfer(); for (const color of ['red', 'green', 'blue', 'gray']) {{ \
             const sheet = new OffscreenCanvas(60, 40); const pen = sheet.getContext('2d'); pen.fillStyle = color; pen.fillRect(0, 0, 60, 40); \
             pasted.items.add(new File([await sheet.convertToBlob()], color + '.png', {{type: 'image/png'}})); }} \
             {}.dispatchEvent(new ClipboardEvent('paste', {{clipboardData: pasted, bubbles: true, cancelable: true}})); }})()",
            by("composer-input")
        ),
    );
    let tray = format!("{}.querySelectorAll('li')", by("composer-files"));
    ann.wait(c, "four wait", &format!("{tray}.length === 4"));
    ann.click_on(c, &format!("{tray}[3].querySelector('[data-testid=file-remove]')"));
    ann.wait(c, "three wait", &format!("{tray}.length === 3"));
    ann.click(c, "composer-send");
    bob.click(c, "conversation");
    bob.wait(
        c,
        "three pictures, in their order",
        "[...document.querySelectorAll('[data-testid=message-image]')].map((i) => i.alt).join() === 'red.png,green.png,blue.png'",
    );
    bob.wait(c, "and the words", &message("Which one?"));

    // Refused while Bob has blocked her. It waits for her retry across a reload, and is sent unchanged.
    bob.click(c, "chat-info");
    bob.click(c, "info-block");
    bob.click(c, "confirm-yes");
    bob.wait(c, "blocked", &by("chat-unblock"));
    bob.click(c, "info-dialog-close");
    send(c, &ann, "Are you there?");
    let why = "document.querySelector('[data-testid=message-failure] > span').textContent";
    ann.wait(c, "refused", &by("message-failure"));
    assert_eq!(ann.eval(c, why), "You cannot write to this person.");
    let name = "document.querySelector('[data-state=failed]')?.dataset.clientId";
    let client_id = ann.eval(c, name);
    assert_eq!(client_id.len(), 26);
    ann.must(c, "Page.reload", "{}");
    ann.wait(c, "kept", &format!("{ONLINE} && {name} === '{client_id}'"));
    bob.click(c, "chat-unblock");
    bob.wait(c, "no more blocked", &by("composer-input"));
    ann.click(c, "message-retry");
    ann.wait(c, "sent", &format!("{}?.dataset.state === 'sent'", message("Are you there?")));
    bob.wait(c, "arrived", &format!("{}?.dataset.clientId === '{client_id}'", message("Are you there?")));
    for page in [&ann, &bob] {
        assert_eq!(page.eval(c, "document.querySelectorAll('[data-testid=message]').length"), "2");
        page.has_no_faults(c);
    }
}

/// Rows that no current server writes: a damaged text, and a name from before the rules for names; and a search while the
/// index can't be built.
#[test]
fn rows_that_the_server_does_not_write_are_shown_plainly() {
    /// More than a search reads without the index.
    const SAID: u32 = 2_100;
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let url = stage.url();
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");
    for text in ["a whole text", "a text to damage"] {
        send(c, &ann, text);
    }
    let all = ["a whole text".to_owned(), "a text to damage".to_owned()];
    ann.wait(c, "sent", &shows(&all, "sent"));
    stage.natter.kill();
    let data = stage.launch.folder.join("data");
    let conn = rusqlite::Connection::open(data.join("natter.db")).expect("a database");
    conn.execute_batch(
        "UPDATE messages SET body = CAST(x'ff6170706c65' AS TEXT) WHERE body = 'a text to damage'; \
         UPDATE profiles SET display_name = char(8238) || 'Bob' || char(8294) WHERE display_name = 'Bob'",
    )
    .expect("damaged");
    drop(conn);
    stage.natter = stage.launch.start();
    for page in [&ann, &bob] {
        page.go(c, &url);
        page.wait(c, "in", ONLINE);
    }
    ann.click(c, "conversation");
    ann.wait(
        c,
        "the damaged message",
        &format!("{} === 'This message can no longer be read'", text_of("message-damaged")),
    );
    assert_eq!(ann.eval(c, "document.querySelectorAll('[data-testid=message-body]').length"), "1");
    // The name does not change the direction of the text around it.
    ann.wait(c, "the name", &format!("{}?.textContent.includes('Bob')", by("conversation")));
    let turns = "/[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.querySelector('main').textContent + \
         document.querySelector('[data-testid=conversation]').textContent)";
    assert_eq!(ann.eval(c, turns), "false");

    // Without an index a search of many messages says that it left some out.
    ann.fill(c, "search", "whole");
    ann.wait(c, "found", &by("found-message"));
    assert_eq!(ann.eval(c, &by("search-incomplete")), "null");
    stage.natter.kill();
    for file in ["search.db", "search.db-wal", "search.db-shm"] {
        // One of them may be absent.
        let _ = std::fs::remove_file(data.join(file));
    }
    std::fs::create_dir(data.join("search.db")).expect("a folder where the index would be");
    let conn = rusqlite::Connection::open(data.join("natter.db")).expect("a database");
    conn.execute_batch(&format!(
        "WITH RECURSIVE more(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM more WHERE i < {SAID}) \
         INSERT INTO messages (seq, id_high, conversation, n, sender, client_high, client_low, body) \
         SELECT seq + i, id_high, conversation, n + i, sender, i, i, 'a whole text' FROM more, \
         (SELECT * FROM messages ORDER BY seq DESC LIMIT 1); \
         UPDATE conversations SET last_n = last_n + {SAID}, last_seq = last_seq + {SAID}"
    ))
    .expect("more messages");
    drop(conn);
    stage.natter = stage.launch.start();
    ann.go(c, &url);
    ann.wait(c, "in", ONLINE);
    ann.fill(c, "search", "whole");
    ann.wait(
        c,
        "the notice",
        &format!(
            "{} === 'The search index is being built; results may be incomplete.'",
            text_of("search-incomplete")
        ),
    );
    for page in [&ann, &bob] {
        page.has_no_faults(c);
    }
}
