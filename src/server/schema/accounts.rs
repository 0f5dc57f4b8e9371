//! The rows of the schema table for accounts, sessions, profiles and blocks.

use super::operations::{JSON, LINES, Operation, limit, paging, row};
use super::shape::*;
use super::types::{display_name, email, nick_name, role};
use crate::auth::profiles::PROFILE_IDS_MAX;
use crate::auth::rules::{PASSWORD_MAX, PASSWORD_MIN, UNIQUE_ID_MAX};
use crate::auth::second_factor::CODE_MAX;
use crate::auth::token::TOKEN_BYTES_MAX;
use crate::limits::DISPLAY_NAME_MAX;
use crate::model::problem::Code;
use crate::model::second_factor::RECOVERY_CODES;
use crate::proto::http::head::Method::{Delete, Get, Post, Put};
use crate::proto::push::request::ENDPOINT_BYTES_MAX;

/// One that is to guard an account; one that is presented may be anything.
fn password() -> Schema {
    text().format("password").length(PASSWORD_MIN, PASSWORD_MAX)
}

fn presented() -> Schema {
    text().format("password").length(1, 1_024)
}

fn code() -> Field {
    must("code", text().length(1, 64), "The six digits of the mail.")
}

fn unique_id() -> Field {
    let says = "Binds the session to a device: 1 to 128 visible ASCII characters, then sent in the header UniqueId of each request. Empty equals absent.";
    may("unique_id", text().length(0, UNIQUE_ID_MAX), says)
}

/// Of an authenticator app, or a recovery code.
fn code_of_factor() -> Schema {
    text().length(1, CODE_MAX)
}

fn setup() -> Schema {
    text().length(1, 256)
}

fn changed_factor() -> Schema {
    object(&[
        must("member", named("Member"), "The account as it is now."),
        may(
            "recovery_codes",
            list(text().length(19, 19)).items_max(RECOVERY_CODES),
            "New ones, if there are any: each can be used once in place of a code.",
        ),
    ])
}

fn delivery() -> Field {
    may(
        "delivery",
        constant("file"),
        "Present only if the server has no mail server: the code is in its mailbox file, which the operator can read.",
    )
}

/// An answer that may say where the code is.
fn mailed(row: Operation, says: &'static str, data: Schema, data_says: &str) -> Operation {
    row.answer(201, says, vec![(JSON, object(&[must("data", data, data_says), delivery()]))])
}

pub fn operations() -> Vec<Operation> {
    let mut all = sessions();
    all.extend(codes());
    all.extend(account());
    all.extend(push());
    all.extend(profiles());
    all
}

#[rustfmt::skip]
fn sessions() -> Vec<Operation> {
    let tag = "Accounts";
    vec![
        row(Get, "/api/v1/user/sign-up", tag, "What a client may offer to somebody without an account")
            .says("The operator's SIGN_UP and REQUIRE_VERIFIED.")
            .gives(200, "The policy.", object(&[
                must("open", flag(), "Whether `POST /user/sign-up` makes accounts for anyone."),
                must("invite", flag(), "Whether it makes accounts only for those who present an invite; 403 `sign_up_closed` if neither."),
                must("verification_required", flag(), "Whether all paths except `/user/*` are 403 `not_verified` until the address is verified."),
            ]), "The policy."),
        mailed(row(Post, "/api/v1/user/sign-up", tag, "Creates an account and mails a verification code")
            .says("Gives the tokens of a first session at once.")
            .json(&[
                must("display_name", display_name(), "At least one character that is drawn; no control characters."),
                must("email", email(), "ASCII; blanks around it are ignored."),
                must("password", password(), "Neither the address nor the name nor a common one."),
                unique_id(),
                may("invite", super::invites::presented(), "The code of an invite: one joins its group, and may sign up where only an invite permits it."),
            ])
            .codes(&[Code::EmailTaken, Code::SignUpClosed])
            .invalid(&["display_name", "email", "password", "unique_id", "invite", "members"]),
            "The account is stored and signed in.", named("SignedIn"), "The session."),
        row(Post, "/api/v1/user/sign-in", tag, "Opens a session; credentials in the query are 422")
            .says("A device that was not seen before is reported to the member by mail. After 10 failures within 15 minutes new devices get 429.")
            .json(&[
                must("email", email(), "In any case."),
                must("password", presented(), "The account's."),
                unique_id(),
                may("code", code_of_factor(), "After `second_factor_required`: of the authenticator app, or a recovery code."),
            ])
            .gives(200, "Signed in.", named("SignedIn"), "The session.")
            .codes(&[Code::EmailPasswordWrong, Code::SecondFactorRequired, Code::CodeWrong])
            .invalid(&["email", "password", "unique_id", "code"]),
        row(Post, "/api/v1/user/refresh", tag, "A new token pair for a refresh token, which becomes invalid")
            .says("Repeated within 60 s, until its successor is presented, it gives the same pair again, so that a lost answer ends no session; any other reuse revokes the session.")
            .json(&[must("refresh", text().length(1, TOKEN_BYTES_MAX), "The refresh token.")])
            .gives(200, "The next pair.", named("Token"), "The tokens.")
            .codes(&[Code::UnauthorizedAccess])
            .invalid(&["refresh", "unique_id"]),
        row(Post, "/api/v1/user/logout", tag, "Ends this session")
            .done("The tokens are invalid and the session's streams are closed."),
        row(Put, "/api/v1/user/password", tag, "Changes the password and ends all other sessions")
            .json(&[
                must("password", presented(), "The present one."),
                must("new_password", password(), "Neither the address nor the name nor a common one."),
                must("confirm_password", text().format("password").length(1, 1_024), "The new password again."),
            ])
            .done("Changed.")
            .codes(&[Code::EmailPasswordWrong, Code::PasswordMismatch])
            .invalid(&["password", "new_password", "confirm_password"]),
        row(Post, "/api/v1/user/second-factor", tag, "Draws the secret of a second factor")
            .says("Nothing is stored before it is confirmed.")
            .gives(200, "For an authenticator app.", object(&[
                must("secret", text().length(32, 32), "In base32, to type."),
                must("uri", text().length(1, 1_024), "The same as an `otpauth:` address, for a QR code."),
                must("setup", setup(), "For the confirmation, within an hour."),
            ]), "The secret.")
            .codes(&[Code::NotAllowed]),
        row(Put, "/api/v1/user/second-factor", tag, "From now on a sign-in needs a code, too")
            .json(&[
                must("password", presented(), "The account's."),
                must("code", code_of_factor(), "Which the app shows."),
                must("setup", setup(), "As it was given."),
            ])
            .gives(200, "It is on.", changed_factor(), "The account, and the recovery codes, which are shown this once.")
            .codes(&[Code::EmailPasswordWrong, Code::CodeWrong, Code::NotAllowed])
            .invalid(&["password", "code", "setup"]),
        row(Post, "/api/v1/user/second-factor/recovery", tag, "Draws other recovery codes; the former ones are invalid")
            .json(&[must("password", presented(), "The account's."), must("code", code_of_factor(), "Of the app, or a recovery code.")])
            .gives(200, "They are others now.", changed_factor(), "The account, and the recovery codes, which are shown this once.")
            .codes(&[Code::EmailPasswordWrong, Code::CodeWrong, Code::NotFound])
            .invalid(&["password", "code"]),
        row(Delete, "/api/v1/user/second-factor", tag, "The password alone is enough again")
            .json(&[must("password", presented(), "The account's."), must("code", code_of_factor(), "Of the app, or a recovery code.")])
            .gives(200, "It is off.", changed_factor(), "The account.")
            .codes(&[Code::EmailPasswordWrong, Code::CodeWrong, Code::NotFound])
            .invalid(&["password", "code"]),
        row(Get, "/api/v1/user/sessions", tag, "My sessions")
            .query(paging())
            .pages("The devices that are signed in.", named("Session"), vec![]),
        row(Delete, "/api/v1/user/sessions", tag, "Ends all other sessions")
            .named("session.revoke.others")
            .no_content("They have ended, and their streams are closed (4401)."),
        row(Delete, "/api/v1/user/sessions/{session}", tag, "Ends one session")
            .no_content("It has ended, and its streams are closed (4401)."),
        row(Post, "/api/v1/user/ticket", tag, "A ticket for a client that can't set headers: for one socket within 30 s, or for the event streams")
            .says("Without a body it opens one WebSocket; with `for` the event streams, until the access token expires.")
            .json(&[may("for", word(&["events"]), "The event streams.")])
            .gives(201, "To be passed as `?ticket=`.", named("Ticket"), "The ticket.")
            .invalid(&["for"]),
    ]
}

#[rustfmt::skip]
fn codes() -> Vec<Operation> {
    let tag = "Accounts";
    let verify = |path| {
        let row = row(Post, path, tag, "Mails a verification code")
            .says("To the account's own address; an earlier code becomes invalid. One a minute and five an hour are sent: above that, the answer is the same and no mail is sent.")
            .json(&[may("code_type", text().length(0, 64), "Ignored: there is one kind for a token's own member.")])
            .invalid(&["code_type"]);
        mailed(row, "Mailed, unless one was sent within the last minute.", null(), "Always null.")
    };
    let reset = |path| {
        row(Post, path, tag, "Sets a new password with a code and ends every session")
            .says("The address, the code that was mailed there, and the new password.")
            .json(&[
                must("email", email(), "Whose password it is."),
                code(),
                must("password", password(), "Neither the address nor the name nor a common one."),
            ])
            .done("Changed; every session has ended.")
            .codes(&[Code::CodeWrong])
            .invalid(&["email", "code", "password"])
    };
    vec![
        verify("/api/v1/user/verify/code"),
        verify("/api/v1/user/verify/renew"),
        row(Post, "/api/v1/user/verify/check", tag, "Verifies the address")
            .says("A code is valid for 5 minutes, 5 attempts and one use.")
            .json(&[code()])
            .done("The address is verified.")
            .codes(&[Code::CodeWrong])
            .invalid(&["code"]),
        mailed(row(Post, "/api/v1/user/reset/code", tag, "Mails a reset code if the account exists; the response is the same if it does not")
            .says("The answer is the same, in the same time, whether or not there is an account.")
            .json(&[must("email", email(), "The account's address.")])
            .invalid(&["email"]),
            "Mailed, if there is such an account.", null(), "Always null."),
        reset("/api/v1/user/reset/password"),
        Operation { summary: "Like /user/reset/password", ..reset("/api/v1/user/verify/reset/password") }
            .named("reset.password.alias"),
    ]
}

#[rustfmt::skip]
fn account() -> Vec<Operation> {
    let tag = "Accounts";
    let delete = |method, path| {
        row(method, path, tag, "Deletes the account: sessions end; address, hash and profile texts are erased; messages stay without a sender, or become tombstones")
            .json(&[
                must("password", presented(), "The account's."),
                may("messages", word(&["keep", "erase"]).or_else(string("keep")), "Whether its messages stay, without a sender."),
            ])
            .no_content("The account is deleted.")
            .codes(&[Code::EmailPasswordWrong])
            .invalid(&["password", "messages"])
    };
    vec![
        row(Get, "/api/v1/user/me", tag, "The member and its profile")
            .gives(200, "The actor of the token.", named("Account"), "The account."),
        row(Put, "/api/v1/user/me", tag, "Changes the settings of the account")
            .json(&[may("digest", flag(), "Whether I want at most one mail a day about what is unread.")])
            .gives(200, "As it is now.", named("Account"), "The account.")
            .invalid(&["digest"]),
        delete(Delete, "/api/v1/user/me"),
        delete(Post, "/api/v1/user/delete").named("account.delete.post"),
        row(Get, "/api/v1/user/export", tag, "All data about me, one JSON object `{kind,data}` per line; an export that could not be completed ends without its last chunk; 429 for a third export of an account at once, 503 above 64 in all")
            .answer(200, "One JSON object a line.", vec![(LINES, named("ExportLine"))]),
    ]
}

#[rustfmt::skip]
fn push() -> Vec<Operation> {
    let tag = "Notifications";
    let level = || must("level", super::types::push_level(), "What the device shows of a new message: nothing, from whom and where, or its text too.");
    let key = |bytes: usize| text().length((bytes * 4).div_ceil(3), (bytes * 4).div_ceil(3));
    vec![
        row(Get, "/api/v1/push", tag, "The key with which a browser subscribes")
            .says("The `applicationServerKey` of the Push API (RFC 8292). 404 if the server has no TLS and so can't push.")
            .gives(200, "The server's public key.", object(&[must("key", key(65), "A point of P-256, uncompressed, in base64url.")]), "The key.")
            .codes(&[Code::NotFound]),
        row(Put, "/api/v1/push", tag, "Subscribes this session to notifications, or replaces its subscription")
            .says("It ends with the session. An account has at most 20.")
            .json(&[
                must("endpoint", text().length(1, ENDPOINT_BYTES_MAX), "The address at the push service: https, at a public address unless the operator allows others."),
                must("p256dh", key(65), "The browser's public key, in base64url."),
                must("auth", key(16), "The browser's secret, in base64url."),
                level(),
            ])
            .gives(200, "Subscribed.", named("PushSubscription"), "The subscription.")
            .codes(&[Code::NotFound, Code::QuotaExceeded])
            .invalid(&["endpoint", "p256dh", "auth", "level"]),
        row(Put, "/api/v1/push/{session}", tag, "Changes what one of my devices shows")
            .says("404 if the session has no subscription.")
            .json(&[level()])
            .gives(200, "Changed.", named("PushSubscription"), "The subscription.")
            .invalid(&["level"]),
        row(Delete, "/api/v1/push/{session}", tag, "Ends the notifications of one of my devices")
            .no_content("The session has no subscription."),
    ]
}

#[rustfmt::skip]
fn profiles() -> Vec<Operation> {
    let tag = "Profiles";
    let fields = |flag: fn() -> Schema, image: Field| object(&[
        may("display_name", display_name(), "At least one character that is drawn; no control characters."),
        may("nick_name", nick_name(), "Unique, compared without case; the reserved first segments of paths are no nick names."),
        may("is_private", flag(), "Found only by its QR code and in shared conversations."),
        may("presence", flag(), "Whether others see one online."),
        image,
    ]);
    let in_form = || word(&["true", "false"]);
    vec![
        row(Get, "/api/v1/profile", tag, "My profile")
            .gives(200, "It, with `member` and `presence`.", named("Profile"), "The profile."),
        row(Put, "/api/v1/profile", tag, "Changes my profile")
            .says("A field that is not named stays as it is. As JSON, or as a form that may carry the picture itself.")
            .body(JSON, fields(flag, may("profile_image", or_null(id()), "An upload that is a picture; null removes it.")))
            .body("multipart/form-data", fields(in_form, may("profile_image", bytes(), "The picture itself.")))
            .gives(200, "As it is now.", named("Profile"), "The profile.")
            .codes(&[Code::NicknameTaken])
            .invalid(&["display_name", "nick_name", "is_private", "presence", "profile_image", "file", "filename"]),
        row(Get, "/api/v1/profile/{profile}", tag, "A profile")
            .says("A private one is 404, unless one shares a conversation with it.")
            .gives(200, "It.", named("Profile"), "The profile."),
        row(Get, "/api/v1/profiles", tag, "Profiles by id, or by the beginning of their names")
            .says("Either `ids` or `query`; private ones are left out of what is found.")
            .query(vec![
                may("ids", text().length(0, PROFILE_IDS_MAX * 27), "Up to 100, separated by commas."),
                may("query", text().length(1, DISPLAY_NAME_MAX), "The beginning of a nick name or a display name, literally."),
                limit(),
                may("next", text().length(1, 512), "Opaque continuation."),
            ])
            .pages("Those that one may see.", named("Profile"), vec![])
            .codes(&[Code::NotAllowed])
            .invalid(&["ids", "query"]),
        row(Get, "/api/v1/directory", tag, "All profiles that are not private, if the operator wants a directory; else 404")
            .says("By nick name. It has neither oneself, nor disabled members, nor profiles with a block between them and oneself.")
            .query(vec![
                may("query", text().length(0, DISPLAY_NAME_MAX), "The beginning of a nick name or a display name, literally; none gives all."),
                limit(),
                may("next", text().length(1, 512), "Opaque continuation."),
            ])
            .pages("A part of the directory.", named("Profile"), vec![])
            .codes(&[Code::NotFound])
            .invalid(&["query"]),
        row(Get, "/api/v1/blocks", tag, "The profiles that I block; private ones that share no conversation with me are left out")
            .query(paging())
            .pages("Whom one blocks.", named("Profile"), vec![]),
        row(Put, "/api/v1/blocks/{profile}", tag, "Blocks a profile")
            .says("Between the two, both ways: no new conversation, no message in the one there is, no typing, presence or receipts, no adding to groups.")
            .no_content("Blocked.")
            .invalid(&["profile"]),
        row(Delete, "/api/v1/blocks/{profile}", tag, "Unblocks a profile")
            .no_content("No longer blocked.")
            .invalid(&["profile"]),
        row(Get, "/api/v1/{nick_name}", tag, "The profile with exactly this nick name")
            .says("A private one is 404 unless by its QR code or in a shared conversation. Fixed paths win.")
            .query(vec![may("source", word(&["search", "qr_code"]).or_else(string("search")), "How the name was found.")])
            .gives(200, "It.", named("Profile"), "The profile.")
            .invalid(&["source"]),
    ]
}

/// The role in a request, which is a member's unless it says so.
pub fn asked_role() -> Field {
    may("role", role().or_else(string("member")), "An admin's, or a member's.")
}
