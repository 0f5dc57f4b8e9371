//! The installed client over https: it can be installed, opens without the server, is notified, and leaves nothing behind.
//!
//! Its page is in the browser's own context, since a private window cannot install anything.

use super::*;
use crate::support::http::Person;
use crate::support::net::{Http, at};
use crate::support::push_service::{Browser, Service};
use crate::support::tls;

/// What the database, the caches, the storage and the registration of this browser hold.
const HELD: &str = "(async () => { \
     const db = await new Promise((done) => { const open = indexedDB.open('natter'); open.onsuccess = () => done(open.result); }); \
     const stores = []; \
     for (const name of db.objectStoreNames) { \
       const count = await new Promise((done) => { const ask = db.transaction(name).objectStore(name).count(); ask.onsuccess = () => done(ask.result); }); \
       if (count) stores.push(name + ' ' + count); } \
     db.close(); \
     const keys = Object.keys(localStorage).filter((key) => !['device', 'lang', 'theme', 'sound'].includes(key.slice(7))); \
     const worker = await navigator.serviceWorker.getRegistration('/'); \
     const shown = worker ? (await worker.getNotifications()).length : 0; \
     return [...stores, ...await caches.keys(), ...keys, worker ? 'a worker' : '', shown || ''].filter(Boolean).join(); })()";

/// What is kept of conversations, as text.
const KEPT: &str = "new Promise((done) => { const open = indexedDB.open('natter'); open.onsuccess = () => { \
     const ask = open.result.transaction('known').objectStore('known').getAll(); \
     ask.onsuccess = () => { open.result.close(); done(JSON.stringify(ask.result)); }; }; })";

/// The paths in all caches.
const CACHED: &str = "(async () => { const paths = []; for (const name of await caches.keys()) \
     for (const { url } of await (await caches.open(name)).keys()) paths.push(new URL(url).pathname); \
     return paths.sort().join(); })()";

/// Title, body and conversation of each notification.
const SHOWN: &str = "navigator.serviceWorker.getRegistration('/').then((worker) => worker.getNotifications())\
     .then((all) => all.map((it) => [it.title, it.body, it.data.n].join('|')).join('\\n'))";

/// Polls an expression whose value is a promise.
#[track_caller]
fn until(
    c: &mut Chromium,
    page: &Page,
    what: &str,
    expression: &str,
    is_right: impl Fn(&str) -> bool,
) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let value = page.eval(c, expression);
        if is_right(&value) {
            return value;
        }
        assert!(Instant::now() < until, "{what}: {value} {:?}", page.faults(c));
        std::thread::sleep(GLANCE);
    }
}

fn secure_stage(env: &[(&str, &str)]) -> Option<Stage> {
    let authority = Path::new(tls::FOLDER).join("authority.pem");
    let own = [("TLS_CA_FILE", authority.to_str().expect("UTF-8")), ("PUSH_PRIVATE", "on")];
    Stage::build(&[&own[..], env].concat(), true)
}

/// A member in the browser's own context, whose worker has stored the page.
fn install(stage: &mut Stage, name: &'static str, before: &str) -> Page {
    let (url, origin) = (stage.url(), stage.origin());
    let page = Page::open_own(&mut stage.chromium, name, "about:blank#");
    page.permission(&mut stage.chromium, &origin, "notifications", "granted");
    if !before.is_empty() {
        page.before_each_load(&mut stage.chromium, before);
    }
    page.go(&mut stage.chromium, &url);
    stage.sign_up_on(&page, name);
    let c = &mut stage.chromium;
    until(c, &page, "the worker has the page", CACHED, |paths| paths.starts_with("/,"));
    page
}

/// The way to the server of those who use no browser.
struct Wire {
    http: Http,
    posts: u32,
}

impl Wire {
    fn to(stage: &Stage) -> Wire {
        Wire { http: Http::connect(stage.plain()), posts: 0 }
    }

    /// Posts to the profile that a page shows; returns the conversation.
    fn post(&mut self, c: &mut Chromium, from: &Person, to: &Page, body: &str) -> String {
        let profile = to.eval(c, "JSON.parse(localStorage.getItem('natter.me')).profile.id");
        self.posts += 1;
        let client_id = format!("01JB{:022}", self.posts);
        let post = format!(r#"{{"to":"{profile}","client_id":"{client_id}","body":"{body}"}}"#);
        let posted = self.http.ask_as(from, "POST", "/api/v1/messages", Some(&post)).expect("a response");
        assert_eq!(posted.status, 201, "{}", posted.text());
        posted.at("data.conversation")
    }

    /// Ends every session of the account.
    fn end_sessions(&mut self, email: &str) {
        let who = format!(r#"{{"email":"{email}","password":"{PASSWORD}"}}"#);
        let made = self.http.ask("POST", "/api/v1/user/sign-in", &[], Some(&who)).expect("a response");
        let person = Person::from_response(&made);
        let ended = self.http.ask_as(&person, "DELETE", "/api/v1/user/sessions", None).expect("a response");
        assert_eq!(ended.status, 204, "{}", ended.text());
    }
}

#[test]
fn it_can_be_installed_opens_without_the_server_and_leaves_nothing() {
    let Some(mut stage) = secure_stage(&[]) else { return };
    let ann = install(&mut stage, "Ann", "");
    let bob = stage.sign_up("Bob");
    let url = stage.url();
    let c = &mut stage.chromium;

    // What DevTools says of it.
    let manifest = ann.must(c, "Page.getAppManifest", "{}");
    assert_eq!(at(&manifest, "result.errors"), "[]", "{manifest}");
    assert!(at(&manifest, "result.url").ends_with("/manifest.webmanifest"), "{manifest}");
    let errors = ann.must(c, "Page.getInstallabilityErrors", "{}");
    assert_eq!(at(&errors, "result.installabilityErrors"), "[]", "{errors}");

    open_person(c, &ann, "Bob");
    send(c, &ann, "Hello Bob!");
    bob.click(c, "conversation");
    send(c, &bob, "Hello Ann!");
    let said = ["Hello Bob!", "Hello Ann!"].map(str::to_owned);
    ann.wait(c, "both", &shows(&said, "sent"));
    let kept = until(c, &ann, "it is kept", KEPT, |text| text.contains("Hello Ann!"));
    // No address that opens a file, and no token.
    assert!(!kept.contains("signature") && !kept.contains("/uploads/"), "{kept}");
    let token = ann.eval(c, "JSON.parse(localStorage.getItem('natter.token')).refresh");
    assert!(!kept.contains(&token), "{kept}");
    let cached = ann.eval(c, CACHED);
    assert!(cached.split(',').all(|path| path == "/" || path.starts_with("/client/")), "{cached}");

    // Without the server: the page, the conversation, and a message that waits.
    stage.natter.kill();
    ann.must(c, "Page.reload", "{}");
    let is_offline = format!("{}?.dataset.state === 'offline'", by("connection"));
    ann.wait(c, "it says so", &is_offline);
    ann.wait(c, "what was said", &shows(&said, "sent"));
    ann.wait(c, "it says so", &format!("{}?.hidden === false", by("connection-strip")));
    send(c, &ann, "Are you there?");
    ann.wait(c, "it waits", "document.querySelectorAll('[data-state=sending]').length === 1");
    views::check(c, &ann, "without-server");
    // Opened anew, as an app is: the list, and what waits.
    ann.go(c, "about:blank#");
    ann.go(c, &url);
    ann.wait(c, "the list", &format!("{}?.textContent.includes('You: Are you there?')", by("conversation")));
    ann.eval(c, "location.hash = '#/c/01ARZ3NDEKTSV4RRFFQ69G5FAV'");
    ann.wait(
        c,
        "what is not known is not said to be gone",
        &format!("{} && !{}", by("stage-retry"), by("stage-gone")),
    );
    ann.click(c, "conversation");
    ann.wait(c, "it waits", "document.querySelectorAll('[data-state=sending]').length === 1");
    stage.natter = stage.launch.start();
    let said = ["Hello Bob!", "Hello Ann!", "Are you there?"].map(str::to_owned);
    for page in [&ann, &bob] {
        page.wait(c, "sent by itself, once", &shows(&said, "sent"));
    }
    ann.has_no_faults(c);

    // Signed out: nothing is left.
    ann.click(c, "open-settings");
    ann.click(c, "tab-account");
    ann.click(c, "sign-out");
    ann.wait(c, "out", &by("sign-in"));
    until(c, &ann, "nothing is left", HELD, str::is_empty);
    stage.natter.kill();
    let seen = "Boolean(document.body?.innerText.includes('Hello Ann!'))";
    ann.must(c, "Page.reload", "{}");
    assert_eq!(ann.eval(c, seen), "false");
    stage.natter = stage.launch.start();

    // Another member of the same browser sees nothing of it; a session that another device ends leaves nothing either.
    ann.go(c, &url);
    stage.sign_up_on(&ann, "Cyrine");
    let c = &mut stage.chromium;
    assert_eq!(ann.eval(c, seen), "false");
    open_person(c, &ann, "Bob");
    send(c, &ann, "I am Cyrine.");
    until(c, &ann, "it is kept", KEPT, |text| text.contains("I am Cyrine."));
    ann.offline(c, true);
    send(c, &ann, "This is not sent any more.");
    ann.wait(c, "it waits", "document.querySelectorAll('[data-state=sending]').length === 1");
    Wire::to(&stage).end_sessions("cyrine@example.org");
    let c = &mut stage.chromium;
    ann.offline(c, false);
    ann.wait(c, "out", &by("auth-notice"));
    // What was not sent is kept for its member, since the page cannot know why the session ended.
    until(c, &ann, "nothing else is left", HELD, |held| held == "outbox 1");
    for page in [&ann, &bob] {
        page.has_no_faults(c);
    }
}

/// Replaces the push service of the browser's vendor by another.
fn subscribing_to(service: &Service, browser: &Browser) -> String {
    let list = |bytes: &[u8]| format!("{bytes:?}");
    format!(
        "(() => {{ \
           const keys = {{ p256dh: {}, auth: {} }}; \
           const fake = {{ endpoint: '{}/ann', options: {{ applicationServerKey: null }}, \
             getKey: (name) => Uint8Array.from(keys[name]).buffer, \
             unsubscribe: async () => {{ localStorage.removeItem('fake'); return true; }} }}; \
           PushManager.prototype.subscribe = async ({{ applicationServerKey, userVisibleOnly }}) => {{ \
             if (!userVisibleOnly) throw new Error('silent pushes are refused'); \
             fake.options.applicationServerKey = applicationServerKey.buffer; \
             localStorage.setItem('fake', '1'); return fake; }}; \
           PushManager.prototype.getSubscription = async () => (localStorage.getItem('fake') ? fake : null); }})()",
        list(&browser.public()),
        list(&browser.auth),
        service.origin
    )
}

/// Hands a push to the worker, as the browser does with what its push service sends.
fn deliver(stage: &mut Stage, page: &Page, text: &str) {
    let (origin, url) = (stage.origin(), stage.url());
    let c = &mut stage.chromium;
    page.must(c, "ServiceWorker.enable", "{}");
    let until = Instant::now() + PATIENCE;
    while c.registration(&url).is_none() {
        assert!(Instant::now() < until, "no worker is registered");
        page.eval(c, "1");
        std::thread::sleep(GLANCE);
    }
    let registration = c.registration(&url).expect("a worker").to_owned();
    let data = json::to_string(text);
    let params = format!(r#"{{"origin":"{origin}","registrationId":"{registration}","data":{data}}}"#);
    page.must(c, "ServiceWorker.deliverPushMessage", &params);
}

/// Clicks the one notification that is shown; returns what the worker opened, if no page was open.
fn click_notification(c: &mut Chromium) -> String {
    let until = Instant::now() + PATIENCE;
    let worker = loop {
        let targets = c.must(None, "Target.getTargets", "{}");
        let found =
            (0..20).find(|i| at(&targets, &format!("result.targetInfos.{i}.type")) == "service_worker");
        if let Some(i) = found {
            break at(&targets, &format!("result.targetInfos.{i}.targetId"));
        }
        assert!(Instant::now() < until, "no worker runs: {targets}");
        std::thread::sleep(GLANCE);
    };
    let attached =
        c.must(None, "Target.attachToTarget", &format!(r#"{{"targetId":"{worker}","flatten":true}}"#));
    let session = at(&attached, "result.sessionId");
    // A browser lets a worker open a window only after a real click, which a browser without a screen has not.
    let click = "(async () => { let opened = ''; \
         clients.openWindow = async (path) => { opened = path; }; \
         const [notification] = await registration.getNotifications(); \
         const event = new NotificationEvent('notificationclick', { notification }); \
         const lasting = []; event.waitUntil = (work) => lasting.push(work.catch(() => {})); \
         dispatchEvent(event); await Promise.all(lasting); \
         return opened + ' ' + (await registration.getNotifications()).length; })()";
    let params =
        format!(r#"{{"expression":{},"awaitPromise":true,"returnByValue":true}}"#, json::to_string(click));
    let answer = c.must(Some(&session), "Runtime.evaluate", &params);
    c.must(None, "Target.detachFromTarget", &format!(r#"{{"sessionId":"{session}"}}"#));
    at(&answer, "result.result.value")
}

#[test]
fn a_push_is_shown_clicked_and_says_what_was_asked_for() {
    let Some(mut stage) = secure_stage(&[]) else { return };
    let (service, browser) = (Service::start(), Browser::new(7));
    let ann = install(&mut stage, "Ann", &subscribing_to(&service, &browser));
    let mut wire = Wire::to(&stage);
    let bob = wire.http.sign_up("bob");
    let (url, docs) = (stage.url(), format!("{}docs", stage.url()));
    let c = &mut stage.chromium;

    // Turned on in the settings.
    ann.click(c, "open-settings");
    ann.click(c, "tab-notify");
    let is = |state: &str| format!("{}?.dataset.state === '{state}'", by("notify-state"));
    ann.wait(c, "off", &is("off"));
    ann.click(c, "notify-text");
    ann.wait(c, "on", &is("on"));
    views::check(c, &ann, "notify-on");
    ann.click(c, "settings-close");

    // A message while the page is closed.
    let conversation = wire.post(c, &bob, &ann, "What a day!");
    ann.go(c, "about:blank#");
    let text = browser.decrypt(&service.next().body);
    deliver(&mut stage, &ann, &text);
    let c = &mut stage.chromium;
    ann.go(c, &docs);
    assert_eq!(until(c, &ann, "it is shown", SHOWN, |shown| !shown.is_empty()), "bob|What a day!|1");
    // Once more, as after a crash of the server: it is shown once.
    deliver(&mut stage, &ann, &text);
    let c = &mut stage.chromium;
    assert_eq!(ann.eval(c, SHOWN), "bob|What a day!|1");

    // A click opens the conversation: in a new window, or in the one that is open.
    ann.watched(c, false);
    ann.go(c, "about:blank#");
    let opened = click_notification(c);
    assert_eq!(opened, format!("/#/c/{conversation} 0"));
    deliver(&mut stage, &ann, &text);
    let c = &mut stage.chromium;
    ann.go(c, &url);
    ann.wait(c, "in", ONLINE);
    assert_eq!(click_notification(c), " 0");
    ann.wait(c, "opened", &format!("location.hash === '#/c/{conversation}'"));
    ann.watched(c, true);
    ann.wait(c, "the words", &message("What a day!"));

    // Less, if less is asked for; and nothing else is in what the push service gets.
    ann.click(c, "open-settings");
    ann.click(c, "tab-notify");
    ann.click(c, "notify-who");
    ann.wait(c, "chosen", &format!("{} && {}?.checked", is("on"), by("notify-who")));
    ann.click(c, "settings-close");
    ann.wait(c, "read", &format!("!{}", by("unread-count")));
    ann.eval(c, "location.hash = '#/'");
    ann.wait(c, "closed", &by("stage-empty"));
    wire.post(c, &bob, &ann, "And what a night!");
    ann.watched(c, false);
    ann.go(c, "about:blank#");
    let text = browser.decrypt(&service.next().body);
    assert!(!text.contains("night"), "{text}");
    deliver(&mut stage, &ann, &text);
    let c = &mut stage.chromium;
    ann.go(c, &docs);
    assert_eq!(until(c, &ann, "it is shown", SHOWN, |shown| !shown.is_empty()), "bob|New message|2");

    // What is read goes. Off, and signed out: no subscription is left.
    ann.go(c, &url);
    ann.watched(c, true);
    ann.click(c, "conversation");
    until(c, &ann, "what was read is no news", SHOWN, str::is_empty);
    let session = "fetch('/api/v1/user/sessions', { headers: { Authorization: \
         `Bearer ${JSON.parse(localStorage.getItem('natter.token')).access}`, \
         UniqueId: localStorage.getItem('natter.device') } }).then((r) => r.json())\
         .then(({ data }) => String(data[0].push?.level) + localStorage.getItem('fake'))";
    assert_eq!(ann.eval(c, session), "who1");
    ann.click(c, "open-settings");
    ann.click(c, "tab-notify");
    ann.click(c, "notify-off");
    ann.wait(c, "off", &is("off"));
    assert_eq!(ann.eval(c, session), "undefinednull");
    ann.click(c, "notify-text");
    ann.wait(c, "on again", &is("on"));
    ann.click(c, "tab-account");
    ann.click(c, "sign-out");
    ann.wait(c, "out", &by("sign-in"));
    until(c, &ann, "nothing is left", HELD, str::is_empty);
    ann.has_no_faults(c);
}

/// Counts notes of the sound, and keeps what is sent over WebSockets.
const LISTENING: &str = "(() => { window.notes = 0; window.sent = []; \
     const { createOscillator } = AudioContext.prototype; \
     AudioContext.prototype.createOscillator = function () { window.notes += 1; return createOscillator.call(this); }; \
     const { send } = WebSocket.prototype; \
     WebSocket.prototype.send = function (text) { \
       const frame = JSON.parse(text); \
       if (frame.op === 'focus') window.sent.push(frame.conversation); \
       return send.call(this, text); }; })()";

#[test]
fn in_the_background_one_of_several_tabs_notifies() {
    let Some(mut stage) = secure_stage(&[]) else { return };
    let ann = install(&mut stage, "Ann", LISTENING);
    let url = stage.url();
    let mut wire = Wire::to(&stage);
    let bob = wire.http.sign_up("bob");
    let c = &mut stage.chromium;
    let second = ann.tab(c, "Ann, second tab", &url);
    second.before_each_load(c, LISTENING);
    second.must(c, "Page.reload", "{}");
    for page in [&ann, &second] {
        page.wait(c, "in", ONLINE);
    }
    // There is no push service here: the page says that it notifies while it is open.
    ann.click(c, "open-settings");
    ann.click(c, "tab-notify");
    ann.click(c, "notify-text");
    ann.wait(c, "on", &format!("{}?.dataset.state === 'here'", by("notify-state")));
    ann.click(c, "notify-sound");
    ann.click(c, "settings-close");
    let notes = "window.notes";
    let before: u32 = ann.eval(c, notes).parse().expect("a number");

    // Looked at: no notification, and the server knows what is shown.
    let conversation = wire.post(c, &bob, &ann, "one");
    for page in [&ann, &second] {
        page.wait(c, "arrived", &format!("{} === '1'", text_of("unread-count")));
    }
    ann.click(c, "conversation");
    ann.wait(c, "told", &format!("window.sent.join() === '{conversation}'"));
    assert_eq!(ann.eval(c, SHOWN), "");

    // Not looked at: one notification and one sound, whichever tab was first.
    for page in [&ann, &second] {
        page.watched(c, false);
        page.wait(c, "hidden", "document.visibilityState === 'hidden'");
    }
    ann.wait(c, "told", &format!("JSON.stringify(window.sent) === '[\"{conversation}\",null]'"));
    wire.post(c, &bob, &ann, "two");
    for page in [&ann, &second] {
        page.wait(c, "arrived", &format!("{}?.textContent.includes('two')", by("conversation-preview")));
    }
    assert_eq!(until(c, &ann, "it is shown", SHOWN, |shown| !shown.is_empty()), "bob|two|2");
    let rung = |c: &mut Chromium| -> u32 {
        [&ann, &second].iter().map(|page| page.eval(c, notes).parse::<u32>().expect("a number")).sum()
    };
    assert_eq!(rung(c), before + 2, "two notes of one sound");

    // Looked at again: what was read is no news, in any tab.
    ann.watched(c, true);
    until(c, &ann, "no news", SHOWN, str::is_empty);
    for page in [&ann, &second] {
        page.has_no_faults(c);
    }
}

#[test]
fn the_settings_say_why_a_device_is_not_notified() {
    // Plain http, a browser that refuses, and Safari on iOS before natter is on the home screen.
    let Some(mut stage) = Stage::set() else { return };
    let state = |state: &str| format!("{}?.dataset.state === '{state}'", by("notify-state"));
    let look = |stage: &mut Stage, page: &Page, expected: &str, name: &str| {
        let c = &mut stage.chromium;
        page.click(c, "open-settings");
        page.click(c, "tab-notify");
        page.wait(c, expected, &state(expected));
        assert_eq!(page.eval(c, &format!("Boolean({})", by("notify-text"))), "false");
        views::check(c, page, name);
        page.has_no_faults(c);
    };
    let plain = format!("http://{}:{}/", chromium::PLAIN_HOST, stage.plain().port());
    let ann = stage.sign_up_at("Ann", &plain);
    look(&mut stage, &ann, "insecure", "notify-insecure");
    let (url, origin) = (stage.url(), stage.origin());
    let bob = stage.sign_up("Bob");
    bob.permission(&mut stage.chromium, &origin, "notifications", "denied");
    look(&mut stage, &bob, "refused", "notify-refused");
    let safari = Page::open(&mut stage.chromium, "Cyrine", "about:blank#");
    safari.before_each_load(
        &mut stage.chromium,
        "Object.defineProperties(Navigator.prototype, { standalone: { value: false }, maxTouchPoints: { value: 5 } }); \
         delete window.Notification;",
    );
    safari.go(&mut stage.chromium, &url);
    stage.sign_up_on(&safari, "Cyrine");
    look(&mut stage, &safari, "install", "notify-install");
}
