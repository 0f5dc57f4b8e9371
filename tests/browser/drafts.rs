//! What was written and not sent stays on the device until it is sent, and not longer than the session.

use super::*;

/// Keys of the local storage that hold drafts, and rows of the database that hold their files.
const KEPT: &str = "new Promise((done) => { const open = indexedDB.open('natter'); \
     open.onsuccess = () => { const count = open.result.transaction('draft_files').objectStore('draft_files').count(); \
     count.onsuccess = () => { open.result.close(); \
     done(Object.keys(localStorage).filter((key) => key.startsWith('natter.draft:')).length + ' ' + count.result); }; }; })";

fn write(c: &mut Chromium, page: &Page, file: &Path) {
    page.fill(c, "composer-input", "half a thou");
    page.choose(c, "composer-file", file);
    page.wait(c, "the file", &format!("{}.textContent.includes('notes.txt')", by("composer-files")));
    let until = Instant::now() + PATIENCE;
    while page.eval(c, KEPT) != "1 1" {
        assert!(Instant::now() < until, "the draft is not on the device: {}", page.eval(c, KEPT));
        std::thread::sleep(GLANCE);
    }
}

#[test]
fn a_draft_survives_a_reload_and_not_the_session() {
    let Some(mut stage) = Stage::set() else { return };
    let file = stage.launch.folder.join("notes.txt");
    std::fs::write(&file, "some notes").expect("a file");
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let second = stage.page("Ann, elsewhere");
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");
    send(c, &ann, "Hello!");
    ann.wait(c, "sent", &shows(&["Hello!".to_owned()], "sent"));
    bob.click(c, "conversation");
    send(c, &bob, "What do you think?");
    ann.wait(c, "both", &message("What do you think?"));
    ann.hover(c, &message("What do you think?"));
    ann.click(c, "message-reply");
    write(c, &ann, &file);

    // A reload keeps the text, the files and what is replied to; a message takes them along.
    ann.must(c, "Page.reload", "{}");
    ann.wait(c, "the text", &format!("{ONLINE} && {}?.value === 'half a thou'", by("composer-input")));
    ann.wait(c, "the file", &format!("{}.textContent.includes('notes.txt')", by("composer-files")));
    ann.wait(
        c,
        "the reply",
        &format!("{}.textContent.includes('What do you think?')", by("composer-context")),
    );
    send(c, &ann, "half a thought");
    bob.wait(c, "sent", &message("half a thought"));
    bob.wait(c, "with its file", &by("message-file"));
    bob.wait(c, "as a reply", &by("message-quote"));
    ann.wait(c, "nothing left", &format!("{}.value === '' && {0}.hidden === false", by("composer-input")));
    let until = Instant::now() + PATIENCE;
    while ann.eval(c, KEPT) != "0 0" {
        assert!(Instant::now() < until, "{}", ann.eval(c, KEPT));
        std::thread::sleep(GLANCE);
    }

    // Signing out erases it.
    write(c, &ann, &file);
    ann.click(c, "open-settings");
    ann.click(c, "tab-account");
    ann.click(c, "sign-out");
    ann.wait(c, "out", &by("sign-in"));
    assert_eq!(ann.eval(c, KEPT), "0 0");

    // So does another device that ends the session.
    for page in [&ann, &second] {
        page.wait(c, "the form", &by("sign-in"));
        page.fill(c, "field-email", "ann@example.org");
        page.fill(c, "field-password", PASSWORD);
        page.click(c, "sign-in-submit");
        page.click(c, "verify-later");
        page.wait(c, "in", ONLINE);
    }
    ann.click(c, "conversation");
    write(c, &ann, &file);
    second.click(c, "open-settings");
    second.click(c, "tab-devices");
    second.click(c, "session-revoke");
    ann.wait(c, "out", &by("auth-notice"));
    let until = Instant::now() + PATIENCE;
    while ann.eval(c, KEPT) != "0 0" {
        assert!(Instant::now() < until, "{}", ann.eval(c, KEPT));
        std::thread::sleep(GLANCE);
    }
    for page in [&ann, &bob, &second] {
        page.has_no_faults(c);
    }
}
