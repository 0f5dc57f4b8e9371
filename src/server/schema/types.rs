//! The types that have a name: what more than one operation or event gives.
//!
//! Owns their properties, bounds and descriptions; the bounds are those of `limits`, so that neither can change alone.
//! Invariant: both documents take a type from here, so that they cannot differ.

use super::shape::*;
use crate::auth::rules::{EMAIL_BYTES_MAX, NICK_NAME_MIN, UNIQUE_ID_MAX};
use crate::auth::token::TOKEN_BYTES_MAX;
use crate::limits::{
    ATTACHMENTS_MAX, DISPLAY_NAME_MAX, MENTIONS_MAX, MESSAGE_MOST, NICK_NAME_MAX, REACTION_PROFILES_SHOWN,
    REACTIONS_MAX, UNREAD_MENTIONS_MAX,
};
use crate::messaging::changes::EMOJI_BYTES_MAX;
use crate::messaging::groups::TITLE_CHARS_MAX;
use crate::model::push::PushLevel;
use crate::model::system_message::{SYSTEM_PROFILES_MAX, SystemKind};
use crate::server::request::client::USER_AGENT_MAX;
use crate::uploads::{ALT_MAX, DURATION_MS_MAX, FILE_NAME_MAX};

/// The types of files that are taken.
const FILE_TYPES: &[&str] = &[
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "image/heic",
    "image/heif",
    "image/avif",
    "video/mp4",
    "audio/mp4",
    "video/quicktime",
    "video/webm",
    "audio/webm",
    "audio/ogg",
    "video/ogg",
    "audio/mpeg",
    "audio/wav",
    "application/pdf",
    "application/zip",
    "text/plain; charset=utf-8",
];

pub fn email() -> Schema {
    text().format("email").length(3, EMAIL_BYTES_MAX)
}

pub fn display_name() -> Schema {
    text().length(1, DISPLAY_NAME_MAX)
}

pub fn nick_name() -> Schema {
    text().length(NICK_NAME_MIN, NICK_NAME_MAX).pattern("^[A-Za-z0-9._]+$")
}

/// The body of a message. The operator's own bound is `limits.message_max`.
pub fn message_text() -> Schema {
    text().length(0, MESSAGE_MOST)
}

pub fn title() -> Schema {
    text().length(1, TITLE_CHARS_MAX)
}

pub fn emoji() -> Schema {
    text().length(1, EMOJI_BYTES_MAX)
}

pub fn role() -> Schema {
    word(&["admin", "member"])
}

pub fn kind_of_conversation() -> Schema {
    word(&["direct", "group"])
}

/// What of a group newcomers see.
pub fn history() -> Schema {
    word(&["all", "joined"])
}

pub fn time() -> Schema {
    named("Time")
}

pub fn cursor() -> Schema {
    named("Cursor")
}

pub fn unix_s() -> Schema {
    count().format("int64")
}

/// The address of a file on this server.
pub fn url() -> Schema {
    text().format("uri-reference").length(1, 2_048)
}

/// A member of the group, or all of them.
fn mention() -> Schema {
    any_of([id(), constant("all")])
}

#[rustfmt::skip]
fn unread_mentions() -> Vec<Field> {
    vec![
        may("unread_mentions", count_from(1).at_most(UNREAD_MENTIONS_MAX), "How many unread messages of a group mention me; 100 for more. Absent if none."),
        may("mention_n", count_from(1), "The `n` of the oldest of them."),
    ]
}

fn pixels() -> Schema {
    or_null(count().at_most(u32::MAX.into()))
}

fn file_name() -> Schema {
    text().length(1, FILE_NAME_MAX)
}

/// No closed list for a client: a later server takes more, and a damaged disk may show another.
fn file_type() -> Field {
    let says = format!("What its bytes say that it is: {}.", FILE_TYPES.join(", "));
    must("type", text().length(1, 128), &says)
}

fn size() -> Schema {
    count().format("int64")
}

/// Every type with a name, in the order of the documents.
#[rustfmt::skip]
pub fn all() -> Vec<(&'static str, Schema)> {
    let mut all = vec![
        ("Id", text().pattern("^[0-7][0-9A-HJKMNP-TV-Z]{25}$").says("A ULID: 26 characters of Crockford's base 32, accepted in either case, sent in upper case.")),
        ("Time", text().format("date-time").pattern(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$").says("RFC 3339, UTC, milliseconds.")),
        ("Cursor", text().pattern(r"^[a-z0-9]{1,32}:\d+$").says("A position in the log: <epoch>:<seq>.")),
        ("Problem", problem()),
        ("Token", token()),
        ("Member", member()),
        ("Profile", profile()),
        ("Account", object(&[
            must("member", named("Member"), "The account."),
            must("profile", named("Profile"), "What others see of it."),
            may("directory", always(true), "Present only if the operator wants a directory of profiles."),
            may("mails", always(true), "Present only if the server has a mail server, so that it can send digests."),
        ]).says("An account and its profile.")),
        ("SignedIn", object(&[
            must("token", named("Token"), "The session's tokens."),
            must("member", named("Member"), "The account."),
            must("profile", named("Profile"), "What others see of it."),
        ]).says("What a client keeps after a sign-up or a sign-in.")),
        ("Session", session()),
        ("PushSubscription", push_subscription()),
        ("Invite", object(&invite_fields()).says("A link by which people join a group, or sign up; without its code.")),
        ("Ticket", object(&[
            must("ticket", text().length(1, TOKEN_BYTES_MAX), "Passed as `?ticket=`."),
            must("expires_at", time(), "Until then it opens a stream."),
        ]).says("Opens a stream for a client that can't set headers.")),
        ("ExportLine", export_line()),
        ("Attachment", attachment()),
        ("Upload", upload()),
        ("ShownFile", object(&[
            must("message", id(), "Which shows it."),
            must("n", count_from(1), "The message's."),
            must("sender", or_null(id()), "Their profile; null once the account is deleted."),
            must("created_at", time(), "When the message was stored."),
            must("file", named("Attachment"), "The file."),
        ]).says("A file, and the message that shows it.")),
        ("Reaction", object(&[
            must("emoji", emoji(), "Fully qualified."),
            must("count", count_from(1), "How many members reacted with it."),
            must("profiles", list(id()).items_max(REACTION_PROFILES_SHOWN as usize), "The first 50 of them, by id."),
        ]).says("One emoji under a message. `emoji`: fully qualified. `profiles`: the first 50.")),
        ("Message", message()),
        ("MessagePlace", object(&[
            must("id", id(), "Rises with `seq`."),
            must("client_id", id(), "The sender's own name for it."),
            must("n", count_from(1), "Position in the conversation: 1, 2, 3 …, without gaps."),
            must("seq", count_from(1), "Position in the total order of the server."),
        ]).says("What a repeated post gets of the original when its sender has left the conversation.")),
        ("Conversation", conversation()),
        ("ConversationBrief", object(&brief_and_own()).says("What every member sees of a conversation: an event has no fields of one viewer.")),
        ("GroupMember", object(&[
            must("profile", named("Profile"), "Who it is."),
            must("role", role(), "An admin changes title, image and members."),
            must("joined_at", time(), "Since when."),
            may("read_n", count(), "All up to this `n` is read. Only in member.list, where it may be seen."),
        ]).says("A member of a group.")),
        ("Marked", object(&[vec![
            must("read_n", count(), "All up to this `n` is read."),
            must("unread", count(), "How many messages are still unread."),
        ], unread_mentions()].concat()).says("A read mark.")),
        ("Event", object(&[
            must("event", text().length(1, 64), "Its name: see /asyncapi.json for the data of each."),
            must("seq", count(), "Its position in the total order of the server."),
            must("data", any_object(), "What happened."),
        ]).says("One event of the log.")),
    ];
    all.extend(super::bots::types());
    all.extend(export_lines());
    all
}

#[rustfmt::skip]
fn problem() -> Schema {
    object(&[
        must("type", text().format("uri-reference"), "Always `about:blank`: `code` says which problem it is."),
        must("status", count_from(400).at_most(599), "The status of the response."),
        must("code", text().pattern("^[a-z_]+$"), "Never changes for an error."),
        must("title", text().length(1, 256), "In the language of Accept-Language (en, ar)."),
        must("field", or_null(text().length(1, 64)), "The member of the request that is wrong."),
        must("retry", flag(), "The same request may succeed later."),
        must("retry_after_ms", or_null(count()), "When it is worth repeating, in milliseconds from now."),
        may("cursor", cursor(), "Where to continue; only with 410 `cursor_reset`."),
    ]).says("RFC 9457. `cursor` only with 410 cursor_reset.")
}

#[rustfmt::skip]
fn token() -> Schema {
    object(&[
        must("access", text().length(1, TOKEN_BYTES_MAX), "The bearer of requests."),
        must("refresh", text().length(1, TOKEN_BYTES_MAX), "Is exchanged for the next pair, once."),
        must("token_uuid", id(), "The id of the access token."),
        must("refresh_uuid", id(), "The id of the refresh token."),
        must("token_expire", unix_s(), "When the access token expires, in Unix seconds."),
        must("refresh_expire", unix_s(), "When the refresh token expires, in Unix seconds."),
    ]).says("HS256 JWTs; expiries in Unix seconds.")
}

#[rustfmt::skip]
fn member() -> Schema {
    object(&[
        must("id", id(), "The account's id, which only its owner and the operator see."),
        must("email", or_null(email()), "In lower case; null for a bot."),
        must("verified", flag(), "Whether a code that was mailed there came back."),
        must("active", flag(), "Whether the operator lets it sign in."),
        may("admin", always(true), "Present only for an admin of the server."),
        may("bot", always(true), "Present only for a bot."),
        may("digest", always(true), "Present only if it wants a mail a day about what is unread, and only to itself."),
        may("second_factor", always(true), "Present only if a sign-in needs a code, too."),
        may("recovery_codes", count(), "How many are left; only to itself, with `second_factor`."),
        must("created_at", time(), "When it signed up."),
    ]).says("An account, as its owner sees it.")
}

#[rustfmt::skip]
fn profile() -> Schema {
    object(&[
        must("id", id(), "How others name it: in `to`, `members` and paths."),
        must("member", or_null(id()), "The account's id; null in other people's profiles."),
        must("display_name", text().length(0, DISPLAY_NAME_MAX), "Empty once the account is deleted."),
        must("nick_name", text().length(0, NICK_NAME_MAX), "Unique, compared without case; empty if there is none."),
        must("profile_image", or_null(url()), "A signed URL."),
        must("is_private", flag(), "Found only by its QR code, and by profiles that share a conversation with it."),
        must("created_at", time(), "When it signed up."),
        may("presence", flag(), "Whether others see it online; only in one's own."),
        may("bot", always(true), "Present only for a bot: a program and no person."),
    ]).says("`member` and `presence` only in my own profile; images are signed URLs.")
}

fn session() -> Schema {
    object(&session_fields()).says("One device that is signed in.")
}

#[rustfmt::skip]
fn session_fields() -> Vec<Field> {
    vec![
        must("id", id(), "For `session.revoke`."),
        must("unique_id", or_null(text().length(1, UNIQUE_ID_MAX)), "The device id that it is bound to."),
        must("user_agent", text().length(0, USER_AGENT_MAX), "The program that opened it."),
        must("address", text().length(1, 64), "The IP address that it was opened from."),
        must("place", or_null(text().length(1, 128)), "Where that is, if the server knows."),
        must("created_at", time(), "When it was opened."),
        must("last_seen_at", time(), "When it was last used."),
        must("current", flag(), "The one that asks."),
        must("push", or_null(named("PushSubscription")), "Its subscription to notifications."),
    ]
}

#[rustfmt::skip]
pub fn invite_fields() -> Vec<Field> {
    vec![
        must("id", id(), "For `invite.revoke`."),
        must("conversation", or_null(id()), "The group; null for an invite to the server."),
        must("maker", or_null(id()), "The profile that made it; null for the operator."),
        must("uses", count(), "How often it was used."),
        must("uses_max", count_from(1), "How often it can be used."),
        must("created_at", time(), "When it was made."),
        must("expires_at", time(), "Until when it can be used."),
    ]
}

pub fn push_level() -> Schema {
    word(&PushLevel::ALL.map(|(name, _)| name))
}

fn push_subscription() -> Schema {
    object(&[
        must("level", push_level(), "What the device shows of a new message."),
        must("created_at", time(), "When it was made."),
    ])
    .says("The notifications of one device.")
}

/// One line of an export: the kind of a thing, and the thing. Each has a name, since generators of clients name no choice.
fn export_line() -> Schema {
    one_of([
        named("ExportedMember"),
        named("ExportedProfile"),
        named("ExportedSession"),
        named("ExportedBlock"),
        named("ExportedInvite"),
        named("ExportedUpload"),
        named("ExportedConversation"),
        named("ExportedMessage"),
        named("ExportedReaction"),
    ])
    .says("One line of an export: a thing of one's own.")
}

#[rustfmt::skip]
fn export_lines() -> Vec<(&'static str, Schema)> {
    let line = |kind, data: Schema| object(&[
        must("kind", constant(kind), "What it is."),
        must("data", data, "The thing itself."),
    ]).says("A line of an export.");
    let shown = |except: &str| session_fields().into_iter().filter(|field| field.name != except).collect::<Vec<_>>();
    let mut kept = upload_fields();
    kept.push(must("created_at", time(), "When it was uploaded."));
    vec![
        ("ExportedMember", line("member", named("Member"))),
        ("ExportedProfile", line("profile", named("Profile"))),
        ("ExportedSession", line("session", object(&shown("current")))),
        ("ExportedBlock", line("block", object(&[must("profile", id(), "Whom one blocks.")]))),
        ("ExportedInvite", line("invite", named("Invite"))),
        ("ExportedUpload", line("upload", object(&kept))),
        ("ExportedConversation", line("conversation", object(&[
            must("id", id(), "For paths."),
            must("type", kind_of_conversation(), "Between two, or a group."),
            must("title", or_null(title()), "Of a group."),
            must("peer", or_null(id()), "The other one of two; null once the account is deleted."),
            must("read_n", count(), "All up to this `n` is read."),
            must("last_n", count(), "The `n` of the newest message."),
        ].into_iter().chain(preferences()).collect::<Vec<_>>()))),
        ("ExportedMessage", line("message", named("Message"))),
        ("ExportedReaction", line("reaction", object(&[
            must("message", id(), "To which message."),
            must("emoji", emoji(), "Fully qualified."),
        ]))),
    ]
}

#[rustfmt::skip]
fn attachment() -> Schema {
    let said = said();
    object(&[
        must("id", id(), "The upload's id."),
        must("name", file_name(), "As the sender named the file."),
        file_type(),
        must("size", size(), "Bytes."),
        must("width", pixels(), "As displayed; null if it is no picture."),
        must("height", pixels(), "As displayed; null if it is no picture."),
        said[0].clone(),
        said[1].clone(),
        must("url", url(), "Signed, for 24 hours; every read renews it."),
        must("preview", or_null(url()), "The signed address of a small picture of it; null if its owner gave none."),
    ]).says("A file of a message.")
}

/// What an owner says about a file, as it is shown.
fn said() -> [Field; 2] {
    [
        must("alt", or_null(alt()), "Its content in words, by its owner."),
        must("duration_ms", or_null(duration_ms()), "How long a sound or a film plays, by its owner."),
    ]
}

pub fn alt() -> Schema {
    text().length(1, ALT_MAX)
}

pub fn duration_ms() -> Schema {
    count_from(1).at_most(DURATION_MS_MAX)
}

fn upload() -> Schema {
    object(&upload_fields()).says("A file that is stored.")
}

#[rustfmt::skip]
fn upload_fields() -> Vec<Field> {
    let said = said();
    vec![
        must("id", id(), "Goes into `attachments`, `profile_image` or `image`."),
        must("name", file_name(), "Control characters and separators replaced."),
        file_type(),
        must("size", size(), "Bytes as stored."),
        must("sha256", text().pattern("^[0-9a-f]{64}$"), "Of the bytes as stored."),
        must("width", pixels(), "As displayed; null if it is no picture."),
        must("height", pixels(), "As displayed; null if it is no picture."),
        said[0].clone(),
        said[1].clone(),
        must("url", url(), "Signed, for 24 hours."),
        must("preview", or_null(url()), "The same of its preview; null if it has none."),
    ]
}

#[rustfmt::skip]
fn message() -> Schema {
    object(&[
        must("id", id(), "Rises with `seq`."),
        must("client_id", id(), "The sender's own name for it, by which a repeated post is known."),
        must("conversation", id(), "Where it was posted."),
        must("n", count_from(1), "Position in the conversation: 1, 2, 3 …, without gaps."),
        must("seq", count_from(1), "Position in the total order of the server."),
        must("rev", count_from(1), "seq of the last change. Of two versions the one with the greater rev is newer."),
        must("sender", or_null(id()), "Their profile; null once the account is deleted."),
        must("body", or_null(message_text()), "At most `limits.message_max` characters; null in a tombstone, in a system message, and without a text."),
        must("attachments", list(named("Attachment")).items_max(ATTACHMENTS_MAX), "Its files, in the order sent."),
        must("reply_to", or_null(id()), "The message it answers."),
        must("reactions", list(named("Reaction")).items_max(REACTIONS_MAX), "One item for each emoji."),
        may("kind", word(&SystemKind::ALL.map(|(name, _)| name)), "What a system message of a group tells. Absent in all other messages."),
        may("profiles", list(id()).items_max(SYSTEM_PROFILES_MAX), "Of a system message: the first 50 profiles that it is about, without deleted accounts."),
        may("profiles_count", count(), "Of a system message: how many profiles it is about."),
        may("title", title(), "Of a system message with the kind `renamed`."),
        may("forwarded", always(true), "Present only if its content is that of another message."),
        may("pinned", always(true), "Present only while it is pinned in its conversation."),
        may("mentions", list(mention()).items_max(MENTIONS_MAX), "Whom its text addresses with `@`: profiles of the group, or `all`. Absent if nobody."),
        must("created_at", time(), "When it was stored; never runs backwards."),
        must("edited_at", or_null(time()), "When its text was last changed."),
        must("deleted_at", or_null(time()), "When it became a tombstone."),
        may("damaged", always(true), "Present only if the server's disk lost a part of the message: its body is null, and it is not a tombstone."),
    ]).says("A tombstone has body null and empty lists.")
}

fn brief_fields() -> Vec<Field> {
    vec![
        must("id", id(), "For paths and posts."),
        must("type", kind_of_conversation(), "Between two, or a group."),
        must("title", or_null(title()), "Of a group."),
        must("image", or_null(url()), "Of a group: a signed URL."),
        must("members_count", count(), "How many are in it."),
        may("history", history(), "Of a group: whether newcomers see what was said before they joined."),
        may(
            "messages_kept",
            count_from(1),
            "Of a group: days that its messages are kept, if its admins have set it.",
        ),
        may(
            "erased_n",
            count_from(1),
            "All messages up to this `n` are tombstones, since they were kept long enough.",
        ),
    ]
}

fn brief_and_own() -> Vec<Field> {
    let mut fields = brief_fields();
    fields.push(may(
        "own",
        always(true),
        "I changed what I have set of it: read it again. Only my devices receive this event.",
    ));
    fields
}

/// What a member has set of a conversation.
fn preferences() -> Vec<Field> {
    vec![
        must("muted", flag(), "Of it only mentions are notified."),
        may("muted_until", time(), "When that ends. Absent if it has no end."),
        may("pinned", always(true), "Listed before the others. Absent if it is not, as the next ones."),
        may("archived", always(true), "In the archive."),
        may("marked_unread", always(true), "I marked it as unread."),
        may("hidden", always(true), "In no list until the next message."),
    ]
}

#[rustfmt::skip]
fn conversation() -> Schema {
    let mut fields = brief_fields();
    fields.extend([
        must("peer", or_null(named("Profile")), "The other one of a direct conversation."),
        must("last_message", or_null(named("Message")), "The newest message."),
        must("unread", count(), "Messages after `read_n` that are neither mine, nor deleted, nor system messages."),
        must("read_n", count(), "All up to this `n` is read."),
        must("last_n", count(), "The `n` of the newest message."),
        may("peer_read_n", count(), "How far the other one has read; in a direct conversation, where it may be seen."),
        may("role", role(), "Mine, in a group."),
        may("first_n", count_from(2), "The first message that I see, if earlier ones are hidden from me."),
    ]);
    fields.extend(preferences());
    fields.extend(unread_mentions());
    object(&fields).says("A conversation as one member sees it. `peer_read_n` in a direct conversation, if receipts are visible; `role` in a group.")
}
