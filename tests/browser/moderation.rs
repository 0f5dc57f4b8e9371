//! The journey of a report: a member reports a message, an admin of the server sees it, deletes the message, suspends the author and closes
//! the report, and the log shows each act. And the other pages of an admin.

use super::*;
use crate::support::net::Http;

/// How many rows of this kind there are.
fn rows(testid: &str) -> String {
    format!("document.querySelectorAll('[data-testid={testid}]').length")
}

#[test]
fn a_report_is_made_and_an_admin_acts_on_it() {
    let Some(mut stage) = Stage::with(&[]) else { return };
    let mut http = Http::connect(stage.plain());
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let body = format!(
        r#"{{"client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","to":"{}","body":"buy my watches"}}"#,
        ann.profile
    );
    let posted = http.ask_as(&bob, "POST", "/api/v1/messages", Some(&body)).expect("an answer");
    let conversation = posted.at("data.conversation");
    http.sign_up("cyrine");
    assert!(stage.launch.run(&["member", "promote", "cyrine@example.org"]).status.success());
    let url = stage.url();
    let page = stage.page("Ann");
    let c = &mut stage.chromium;
    enter(c, &page, "ann");

    // A member has no pages of an admin, and reports the message and then the person.
    page.click(c, "open-settings");
    page.click(c, "tab-account");
    assert_eq!(page.eval(c, &format!("!{}", by("admin-open"))), "true");
    page.click(c, "settings-close");
    page.eval(c, &format!("location.hash = '#/c/{conversation}'"));
    page.wait(c, "the message", &format!("{} === 1", rows("message")));
    page.hover(c, "document.querySelector('[data-testid=message]')");
    page.click(c, "message-more");
    page.click(c, "menu-report");
    page.fill(c, "field-reason", "He sells watches.");
    views::check(c, &page, "report");
    page.click(c, "report-submit");
    page.wait(c, "sent", &format!("!{}", by("report-dialog")));
    page.click(c, "chat-info");
    page.click(c, "info-report");
    page.click(c, "report-submit");
    page.wait(c, "sent", &format!("!{}", by("report-dialog")));
    page.click(c, "info-dialog-close");
    leave(c, &page);

    // The admin deletes the message, suspends the author and closes both reports.
    enter(c, &page, "cyrine");
    page.click(c, "open-settings");
    page.click(c, "tab-account");
    page.click(c, "admin-open");
    page.wait(c, "the members", &format!("{} === 3", rows("admin-member")));
    views::check(c, &page, "admin-members");
    page.click(c, "admin-reports");
    page.wait(c, "both", &format!("{} === 2", rows("admin-report")));
    assert_eq!(page.eval(c, &text_of("admin-report-body")), "buy my watches");
    views::check(c, &page, "admin-reports");
    page.click(c, "admin-report-delete");
    page.click(c, "confirm-yes");
    page.wait(c, "deleted", &format!("!{}", by("admin-report-delete")));
    assert_eq!(page.eval(c, &text_of("admin-report-body")), "buy my watches", "the copy stays");
    page.click(c, "admin-report-suspend");
    page.click(c, "confirm-yes");
    page.wait(c, "suspended", &format!("!{}", by("admin-report-suspend")));
    for left in [1, 0] {
        page.click(c, "admin-report-close");
        page.wait(c, "closed", &format!("{} === {left}", rows("admin-report")));
    }
    page.click(c, "admin-audit");
    let acts =
        "[...document.querySelectorAll('[data-testid=admin-act]')].map((row) => row.dataset.act).join(' ')";
    let expect = "report.close report.close member.disable message.delete member.promote";
    page.wait(c, "the log", &format!("{acts} === '{expect}'"));
    views::check(c, &page, "admin-audit");

    // Who is suspended is signed out; the message is gone for ann, too.
    let me = http.ask_as(&bob, "GET", "/api/v1/user/me", None).expect("an answer");
    assert_eq!(me.status, 401);
    let left = http.ask_as(&ann, "GET", &format!("/api/v1/messages/{}", posted.at("data.id")), None);
    assert_eq!(left.expect("an answer").at("data.body"), "null");

    // The other pages.
    page.click(c, "admin-members");
    page.fill(c, "admin-search", "bob");
    page.wait(c, "found", &format!("{} === 1", rows("admin-member")));
    page.wait(c, "suspended", "document.querySelector('[data-testid=admin-member][data-active=false]')");
    page.click(c, "admin-member-more");
    page.click(c, "admin-enable");
    page.wait(c, "back", "document.querySelector('[data-testid=admin-member][data-active=true]')");
    page.click(c, "admin-member-more");
    page.click(c, "admin-reset");
    page.wait(c, "the link", &by("admin-link"));
    let link = page.eval(c, &format!("{}.value", by("admin-link")));
    assert!(link.starts_with(&format!("{url}#/r/")), "{link}");
    views::check(c, &page, "admin-link");
    page.click(c, "admin-link-dialog-close");
    page.click(c, "admin-add");
    page.fill(c, "admin-email", "dora@example.org");
    page.fill(c, "admin-password", "correct horse dora's");
    views::check(c, &page, "admin-add");
    page.click(c, "admin-new-submit");
    page.fill(c, "admin-search", "");
    page.wait(c, "all", &format!("{} === 4", rows("admin-member")));
    page.click(c, "admin-bots");
    page.fill(c, "admin-bot-name", "Disk");
    page.click(c, "admin-bot-submit");
    page.wait(c, "the bot", &by("admin-bot-more"));
    views::check(c, &page, "admin-bots");
    page.click(c, "admin-bot-more");
    page.click(c, "admin-token-new");
    page.fill(c, "admin-token-name", "ci");
    page.click(c, "admin-token-submit");
    page.wait(c, "the token", &by("admin-token-made"));
    page.click(c, "admin-token-dialog-close");
    page.click(c, "admin-bot-more");
    page.click(c, "admin-token-list");
    page.wait(c, "the token", &by("admin-token-revoke"));
    views::check(c, &page, "admin-tokens");
    page.click(c, "admin-token-revoke");
    page.wait(c, "revoked", &format!("!{}", by("admin-token-revoke")));
    page.click(c, "admin-tokens-dialog-close");
    page.click(c, "admin-storage");
    page.wait(c, "the sums", &by("admin-usage"));
    views::check(c, &page, "admin-storage");
    page.click(c, "admin-server");
    page.wait(c, "the version", &format!("{}?.includes('natter ')", text_of("admin-overview")));
    let state = text_of("admin-backup-state");
    page.wait(c, "none yet", &format!("{state}?.includes('none yet')"));
    page.click(c, "admin-backup");
    page.wait(c, "made", &format!("{state}?.includes('The newest good one')"));
    page.wait(c, "the button", &format!("!{}.disabled", by("admin-backup")));
    views::check(c, &page, "admin-server");
    page.click(c, "admin-close");
    page.click(c, "sign-out");
    page.wait(c, "out", &by("sign-in"));

    // The link sets bob's password.
    page.go(c, &link);
    page.wait(c, "the form", &by("reset-link"));
    views::check(c, &page, "gate-reset-link");
    page.fill(c, "field-password", "the best horse");
    page.click(c, "reset-link-submit");
    page.wait(c, "set", &by("auth-notice"));
    page.fill(c, "field-email", "bob@example.org");
    page.fill(c, "field-password", "the best horse");
    page.click(c, "sign-in-submit");
    page.wait(c, "the code", &by("verify"));
    page.has_no_faults(c);
}

/// Signs in somebody whose address is not verified.
fn enter(c: &mut Chromium, page: &Page, name: &str) {
    page.wait(c, "the form", &by("sign-in"));
    page.fill(c, "field-email", &format!("{name}@example.org"));
    page.fill(c, "field-password", &format!("correct horse {name}'s"));
    page.click(c, "sign-in-submit");
    page.wait(c, "the code", &by("verify"));
    page.click(c, "verify-later");
    page.wait(c, "in", ONLINE);
}

fn leave(c: &mut Chromium, page: &Page) {
    page.click(c, "open-settings");
    page.click(c, "tab-account");
    page.click(c, "sign-out");
    page.wait(c, "out", &by("sign-in"));
}
