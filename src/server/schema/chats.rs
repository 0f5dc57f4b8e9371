//! The rows of the schema table for messages, conversations, uploads and streams.

use super::accounts::asked_role;
use super::operations::{BYTES, Header, JSON, Operation, limit, paging, row};
use super::shape::*;
use super::types::{alt, cursor, duration_ms, history, message_text, title};
use crate::limits::{ATTACHMENTS_MAX, MEMBERS_MOST};
use crate::messaging::events::WAIT_MAX;
use crate::model::problem::Code;
use crate::model::retention::KEPT_DAYS_MAX;
use crate::proto::http::head::Method::{Delete, Get, Post, Put};

/// Characters of a query: as many as the largest frame that an operator may allow has bytes.
const QUERY_MAX: usize = 16_777_216;

const NOT_MINE_TO_CHANGE: &[Code] = &[Code::NotAllowed];

fn client_id(required: bool) -> Field {
    let says = "One's own name for it, drawn once: a repeated request gives the original.";
    if required { must("client_id", id(), says) } else { may("client_id", id(), says) }
}

/// 201, and 200 for a repeated `client_id`, which gives what is given of the original.
fn stored(row: Operation, says: &'static str, of: &str, original: Schema) -> Operation {
    let again = object(&[
        must("data", original, "The original."),
        must("duplicate", always(true), "This `client_id` was used before."),
    ]);
    row.gives(201, says, named(of), "As stored.").answer(
        200,
        "The original: this client_id was used before (duplicate).",
        vec![(JSON, again)],
    )
}

pub fn operations() -> Vec<Operation> {
    let mut all = messages();
    all.extend(conversations());
    all.extend(members());
    all
}

#[rustfmt::skip]
fn messages() -> Vec<Operation> {
    let tag = "Messages";
    let text_of = message_text;
    let reaction = |method, summary| {
        row(method, "/api/v1/messages/{message}/reactions/{emoji}", tag, summary)
            .says("At most 20 emoji a message.")
            .gives(200, "With its reactions.", named("Message"), "The message.")
            .codes(&[Code::NotAllowed])
            .invalid(&["emoji"])
    };
    let pin = |method, summary| {
        row(method, "/api/v1/messages/{message}/pin", tag, summary)
            .says("At most 100 messages of a conversation. `message.list` with `pinned` gives them.")
            .gives(200, "As it is now.", named("Message"), "The message.")
            .codes(&[Code::NotAllowed])
            .invalid(&["pinned"])
    };
    vec![
        stored(row(Post, "/api/v1/messages", tag, "Posts a message; answered when it is on disk")
            .says("Exactly one of `conversation` and `to`; a body, an attachment, or a message to forward. An unanswered post can be repeated with its `client_id` at any time.")
            .json(&[
                may("conversation", id(), "Where to."),
                may("to", id(), "A profile: to the direct conversation with it, which the first message makes."),
                client_id(true),
                may("body", text_of(), "At most `limits.message_max` characters, 4,000 unless the operator sets another number."),
                may("attachments", list(id()).items_max(ATTACHMENTS_MAX), "Uploads of one's own."),
                may("reply_to", id(), "A message of the same conversation."),
                may("forward", id(), "A message that I see: its text and files are posted, instead of a body and attachments of one's own."),
            ])
            .codes(&[Code::NotAllowed, Code::NotFound, Code::QuotaExceeded, Code::StorageFull])
            .invalid(&["conversation", "to", "client_id", "body", "attachments", "reply_to", "forward"]),
            "Stored, and its event is sent to the members of the conversation.", "Message", any_of([named("Message"), named("MessagePlace")])),
        row(Get, "/api/v1/messages/{message}", tag, "A message")
            .gives(200, "As it is now.", named("Message"), "The message."),
        row(Put, "/api/v1/messages/{message}", tag, "Changes the text; only by the sender")
            .json(&[must("body", text_of(), "At most `limits.message_max` characters.")])
            .gives(200, "As it is now.", named("Message"), "The message.")
            .codes(&[Code::NotAllowed])
            .invalid(&["body"]),
        row(Delete, "/api/v1/messages/{message}", tag, "Deletes; by the sender or an admin of the group")
            .says("Body and attachments are really erased; `n` stays as a tombstone.")
            .no_content("Erased.")
            .codes(&[Code::NotAllowed]),
        reaction(Put, "Adds a reaction"),
        reaction(Delete, "Removes a reaction"),
        pin(Put, "Pins a message, by admins of a group or by both of two"),
        pin(Delete, "Unpins a message, by admins of a group or by both of two"),
        row(Get, "/api/v1/search", tag, "Messages of my conversations, newest first")
            .says("May lag by a second; never shows erased text.")
            .query(vec![
                must("q", text().length(0, QUERY_MAX), "Any text. Words are found by their beginnings, parts of Chinese, Japanese, Korean, Thai and Lao anywhere; case, diacritics, normal forms and variants of a letter count as one."),
                may("conversation", id(), "In this one only."),
                limit(),
                may("next", text().length(1, 512), "Opaque continuation."),
            ])
            .answer(200, "What was found.", vec![(JSON, object(&[
                must("data", list(named("Message")).items_max(200), "One page."),
                must("next", or_null(text().length(1, 512)), "A long search stops early: `data` may be empty while this is not null; continue with it."),
                may("complete", always(false), "Present only while the index is rebuilt and older messages were left out."),
            ]))])
            .codes(&[Code::NotFound])
            .invalid(&["q", "conversation"]),
        row(Get, "/api/v1/conversations/{conversation}/messages", tag, "A page of messages in the order of n")
            .says("Without `before` and `after` the newest page; `next` continues in the same direction; without either, to older ones.")
            .query([vec![
                may("before", count(), "Those with a smaller `n`, the nearest ones."),
                may("after", count(), "Those with a greater `n`, the nearest ones; not both."),
                may("pinned", flag(), "Only the pinned ones."),
            ], paging()].concat())
            .pages("In the order of `n`.", named("Message"), vec![])
            .invalid(&["before", "after", "pinned"]),
        row(Get, "/api/v1/conversations/{conversation}/files", tag, "The files that the messages of a conversation show, newest first")
            .query([vec![
                must("kind", word(&["media", "audio", "file"]), "Pictures and films, sounds, or all others."),
                may("before", count(), "Those of messages with a smaller `n`."),
            ], paging()].concat())
            .pages("The newest first.", named("ShownFile"), vec![])
            .invalid(&["kind", "before"]),
    ]
}

#[rustfmt::skip]
fn conversations() -> Vec<Operation> {
    let tag = "Conversations";
    vec![
        row(Get, "/api/v1/conversations", tag, "The conversations of the member, newest activity first")
            .says("Those that the member has pinned come before the others.")
            .query(listed_conversations())
            .pages("With the last message and the unread count of each.", named("Conversation"), vec![
                must("cursor", or_null(cursor()), "null after a start, until all stored data is known to be on disk; until then no stream opens (503)."),
                must("unread_total", count(), "Over all conversations."),
                must("archived_total", count(), "How many conversations are in the archive."),
            ])
            .invalid(&["archived"]),
        stored(row(Post, "/api/v1/conversations", tag, "Creates a group; 429 above 120 groups or 5,000 added members an hour; each 16 members cost one write")
            .says("The creator is its admin. A profile that blocks the creator or is blocked by the creator is 404.")
            .json(&[
                client_id(false),
                must("title", title(), "At least one character that is drawn; no control characters."),
                may("members", list(id()).items_max(MEMBERS_MOST), "Profiles: at most `limits.members_max`."),
            ])
            .codes(&[Code::NotFound])
            .invalid(&["client_id", "title", "members"]),
            "Made.", "Conversation", named("Conversation")),
        row(Get, "/api/v1/conversations/{conversation}", tag, "A conversation")
            .gives(200, "As it is now.", named("Conversation"), "The conversation."),
        row(Put, "/api/v1/conversations/{conversation}", tag, "Changes title, image, history and retention, by admins; the other fields for oneself")
            .says("A field that is not named stays as it is.")
            .json(&[
                may("title", title(), "Of a group."),
                may("image", or_null(id()), "An upload that is a picture; null removes it."),
                may("history", history(), "What later newcomers of a group see."),
                may("messages_kept", or_null(count_from(1).at_most(u64::from(KEPT_DAYS_MAX))), "Days that messages of a group are kept; null: as long as the server keeps others."),
                may("muted", flag(), "No notification but of mentions."),
                may("muted_until", or_null(text().format("date-time")), "Until when, with `muted`: a time of RFC 3339, whose parts of a second are dropped; null or absent: without end."),
                may("pinned", flag(), "Listed before the others; at most 100 of an account."),
                may("archived", flag(), "Until the next message."),
                may("marked_unread", flag(), "Until it is read."),
            ])
            .gives(200, "As it is now.", named("Conversation"), "The conversation.")
            .codes(&[Code::NotAllowed, Code::QuotaExceeded])
            .invalid(&["title", "image", "history", "messages_kept", "muted", "muted_until", "pinned", "archived", "marked_unread"]),
        row(Post, "/api/v1/conversations/{conversation}/clear", tag, "Hides all present messages, for oneself")
            .says("They count as read.")
            .json(&[may("hide", flag(), "The conversation is in no list until the next message.")])
            .gives(200, "As it is now.", named("Conversation"), "The conversation.")
            .invalid(&["hide"]),
        row(Post, "/api/v1/conversations/{conversation}/read", tag, "Moves my read mark forward")
            .says("Only forward, and at most to the newest message.")
            .json(&[must("n", count(), "All up to this one is read.")])
            .gives(200, "The mark as it is now.", named("Marked"), "The mark.")
            .invalid(&["n"]),
    ]
}

fn listed_conversations() -> Vec<Field> {
    let mut fields = paging();
    fields.push(may("archived", flag(), "Only those in the archive, or only the others. Absent: both."));
    fields
}

#[rustfmt::skip]
fn members() -> Vec<Operation> {
    let tag = "Conversations";
    let path = "/api/v1/conversations/{conversation}/members/{profile}";
    vec![
        row(Get, "/api/v1/conversations/{conversation}/members", tag, "The members in the order of joining")
            .query(paging())
            .pages("Who is in it.", named("GroupMember"), vec![]),
        row(Put, path, tag, "Adds a member or changes a role, by admins; 429 above 5,000 added members an hour, those of new groups included")
            .json(&[asked_role()])
            .gives(200, "The member as it is now.", named("GroupMember"), "The member.")
            .codes(NOT_MINE_TO_CHANGE)
            .invalid(&["role", "members"]),
        row(Delete, path, tag, "Removes a member, by admins or by oneself")
            .says("When the last admin leaves, the earliest member becomes one.")
            .no_content("No longer in it.")
            .codes(NOT_MINE_TO_CHANGE),
    ]
}

const ETAG: Header = ("ETag", "A strong tag of the bytes as stored.");
const DISPOSITION: Header =
    ("Content-Disposition", "`inline` for images, audio and video, else `attachment`; with the file's name.");

/// Far more than any field of a request has.
fn field() -> Schema {
    text().length(1, 8_192)
}

/// A file has the type of its bytes. Generators of clients know [`BYTES`] and not the range, which includes it.
fn file() -> Vec<(&'static str, Schema)> {
    vec![(BYTES, bytes()), ("*/*", bytes())]
}

const TYPES: &str = "The Content-Type of a raw body is not read. The type comes from the bytes: JPEG, PNG, GIF, WebP, HEIC, HEIF, AVIF, MP4, QuickTime, WebM, Ogg, MP3, WAV, PDF, ZIP; other valid UTF-8 is text/plain; anything else is 415. MP4, WebM and Ogg with sound and no picture are audio/*. Pictures that browsers show are accepted, also incomplete ones; bytes that do not belong to the picture are not stored. Unless KEEP_METADATA is set, places, owners, devices and comments are removed or overwritten; pixels, colour and orientation stay. Films lose every track that is no picture and no sound, subtitles too, and data that no track refers to. A WebP keeps its orientation tag, and its width and height are those of its pixels, since browsers ignore the tag. A picture of more than PIXELS_MAX pixels is 422. A member keeps at most UPLOAD_QUOTA bytes in UPLOAD_FILES_MAX uploads, those being received included; more is 413 quota_exceeded. size, sha256 and ETag are of the stored bytes.";

#[rustfmt::skip]
pub fn uploads() -> Vec<Operation> {
    let tag = "Uploads";
    vec![
        Operation {
            headers: vec![may("X-Filename", text().length(1, 1_024), "Percent-encoded UTF-8; for a raw body.")],
            ..row(Post, "/api/v1/uploads", tag, "Uploads a file: as a raw body with X-Filename, or as one file in a form")
        }
            .says(TYPES)
            .body("multipart/form-data", object(&[must("file", bytes(), "The file.")]))
            .body(BYTES, bytes())
            .gives(201, "On disk.", named("Upload"), "The file.")
            .codes(&[Code::StorageFull])
            .invalid(&["file", "filename"]),
        row(Put, "/api/v1/uploads/{upload}", tag, "Describes my file")
            .says("Replaces both; what is absent is removed. 409 once a message, a profile or a group shows the file: what a message shows does not change.")
            .json(&[
                may("alt", or_null(alt()), "Its content in words, on one line."),
                may("duration_ms", or_null(duration_ms()), "How long it plays; only of audio and video."),
            ])
            .gives(200, "Stored.", named("Upload"), "The file.")
            .codes(&[Code::InUse, Code::NotAllowed])
            .invalid(&["alt", "duration_ms"]),
        row(Put, "/api/v1/uploads/{upload}/preview", tag, "Gives my file a preview: a small picture that is shown in its place until it is opened")
            .says("JPEG, PNG or WebP, of at most 40,000 bytes and 1,048,576 pixels, checked and cleaned like any picture. It replaces a former one, and counts in the quota. It is read by `preview` of the file, for whom the file is readable, and is deleted with it. 409 once something shows the file.")
            .body("multipart/form-data", object(&[must("file", bytes(), "The picture.")]))
            .body(BYTES, bytes())
            .gives(200, "On disk.", named("Upload"), "The file.")
            .codes(&[Code::InUse, Code::NotAllowed, Code::StorageFull])
            .invalid(&["file", "filename"]),
        row(Delete, "/api/v1/uploads/{upload}", tag, "Deletes my file")
            .says("409 while a message shows it.")
            .no_content("Removed.")
            .codes(&[Code::InUse, Code::NotAllowed]),
        Operation {
            headers: vec![
                may("Range", field(), "One range, such as `bytes=0-99`; more or others are ignored."),
                may("If-Range", field(), "The range counts only for the bytes with this ETag."),
                may("If-None-Match", field(), "ETags of the client's copies."),
            ],
            ..row(Get, "/uploads/{upload}/{name}", tag, "The bytes of the file; supports ETag, Range, If-None-Match and If-Range")
        }
            .says("With a bearer token, readable by its owner and by the members of a conversation in which a message shows it; or by the signature of its `url`.")
            .query(vec![
                may("expires", count().format("int64"), "Until when the signature is good, in Unix seconds."),
                may("sig", text().length(1, 128), "The signature of `url`."),
            ])
            .answer(200, "The file; its Content-Type is that of the bytes.", file())
            .with(&[ETAG, DISPOSITION])
            .answer(206, "The part that Range names.", file())
            .with(&[ETAG, DISPOSITION, ("Content-Range", "Which part of how many bytes.")])
            .answer(304, "The client's copy is still current.", vec![])
            .with(&[ETAG])
            .codes(&[Code::NotFound, Code::PreconditionFailed, Code::RangeNotSatisfiable]),
    ]
}

#[rustfmt::skip]
pub fn streams() -> Vec<Operation> {
    let tag = "Streams";
    let from = || may("cursor", text().length(1, 64), "<epoch>:<seq>");
    let sse = || vec![("text/event-stream", text())];
    let socket = || vec![
        may("ticket", text().length(1, 1_024), "Instead of a bearer."),
        may("access", text().length(1, 1_024), "An access token, instead of a bearer."),
        may("unique_id", text().length(0, 128), "The device, instead of the header UniqueId."),
    ];
    vec![
        row(Get, "/api/v1/events", tag, "The event log: as JSON, as a long poll (wait), or as server-sent events (by Accept)")
            .says("Everything durable that concerns one, in the order of `seq`, from a cursor on. An account has at most STREAMS_PER_ACCOUNT WebSockets, event streams and long polls at once; one more is 429.")
            .query(vec![
                may("cursor", text().length(1, 64), "<epoch>:<seq>, or `now` for the head."),
                limit(),
                may("wait", count().at_most(WAIT_MAX.as_secs()), "Seconds to wait for a first event; for JSON."),
            ])
            .answer(200, "What happened since the cursor.", vec![
                (JSON, object(&[
                    must("data", list(named("Event")).items_max(200), "The events."),
                    must("cursor", cursor(), "Where to go on."),
                ])),
                ("text/event-stream", text()),
            ])
            .codes(&[Code::ErrorParsingData, Code::CursorReset])
            .invalid(&["wait", "cursor"]),
        row(Get, "/api/v1/chat-list", tag, "Legacy: the chats as server-sent events, at once and then after each change")
            .answer(200, "An array of the chats, each time.", sse()),
        row(Get, "/api/v1/chat-counter", tag, "Legacy: the number of conversations with unread messages, likewise")
            .answer(200, "The number, each time.", sse()),
        row(Get, "/api/v1/ws", tag, "The WebSocket: see /asyncapi.json")
            .says("It counts in STREAMS_PER_ACCOUNT, as event streams and long polls do; one more is 429.")
            .query([vec![from()], socket()].concat())
            .answer(101, "Frames follow.", vec![])
            .codes(&[Code::ErrorParsingData]),
        row(Get, "/api/v1/ws/{sender}/{receiver}", tag, "Legacy: the WebSocket between two profiles")
            .query(socket())
            .answer(101, "Frames follow.", vec![])
            .codes(&[Code::ErrorParsingData, Code::NotAllowed])
            .invalid(&["receiver"]),
    ]
}
