//! Accounts in the client: an address that must be verified first, a token that expires, an account that is deleted.
//!
//! Signing in and out, resets and devices are in `sign_up_sign_in_reset_and_devices`.

use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

use natter::base::time::UnixS;
use natter::base::totp;

use super::*;
use crate::support::http::base32_bytes;

const TOKEN: &str = "JSON.parse(localStorage.getItem('natter.token')).access";

#[test]
fn a_required_verification_comes_before_everything_else() {
    let Some(mut stage) = Stage::with(&[("REQUIRE_VERIFIED", "true")]) else { return };
    let mbox = stage.launch.folder.join("data/mail.mbox");
    let page = stage.page("Ann");
    let c = &mut stage.chromium;
    page.click(c, "go-sign-up");
    page.fill(c, "field-display-name", "Ann");
    page.fill(c, "field-email", "ann@example.org");
    page.fill(c, "field-password", PASSWORD);
    page.click(c, "sign-up-submit");

    // There is no mail server, so the page does not tell the member to look into a mailbox.
    let lead = |what: &str| format!("{}.textContent.includes('{what}')", by("code-lead"));
    page.wait(c, "where the code is", &format!("{} && {}", by("code-lead"), lead("mail.mbox")));
    // The server requires verification: "Later" would not help, and is not offered.
    let insists = format!("{} && !{}", by("verify"), by("verify-later"));
    page.wait(c, "the code's form", &insists);
    page.must(c, "Page.reload", "{}");
    page.wait(c, "the code's form again", &format!("{insists} && !{}", by("shell")));

    // Signing out and in again leads to the same form.
    page.click(c, "sign-out");
    page.wait(c, "out", &by("sign-in"));
    page.fill(c, "field-email", "ann@example.org");
    page.fill(c, "field-password", PASSWORD);
    page.click(c, "sign-in-submit");
    page.wait(c, "the code's form", &by("verify"));
    // A sign-in makes no code, and the page claims none until one is requested.
    assert_eq!(page.eval(c, &lead("ask for a new one")), "true");
    page.wait(c, "the code's form", &insists);
    page.click(c, "verify-renew");
    page.wait(c, "where the code is", &lead("mail.mbox"));
    page.fill(c, "field-code", &mailed_code(&mbox, "Your verification code"));
    page.click(c, "verify-submit");
    page.wait(c, "in", ONLINE);
    page.wait(c, "the empty list", &by("list-empty"));
    page.has_no_faults(c);
}

#[test]
fn the_daily_mail_is_switched_on_and_stays_on() {
    // Nobody answers there. The page offers the daily mail because a mail server is set.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port().to_string();
    let env = [
        ("EMAIL_HOST", "127.0.0.1"),
        ("EMAIL_PORT", port.as_str()),
        ("EMAIL_TLS", "none"),
        ("EMAIL_FROM", "natter@example.org"),
    ];
    let Some(mut stage) = Stage::with(&env) else { return };
    let page = stage.sign_up("Ann");
    let c = &mut stage.chromium;
    page.click(c, "open-settings");
    page.click(c, "tab-notify");
    page.wait(c, "off", &format!("{0} && !{0}.checked", by("notify-digest")));
    let answers =
        "performance.getEntriesByType('resource').filter((it) => it.name.endsWith('/user/me')).length";
    let before = page.eval(c, answers);
    page.click(c, "notify-digest");
    // The page shows the switch at once, the entry comes with the answer.
    page.wait(c, "an answer", &format!("{answers} > {before}"));
    views::check(c, &page, "notify-digest");
    page.must(c, "Page.reload", "{}");
    page.wait(c, "back", ONLINE);
    page.click(c, "open-settings");
    page.click(c, "tab-notify");
    page.wait(c, "on", &format!("{}?.checked", by("notify-digest")));
    page.has_no_faults(c);
}

#[test]
fn tokens_expire_without_an_effect_on_the_page() {
    // The warning comes 60 s before the end, so here at once.
    let Some(mut stage) = Stage::with(&[("ACCESS_TTL", "61")]) else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let url = stage.url();
    let c = &mut stage.chromium;
    let second = ann.tab(c, "Ann, second tab", &url);
    second.wait(c, "the second tab", ONLINE);
    open_person(c, &ann, "Bob");
    send(c, &ann, "one");
    bob.click(c, "conversation");
    bob.wait(c, "arrived", &shows(&["one".to_owned()], "sent"));

    // With open sockets: no tab closes its connection or signs out.
    for page in [&ann, &second] {
        page.eval(
            c,
            &format!(
                "window.states = []; new MutationObserver(() => states.push({0}.dataset.state))\
                 .observe({0}, {{attributes: true}}); 1",
                by("connection")
            ),
        );
    }
    let before = ann.eval(c, TOKEN);
    ann.wait(c, "another token", &format!("{TOKEN} !== {}", json::to_string(&before)));
    send(c, &ann, "two");
    bob.wait(c, "arrived", &shows(&["one", "two"].map(str::to_owned), "sent"));
    for page in [&ann, &second] {
        assert_eq!(page.eval(c, "states.join()"), "", "the connection was let go");
    }

    // Tokens that have expired when they are used: by requests, and by a socket that is closed because of it.
    stage.natter.kill();
    stage.natter = stage.launch.clone().with(&[("ACCESS_TTL", "3")]).start();
    let short_lived = format!(
        "(() => {{ const c = JSON.parse(atob({TOKEN}.split('.')[1])); return c.exp - c.iat === 3; }})()"
    );
    // The old token is valid for a minute; this one is not, and the client must find out.
    ann.eval(
        c,
        "(() => { const t = JSON.parse(localStorage.getItem('natter.token')); \
         t.access = t.access.slice(0, -2) + 'xx'; localStorage.setItem('natter.token', JSON.stringify(t)); })()",
    );
    ann.must(c, "Page.reload", "{}");
    ann.wait(c, "a short-lived one", &short_lived);
    for _ in 0..2 {
        let before = ann.eval(c, TOKEN);
        ann.wait(c, "another token", &format!("{TOKEN} !== {}", json::to_string(&before)));
    }
    send(c, &ann, "three");
    let all = ["one", "two", "three"].map(str::to_owned);
    for page in [&ann, &bob] {
        page.wait(c, "all, once, in order", &shows(&all, "sent"));
    }
    assert_eq!(second.eval(c, &format!("Boolean({})", by("shell"))), "true", "the second tab was signed out");
    for page in [&ann, &bob, &second] {
        page.has_no_faults(c);
    }
}

#[test]
fn an_account_is_deleted_and_its_messages_stay() {
    let Some(mut stage) = Stage::set() else { return };
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    open_person(c, &ann, "Bob");
    send(c, &ann, "Farewell.");
    bob.click(c, "conversation");
    bob.wait(c, "arrived", &message("Farewell."));

    // Not without the password.
    ann.click(c, "open-settings");
    ann.click(c, "tab-account");
    ann.click(c, "account-delete");
    ann.fill(c, "delete-password", "not this one");
    ann.click(c, "delete-submit");
    ann.wait(
        c,
        "refused at the field",
        "document.querySelector('[data-testid=delete-dialog] [data-field=password] .field-note.bad')?.textContent",
    );
    ann.fill(c, "delete-password", PASSWORD);
    ann.click(c, "delete-submit");
    ann.wait(c, "out", &format!("{} === 'Your account is deleted.'", text_of("auth-notice")));
    assert_eq!(
        ann.eval(c, "String(localStorage.getItem('natter.token')) + localStorage.getItem('natter.me')"),
        "nullnull"
    );
    ann.fill(c, "field-email", "ann@example.org");
    ann.fill(c, "field-password", PASSWORD);
    ann.click(c, "sign-in-submit");
    ann.wait(c, "gone", &format!("{}.textContent", by("sign-in-error")));

    // The other member keeps the messages, no longer sees their sender, and can't write to it.
    bob.must(c, "Page.reload", "{}");
    bob.wait(c, "a name no more", &format!("{}?.textContent.includes('Deleted account')", by("chat-title")));
    bob.wait(c, "the words", &message("Farewell."));
    bob.wait(c, "nothing to write with", &format!("!{}", by("composer-input")));
    for page in [&ann, &bob] {
        page.has_no_faults(c);
    }
}

#[test]
fn a_second_factor_is_turned_on_asked_for_and_turned_off() {
    let Some(mut stage) = Stage::set() else { return };
    let page = stage.sign_up("Ann");
    let c = &mut stage.chromium;
    let open = |c: &mut Chromium| {
        page.click(c, "open-settings");
        page.click(c, "tab-account");
        page.click(c, "factor-open");
    };
    open(c);
    page.wait(c, "the picture", &by("factor-qr"));
    views::check(c, &page, "factor-enrol");
    let secret = page.eval(c, &format!("{}.textContent.replaceAll(' ', '')", by("factor-secret")));
    let secret = base32_bytes(secret.trim_matches('"'));
    // The code that the app shows a step later is right, too, and was not used yet.
    let code = |steps: u64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        totp::shown(&secret, UnixS(now + 30 * steps))
    };
    page.fill(c, "field-factor", "000");
    page.fill(c, "factor-password", PASSWORD);
    page.click(c, "factor-submit");
    let note =
        |what: &str| format!("document.querySelector('[data-field={what}] .field-note.bad')?.textContent");
    page.wait(c, "refused", &note("code"));
    page.fill(c, "field-factor", &code(0));
    page.click(c, "factor-submit");
    page.wait(c, "the codes", &by("factor-codes"));
    views::check(c, &page, "factor-codes");
    let codes = page.eval(c, &format!("{}.textContent.split('\\n').join(' ')", by("factor-codes")));
    let codes: Vec<&str> = codes.trim_matches('"').split(' ').collect();
    assert_eq!(codes.len(), 10, "{codes:?}");
    page.click(c, "factor-done");
    page.click(c, "sign-out");

    page.wait(c, "out", &by("sign-in"));
    page.fill(c, "field-email", "ann@example.org");
    page.fill(c, "field-password", PASSWORD);
    page.click(c, "sign-in-submit");
    page.wait(
        c,
        "the code's field has the focus",
        &format!("{0} && document.activeElement === {0}", by("field-factor")),
    );
    views::check(c, &page, "factor-gate");
    page.fill(c, "field-factor", "123456");
    page.click(c, "sign-in-submit");
    page.wait(c, "refused", &note("code"));
    page.fill(c, "field-factor", codes[0]);
    page.click(c, "sign-in-submit");
    page.click(c, "verify-later");
    page.wait(c, "in", ONLINE);

    open(c);
    page.wait(
        c,
        "it is on",
        &format!("{}?.closest('dialog').textContent.includes('9 recovery codes')", by("factor-state")),
    );
    views::check(c, &page, "factor-on");
    page.click(c, "factor-turn-off");
    page.fill(c, "field-factor", codes[1]);
    page.fill(c, "factor-password", PASSWORD);
    page.click(c, "factor-submit");
    page.wait(c, "it is off", &format!("!{}", by("factor-dialog")));
    page.has_no_faults(c);
}

/// The whole way: the export of the server, the file, and the archive that the browser saves.
#[test]
fn a_member_saves_all_data_with_the_files() {
    let Some(mut stage) = Stage::set() else { return };
    let file = stage.launch.folder.join("notes.txt");
    std::fs::write(&file, "hello from a file").expect("a file");
    let (ann, bob) = (stage.sign_up("Ann"), stage.sign_up("Bob"));
    let c = &mut stage.chromium;
    make_group(c, &ann, "Kitchen", &["Bob"]);
    ann.choose(c, "composer-file", &file);
    send(c, &ann, "look at <this>");
    bob.click(c, "conversation");
    bob.wait(c, "received", &format!("{MESSAGES}.includes('look at <this>')"));
    // The entries are not compressed, so that the text of the archive has theirs.
    ann.eval(
        c,
        "URL.createObjectURL = (blob) => { blob.text().then((text) => { window.saved = text; }); return 'data:text/plain,saved'; }",
    );
    ann.click(c, "open-settings");
    ann.click(c, "tab-account");
    ann.click(c, "account-export");
    ann.wait(c, "the archive", "window.saved !== undefined");
    for part in [
        "/notes.txt",
        "hello from a file",
        "index.html",
        ">Kitchen</h2>",
        "look at &lt;this&gt;",
        "export.ndjson",
    ] {
        assert_eq!(ann.eval(c, &format!("window.saved.includes('{part}')")), "true", "{part}");
    }
    for page in [&ann, &bob] {
        page.has_no_faults(c);
    }
}
