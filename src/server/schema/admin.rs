//! The rows of the schema table for the admins of the server, and for reports.

use super::operations::{Operation, limit, paging, row};
use super::shape::*;
use super::types::{display_name, email, message_text, nick_name, time};
use crate::auth::admin::SEARCH_MAX;
use crate::auth::rules::{PASSWORD_MAX, PASSWORD_MIN};
use crate::model::problem::Code;
use crate::model::report::REASON_MAX;
use crate::proto::http::head::Method::{Delete, Get, Post};
use crate::server::request::metrics::TROUBLE_CHARS_MAX;

fn who() -> Field {
    must("who", text().length(1, 320), "An e-mail address, an id of a member or a nick name.")
}

#[rustfmt::skip]
pub fn operations() -> Vec<Operation> {
    let tag = "Moderation";
    let report = |path, what: &'static str| row(Post, path, tag, what)
        .says("Only the admins of the server see it. The same again is answered with the report that is there. At most 20 open reports of a member.")
        .json(&[may("reason", text().length(0, REASON_MAX), "For the admins.")])
        .gives(201, "Reported.", object(&[must("id", id(), "The report.")]), "The report.")
        .gives(200, "It was reported before.", object(&[must("id", id(), "The report.")]), "The report.")
        .codes(&[Code::QuotaExceeded]);
    let change = |path, what: &'static str| row(Post, path, tag, what)
        .json(&[who()])
        .gives(200, "Done.", named("Member"), "The member.")
        .codes(&[Code::NotFound])
        .invalid(&["who"]);
    vec![
        report("/api/v1/messages/{message}/report", "Reports a message that one can read")
            .says("Its text and the names of its files are kept for the admins of the server until they close the report, at most 30 days, also if the message is deleted.")
            .invalid(&["message", "reason"]),
        report("/api/v1/profile/{profile}/report", "Reports a person").invalid(&["profile", "reason"]),
        row(Get, "/api/v1/admin/members", tag, "All members, for the admins of the server")
            .query([vec![may("search", text().length(0, SEARCH_MAX), "Only those whose address, nick name or name has this text.")], paging()].concat())
            .pages("In the order in which they signed up.", listed(), vec![])
            .invalid(&["search"]),
        row(Post, "/api/v1/admin/members", tag, "Makes an account, also if sign-up is closed")
            .json(&[must("email", email(), "Taken as verified."), must("password", text().format("password").length(PASSWORD_MIN, PASSWORD_MAX), "Its first one.")])
            .gives(201, "Made.", named("Member"), "The member.")
            .codes(&[Code::EmailTaken, Code::NicknameTaken])
            .invalid(&["email", "password"]),
        change("/api/v1/admin/members/disable", "Suspends a member: its sessions end at once, and it can't sign in"),
        change("/api/v1/admin/members/enable", "Lets a member sign in again"),
        change("/api/v1/admin/members/delete", "Deletes an account; its messages stay, without a sender"),
        change("/api/v1/admin/members/verify", "Takes the address of a member as verified"),
        row(Post, "/api/v1/admin/members/rename", tag, "Gives a member another name")
            .json(&[who(), may("display_name", display_name(), "What others see."), may("nick_name", nick_name(), "Its unique name.")])
            .gives(200, "Done.", named("Member"), "The member.")
            .codes(&[Code::NotFound, Code::NicknameTaken])
            .invalid(&["who", "display_name", "nick_name"]),
        row(Post, "/api/v1/admin/members/revoke", tag, "Ends the sessions of a member")
            .json(&[who(), may("session", id(), "Only this one.")])
            .gives(200, "Done.", named("Member"), "The member.")
            .codes(&[Code::NotFound])
            .invalid(&["who", "session"]),
        row(Post, "/api/v1/admin/members/reset-link", tag, "Makes a link by which a member sets a new password, once, within a day")
            .json(&[who()])
            .gives(201, "Made.", object(&[
                must("url", super::types::url(), "Only here: the server keeps the hash of its code."),
                must("expires_at", time(), "Until when it can be used."),
            ]), "The link.")
            .codes(&[Code::NotFound])
            .invalid(&["who"]),
        row(Delete, "/api/v1/admin/messages/{message}", tag, "Deletes any message")
            .no_content("Its content is erased; its position stays."),
        row(Get, "/api/v1/admin/reports", tag, "The open reports")
            .query(paging())
            .pages("The oldest first.", report_shown(), vec![]),
        row(Delete, "/api/v1/admin/reports/{report}", tag, "Closes a report")
            .no_content("It is erased, with its copy."),
        row(Get, "/api/v1/admin/audit", tag, "What admins and the operator did")
            .says("Nobody can change or delete a row; the newest 100,000 are kept.")
            .query(paging())
            .pages("The newest first.", audit_row(), vec![]),
        row(Get, "/api/v1/admin/storage", tag, "Who has uploaded the most")
            .query(vec![limit()])
            .pages("The greatest sum first; all on one page.", object(&[
                must("member", id(), "The member."),
                must("nick_name", text().length(0, 64), "Its nick name."),
                must("display_name", text().length(0, 256), "Its name."),
                must("bytes", count().format("int64"), "Of all its uploads."),
                must("files", count(), "How many files these are."),
            ]), vec![]),
        row(Post, "/api/v1/admin/backup", tag, "Begins a backup, which the server keeps")
            .says("It is made as those of BACKUP_EVERY are: in BACKUP_DIR, verified, and BACKUP_KEEP of them are kept. It never leaves the server by this request; admin.server says what became of it.")
            .gives(202, "It is begun.", null(), "Nothing.")
            .codes(&[Code::BackupRunning]),
        row(Get, "/api/v1/admin/server", tag, "The version of the server, its last backup, and its background errors")
            .gives(200, "It.", object(&[
                must("version", text().length(1, 64), "Of natter."),
                must("errors", list(object(&[
                    must("kind", text().length(1, 64), "As in `/metrics`."),
                    must("count", count_from(1), "Since the start."),
                    must("last_at", time(), "When the last one was."),
                    must("text", text().length(0, TROUBLE_CHARS_MAX), "What the log says of the last one, or its beginning."),
                ])).items_max(64), "Each kind that there was since the start."),
                must("backup", object(&[
                    must("running", flag(), "Whether one is made now."),
                    must("last", or_null(object(&[
                        must("at", time(), "When it was begun."),
                        must("bytes", or_null(count().format("int64")), "Its size; null if its file was gone at the start."),
                        must("verified", always(true), "Only a good one is kept."),
                    ])), "The newest good one; null if there is none."),
                    must("failed", or_null(object(&[
                        must("at", time(), "When."),
                        must("text", text().length(0, TROUBLE_CHARS_MAX), "Why."),
                    ])), "Why the newest try failed; null if it did not."),
                ]), "The backups that the server makes."),
            ]), "The server."),
        row(Post, "/api/v1/user/reset/link", "Accounts", "Sets a new password by the link of an admin; needs no access token")
            .says("All sessions end, and the link.")
            .json(&[
                must("link", text().length(0, 128), "The code of the link."),
                must("password", text().format("password").length(PASSWORD_MIN, PASSWORD_MAX), "The new one."),
            ])
            .done("Set.")
            .codes(&[Code::CodeWrong])
            .invalid(&["link", "password"]),
    ]
}

#[rustfmt::skip]
fn listed() -> Schema {
    object(&[
        must("id", id(), "The account's id."),
        must("email", or_null(email()), "In lower case; null for a bot."),
        must("verified", flag(), "Whether a code that was mailed there came back."),
        must("active", flag(), "Whether it can sign in."),
        may("admin", always(true), "Present only for an admin of the server."),
        may("bot", always(true), "Present only for a bot."),
        must("created_at", time(), "When it signed up."),
        must("profile", id(), "Its profile."),
        must("nick_name", text().length(0, 64), "Its nick name."),
        must("display_name", text().length(0, 256), "Its name."),
    ])
}

#[rustfmt::skip]
fn report_shown() -> Schema {
    let person = || object(&[
        must("profile", id(), "The profile."),
        must("member", or_null(id()), "The member; null once the account is deleted."),
        must("nick_name", text().length(0, 64), "Empty once the account is deleted."),
        must("display_name", text().length(0, 256), "Empty once the account is deleted."),
        must("active", flag(), "Whether it can sign in."),
    ]);
    object(&[
        must("id", id(), "The report."),
        must("created_at", time(), "When it was made."),
        must("reporter", or_null(person()), "Who made it; null once the account is deleted."),
        must("person", person(), "Who is reported, or has sent the message."),
        must("message", or_null(object(&[
            must("id", id(), "The message."),
            must("body", message_text(), "Its text when it was reported."),
            must("files", list(text().length(1, 256)).items_max(64), "The names of its files when it was reported."),
            must("created_at", time(), "When it was posted."),
            must("deleted", flag(), "Whether it was deleted since."),
            must("edited", or_null(message_text()), "Its text now, if it was edited since; null if it was not, or is deleted."),
        ])), "The copy of the message; null for a report of a person."),
        must("reason", text().length(0, REASON_MAX), "What the reporter says."),
    ])
}

#[rustfmt::skip]
fn audit_row() -> Schema {
    object(&[
        must("at", time(), "When."),
        must("who", or_null(id()), "The member who did it; null for the operator."),
        must("who_name", or_null(text().length(1, 64)), "Its nick name now; null once the account is deleted."),
        must("act", text().length(1, 64), "What, such as `member.disable`."),
        must("whom", or_null(id()), "The id of what it was done to."),
        must("whom_name", or_null(text().length(1, 64)), "The nick name now, of a member whose account is there."),
        must("detail", text().length(0, 256), "More of it."),
    ])
}
