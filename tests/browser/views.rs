//! Every view, in both languages, in light and dark, on phone and desktop: axe finds no barrier in it, and its picture is in
//! `target/browser`.
//!
//! axe-core comes from npm (`NATTER_AXE` or `target/axe`, where `.ci/run` installs it); a line says if it is absent. Then the views are
//! visited only with `NATTER_ALL=1`.

use super::page::{all, last};
use super::*;
use crate::support::http::Person;
use crate::support::net::Http;

/// The rules of WCAG 2.2 AA that axe can check, and what it calls best practice; of the layer on top, since what is below it
/// has a view of its own.
const AXE: &str = "axe.run([...document.querySelectorAll('dialog[open], .menu')].at(-1) ?? document, { resultTypes: ['violations'], runOnly: \
     ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then(({ violations, passes }) => passes.length === 0 ? 'axe checked nothing' : \
     violations.map((it) => [it.id, ...it.nodes.map((node) => node.target.join(' ') + ': ' + node.any.concat(node.all, node.none)\
     .map((check) => check.message).join(', '))].join('\\n    ')).join('\\n  '))";

/// The source of axe; `None` where it is not installed.
fn axe() -> Option<String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target");
    let own = target.join("axe/node_modules/axe-core/axe.min.js");
    let path = std::env::var_os("NATTER_AXE").map_or(own, std::path::PathBuf::from);
    let source = std::fs::read_to_string(path).ok();
    if source.is_none() {
        let word =
            "browser: SKIPPED the check of every view by axe (npm install --prefix target/axe axe-core)\n";
        std::io::stderr().write_all(word.as_bytes()).expect("stderr");
    }
    source
}

/// One member's page, and what was found on it so far.
struct Visit<'a> {
    page: &'a Page,
    axe: Option<&'a str>,
    language: &'static str,
    faults: Vec<String>,
}

impl Visit<'_> {
    /// Checks and draws the view that the page shows now: on both devices, and over both languages in light and dark on each.
    fn view(&mut self, c: &mut Chromium, name: &str) {
        let schemes = if self.language == "en" { ["light", "dark"] } else { ["dark", "light"] };
        for ((size, device), scheme) in [(DESKTOP, "desktop"), (PHONE, "phone")].into_iter().zip(schemes) {
            self.page.size(c, size);
            self.look(c, &format!("{name}-{}-{device}-{scheme}", self.language), scheme);
        }
        self.page.size(c, DESKTOP);
        self.page.settle(c);
    }

    /// The same of a menu, which closes when the page changes its size.
    fn menu(&mut self, c: &mut Chromium, name: &str) {
        self.page.wait(c, "the menu", &by("menu"));
        for scheme in ["light", "dark"] {
            self.look(c, &format!("{name}-{}-desktop-{scheme}", self.language), scheme);
        }
        self.page.press(c, "Escape", 27);
        self.page.wait(c, "no menu", &format!("!{}", by("menu")));
    }

    fn look(&mut self, c: &mut Chromium, name: &str, scheme: &str) {
        self.page.scheme(c, scheme);
        self.page.settle(c);
        self.page.picture(c, name);
        let Some(source) = self.axe else { return };
        if self.page.eval(c, "typeof axe") == "undefined" {
            self.page.eval(c, &format!("{source}; 1"));
        }
        let found = self.page.eval(c, AXE);
        if !found.is_empty() {
            println!("{name}:\n  {found}");
            self.faults.push(format!("{name}:\n  {found}"));
        }
    }

    fn close(&self, c: &mut Chromium, dialog: &str) {
        self.page.click(c, &format!("{dialog}-close"));
        self.page.wait(c, "closed", &format!("!{}", by(dialog)));
    }

    fn go(&self, c: &mut Chromium, hash: &str, testid: &str) {
        self.page.eval(c, &format!("location.hash = '{hash}'"));
        self.page.wait(c, testid, &by(testid));
    }
}

/// Checks and draws one view of a journey that only that journey has.
pub fn check(c: &mut Chromium, page: &Page, name: &str) {
    let axe = axe();
    let mut visit = Visit { page, axe: axe.as_deref(), language: "en", faults: Vec::new() };
    visit.view(c, name);
    assert!(visit.faults.is_empty(), "{}", visit.faults.join("\n"));
}

/// What there is to see: people, a conversation of two, a group.
struct World {
    cy: Person,
    pair: String,
    group: String,
    /// Of an invite to the group.
    code: String,
}

fn world(http: &mut Http) -> World {
    let (ann, bob, cy) = (http.sign_up("ann"), http.sign_up("bob"), http.sign_up("cyrine"));
    let mut number = 0;
    let mut say = |http: &mut Http, who: &Person, to: &str, more: &str| {
        number += 1;
        let body = format!(r#"{{"client_id":"{number:026}",{to},{more}}}"#);
        let answer = http.ask_as(who, "POST", "/api/v1/messages", Some(&body)).expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
        (answer.at("data.id"), answer.at("data.conversation"))
    };
    let (first, pair) = say(
        http,
        &bob,
        &format!(r#""to":"{}""#, ann.profile),
        r#""body":"Good morning! Have you seen https://example.org/notes?""#,
    );
    let here = format!(r#""conversation":"{pair}""#);
    say(
        http,
        &ann,
        &here,
        &format!(
            r#""body":"Yes. Two things are unclear to me, and the second one is long enough for a second line of text.","reply_to":"{first}""#
        ),
    );
    say(http, &bob, &here, r#""body":"😀""#);
    let (erased, _) = say(http, &bob, &here, r#""body":"not this""#);
    let (last, _) = say(http, &ann, &here, r#""body":"أهلا وسهلا""#);
    let react = format!("/api/v1/messages/{last}/reactions/%F0%9F%91%8D");
    assert_eq!(http.ask_as(&bob, "PUT", &react, None).expect("an answer").status, 200);
    assert_eq!(
        http.ask_as(&bob, "DELETE", &format!("/api/v1/messages/{erased}"), None).expect("an answer").status,
        204
    );
    let members = format!(r#"{{"title":"Kitchen","members":["{}","{}"]}}"#, bob.profile, cy.profile);
    let group =
        http.ask_as(&ann, "POST", "/api/v1/conversations", Some(&members)).expect("an answer").at("data.id");
    let here = format!(r#""conversation":"{group}""#);
    say(http, &cy, &here, r#""body":"The café opens at nine.""#);
    say(http, &bob, &here, r#""body":"Too early for me""#);
    let invite = format!(r#"{{"conversation":"{group}"}}"#);
    let code =
        http.ask_as(&ann, "POST", "/api/v1/invites", Some(&invite)).expect("an answer").at("data.code");
    World { cy, pair, group, code }
}

fn sign_in(c: &mut Chromium, page: &Page, name: &str) {
    page.fill(c, "field-email", &format!("{name}@example.org"));
    page.fill(c, "field-password", &format!("correct horse {name}'s"));
    page.click(c, "sign-in-submit");
}

/// The pages of a signed-out browser.
fn visit_gate(c: &mut Chromium, visit: &mut Visit, world: &World) {
    let page = visit.page;
    page.wait(c, "the form", &by("sign-in"));
    page.wait(c, "the offer", &by("go-sign-up"));
    visit.view(c, "gate-sign-in");
    page.fill(c, "field-email", "ann@example.org");
    page.fill(c, "field-password", "not this one");
    page.click(c, "sign-in-submit");
    page.wait(c, "the error", &format!("{}.textContent", by("sign-in-error")));
    visit.view(c, "gate-error");
    page.click(c, "go-reset");
    visit.view(c, "gate-reset");
    page.click(c, "reset-submit");
    page.wait(c, "the code", &by("reset-code"));
    visit.view(c, "gate-reset-code");
    page.click(c, "go-sign-in");
    page.click(c, "go-sign-up");
    visit.view(c, "gate-sign-up");
    page.eval(c, &format!("location.hash = '#/i/{}'", world.code));
    page.wait(c, "the invite", &by("auth-notice"));
    visit.view(c, "gate-invited");
    page.eval(c, "history.replaceState(null, '', location.pathname)");
    page.click(c, "go-sign-in");
}

fn visit_conversations(c: &mut Chromium, visit: &mut Visit, world: &World) {
    let page = visit.page;
    visit.go(c, "#/", "stage-empty");
    page.wait(c, "the list", "document.querySelectorAll('[data-testid=conversation]').length === 2");
    visit.view(c, "list");
    let menu = "document.querySelector('[data-testid=conversation]').dispatchEvent(new MouseEvent('contextmenu', \
                { bubbles: true, cancelable: true })); 1";
    page.eval(c, menu);
    visit.menu(c, "list-menu");
    visit.go(c, &format!("#/c/{}", world.pair), "messages");
    page.wait(c, "the quote", &by("message-quote"));
    page.wait(
        c,
        "read",
        "document.querySelectorAll('[data-testid=conversation][data-unread=\"0\"]').length > 0",
    );
    visit.view(c, "chat");
    let quoted = "document.querySelectorAll('[data-testid=message]')[0]";
    page.hover(c, quoted);
    page.click(c, "message-reply");
    page.fill(c, "composer-input", "half a thought");
    visit.view(c, "chat-reply");
    page.click(c, "composer-cancel");
    page.fill(c, "composer-input", "");
    page.hover(c, quoted);
    page.click(c, "message-more");
    visit.menu(c, "chat-menu");
    page.click(c, "composer-emoji");
    visit.menu(c, "chat-emoji");
    page.click(c, "chat-info");
    visit.view(c, "info-person");
    page.click(c, "info-block");
    visit.view(c, "confirm");
    page.click(c, "confirm-yes");
    page.wait(c, "blocked", &by("chat-unblock"));
    visit.close(c, "info-dialog");
    visit.view(c, "chat-blocked");
    page.click(c, "chat-unblock");
    page.wait(c, "the composer", &by("composer-input"));

    visit.go(c, &format!("#/c/{}", world.group), "messages");
    page.wait(c, "both", "document.querySelectorAll('[data-testid=message]').length === 2");
    visit.view(c, "group");
    page.hover(c, quoted);
    page.click(c, "message-more");
    page.click(c, "menu-read-by");
    page.wait(c, "the readers", &by("read-by-dialog"));
    visit.view(c, "read-by");
    visit.close(c, "read-by-dialog");
    page.click(c, "chat-info");
    page.wait(c, "the members", "document.querySelectorAll('[data-testid=member]').length === 3");
    visit.view(c, "info-group");
    page.click(c, "member-more");
    visit.menu(c, "info-member-menu");
    page.click(c, "info-add");
    visit.view(c, "add");
    visit.close(c, "add-dialog");
    page.click(c, "info-invites");
    page.wait(c, "the invites", "document.querySelector('li[data-testid=invite]')");
    visit.view(c, "invites");
    page.click(c, "invite-submit");
    page.wait(c, "the code", &by("invite-qr"));
    visit.view(c, "invites-made");
    visit.close(c, "invites-dialog");
    visit.close(c, "info-dialog");
    visit.go(c, "#/", "stage-empty");
    page.fill(c, "search", "early");
    page.wait(c, "found", &by("found-message"));
    visit.view(c, "search");
    page.fill(c, "search", "nothing like it");
    page.wait(c, "nothing", &format!("!{} && {}.textContent", by("found-message"), by("search-results")));
    visit.view(c, "search-none");
    page.click(c, "search-clear");
    visit.go(c, "#/c/01ARZ3NDEKTSV4RRFFQ69G5FAV", "stage-gone");
    visit.view(c, "gone");
    visit.go(c, &format!("#/p/{}", world.cy.profile), "composer-input");
    visit.view(c, "chat-unbegun");
    visit.go(c, "#/", "stage-empty");
}

fn visit_dialogs(c: &mut Chromium, visit: &mut Visit) {
    let page = visit.page;
    page.click(c, "new-conversation");
    page.wait(c, "the directory", &format!("{}?.firstChild", by("directory")));
    visit.view(c, "new-directory");
    page.fill(c, "people-search", "cyr");
    page.wait(c, "found", &by("person"));
    visit.view(c, "new");
    page.click(c, "new-group");
    page.fill(c, "field-title", "Garden");
    page.fill(c, "people-search", "cyr");
    page.click_on(c, "document.querySelector('[data-testid=people-results] [data-testid=person]')");
    visit.view(c, "new-group");
    visit.close(c, "group-dialog");
    page.click(c, "verify-open");
    visit.view(c, "verify-dialog");
    visit.close(c, "verify-dialog");
    page.click(c, "open-settings");
    for tab in ["profile", "account", "notify", "devices", "look"] {
        page.click(c, &format!("tab-{tab}"));
        if tab == "devices" {
            page.wait(c, "the devices", &by("session"));
        }
        visit.view(c, &format!("settings-{tab}"));
    }
    page.click(c, "tab-account");
    page.click(c, "account-delete");
    visit.view(c, "delete");
    visit.close(c, "delete-dialog");
    visit.close(c, "settings");
    page.eval(c, "dispatchEvent(new KeyboardEvent('keydown', { key: '?' }))");
    page.wait(c, "the keys", &by("shortcuts"));
    visit.view(c, "keys");
    visit.close(c, "shortcuts");
}

/// A picture on the whole screen, what could not be sent, and what is shown without a network.
fn visit_files(c: &mut Chromium, visit: &mut Visit, world: &World, picture: &Path, noise: &Path) {
    let page = visit.page;
    visit.go(c, &format!("#/c/{}", world.pair), "composer-input");
    page.choose(c, "composer-file", picture);
    page.choose(c, "composer-file", noise);
    page.wait(c, "both", &format!("{}.querySelectorAll('li').length === 2", by("composer-files")));
    visit.view(c, "files-chosen");
    page.click(c, "file-describe");
    visit.view(c, "file-described");
    page.fill(c, "field-alt", "This page");
    page.click(c, "describe-submit");
    page.click(c, "composer-send");
    page.wait(c, "refused", &by("message-failure"));
    visit.view(c, "files-refused");
    page.click(c, "message-discard");
    // The discarded message had a picture too, and one of an earlier visit is in the list, which moves while the new one is shown.
    page.wait(c, "discarded", &format!("!{}", by("message-failure")));
    let shown = page.eval(c, &format!("{}.length", all("message-image")));
    page.choose(c, "composer-file", picture);
    page.click(c, "composer-send");
    let is_sent = format!(
        "{}.length > {shown} && !document.querySelector('[data-state=sending]')",
        all("message-image")
    );
    page.wait(c, "sent", &is_sent);
    page.click_on(c, &last("message-image"));
    page.wait(c, "large", &by("lightbox-image"));
    visit.view(c, "picture");
    visit.close(c, "lightbox");
    page.click(c, "composer-voice");
    page.wait(c, "a second", &format!("/0:0[1-9]|٠:٠[١-٩]/.test({}?.textContent)", by("voice-time")));
    visit.view(c, "voice-recorded");
    page.click(c, "voice-send");
    page.wait(
        c,
        "sent",
        &format!("{} && !document.querySelector('[data-state=sending]')", by("message-sound")),
    );
    visit.view(c, "voice");
    page.click(c, "chat-info");
    page.click(c, "info-files");
    page.wait(c, "a picture", &by("gallery-tile"));
    visit.view(c, "gallery");
    page.click(c, "gallery-audio");
    page.wait(c, "a sound", &by("gallery-line"));
    visit.view(c, "gallery-audio");
    visit.close(c, "gallery-dialog");
    visit.close(c, "info-dialog");
    page.offline(c, true);
    page.wait(c, "the strip", &format!("{}?.hidden === false", by("connection-strip")));
    send(c, page, "later");
    page.wait(c, "it waits", "document.querySelector('[data-state=sending]')");
    visit.view(c, "offline");
    page.offline(c, false);
    page.wait(c, "back", &format!("{ONLINE} && !document.querySelector('[data-state=sending]')"));
}

#[test]
fn every_view_is_accessible_in_both_languages_light_and_dark() {
    let axe = axe();
    // Two minutes for pictures alone are spent only where every test runs.
    if axe.is_none() && std::env::var_os("NATTER_ALL").is_none() {
        return;
    }
    let Some(mut stage) = Stage::with(&[("DIRECTORY", "on")]) else { return };
    let mut http = Http::connect(stage.plain());
    let world = world(&mut http);
    let page = stage.page("Ann");
    let folder = stage.launch.folder.clone();
    let c = &mut stage.chromium;
    let picture = page.picture(c, "views-to-be-sent");
    let noise = folder.join("noise.bin");
    std::fs::write(&noise, [0, 159, 146, 150, 0, 255, 254]).expect("a file");
    let mut faults = Vec::new();
    for language in ["en", "ar"] {
        page.eval(c, &format!("localStorage.setItem('natter.lang', '{language}'); 1"));
        page.must(c, "Page.reload", "{}");
        page.wait(c, "the language", &format!("document.documentElement.lang === '{language}'"));
        let mut visit = Visit { page: &page, axe: axe.as_deref(), language, faults: Vec::new() };
        visit_gate(c, &mut visit, &world);
        sign_in(c, &page, "ann");
        page.wait(c, "the code", &by("verify"));
        visit.view(c, "gate-verify");
        page.click(c, "verify-later");
        page.wait(c, "in", ONLINE);
        visit_conversations(c, &mut visit, &world);
        visit_dialogs(c, &mut visit);
        visit_files(c, &mut visit, &world, &picture, &noise);
        page.click(c, "open-settings");
        page.click(c, "tab-account");
        page.click(c, "sign-out");
        page.wait(c, "out", &by("sign-in"));
        faults.append(&mut visit.faults);
    }
    page.has_no_faults(c);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
