//! One page of a browser as a member uses it: by its texts and positions, with real clicks and real keys.
//!
//! Owns waiting; never sleeps for a fixed time.
//!
//! The names of the client's parts for tests (`data-testid`; * repeated; "-x" continues the first name of its group):
//!
//! - signed out: sign-up, sign-in, reset, reset-code, verify: forms, each with -submit and -error; field-display-name, -email,
//!   -password, -code; go-sign-up, -sign-in, -reset; verify-renew, -later; auth-notice; sign-up-offer; gate-lang
//! - settings of notifications: notify-state [data-state=on|here|off|asking|refused|insecure|install|unsupported], notify-off, -who,
//!   -text, -sound; update-banner, update-now
//! - frame: connection [data-state=online|connecting|offline], connection-strip, -retry; open-settings; new-conversation;
//!   verify-open; stage-empty, -gone; toast*
//! - list: conversation* [data-id, data-unread], conversation-preview*, unread-count*, mention-mark*, list-empty; search, search-clear,
//!   -scope, -results; found-person*, found-message*
//! - chat: chat [data-conversation], chat-back, -title, -line, -search, -info, -unblock; messages, unread-divider, typing,
//!   jump-latest, jump-mention; composer-input, -send, -attach, -file, -files, -emoji, -context, -cancel, -names, -name* [data-nick]
//! - composer, more: file-describe*, file-remove*; describe-dialog, -submit, -original, field-alt; composer-voice; voice, -time, -send,
//!   -cancel
//! - message* [data-n, data-id, data-client-id, data-state=sending|sent|failed, data-mine, data-read]: message-body, mention* [data-profile],
//!   -image, -large, -film, -film-playing, -sound, -file, -quote, -failure, -retry, -discard; sound-play, -seek, -time; upload-progress,
//!   -cancel; reaction* [data-emoji]; on hover or focus
//!   message-react, -reply, -more
//! - menus: menu-reply, -copy, -edit, -delete; quick-react*, emoji*; confirm-yes, -no; lightbox, -image, -close
//! - dialogs: new-dialog, group-dialog, add-dialog, info-dialog, delete-dialog, shortcuts, settings, each with -close; people-search,
//!   person* [data-profile], new-group, field-title, group-submit, add-submit; info-message, -mute, -block, -add,
//!   -files, -leave, -invites, -title, -rename, -image, -image-file; member*, member-more*, -message, -role, -remove
//! - gallery-dialog, -close, gallery-media|file|audio, gallery, -none, -more; gallery-tile* [data-n], gallery-line*, -origin*; lightbox-jump
//! - new-dialog: new-invite, directory, directory-more. invites-dialog, -close: invite-submit, uses-*, days-*, invite-made, -link, -copy,
//!   -qr; invites, invite* [data-invite], invite-revoke*
//! - settings: tab-profile|account|notify|devices|look; profile-display-name, -nick-name, -submit, -image, -image-file,
//!   -image-remove, -presence, -private; password-old, -new, -repeat, -submit; account-verify, -delete; delete-password,
//!   -messages, -submit; sign-out; session* [data-session, data-current], session-revoke*, sessions-revoke-all;
//!   theme-system|light|dark; lang-en|ar
//!
//! Invariant: a step that does not succeed in time fails with a picture of the page, in `target/browser`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use natter::base::json;

use super::chromium::{Chromium, GLANCE, PATIENCE};
use crate::support::net::at;

/// Times that a file is dropped until the page gets it.
const DROPS_MAX: usize = 10;

/// The time after which a dropped file that the page has not noticed is dropped again.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// Width, height, and whether it is a phone.
pub const DESKTOP: (u32, u32, bool) = (1280, 800, false);
pub const PHONE: (u32, u32, bool) = (390, 844, true);

/// A page in its own browser context: it shares nothing with another page but the server.
pub struct Page {
    session: String,
    /// Empty: the browser's own, which unlike the others is not a private window.
    context: String,
    /// The member's name, for pictures and failures.
    name: &'static str,
}

impl Page {
    pub fn open(chromium: &mut Chromium, name: &'static str, url: &str) -> Page {
        let context =
            at(&chromium.must(None, "Target.createBrowserContext", "{}"), "result.browserContextId");
        Page::open_in(chromium, name, url, context)
    }

    /// A page of the browser's own context, where a client can be installed. A browser has one.
    #[cfg(feature = "tls")]
    pub fn open_own(chromium: &mut Chromium, name: &'static str, url: &str) -> Page {
        Page::open_in(chromium, name, url, String::new())
    }

    /// Another tab of the same browser.
    pub fn tab(&self, chromium: &mut Chromium, name: &'static str, url: &str) -> Page {
        Page::open_in(chromium, name, url, self.context.clone())
    }

    fn open_in(chromium: &mut Chromium, name: &'static str, url: &str, context: String) -> Page {
        let of_context = of_context(&context);
        let target = chromium.must(
            None,
            "Target.createTarget",
            &format!(r#"{{"url":"about:blank","newWindow":true{of_context}}}"#),
        );
        let target = at(&target, "result.targetId");
        let attached = chromium.must(
            None,
            "Target.attachToTarget",
            &format!(r#"{{"targetId":"{target}","flatten":true}}"#),
        );
        let page = Page { session: at(&attached, "result.sessionId"), context, name };
        for domain in ["Page", "Runtime", "Log", "Network", "DOM"] {
            page.must(chromium, &format!("{domain}.enable"), "{}");
        }
        // Both members look at their screens.
        page.has_focus(chromium, true);
        page.size(chromium, DESKTOP);
        page.go(chromium, url);
        page
    }

    /// Whether the member looks at the page. If not, its window is minimized.
    #[cfg(feature = "tls")]
    pub fn watched(&self, chromium: &mut Chromium, is_watched: bool) {
        let window = self.must(chromium, "Browser.getWindowForTarget", "{}");
        let (id, state) = (at(&window, "result.windowId"), if is_watched { "normal" } else { "minimized" });
        let params = format!(r#"{{"windowId":{id},"bounds":{{"windowState":"{state}"}}}}"#);
        self.must(chromium, "Browser.setWindowBounds", &params);
        self.has_focus(chromium, is_watched);
    }

    /// As if it had the focus, whichever window has it.
    fn has_focus(&self, chromium: &mut Chromium, has_focus: bool) {
        let params = format!(r#"{{"enabled":{has_focus}}}"#);
        self.must(chromium, "Emulation.setFocusEmulationEnabled", &params);
    }

    /// What the browser answers when a page of this origin asks for a permission: `granted` or `denied`.
    #[cfg(feature = "tls")]
    pub fn permission(&self, chromium: &mut Chromium, origin: &str, name: &str, setting: &str) {
        let params = format!(
            r#"{{"permission":{{"name":"{name}"}},"setting":"{setting}","origin":"{origin}"{}}}"#,
            of_context(&self.context)
        );
        chromium.must(None, "Browser.setPermission", &params);
    }

    /// Runs a script before those of each page that is loaded from now on.
    #[cfg(feature = "tls")]
    pub fn before_each_load(&self, chromium: &mut Chromium, script: &str) {
        let params = format!(r#"{{"source":{}}}"#, json::to_string(script));
        self.must(chromium, "Page.addScriptToEvaluateOnNewDocument", &params);
    }

    pub fn must(&self, chromium: &mut Chromium, method: &str, params: &str) -> String {
        chromium.must(Some(&self.session), method, params)
    }

    pub fn go(&self, chromium: &mut Chromium, url: &str) {
        self.must(chromium, "Page.navigate", &format!(r#"{{"url":{}}}"#, json::to_string(url)));
        self.wait(
            chromium,
            "the page",
            "document.readyState === 'complete' && location.href !== 'about:blank'",
        );
    }

    pub fn size(&self, chromium: &mut Chromium, (width, height, phone): (u32, u32, bool)) {
        let params =
            format!(r#"{{"width":{width},"height":{height},"deviceScaleFactor":1,"mobile":{phone}}}"#);
        self.must(chromium, "Emulation.setDeviceMetricsOverride", &params);
    }

    /// `light` or `dark`, as the system would report it.
    pub fn scheme(&self, chromium: &mut Chromium, scheme: &str) {
        self.medium(chromium, "prefers-color-scheme", scheme);
    }

    /// One feature of the medium, as CSS names it.
    pub fn medium(&self, chromium: &mut Chromium, feature: &str, value: &str) {
        let params = format!(r#"{{"features":[{{"name":"{feature}","value":"{value}"}}]}}"#);
        self.must(chromium, "Emulation.setEmulatedMedia", &params);
    }

    /// A key with Ctrl held: `k` is Ctrl-K. `command` is what an editor does with it, such as `paste`.
    pub fn press_with_ctrl(&self, chromium: &mut Chromium, key: char, command: &str) {
        let (upper, code) = (key.to_ascii_uppercase(), u32::from(key.to_ascii_uppercase()));
        for kind in ["rawKeyDown", "keyUp"] {
            let params = format!(
                r#"{{"type":"{kind}","modifiers":2,"key":"{key}","code":"Key{upper}","windowsVirtualKeyCode":{code},"commands":["{command}"]}}"#
            );
            self.must(chromium, "Input.dispatchKeyEvent", &params);
        }
    }

    /// Sets the network of this page offline or online.
    pub fn offline(&self, chromium: &mut Chromium, offline: bool) {
        let params =
            format!(r#"{{"offline":{offline},"latency":0,"downloadThroughput":-1,"uploadThroughput":-1}}"#);
        self.must(chromium, "Network.emulateNetworkConditions", &params);
    }

    /// The value of an expression as text: texts unchanged, other values as JSON.
    pub fn eval(&self, chromium: &mut Chromium, expression: &str) -> String {
        let params = format!(
            r#"{{"expression":{},"returnByValue":true,"awaitPromise":true}}"#,
            json::to_string(expression)
        );
        let answer = self.must(chromium, "Runtime.evaluate", &params);
        assert_eq!(at(&answer, "result.exceptionDetails"), "null", "{expression}: {answer}");
        at(&answer, "result.result.value")
    }

    /// Polls until `condition` is true.
    #[track_caller]
    pub fn wait(&self, chromium: &mut Chromium, what: &str, condition: &str) {
        let until = Instant::now() + PATIENCE;
        let params = format!(
            r#"{{"expression":{},"returnByValue":true}}"#,
            json::to_string(&format!("Boolean({condition})"))
        );
        loop {
            // A page that is loading another has no context to evaluate in: try again.
            let answer = chromium.call(Some(&self.session), "Runtime.evaluate", &params);
            if at(&answer, "result.result.value") == "true" {
                return;
            }
            if Instant::now() > until {
                self.give_up(chromium, &format!("{what}: not in time: {condition}\n{answer}"));
            }
            std::thread::sleep(GLANCE);
        }
    }

    #[track_caller]
    fn give_up(&self, chromium: &mut Chromium, why: &str) -> ! {
        let picture = self.picture(chromium, &format!("failed-{}", self.name));
        let text = self.eval(chromium, "location.href + '\\n' + document.body.innerText");
        let faults = chromium.faults(&self.session);
        panic!("{}: {why}\n{}\n{text}\n{faults:#?}", self.name, picture.display());
    }

    /// Waits until an element does not move, can be pressed, and is not covered.
    #[track_caller]
    pub fn click(&self, chromium: &mut Chromium, testid: &str) {
        self.click_on(chromium, &by(testid));
    }

    #[track_caller]
    pub fn click_on(&self, chromium: &mut Chromium, element: &str) {
        let place = self.press_on(chromium, element);
        self.release(chromium, &place);
    }

    /// The first half of a click. Pass the returned position to [`Page::release`].
    #[track_caller]
    pub fn press_on(&self, chromium: &mut Chromium, element: &str) -> (String, String) {
        let place = self.place(chromium, element);
        self.mouse(chromium, "mouseMoved", 0, &place);
        self.mouse(chromium, "mousePressed", 1, &place);
        place
    }

    pub fn release(&self, chromium: &mut Chromium, place: &(String, String)) {
        self.mouse(chromium, "mouseReleased", 0, place);
    }

    fn mouse(&self, chromium: &mut Chromium, kind: &str, buttons: u8, (x, y): &(String, String)) {
        let params = format!(
            r#"{{"type":"{kind}","x":{x},"y":{y},"button":"left","buttons":{buttons},"clickCount":1}}"#
        );
        self.must(chromium, "Input.dispatchMouseEvent", &params);
    }

    /// The middle of an element, as soon as it can be pressed and two looks find it at the same place: the list may still scroll.
    #[track_caller]
    pub fn place(&self, chromium: &mut Chromium, element: &str) -> (String, String) {
        let find = format!(
            "(() => {{ const e = {element}; if (!e || e.disabled) return ''; \
             e.scrollIntoView({{block: 'nearest'}}); const r = e.getBoundingClientRect(); \
             const x = r.x + r.width / 2, y = r.y + r.height / 2; \
             const top = document.elementFromPoint(x, y); \
             const moving = document.getAnimations().some((a) => a.playState === 'running' && a.effect.target?.contains(e) && a.effect.getTiming().iterations !== Infinity); \
             return r.width && !moving && top && (e.contains(top) || top.contains(e)) ? x + ' ' + y : ''; }})()"
        );
        let until = Instant::now() + PATIENCE;
        let mut before = String::new();
        loop {
            let place = self.eval(chromium, &find);
            if let Some((x, y)) = place.split_once(' ').filter(|_| place == before) {
                return (x.to_owned(), y.to_owned());
            }
            before.clone_from(&place);
            if Instant::now() > until {
                self.give_up(chromium, &format!("nothing to press: {element}"));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Moves the mouse over an element.
    #[track_caller]
    pub fn hover(&self, chromium: &mut Chromium, element: &str) {
        let (x, y) = self.place(chromium, element);
        let params = format!(r#"{{"type":"mouseMoved","x":{x},"y":{y}}}"#);
        self.must(chromium, "Input.dispatchMouseEvent", &params);
    }

    /// Clicks into a field and replaces its text.
    #[track_caller]
    pub fn fill(&self, chromium: &mut Chromium, testid: &str, text: &str) {
        self.click(chromium, testid);
        self.wait(chromium, "the focus", &format!("document.activeElement === {}", by(testid)));
        self.eval(chromium, "document.activeElement.select()");
        self.must(chromium, "Input.insertText", &format!(r#"{{"text":{}}}"#, json::to_string(text)));
    }

    pub fn press(&self, chromium: &mut Chromium, key: &str, code: u32) {
        let text = if key == "Enter" { r#","text":"\r""# } else { "" };
        for (kind, text) in [("keyDown", text), ("keyUp", "")] {
            let params = format!(
                r#"{{"type":"{kind}","key":"{key}","code":"{key}","windowsVirtualKeyCode":{code}{text}}}"#
            );
            self.must(chromium, "Input.dispatchKeyEvent", &params);
        }
    }

    /// Chooses a file in a file field.
    pub fn choose(&self, chromium: &mut Chromium, testid: &str, file: &Path) {
        let params = format!(r#"{{"expression":{}}}"#, json::to_string(&by(testid)));
        let found = self.must(chromium, "Runtime.evaluate", &params);
        let object = at(&found, "result.result.objectId");
        let file = json::to_string(&file.display().to_string());
        let params = format!(r#"{{"objectId":{},"files":[{file}]}}"#, json::to_string(&object));
        self.must(chromium, "DOM.setFileInputFiles", &params);
    }

    /// Drops a file on the middle of an element, as from a file manager.
    pub fn drop_file(&self, chromium: &mut Chromium, element: &str, file: &Path) {
        let (x, y) = self.place(chromium, element);
        let file = json::to_string(&file.display().to_string());
        let drag = |chromium: &mut Chromium, kind: &str| {
            let params = format!(
                r#"{{"type":"{kind}","x":{x},"y":{y},"data":{{"items":[],"files":[{file}],"dragOperationsMask":1}}}}"#
            );
            self.must(chromium, "Input.dispatchDragEvent", &params);
        };
        self.eval(
            chromium,
            "window.seen ??= (() => { \
               const seen = { dragover: 0, dragleave: 0, drop: 0 }; \
               for (const kind in seen) addEventListener(kind, () => { seen[kind] += 1; }, true); \
               return seen; })(); 1",
        );
        // Chromium ends a drag by a `dragleave` if its own process has not yet got the page's answer to a `dragover`, which
        // comes on another way than what the page says here. The page notices nothing at all if the element under the
        // file has left the document in between. A person would drop the file again.
        for _ in 0..DROPS_MAX {
            self.eval(chromium, "window.seen.dragover = 0; 1");
            drag(chromium, "dragEnter");
            for overs in 1..=2 {
                drag(chromium, "dragOver");
                self.wait(chromium, "the page notices the file", &format!("window.seen.dragover >= {overs}"));
            }
            self.settle(chromium);
            self.eval(chromium, "window.seen.dragleave = window.seen.drop = 0; 1");
            drag(chromium, "drop");
            let until = Instant::now() + DROP_PATIENCE;
            while self.eval(chromium, "window.seen.drop + window.seen.dragleave") == "0"
                && Instant::now() < until
            {
                std::thread::sleep(GLANCE);
            }
            if self.eval(chromium, "window.seen.drop") != "0" {
                return;
            }
            drag(chromium, "dragCancel");
        }
        panic!("{}: no drop reached the page", self.name);
    }

    /// Waits until nothing moves and all requested content is drawn.
    pub fn settle(&self, chromium: &mut Chromium) {
        let still = "document.getAnimations().every((a) => a.effect.getTiming().iterations === Infinity) && \
             [...document.images].every((i) => i.complete)";
        self.wait(chromium, "stillness", still);
        let frames =
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))";
        self.eval(chromium, frames);
    }

    /// A picture of the page as it is now, in `target/browser/<name>.png`.
    pub fn picture(&self, chromium: &mut Chromium, name: &str) -> PathBuf {
        let answer = self.must(chromium, "Page.captureScreenshot", r#"{"format":"png"}"#);
        let png = data_encoding::BASE64.decode(at(&answer, "result.data").as_bytes()).expect("base64");
        let folder = pictures();
        std::fs::create_dir_all(&folder).expect("target/browser");
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, png).expect("a picture");
        path
    }

    /// Checks that the page threw no exception, logged no error, and broke no rule of its policy.
    #[track_caller]
    pub fn has_no_faults(&self, chromium: &mut Chromium) {
        let faults = self.faults(chromium);
        assert!(faults.is_empty(), "{}: {faults:#?}", self.name);
    }

    /// Returns and clears the faults that the page has reported.
    pub fn faults(&self, chromium: &mut Chromium) -> Vec<String> {
        chromium.faults(&self.session)
    }
}

/// The parameter of a command that names a context.
fn of_context(context: &str) -> String {
    match context {
        "" => String::new(),
        context => format!(r#","browserContextId":"{context}""#),
    }
}

/// An expression for the one element with this test id.
pub fn by(testid: &str) -> String {
    format!("document.querySelector('[data-testid=\"{testid}\"]')")
}

/// All elements with this name.
pub fn all(testid: &str) -> String {
    format!("document.querySelectorAll('[data-testid=\"{testid}\"]')")
}

/// The last of them.
pub fn last(testid: &str) -> String {
    format!("[...{}].at(-1)", all(testid))
}

/// `target/browser`, wherever `target` is.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target").join("browser")
}
