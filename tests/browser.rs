//! The web client in a real Chromium against the real binary: what a member sees and does, nothing beside it. Pictures of
//! it, phone and desktop, light and dark, are left in `target/browser`.
//!
//! Where no Chromium is found the tests say so and pass; with `NATTER_REQUIRE_BROWSER=1` they fail.

#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/page.rs"]
mod page;
mod support;

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use natter::base::json;

use chromium::Chromium;
use page::{DESKTOP, PHONE, Page, by};
use support::TestDir;
use support::process::{Launch, Natter};

/// A server, a browser, and the folder of both.
struct Stage {
    chromium: Chromium,
    natter: Natter,
    launch: Launch,
    _dir: TestDir,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    /// `None` where there is no browser.
    fn set() -> Option<Stage> {
        // One browser at a time: two would only wait for each other.
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(binary) = chromium::find() else {
            let required = std::env::var_os("NATTER_REQUIRE_BROWSER").is_some_and(|value| value == "1");
            assert!(!required, "NATTER_REQUIRE_BROWSER=1, and no Chromium was found");
            // Past the capture of the test's output: a test that was not done must not look done.
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
        let launch = Launch::new(&server);
        let natter = launch.start();
        // It comes back where it was.
        let launch = launch.with(&[("PORT", &natter.address.port().to_string())]);
        let chromium = Chromium::start(&binary, &browser);
        Some(Stage { chromium, natter, launch, _dir: dir, _turn: turn })
    }

    fn url(&self) -> String {
        format!("http://{}/", self.natter.address)
    }

    fn page(&mut self, name: &'static str) -> Page {
        let url = self.url();
        Page::open(&mut self.chromium, name, &url)
    }

    /// A new member through the form, at the empty list.
    fn sign_up(&mut self, name: &'static str) -> Page {
        let page = self.page(name);
        let c = &mut self.chromium;
        page.wait(c, "the ways in", &by("sign-in"));
        page.click(c, "go-sign-up");
        page.fill(c, "field-display-name", name);
        page.fill(c, "field-email", &format!("{}@example.org", name.to_lowercase()));
        page.fill(c, "field-password", PASSWORD);
        page.click(c, "sign-up-submit");
        page.click(c, "verify-later");
        page.wait(c, "the connection", ONLINE);
        page.wait(c, "the empty list", &by("list-empty"));
        page
    }
}

const PASSWORD: &str = "correct horse battery";

const ONLINE: &str = "document.querySelector('[data-testid=connection]')?.dataset.state === 'online'";

/// Opens the conversation with somebody found by name.
fn open_person(c: &mut Chromium, page: &Page, name: &str) {
    page.click(c, "new-conversation");
    page.fill(c, "people-search", name);
    page.click(c, "person");
    page.wait(c, "the composer", &by("composer-input"));
}

fn send(c: &mut Chromium, page: &Page, text: &str) {
    page.fill(c, "composer-input", text);
    page.press(c, "Enter", 13);
}

/// What the conversation shows: place, state and text of each message, top to bottom.
const MESSAGES: &str = "[...document.querySelectorAll('[data-testid=message]')].map((m) => \
     [m.dataset.n, m.dataset.state, m.querySelector('[data-testid=message-body]')?.textContent ?? ''].join(' ')).join('\\n')";

fn shows(texts: &[String], state: &str) -> String {
    let all = texts.iter().enumerate().map(|(i, text)| format!("{} {state} {text}", i + 1));
    format!("{MESSAGES} === {}", json::to_string(&all.collect::<Vec<_>>().join("\n")))
}

/// A picture in light and dark, phone and desktop.
fn pictures(c: &mut Chromium, page: &Page, name: &str) {
    for (size, device) in [(DESKTOP, "desktop"), (PHONE, "phone")] {
        page.size(c, size);
        for scheme in ["light", "dark"] {
            page.scheme(c, scheme);
            page.settle(c);
            page.picture(c, &format!("{name}-{device}-{scheme}"));
        }
    }
    page.size(c, DESKTOP);
    page.scheme(c, "light");
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

    // Both ways.
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

    // Ann's network goes. What she writes waits, what Bob writes is missed.
    ann.offline(c, true);
    ann.wait(c, "noticed", &format!("!({ONLINE})"));
    ann.wait(c, "told", &format!("{}?.hidden === false", by("connection-strip")));
    for text in ["In the tunnel.", "Still in it."] {
        send(c, &ann, text);
    }
    ann.wait(c, "waiting", "document.querySelectorAll('[data-state=sending]').length === 2");
    ann.picture(c, "offline-desktop-light");
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

    // And what is on the disk is what is on the screen: a page that starts anew shows the same.
    for page in [&ann, &bob] {
        page.must(c, "Page.reload", "{}");
        page.wait(c, "again", ONLINE);
        page.wait(c, "the same", &shows(&said, "sent"));
        page.has_no_faults(c);
    }
    pictures(c, &bob, "chat");
}

#[test]
fn arabic_turns_the_page_round() {
    let Some(mut stage) = Stage::set() else { return };
    let page = stage.sign_up("Layla");
    let c = &mut stage.chromium;
    let list_is_left = "document.querySelector('nav').getBoundingClientRect().left === 0";
    assert_eq!(page.eval(c, list_is_left), "true");
    page.click(c, "open-settings");
    page.click(c, "tab-look");
    page.click(c, "lang-ar");
    page.wait(
        c,
        "the direction",
        "document.documentElement.dir === 'rtl' && document.documentElement.lang === 'ar'",
    );
    page.wait(c, "the words", &format!("{}.textContent.includes('العربية')", by("settings")));
    pictures(c, &page, "settings-arabic");
    page.click(c, "settings-close");
    assert_eq!(page.eval(c, list_is_left), "false");
    pictures(c, &page, "empty-arabic");
    // It is kept, and what is left to right in it stays so.
    page.must(c, "Page.reload", "{}");
    page.wait(c, "again", ONLINE);
    page.wait(c, "kept", "document.documentElement.dir === 'rtl'");
    page.has_no_faults(c);
}
