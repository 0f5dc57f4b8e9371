//! The web client in a real Chromium against the real binary.
//!
//! A test sees and does only what a member sees and does. What no browser is needed for is tested in `tests/client`. `views`
//! leaves a picture of every view in `target/browser`.
//!
//! Without a Chromium the tests print so and pass; with `NATTER_REQUIRE_BROWSER=1` they fail. With `NATTER_OVER_TLS=1` the browser
//! speaks https with the server.

#[path = "browser/accounts.rs"]
mod accounts;
#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/drafts.rs"]
mod drafts;
#[path = "browser/example.rs"]
mod example;
#[path = "browser/forward.rs"]
mod forward;
#[path = "browser/frictions.rs"]
mod frictions;
#[path = "browser/groups.rs"]
mod groups;
#[path = "browser/history.rs"]
mod history;
#[cfg(feature = "tls")]
#[path = "browser/installed.rs"]
mod installed;
#[path = "browser/invites.rs"]
mod invites;
#[path = "browser/media.rs"]
mod media;
#[path = "browser/mentions.rs"]
mod mentions;
#[path = "browser/moderation.rs"]
mod moderation;
#[path = "browser/order.rs"]
mod order;
#[path = "browser/page.rs"]
mod page;
#[path = "browser/proxies.rs"]
mod proxies;
mod support;
#[path = "browser/trust.rs"]
mod trust;
#[path = "browser/update.rs"]
mod update;
#[path = "browser/views.rs"]
mod views;
#[path = "browser/writing.rs"]
mod writing;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use natter::base::json;

use chromium::{Chromium, GLANCE, PATIENCE};
use page::{DESKTOP, PHONE, Page, by};
use support::TestDir;
use support::hop::Hop;
use support::process::{Launch, Natter, is_over_tls};

/// A server, a browser, the hop between them, and the folder of both.
struct Stage {
    chromium: Chromium,
    /// None over TLS, which a hop cannot read.
    hop: Option<Hop>,
    natter: Natter,
    launch: Launch,
    is_secure: bool,
    _dir: TestDir,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    /// `None` if there is no browser.
    fn set() -> Option<Stage> {
        Stage::with(&[])
    }

    /// A stage whose server has other settings.
    fn with(env: &[(&str, &str)]) -> Option<Stage> {
        Stage::build(env, is_over_tls())
    }

    fn build(env: &[(&str, &str)], is_secure: bool) -> Option<Stage> {
        // One browser at a time: two would only slow each other down.
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(binary) = chromium::find() else {
            let required = std::env::var_os("NATTER_REQUIRE_BROWSER").is_some_and(|value| value == "1");
            assert!(!required, "NATTER_REQUIRE_BROWSER=1, and no Chromium was found");
            // Written past the capture of the test's output: a skipped test must not look like one that ran.
            let word =
                "browser: SKIPPED, no Chromium was found (install one, or name it in NATTER_CHROMIUM)\n";
            std::io::stderr().write_all(word.as_bytes()).expect("stderr");
            return None;
        };
        let dir = TestDir::new();
        let folder = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).expect("a folder");
            path
        };
        let (server, browser) = (folder("server"), folder("browser"));
        let mut launch = Launch::new(&server).with(env);
        if is_secure {
            launch = secure(launch);
        }
        let natter = launch.start();
        // The server restarts on the same port.
        let launch = launch.with(&[("PORT", &natter.address.port().to_string())]);
        let chromium = Chromium::start(&binary, &browser, is_secure);
        let hop = (!is_secure).then(|| Hop::to(natter.address));
        Some(Stage { chromium, hop, natter, launch, is_secure, _dir: dir, _turn: turn })
    }

    /// Where a browser reaches the server.
    fn address(&self) -> SocketAddr {
        self.hop.as_ref().map_or(self.natter.address, |hop| hop.address)
    }

    fn origin(&self) -> String {
        format!("{}://{}", if self.is_secure { "https" } else { "http" }, self.address())
    }

    fn url(&self) -> String {
        format!("{}/", self.origin())
    }

    /// Where the server is reached without TLS.
    fn plain(&self) -> SocketAddr {
        #[cfg(feature = "tls")]
        if self.is_secure {
            return support::tls::forward_to(self.natter.address);
        }
        self.address()
    }

    fn page(&mut self, name: &'static str) -> Page {
        let url = self.url();
        Page::open(&mut self.chromium, name, &url)
    }

    /// Signs a new member up through the form; ends at the empty list.
    fn sign_up(&mut self, name: &'static str) -> Page {
        let url = self.url();
        self.sign_up_at(name, &url)
    }

    /// As [`Stage::sign_up`], at another address of the server.
    fn sign_up_at(&mut self, name: &'static str, url: &str) -> Page {
        let page = Page::open(&mut self.chromium, name, url);
        self.sign_up_on(&page, name);
        page
    }

    fn sign_up_on(&mut self, page: &Page, name: &str) {
        let c = &mut self.chromium;
        page.wait(c, "the ways in", &by("sign-in"));
        page.click(c, "go-sign-up");
        complete_sign_up(c, page, name);
        page.wait(c, "the empty list", &by("list-empty"));
    }
}

/// Fills in the form of a new account, up to the page.
fn complete_sign_up(c: &mut Chromium, page: &Page, name: &str) {
    page.fill(c, "field-display-name", name);
    page.fill(c, "field-email", &format!("{}@example.org", name.to_lowercase()));
    page.fill(c, "field-password", PASSWORD);
    page.click(c, "sign-up-submit");
    page.click(c, "verify-later");
    page.wait(c, "the connection", ONLINE);
}

/// Makes a group of people who are found by their names.
fn make_group(c: &mut Chromium, page: &Page, title: &str, names: &[&str]) {
    page.click(c, "new-conversation");
    page.click(c, "new-group");
    page.fill(c, "field-title", title);
    for name in names {
        page.fill(c, "people-search", name);
        let row = format!(
            "[...document.querySelectorAll('[data-testid=people-results] [data-testid=person]')].find((p) => p.textContent.startsWith('{name}'))"
        );
        page.click_on(c, &row);
        page.wait(c, "chosen", &format!("{row}?.ariaPressed === 'true'"));
    }
    page.click(c, "group-submit");
    let title = json::to_string(&title);
    page.wait(c, "made", &format!("document.querySelector('.chat-name')?.textContent === {title}"));
}

fn secure(launch: Launch) -> Launch {
    #[cfg(feature = "tls")]
    return support::tls::secure(launch);
    #[cfg(not(feature = "tls"))]
    panic!("NATTER_OVER_TLS is set, and this build is without the feature tls: {launch:?}");
}

const PASSWORD: &str = "correct horse battery";

const ONLINE: &str = "document.querySelector('[data-testid=connection]')?.dataset.state === 'online'";

/// Opens the conversation with a person found by name.
fn open_person(c: &mut Chromium, page: &Page, name: &str) {
    page.click(c, "new-conversation");
    page.fill(c, "people-search", name);
    page.click(c, "person");
    // Not that of a conversation that was open before.
    let title = "document.querySelector('.chat-title')?.textContent ?? ''";
    page.wait(
        c,
        "the composer",
        &format!("({title}).includes({}) && {}", json::to_string(name), by("composer-input")),
    );
}

fn send(c: &mut Chromium, page: &Page, text: &str) {
    page.fill(c, "composer-input", text);
    page.press(c, "Enter", 13);
}

/// What the conversation shows: position, state and text of each message, top to bottom.
const MESSAGES: &str = "[...document.querySelectorAll('[data-testid=message]')].map((m) => \
     [m.dataset.n, m.dataset.state, m.querySelector('[data-testid=message-body]')?.textContent ?? ''].join(' ')).join('\\n')";

fn shows(texts: &[String], state: &str) -> String {
    let all = texts.iter().enumerate().map(|(i, text)| format!("{} {state} {text}", i + 1));
    format!("{MESSAGES} === {}", json::to_string(&all.collect::<Vec<_>>().join("\n")))
}

#[test]
fn nothing_is_lost_or_doubled_while_networks_and_servers_fail() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    let mut said = Vec::new();
    let mut say = |c: &mut Chromium, page: &Page, text: &str| {
        send(c, page, text);
        said.push(text.to_owned());
        said.clone()
    };

    // In both directions.
    open_person(c, &ann, "Bob");
    let all = say(c, &ann, "Hello Bob, can you read this?");
    ann.wait(c, "sent", &shows(&all, "sent"));
    bob.click(c, "conversation");
    bob.wait(c, "arrived", &shows(&all, "sent"));
    let all = say(c, &bob, "Loud and clear.");
    for page in [&ann, &bob] {
        page.wait(c, "both ways", &shows(&all, "sent"));
    }
    ann.wait(c, "the read mark", "document.querySelector('[data-mine=true]').dataset.read === 'true'");

    // Ann is offline. Her messages wait, and she misses Bob's.
    ann.offline(c, true);
    ann.wait(c, "noticed", &format!("!({ONLINE})"));
    ann.wait(c, "told", &format!("{}?.hidden === false", by("connection-strip")));
    for text in ["In the tunnel.", "Still in it."] {
        send(c, &ann, text);
    }
    ann.wait(c, "waiting", "document.querySelectorAll('[data-state=sending]').length === 2");
    say(c, &bob, "Where are you?");
    let all = say(c, &bob, "Call me when you are out.");
    bob.wait(c, "sent", &shows(&all, "sent"));
    ann.offline(c, false);
    said.extend(["In the tunnel.".to_owned(), "Still in it.".to_owned()]);
    for page in [&ann, &bob] {
        page.wait(c, "nothing lost, nothing doubled", &shows(&said, "sent"));
    }

    // The server is killed while both write.
    let mut say = |c: &mut Chromium, page: &Page, text: &str| {
        send(c, page, text);
        said.push(text.to_owned());
        said.clone()
    };
    stage.natter.kill();
    for page in [&ann, &bob] {
        page.wait(c, "noticed", &format!("!({ONLINE})"));
    }
    say(c, &ann, "Is it down?");
    ann.wait(c, "waiting", "document.querySelectorAll('[data-state=sending]').length === 1");
    stage.natter = stage.launch.start();
    for page in [&ann, &bob] {
        page.wait(c, "back", ONLINE);
        page.wait(c, "nothing lost, nothing doubled", &shows(&said, "sent"));
    }

    // The screen shows what is on the disk: after a reload the page shows the same.
    for page in [&ann, &bob] {
        page.must(c, "Page.reload", "{}");
        page.wait(c, "again", ONLINE);
        page.wait(c, "the same", &shows(&said, "sent"));
        page.has_no_faults(c);
    }
}

#[test]
fn arabic_mirrors_the_page() {
    let Some(mut stage) = Stage::set() else { return };
    let page = stage.sign_up("Layla");
    let c = &mut stage.chromium;
    let list_is_left = "document.querySelector('nav').getBoundingClientRect().left === 0";
    let loaded = "performance.getEntriesByType('resource').map((it) => it.name.split('/lang/')[1]).filter(Boolean).join()";
    assert_eq!(page.eval(c, list_is_left), "true");
    assert_eq!(page.eval(c, loaded), "en.js");
    page.click(c, "open-settings");
    page.click(c, "tab-look");
    page.click(c, "lang-ar");
    page.wait(
        c,
        "the direction",
        "document.documentElement.dir === 'rtl' && document.documentElement.lang === 'ar'",
    );
    page.wait(c, "the words", &format!("{}.textContent.includes('العربية')", by("settings")));
    page.click(c, "settings-close");
    assert_eq!(page.eval(c, list_is_left), "false");
    // The choice is kept, and left-to-right text in the page stays so.
    page.must(c, "Page.reload", "{}");
    page.wait(c, "again", ONLINE);
    page.wait(c, "kept", "document.documentElement.dir === 'rtl'");
    assert_eq!(page.eval(c, loaded), "ar.js");
    page.has_no_faults(c);
}

/// The message with this text, as an expression.
fn message(text: &str) -> String {
    let text = json::to_string(text);
    format!(
        "[...document.querySelectorAll('[data-testid=message]')].find((m) => \
         m.querySelector('[data-testid=message-body]')?.textContent === {text})"
    )
}

fn text_of(testid: &str) -> String {
    format!("{}?.textContent", by(testid))
}

#[test]
fn messages_of_a_group_are_changed_and_searched() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob, cy) = (stage.sign_up("Ann"), stage.sign_up("Bob"), stage.sign_up("Cyrine"));
    let c = &mut stage.chromium;

    // After the first message each sees that the other is online, and sees the other type.
    open_person(c, &ann, "Bob");
    send(c, &ann, "Hello!");
    ann.wait(c, "presence", &format!("{} === 'Online'", text_of("chat-line")));
    bob.click(c, "conversation");
    bob.fill(c, "composer-input", "Hel");
    ann.wait(c, "typing", "document.querySelector('[data-testid=typing].shown')");
    bob.fill(c, "composer-input", "");
    ann.wait(c, "no more", "!document.querySelector('[data-testid=typing].shown')");

    // A group of three.
    make_group(c, &ann, "Kitchen", &["Bob", "Cyrine"]);
    ann.wait(c, "the group", &format!("{} === '3 members'", text_of("chat-line")));
    send(c, &ann, "The café opens at nine.");
    for page in [&bob, &cy] {
        page.click_on(c, "[...document.querySelectorAll('[data-testid=conversation]')].find((r) => r.textContent.includes('Kitchen'))");
        page.wait(c, "the words", &message("The café opens at nine."));
    }
    send(c, &cy, "<img src=x onerror=alert(1)> javascript:alert(1) https://example.org/a?b=c.");
    ann.wait(
        c,
        "as written, and a link that is one",
        &format!(
            "{}?.querySelector('a[rel~=noopener]')?.href === 'https://example.org/a?b=c' && \
             !document.querySelector('[data-testid=messages] img')",
            message("<img src=x onerror=alert(1)> javascript:alert(1) https://example.org/a?b=c.")
        ),
    );

    // A reply, a reaction, an edit, a deletion: the others see each.
    let first = message("The café opens at nine.");
    bob.hover(c, &first);
    bob.click(c, "message-reply");
    send(c, &bob, "Too early for me");
    cy.wait(
        c,
        "the quote",
        &format!(
            "{}?.querySelector('[data-testid=message-quote]').textContent.includes('café')",
            message("Too early for me")
        ),
    );
    bob.hover(c, &first);
    bob.click(c, "message-react");
    bob.click_on(
        c,
        "[...document.querySelectorAll('[data-testid=emoji]')].find((e) => e.textContent === '👍')",
    );
    cy.wait(
        c,
        "the reaction",
        &format!("{first}?.querySelector('[data-emoji=\"👍\"]')?.ariaPressed === 'false'"),
    );
    cy.click_on(c, &format!("{first}.querySelector('[data-emoji=\"👍\"]')"));
    bob.wait(
        c,
        "two of them",
        &format!("{first}?.querySelector('[data-emoji] .count')?.textContent === '2'"),
    );
    ann.hover(c, &first);
    ann.click(c, "message-more");
    ann.click(c, "menu-edit");
    ann.wait(c, "the old text", &format!("{}.value.startsWith('The café')", by("composer-input")));
    ann.fill(c, "composer-input", "The café opens at ten.");
    ann.press(c, "Enter", 13);
    bob.wait(c, "the new text", &message("The café opens at ten."));
    bob.hover(c, &message("Too early for me"));
    bob.click(c, "message-more");
    bob.click(c, "menu-delete");
    bob.click(c, "confirm-yes");
    cy.wait(
        c,
        "a tombstone",
        "document.querySelectorAll('[data-testid=message].deleted').length === 1 && \
         !document.querySelector('[data-testid=messages]').textContent.includes('Too early')",
    );

    // Accents and case are folded; an erased message is not found.
    cy.fill(c, "search", "CAFE");
    cy.wait(c, "found", &format!("{}?.textContent.includes('ten')", by("found-message")));
    cy.fill(c, "search", "early");
    cy.wait(
        c,
        "nothing",
        &format!("!{} && {}.textContent.includes('early')", by("found-message"), by("search-results")),
    );
    cy.click(c, "search-clear");

    // A removed member loses the conversation at once.
    ann.click(c, "chat-info");
    let more = "[...document.querySelectorAll('li.person')].find((r) => r.textContent.startsWith('Cyrine')).querySelector('[data-testid=member-more]')";
    ann.wait(
        c,
        "the members",
        &format!("document.querySelectorAll('[data-testid=member]').length === 3 && {more}"),
    );
    ann.click_on(c, more);
    ann.click(c, "member-remove");
    cy.wait(c, "gone", &by("stage-gone"));
    ann.wait(c, "two are left", "document.querySelectorAll('[data-testid=member]').length === 2");
    ann.click(c, "info-dialog-close");
    for page in [&ann, &bob, &cy] {
        page.has_no_faults(c);
    }
}

#[test]
fn events_during_a_press_do_not_undo_it() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");
    send(c, &ann, "Hello!");
    let row = by("conversation");
    bob.wait(c, "one unread", &format!("{row}?.dataset.unread === '1'"));

    // The row is redrawn with each message. Nothing on the page shows this one before the press is over, so Bob reads
    // the socket itself.
    bob.eval(
        c,
        "window.heard = new Promise((done) => { const own = JSON.parse; JSON.parse = (text) => { const value = own(text); \
         if (value?.event === 'message.posted') { JSON.parse = own; setTimeout(() => setTimeout(done, 0, 1)); } return value; }; }); 1",
    );
    let place = bob.press_on(c, &row);
    send(c, &ann, "Are you there?");
    assert_eq!(bob.eval(c, "window.heard"), "1");
    bob.release(c, &place);
    let all = ["Hello!", "Are you there?"].map(str::to_owned);
    bob.wait(c, "opened, with what came meanwhile", &shows(&all, "sent"));

    // A release that is never reported delays nothing for long.
    let place = bob.press_on(c, &by("chat-line"));
    send(c, &ann, "Hold on.");
    let all = ["Hello!", "Are you there?", "Hold on."].map(str::to_owned);
    bob.wait(c, "shown all the same", &shows(&all, "sent"));
    bob.release(c, &place);
    for page in [&ann, &bob] {
        page.has_no_faults(c);
    }
}

/// Whether an element is a picture that was loaded completely.
fn is_drawn(element: &str) -> String {
    format!("(() => {{ const i = {element}; return i?.complete && i.naturalWidth > 1; }})()")
}

#[test]
fn pictures_and_files_are_sent_and_shown() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let folder = stage.launch.folder.clone();
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");

    // A picture with a text: both see it, and its own size when it is opened.
    let picture = ann.picture(c, "to-be-sent");
    ann.choose(c, "composer-file", &picture);
    ann.wait(c, "it waits", &format!("{}.querySelector('img')", by("composer-files")));
    send(c, &ann, "This is what I see.");
    let image = by("message-image");
    for page in [&ann, &bob] {
        if std::ptr::eq(page, &bob) {
            page.click(c, "conversation");
        }
        page.wait(c, "sent", &format!("{}?.dataset.state === 'sent'", by("message")));
        page.wait(c, "the picture", &is_drawn(&image));
    }
    bob.click(c, "message-image");
    let large = by("lightbox-image");
    bob.wait(c, "large", &is_drawn(&large));
    assert_eq!(bob.eval(c, &format!("{large}.naturalWidth + '×' + {large}.naturalHeight")), "1280×800");
    bob.click(c, "lightbox-close");

    // A file dropped on the conversation. A file that may not be sent is refused at once, and can be removed.
    let note = folder.join("ملاحظات.txt");
    std::fs::write(&note, "first line\nsecond line\n").expect("a file");
    ann.drop_file(c, &by("messages"), &note);
    ann.wait(c, "it waits", &format!("{}.textContent.includes('ملاحظات.txt')", by("composer-files")));
    ann.click(c, "composer-send");
    let link = by("message-file");
    bob.wait(c, "the file", &format!("{link}?.textContent.includes('ملاحظات.txt')"));
    assert_eq!(
        bob.eval(c, &format!("fetch({link}.href).then((r) => r.text())")),
        "first line\nsecond line\n"
    );
    let noise = folder.join("noise.bin");
    std::fs::write(&noise, [0, 159, 146, 150, 0, 255, 254]).expect("a file");
    ann.choose(c, "composer-file", &noise);
    ann.click(c, "composer-send");
    ann.wait(c, "refused", &format!("{}?.textContent", by("message-failure")));
    ann.click(c, "message-discard");
    ann.wait(c, "gone", "document.querySelectorAll('[data-testid=message]').length === 2");

    // A profile picture.
    ann.click(c, "open-settings");
    ann.choose(c, "profile-image-file", &picture);
    ann.wait(c, "my face", &is_drawn(&format!("{}.querySelector('.avatar img')", by("settings"))));
    ann.click(c, "settings-close");
    bob.wait(c, "her face", &is_drawn(&format!("{}.querySelector('.avatar img')", by("conversation"))));

    // A deleted picture can't be loaded, not even by its address.
    let address = bob.eval(c, &format!("{image}.src"));
    ann.hover(c, &message("This is what I see."));
    ann.click(c, "message-more");
    ann.click(c, "menu-delete");
    ann.click(c, "confirm-yes");
    bob.wait(c, "a tombstone", &format!("!{image}"));
    assert_eq!(
        bob.eval(
            c,
            &format!("fetch({}, {{cache: 'reload'}}).then((r) => r.status)", json::to_string(&address))
        ),
        "404"
    );
    for page in [&ann, &bob] {
        page.has_no_faults(c);
    }
}

/// The code in the last mail with this subject, as soon as there is one.
fn mailed_code(mbox: &Path, subject: &str) -> String {
    let subject = format!("\nSubject: {subject}\n");
    let until = Instant::now() + PATIENCE;
    loop {
        let mails = std::fs::read_to_string(mbox).unwrap_or_default().replace('\r', "");
        let digits = |word: &&str| word.len() == 6 && word.bytes().all(|b| b.is_ascii_digit());
        // After the head, whose ids have digits too.
        let body = mails.rsplit_once(&subject).and_then(|(_, rest)| rest.split_once("\n\n"));
        if let Some(code) = body.and_then(|(_, body)| body.split_ascii_whitespace().find(digits)) {
            return code.to_owned();
        }
        assert!(Instant::now() < until, "no mail: {mails}");
        std::thread::sleep(GLANCE);
    }
}

#[test]
fn sign_up_sign_in_reset_and_devices() {
    let Some(mut stage) = Stage::set() else { return };
    let mbox = stage.launch.folder.join("data/mail.mbox");
    let page = stage.page("Ann");
    let second = stage.page("Ann, elsewhere");
    let c = &mut stage.chromium;
    let address = "ann@example.org";

    // An error is shown at the field it belongs to.
    page.click(c, "go-sign-up");
    for (testid, text) in
        [("field-display-name", "Ann"), ("field-email", "nonsense"), ("field-password", PASSWORD)]
    {
        page.fill(c, testid, text);
    }
    page.click(c, "sign-up-submit");
    page.wait(
        c,
        "a word at the field",
        "document.querySelector('[data-field=email] .field-note.bad')?.textContent",
    );
    page.fill(c, "field-email", address);
    page.click(c, "sign-up-submit");
    page.wait(c, "the code's form", &by("verify"));
    page.fill(c, "field-code", "000000");
    page.click(c, "verify-submit");
    page.wait(c, "refused", &format!("{}.textContent", by("verify-error")));
    page.fill(c, "field-code", &mailed_code(&mbox, "Your verification code"));
    page.click(c, "verify-submit");
    page.wait(c, "in", ONLINE);
    page.wait(c, "verified", &format!("{}.hidden", by("verify-banner")));

    // A second device signs in, is listed, and is signed out.
    second.wait(c, "the ways in", &by("sign-in"));
    second.fill(c, "field-email", address);
    second.fill(c, "field-password", "not this one");
    second.click(c, "sign-in-submit");
    second.wait(c, "refused", &format!("{}.textContent", by("sign-in-error")));
    second.fill(c, "field-password", PASSWORD);
    second.click(c, "sign-in-submit");
    second.wait(c, "in", ONLINE);
    page.click(c, "open-settings");
    page.click(c, "tab-devices");
    page.wait(c, "both", "document.querySelectorAll('[data-testid=session]').length === 2");
    page.click(c, "session-revoke");
    second.wait(c, "out", &by("auth-notice"));
    page.wait(c, "one", "document.querySelectorAll('[data-testid=session]').length === 1");
    page.click(c, "settings-close");

    // A forgotten password is reset with a code; every device is signed out.
    second.click(c, "go-reset");
    second.fill(c, "field-email", address);
    second.click(c, "reset-submit");
    second.wait(c, "the code's form", &by("reset-code"));
    second.fill(c, "field-code", &mailed_code(&mbox, "Your code for a new password"));
    second.fill(c, "field-password", "another horse 9");
    second.click(c, "reset-code-submit");
    second.wait(c, "changed", &by("auth-notice"));
    page.wait(c, "out", &by("auth-notice"));
    second.fill(c, "field-password", "another horse 9");
    second.click(c, "sign-in-submit");
    second.wait(c, "in", ONLINE);
    second.click(c, "open-settings");
    second.click(c, "tab-account");
    second.click(c, "sign-out");
    second.wait(c, "out", &by("sign-in"));
    assert_eq!(second.eval(c, "localStorage.getItem('natter.token')"), "null");
    for page in [&page, &second] {
        page.has_no_faults(c);
    }
}
