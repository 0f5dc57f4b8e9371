//! Every bound of natter: its reason, and what happens beyond it.
//!
//! A bound an operator may move is a field of [`Limits`] (its name in the environment is the field's
//! name in capitals); a bound that is part of the design is a constant below it.

use std::time::Duration;

/// The bounds an operator may set ([`protocol`](crate::protocol), "Limits" and "Rates").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head, request line included. Beyond: 431 `head_too_large`.
    pub head_max: usize,
    /// Bytes of a JSON request body. Beyond: 413 `too_large`.
    pub json_body_max: usize,
    /// Bytes of one uploaded file. Beyond: 413 `too_large`.
    pub upload_max: u64,
    /// Bytes one member may keep in uploads. Beyond: 413 `quota_exceeded`.
    pub upload_quota: u64,
    /// Uploads one member may keep, whatever their size. Beyond: 413 `quota_exceeded`.
    pub upload_files_max: u64,
    /// Declared width × height of one picture. Beyond: 422 `invalid_file`.
    pub pixels_max: u64,
    /// Characters (Unicode scalar values) of a message body. Beyond: 422 `invalid_body`.
    pub message_max: usize,
    /// Members of a group. Beyond: 422 `invalid_members`.
    pub members_max: usize,
    /// Bytes of one WebSocket message, this number included. Beyond: close 1009.
    pub ws_message_max: usize,
    /// Bytes waiting for one slow stream. Beyond: close 4408; the client resumes by cursor.
    pub send_queue_max: usize,
    /// Open connections. Beyond: one without an account gives way, else an idle one, else the newcomer gets 503 `busy`.
    pub connections_max: usize,
    /// Open connections of one address (a /64 for IPv6), twice as many of a /56, four times of a /48 or of a /24 of IPv4; of a
    /// trusted proxy: streams and requests under way of each address and account. Beyond: 429 `rate_limited`.
    pub connections_per_address: usize,
    /// Open WebSockets, event streams and long polls of one account. Beyond: 429 `rate_limited`.
    pub streams_per_account: usize,
    /// Seconds an access token lives.
    pub access_ttl: u64,
    /// Seconds a refresh token lives.
    pub refresh_ttl: u64,
    /// Between two pings of a stream; a stream silent for 2.5 × this is closed.
    pub heartbeat: Duration,
    /// Credential routes, by address.
    pub rate_credentials: Rate,
    /// Unauthenticated and failed requests, by address.
    pub rate_address: Rate,
    /// Authenticated requests, by account.
    pub rate_account: Rate,
    /// Writes, by account.
    pub rate_writes: Rate,
    /// `RATE_LIMIT=off` lifts the four rates and the streams of one account, never the limits on codes and failed sign-ins.
    pub rate_limit: bool,
}

/// A token bucket: `per_second` refills it, `burst` is its size. Beyond: 429 with `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let rate = |per_second, burst| Rate { per_second, burst };
        Limits {
            head_max: 16_384,
            json_body_max: 65_536,
            upload_max: 10_485_760,
            upload_quota: 1_073_741_824,
            upload_files_max: 10_000,
            pixels_max: 250_000_000,
            message_max: 4_000,
            members_max: 1_000,
            ws_message_max: 65_536,
            send_queue_max: 1_048_576,
            connections_max: 10_000,
            connections_per_address: 1_024,
            streams_per_account: 256,
            access_ttl: 900,
            refresh_ttl: 2_592_000,
            heartbeat: Duration::from_secs(30),
            rate_credentials: rate(5, 10),
            rate_address: rate(50, 100),
            rate_account: rate(50, 100),
            rate_writes: rate(20, 60),
            rate_limit: true,
        }
    }
}

// ---- base ----------------------------------------------------------------------------------------

/// An owned segment below this joins the one before it: many small frames become one `writev` entry.
pub const SEGMENT_JOIN_MAX: usize = 4_096;
/// Room an owned segment begins with: an answer and an event.
pub const SEGMENT_ROOM: usize = 1_024;
/// Bytes of the room that events are written in, kept from one to the next. Beyond: given back.
pub const EVENT_TEXT_KEPT: usize = 16_384;
/// A shared payload below this is copied into the queue: a copy costs less than a reference there.
pub const SEGMENT_COPY_MAX: usize = 1_024;

// ---- proto/http ----------------------------------------------------------------------------------

/// Headers of one request. Beyond: 431 `head_too_large`.
pub const HEADERS_MAX: usize = 64;
/// Bytes of a request target. Beyond: 414 `target_too_long`.
pub const TARGET_MAX: usize = 8_192;
/// Bytes of a method: far above any that is registered, so that an unknown one still gets its 501. A first
/// word beyond it is no request line at all: 400 `bad_request`, before the line has ended.
pub const METHOD_MAX: usize = 64;
/// Segments of a path: no route is half as deep. Beyond: the path names nothing, 404 `not_found`.
pub const SEGMENTS_MAX: usize = 16;
/// Parameters of a query: no route takes half as many. Beyond: the query is malformed.
pub const QUERY_PAIRS_MAX: usize = 32;
/// Bytes of one chunk line, its extensions included: room for a size and a signature. Beyond: 400.
pub const CHUNK_LINE_MAX: usize = 256;
/// Bytes of all chunk extensions of one body. They are read and dropped, so that without a bound one data
/// byte could cost a chunk line each time (RFC 9112 §7.1.1). Beyond: 400.
pub const CHUNK_EXTENSIONS_MAX: usize = 16_384;
/// Bytes of the trailer section of one body, which is read and dropped. Beyond: 400.
pub const TRAILERS_MAX: usize = 4_096;
/// Parameters of one media type. Beyond: the media type is malformed.
pub const PARAMETERS_MAX: usize = 8;

// ---- proto: multipart, image, smtp, http client ---------------------------------------------------

/// Bytes of a multipart boundary (RFC 2046 §5.1.1). Beyond: 400 `error_parsing_data`.
pub const MULTIPART_BOUNDARY_MAX: usize = 70;
/// Parts of one form: the widest form of the contract has five fields. Beyond: 400 `error_parsing_data`.
pub const MULTIPART_PARTS_MAX: usize = 32;
/// Bytes of one part's head: two spellings of a 255-byte name, percent-encoded, and room to spare.
/// Beyond: 400 `error_parsing_data`.
pub const MULTIPART_HEAD_MAX: usize = 8_192;
/// White space behind a boundary (RFC 2046 calls it transport padding). Beyond: it was no boundary.
pub const MULTIPART_PADDING_MAX: usize = 64;
/// Bytes of an upload held back until its type is known: the brands of an MP4 and the DocType of a WebM
/// stand in them. What names its type only later is taken for text, or refused.
pub const SNIFF_BYTES: usize = 512;
/// Bytes of one SMTP reply, all its lines (RFC 5321 §4.5.3.1.5 allows 512 each). Beyond: the try ends as a
/// transient failure.
pub const SMTP_REPLY_MAX: usize = 16_384;
/// Characters of a mail server's words that are kept with a failure, for the log.
pub const SMTP_TEXT_MAX: usize = 256;
/// Characters of a subject or a name in a mail's head. Beyond: cut.
pub const MAIL_HEADER_TEXT_MAX: usize = 512;
/// Bytes of a mail line (RFC 5322 §2.1.1). Beyond: wrapped.
pub const MAIL_LINE_MAX: usize = 998;
/// Bytes of the head of a response to one of our look-ups, and of its trailers. Beyond: the look-up fails.
pub const LOOKUP_HEAD_MAX: usize = 8_192;
/// Bytes of the body of such a response: a place is some hundred. Beyond: the look-up fails.
pub const LOOKUP_BODY_MAX: usize = 65_536;
/// Bytes of a chunk's size line, extensions included. Beyond: the look-up fails.
pub const LOOKUP_CHUNK_LINE_MAX: usize = 256;
/// Interim (1xx) responses before the one that counts. Beyond: the look-up fails.
pub const LOOKUP_INTERIM_MAX: u32 = 4;

// ---- proto: websocket, sse -------------------------------------------------------------------------

/// Bytes the WebSocket decoder reads at once: allocated (and zeroed) when a message begins, given back when
/// none is open. Longer frames get a buffer of their own length, so this bounds the cost of small ones only.
pub const WS_READ_BUFFER: usize = 1_024;
/// Bytes the WebSocket decoder may hold to send: one pong or one answer to a close, at most 127, which leave
/// at once. Beyond: the decoder reports a full buffer, and the stream fails with 1011.
pub const WS_WRITE_BUFFER_MAX: usize = 256;
/// Bytes waiting in a send queue from which on only the newest ping is answered, when the queue has drained
/// (RFC 6455 §5.5.3 allows it): a flood of pings by a peer that does not read costs one pong.
pub const PONG_QUEUE_MAX: usize = 65_536;
/// Bytes of a close reason: what a control frame leaves beside the code (RFC 6455 §5.5). Beyond: cut.
pub const CLOSE_REASON_MAX: usize = 123;

// ---- model, auth, messaging, uploads ---------------------------------------------------------------

/// Items of a list when `limit` is not given (`protocol.md`, "Shapes").
pub const PAGE_DEFAULT: u32 = 50;
/// Items of a list at the most; a greater `limit` is clamped.
pub const PAGE_MAX: u32 = 200;
/// Bytes after which a page of a list ends, whatever its `limit`.
pub const PAGE_BYTES_MAX: usize = 262_144;
/// Bytes of a token that is looked at: ours are about 550. Beyond: 401, before a byte of it is decoded.
pub const TOKEN_BYTES_MAX: usize = 1_024;
/// Bytes of an e-mail address (RFC 5321 §4.5.3.1.3, without the angle brackets). Beyond: 422 `invalid_email`.
pub const EMAIL_BYTES_MAX: usize = 254;
/// Ids of one profile.list (`protocol.md`, "Profiles and blocks"). Beyond: 422 `invalid_ids`.
pub const PROFILE_IDS_MAX: usize = 100;
/// Characters of a display name. Beyond: 422 `invalid_display_name`.
pub const DISPLAY_NAME_MAX: usize = 64;
/// Characters of a password at the least: below it, guessing is cheap. Beneath: 422 `invalid_password`.
pub const PASSWORD_MIN: usize = 8;
/// Characters of a password at the most: room for any phrase. Beyond: 422 `invalid_password`.
pub const PASSWORD_MAX: usize = 128;
/// Bytes of a device id. Beyond: 422 `invalid_unique_id`.
pub const UNIQUE_ID_MAX: usize = 128;
/// Characters of a nick name, from and to. Outside: 422 `invalid_nickname`.
pub const NICK_NAME_MIN: usize = 3;
pub const NICK_NAME_MAX: usize = 25;
/// Failed sign-ins of one account within [`SIGN_IN_WINDOW`]. Beyond: 429 for devices not seen before.
pub const SIGN_IN_FAILURES_MAX: usize = 10;
pub const SIGN_IN_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Answers `email_taken` to one address within [`EMAIL_TAKEN_WINDOW`]. Beyond: 429 for its sign-ups.
pub const EMAIL_TAKEN_MAX: usize = 10;
pub const EMAIL_TAKEN_WINDOW: Duration = Duration::from_secs(60 * 60);
/// Accounts (or addresses) whose failures are remembered at once, up to 250 bytes each. Beyond: the one with
/// the fewest failures is forgotten, so that a flood of names cannot wash out the count of a name under attack.
pub const ATTEMPT_KEYS_MAX: usize = 10_000;
/// Wrong passwords in account.password and account.delete within [`SIGN_IN_WINDOW`]: a stolen access token must not be
/// a way to guess. Beyond: 429 for that member's tries.
pub const PASSWORD_FAILURES_MAX: usize = 10;
/// Unused WebSocket tickets of one member. Beyond: the oldest of them dies.
pub const TICKETS_OF_MEMBER_MAX: usize = 32;
/// Unused WebSocket tickets in all, about 150 bytes each; they live for seconds. Beyond: `busy`.
pub const TICKETS_MAX: usize = 65_536;
/// How long a WebSocket ticket waits to be used (`protocol.md`, "Authentication").
pub const TICKET_TTL: Duration = Duration::from_secs(30);
/// Milliseconds a code is good for. Beyond: 400 `code_wrong`.
pub const CODE_LIFE_MS: u64 = 300_000;
/// Wrong tries of one code: with [`CODES_AN_HOUR`], 25 guesses an hour at a million. Beyond: the code is dead.
pub const CODE_TRIES_MAX: u32 = 5;
/// Milliseconds between two codes of one account and purpose. Sooner: no mail, and the old code stays.
pub const CODE_INTERVAL_MS: u64 = 60_000;
/// Codes of one account and purpose within an hour. Beyond: as sooner than [`CODE_INTERVAL_MS`].
pub const CODES_AN_HOUR: usize = 5;
/// Rows for reset codes of addresses that nobody has: they only have to cost what a member's row costs. Beyond: two
/// addresses share a row, and the newer one takes it.
pub const CODE_NOBODY_ROWS: i64 = 4_096;
/// Milliseconds a mail about a new device waits for its place: a look-up's limit and the queue before it. Beyond: the
/// mail says that the place is unknown.
pub const PLACE_HOLD_MS: u64 = 10_000;
/// Attachments of one message. Beyond: 422 `invalid_attachments`.
pub const ATTACHMENTS_MAX: usize = 10;
/// Bytes of a file's name. Beyond: cut before its extension.
pub const FILE_NAME_MAX: usize = 255;
/// Bytes of a form beside its file: fields, heads of parts, boundaries, preamble, epilogue. Beyond: 413 `too_large`.
pub const FORM_OVERHEAD_MAX: u64 = 65_536;
/// Bytes every form has beside its file, so that one that just fits the quota is not refused before it is read.
pub const FORM_OVERHEAD_MIN: u64 = 128;
/// Files one sweep removes at once; the next goes on at once where there were as many.
pub const SWEEP_FILES_MAX: u32 = 256;
/// Messages a Go-form socket is given when it opens; older ones come by message.list.
pub const PAIR_HISTORY_MAX: u32 = 100;

/// Bytes of the emoji of one reaction, as sent and fully qualified. Beyond: 422 `invalid_emoji`.
pub const EMOJI_BYTES_MAX: usize = 64;
/// Characters of a search. Beyond: 422 `invalid_q`.
pub const SEARCH_CHARS_MAX: usize = 512;
/// Characters of a group's title. Beyond: 422 `invalid_title`.
pub const TITLE_CHARS_MAX: usize = 128;

// ---- store -----------------------------------------------------------------------------------------

/// Direct peers, of newest activity first, who hear of one's presence. Beyond: they don't.
pub const PRESENCE_PEERS_MAX: u32 = 1_000;

/// Direct peers, of newest activity first, who hear that an account is gone: they all do in one transaction. Beyond: they
/// find out by reading.
pub const FAREWELLS_MAX: u32 = 1_000;
/// Different words of a search that count. Beyond: left out, so that the first ones are found.
pub const SEARCH_WORDS_MAX: usize = 16;
/// Rows of the log forgotten in one transaction.
pub const PRUNE_ROWS: u32 = 1_000;
/// Different emoji on one message. Beyond: 422 `invalid_emoji`.
pub const REACTIONS_MAX: usize = 20;
/// Profiles shown of those who reacted with one emoji; the count goes on.
pub const REACTION_PROFILES_SHOWN: u32 = 50;

/// Prepared statements a connection keeps: more than there are texts of SQL. Beyond: the least used is prepared again.
pub const STATEMENTS_CACHED: usize = 128;
/// KiB of pages the writer keeps: the inner pages and the fresh leaves of its indexes. Beyond: read again.
pub const WRITER_CACHE_KIB: i64 = 16_384;
/// KiB of pages a reader keeps. Beyond: read again, from the system's cache.
pub const READER_CACHE_KIB: i64 = 2_048;
/// Milliseconds a connection waits for a lock of another process (a shell, a backup). Beyond: `Unavailable`.
pub const STORE_BUSY_MS: u64 = 5_000;
/// Milliseconds a checkpoint waits for a reader's old snapshot, while every post waits for the checkpoint. Ours last
/// milliseconds. Beyond: tried again by the next occasion for the store's own work.
pub const CHECKPOINT_BUSY_MS: u64 = 100;
/// Bytes up to which every start reads the whole database (about 1 ms a MiB). Beyond: header, schema and length only.
pub const QUICK_CHECK_BYTES_MAX: u64 = 33_554_432;
/// Pages in the WAL that are worth a checkpoint: 8 MiB. Fewer would copy the same busy pages more often (at 4 MiB an eighth
/// of the writer's time), more would stall longer.
pub const WAL_CHECKPOINT_PAGES: u64 = 2_000;
/// Pages in the WAL (24 MiB) after which a checkpoint waits for the readers of old snapshots, which last
/// milliseconds, so that the WAL begins anew.
pub const WAL_RESTART_PAGES: u64 = 6_000;
/// Pages in the WAL (32 MiB, 33 MB) from which on `/readyz` warns of a reader outside of this process. Writing goes on up to
/// WAL_MAX, which is no less.
pub const WAL_HELD_PAGES: u64 = 8_000;
/// Between two checkpoints for the sake of erasure: what was erased is gone from every file within a minute, and a flood of
/// erasures costs four checkpoints a minute.
pub const ERASE_EVERY: Duration = Duration::from_secs(15);
/// Messages of a deleted member erased in one step: a few milliseconds of the writer. Beyond: the next step.
pub const ERASE_STEP: usize = 100;
/// Pages of the database copied in one step of a backup (1 MiB): one or two milliseconds between two batches.
pub const BACKUP_STEP_PAGES: i32 = 256;
/// Messages looked at in one step of an erasure and for one page of an export, on the way through conversations to those of
/// one sender: a few milliseconds, though each row may be a page of its own. A conversation counts as one more. Beyond: the
/// next step or page.
pub const SENDER_SCAN: u32 = 1_000;
/// Lines of one page of an export, read in one snapshot of a few milliseconds. Beyond: the next page.
pub const EXPORT_PAGE: u32 = 500;
/// Bytes of the WAL file that stay on disk for its next round. Beyond: given back.
pub const WAL_KEPT_BYTES: i64 = 16_777_216;
/// Memberships in the writer's cache of conversations (about 100 bytes each). Beyond: emptied after the batch, and
/// read again from the database.
pub const CACHED_MEMBERSHIPS_MAX: usize = 65_536;
/// Milliseconds in which a refresh token that was just exchanged returns the same pair again (`protocol.md`, session.refresh).
/// Beyond: its use ends the session.
pub const REFRESH_REPEAT_MS: u64 = 60_000;
/// Standing sessions of one member. Beyond: the one unseen for longest ends.
pub const SESSIONS_MAX: u64 = 1_000;
/// Messages looked at for one that has text, newest first. Beyond: as if there were none.
pub const TEXT_SEARCH_MAX: u32 = 1_000;

/// Milliseconds before a failed mail is tried a second time; four times as long before each further try.
pub const MAIL_RETRY_FIRST_MS: u64 = 15_000;
/// Milliseconds between two tries at the most.
pub const MAIL_RETRY_MAX_MS: u64 = 3_600_000;
/// Milliseconds a mail is tried for. Beyond: erased, and counted as given up.
pub const MAIL_GIVE_UP_MS: u64 = 86_400_000;

// ---- work ------------------------------------------------------------------------------------------

/// KiB one password hash may use: a misprinted ARGON2 must not take the machine. Beyond: refused at the start.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 1_048_576;
/// Passes over that memory. Beyond: refused at the start.
pub const ARGON2_PASSES_MAX: u32 = 64;
/// Lanes, which this build computes one after the other. Beyond: refused at the start.
pub const ARGON2_LANES_MAX: u32 = 16;

/// From the first byte to the mail server until a mail is handed over: less than [`DRAIN_MAX`], so that a hanging server
/// delays no end. Beyond: tried again later.
pub const SMTP_DEADLINE: Duration = Duration::from_secs(25);
/// Bytes read at once of a connection that a worker opened.
pub const WIRE_READ_BUFFER: usize = 4_096;
/// One look-up of a place, connection included (`protocol.md` promises a place, never a wait). Beyond: unknown.
pub const PLACE_DEADLINE: Duration = Duration::from_secs(2);
/// Addresses whose places are remembered, about 200 bytes each. Beyond: the one that expires first is forgotten.
pub const PLACES_KEPT_MAX: usize = 4_096;
/// How long a place is believed.
pub const PLACE_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// How long a failure to learn one is believed, so that a dead service costs one wait a while.
pub const PLACE_FAILURE_KEPT: Duration = Duration::from_secs(60);
/// Characters of a place. Beyond: cut.
pub const PLACE_CHARS_MAX: usize = 128;
/// Files of uploads open for sending, each once however many read it. Beyond: `Done::Busy`, 503.
pub const OPEN_FILES_MAX: usize = 1_024;
/// File names the start asks storage about at once, when it looks for files that no row refers to.
pub const ORPHANS_ASKED_MAX: usize = 1_024;

// ---- server ----------------------------------------------------------------------------------------

/// Keys of the rate limiter. Beyond: full buckets are forgotten first, then newcomers share one bucket.
/// An IPv6 address has three, so that this is some 16,000 busy ones, of about 60 bytes a key.
pub const RATE_KEYS_MAX: usize = 49_152;
/// Sessions whose last sight waits to be written, 24 bytes each. Beyond: not noted, until the next minute.
pub const SEEN_SESSIONS_MAX: usize = 65_536;
/// Of them in one write, about a millisecond of the writer's time; the next follows when it is answered.
pub const SEEN_BATCH_MAX: usize = 256;
/// Characters kept of a `User-Agent`. Beyond: cut.
pub const USER_AGENT_MAX: usize = 512;
/// Answers waiting on a connection before the next pipelined request is looked at.
pub const PIPELINE_BYTES_MAX: usize = 65_536;
/// Answers and events waiting on a WebSocket before its next frame is looked at.
pub const STREAM_PAUSE_BYTES: usize = 262_144;
/// Replay waiting on a stream before the next page of the log is read.
pub const REPLAY_LOW_BYTES: usize = 65_536;
/// Events of one page of a replay.
pub const REPLAY_PAGE: u32 = 200;
/// Bytes of live events held while a stream replays. Beyond: they are dropped and read from the log instead.
pub const HELD_BYTES_MAX: usize = 65_536;
/// Ops of one WebSocket under way (`protocol.md`, "WebSocket"). Beyond: the socket is not read.
pub const IN_FLIGHT_MAX: usize = 64;
/// Refused frames within [`REFUSED_WINDOW`] after which a WebSocket is closed 4429.
pub const REFUSED_MAX: usize = 100;
/// See [`REFUSED_MAX`].
pub const REFUSED_WINDOW: Duration = Duration::from_secs(10);
/// A whole request head from its first byte (`protocol.md`, "HTTP"). Beyond: 408.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// A JSON request from its first byte. Beyond: 408.
pub const JSON_DEADLINE: Duration = Duration::from_secs(30);
/// An upload from its first byte: this, and its size at [`UPLOAD_BYTES_PER_S`]. Beyond: 408.
pub const UPLOAD_DEADLINE: Duration = Duration::from_secs(60);
/// See [`UPLOAD_DEADLINE`].
pub const UPLOAD_BYTES_PER_S: u64 = 8_192;
/// Uploads one member brings at once; twice the burst of RATE_WRITES, which begins them. Their bytes count in the quota as they
/// come. Beyond: 429.
pub const UPLOADS_OF_MEMBER_MAX: usize = 128;
/// After how many milliseconds one who brought too many may try again.
pub const UPLOADS_RETRY_MS: u64 = 1_000;
/// Bytes of one upload that its file has not taken yet. Beyond: its connection is not read.
pub const UPLOAD_AHEAD_MAX: usize = 131_072;
/// The same of all uploads together: what many at once may cost. Beyond: none is read until half of it is on disk, so
/// that they are not woken for every piece.
pub const UPLOADS_AHEAD_MAX: usize = 4_194_304;
/// Bytes gathered before they go to the disk: a slow sender's packets must not be an append each.
pub const APPEND_MIN: usize = 16_384;
/// Between two looks for files that nothing refers to any more: a deleted one is gone within a minute.
pub const SWEEP_FILES_EVERY: Duration = Duration::from_secs(20);
/// How long and how much is read and dropped after an answer that came before its body: the peer must be able to read
/// the answer. The upload limit is added to the bytes.
pub const LINGER_DEADLINE: Duration = Duration::from_secs(10);
/// The same while the server ends: a peer that has its last answer and does not close must not hold up a restart, and a
/// `docker stop` kills after 10 s.
pub const DRAIN_LINGER: Duration = Duration::from_secs(3);
/// How long a mail or a look-up that is under way may take while the server ends: most mails are taken over within it, and none
/// is sent twice then. Beyond: the mail stays in the outbox, for the next start.
pub const DRAIN_BACKGROUND: Duration = Duration::from_secs(2);
/// See [`LINGER_DEADLINE`].
pub const LINGER_BYTES: u64 = 1_048_576;
/// A peer that takes less than [`PROGRESS_BYTES`] of an answer in this time is closed (1 KiB/s).
pub const PROGRESS_WINDOW: Duration = Duration::from_secs(10);
/// See [`PROGRESS_WINDOW`].
pub const PROGRESS_BYTES: u64 = 10_240;
/// Before a token's `exp` a stream hears `expiring` (`protocol.md`, "WebSocket").
pub const EXPIRING_NOTICE: Duration = Duration::from_secs(60);
/// Between two comments on a stream of server-sent events.
pub const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// Comments due within so many milliseconds are sent in one turn: few wake-ups, and few enough at once to delay nobody.
pub const COMMENTS_TOGETHER_MS: u64 = 100;
/// Comments in a row that find the one before unsent. Beyond: the reader is gone, the stream is closed.
pub const STALLED_COMMENTS_MAX: u32 = 4;
/// The longest a poll of the log may ask to wait. Beyond: 422.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// Before a change of presence is told: a reconnect within it is no change (`protocol.md`: within 10 s).
pub const PRESENCE_DELAY: Duration = Duration::from_secs(3);
/// Typing that goes on is not told again before this.
pub const TYPING_AGAIN: Duration = Duration::from_secs(3);
/// Typing lapses when it is not renewed (`protocol.md`, typing).
pub const TYPING_LAPSE: Duration = Duration::from_secs(6);
/// Between two looks for events older than EVENTS_KEPT.
pub const PRUNE_EVERY: Duration = Duration::from_secs(3_600);
/// The two sweeps of expired state (rate buckets, ended sessions) are at least this far apart.
pub const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Mails being sent or settled at once. Beyond: they wait in the outbox.
pub const MAILS_UNDER_WAY_MAX: usize = 8;
/// Between two looks at the outbox at the most; a mail that was just written is looked for at once.
pub const OUTBOX_LOOK_EVERY: Duration = Duration::from_secs(60);
/// After storage or the workers refused to do the outbox's work.
pub const OUTBOX_RETRY: Duration = Duration::from_secs(5);
/// Members remembered as verified where REQUIRE_VERIFIED asks for it, 32 bytes each. Beyond: one is forgotten, and asked
/// about again.
pub const VERIFIED_KEPT_MAX: usize = 65_536;
/// Jitter of the reconnect hint in a shutdown's close frame, in milliseconds.
pub const RETRY_JITTER_MS: u64 = 5_000;

// ---- runtime ---------------------------------------------------------------------------------------

/// Bytes of the one buffer all sockets are read into. A larger read takes another turn of the same loop.
pub const READ_BUFFER: usize = 65_536;
/// Bytes read from one socket in one turn. Beyond: it waits for the next turn, so that one fast sender stalls nobody.
pub const READ_TURN_MAX: usize = 262_144;
/// Bytes written to one socket in one turn. Beyond: it waits for the next turn, so that one fast reader stalls nobody.
pub const WRITE_TURN_MAX: usize = 524_288;
/// Slices of one gather-write: small frames are joined before they come here, so that more gain nothing.
pub const WRITE_SLICES_MAX: usize = 64;
/// Events of one poll. Beyond: the kernel keeps the rest for the next turn.
pub const EVENTS_MAX: usize = 1_024;
/// Connections accepted in one turn by one listener. Beyond: the next turn, so that a flood of them can't stop the talk.
pub const ACCEPTS_TURN_MAX: usize = 256;
/// Rest after an `accept` that failed (no file descriptor left, most of all): the listener stays readable, and trying
/// again at once would be a busy loop.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(250);
/// Connections of the control socket at once. They don't count in `connections_max`, so that an operator gets in when
/// it is reached. Beyond: closed at accept.
pub const CONTROL_CONNECTIONS_MAX: usize = 16;
/// Answers of one batch after which what they queued is flushed: the first to post go on while the rest is still written,
/// and the writer does not run dry. Fewer would be more and smaller writes.
pub const ANSWERS_A_FLUSH: usize = 128;
/// Effects → flush → `Sent` → effects, so often in one turn. Beyond: the next turn, after a look at the sockets.
pub const SETTLE_ROUNDS_MAX: usize = 8;
/// From the first signal to the end, finished or not. Beyond: what is still open is dropped.
pub const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Between two looks at the threads that are to end, so that a second signal is heard meanwhile.
pub const JOIN_CHECK: Duration = Duration::from_millis(5);
/// How long threads that may be cut off at any point are waited for at the end: those of mail servers, resolvers, file systems.
/// Beyond: the process ends without them, as a crash would. The writer is always waited for.
pub const JOIN_MAX: Duration = Duration::from_secs(1);
/// Open files beside the sockets: database, listeners, uploads being written, files being sent. Beyond what the
/// system allows: `accept` fails and rests.
pub const FILES_SPARE: u64 = 2_048;

/// Completions the loop has not taken yet. Beyond: the thread that brings one waits, since the loop is the slower one.
pub const INBOX_MAX: usize = 128;
/// Writes handed to the writer and not answered: 50 ms of work at full speed. Beyond: `Refusal::Busy`, and the lane is closed.
pub const WRITES_IN_FLIGHT_MAX: usize = 8_192;
/// Commands of one transaction: half of what a thousand posts under way would fill, so that the loop answers one batch while
/// the next is written. Beyond: the next batch.
pub const WRITE_BATCH_MAX: usize = 512;
/// Reads that wait or run: all devices of a full server may catch up after a restart. Beyond: the newest of the account that
/// has the most of them is refused with `Refusal::Busy`.
pub const READS_IN_FLIGHT_MAX: usize = 16_384;
/// Reads of one account that wait; as many of the anonymous readers of one address prefix. Beyond: `Refusal::Busy`.
pub const READS_PER_FLOW_MAX: usize = 1_024;
/// The longest one read may run, which is also the longest that it holds a snapshot, and with it the WAL. Beyond: it is
/// interrupted, `Refusal::Busy`.
pub const READ_BUDGET: Duration = Duration::from_secs(2);
/// Reader threads: a long page must not stand before a short one. Each costs a page cache.
pub const READER_THREADS: usize = 2;
/// Between two looks whether a database that failed takes writes again.
pub const PROBE_EVERY: Duration = Duration::from_secs(3);
/// Between two occasions for the store's own work (checkpoint, backup step) while nobody writes.
pub const MAINTAIN_EVERY: Duration = Duration::from_secs(1);
/// Lanes closed after a fault. The server ends each; beyond, the one of the oldest connection is forgotten.
pub const LANES_CLOSED_MAX: usize = 65_536;

/// Threads that hash passwords: each holds its arena (some MiB) while it has work, and a core.
pub const PASSWORD_THREADS: usize = 2;
/// Passwords handed to them: the server keeps those that wait, in the order of its turns. Beyond: `Done::Busy`.
pub const PASSWORD_JOBS_MAX: usize = 4;
/// Threads that send mails: one slow server must not stop those behind it.
pub const MAIL_THREADS: usize = 2;
/// Threads that look places up.
pub const PLACE_THREADS: usize = 2;
/// Places being looked up or waiting for it. Beyond: `Done::Busy`, and the place stays unknown.
pub const PLACE_JOBS_MAX: usize = 64;
/// Threads that sync and publish uploads: a file system's sync is one queue anyway.
pub const UPLOAD_THREADS: usize = 2;
/// Uploads being published. Beyond: `Done::Busy`.
pub const UPLOAD_JOBS_MAX: usize = 1_024;
/// Threads that open files: a cold look-up must not stand before all others.
pub const FILE_THREADS: usize = 2;
/// Files being opened. Beyond: `Done::Busy`.
pub const FILE_JOBS_MAX: usize = 4_096;
/// Without work for so long, a worker gives its memory back.
pub const WORKER_IDLE: Duration = Duration::from_secs(5);

/// Threads that write and hash uploads: an upload stays with one of them, and one upload must not stand before all others.
pub const APPEND_THREADS: usize = 2;
/// Bytes of an upload after which the disk is asked to begin with them, so that the sync at the end has less to wait for.
pub const WRITE_BEHIND: usize = 1_048_576;
/// Bytes of uploads on their way to their files. Beyond: that upload fails, retry; the disk is slower than the senders.
pub const APPEND_BYTES_MAX: usize = 16_777_216;
/// What an append costs beside its bytes, in that bound: many tiny ones must not be free.
pub const APPEND_COST: usize = 256;
/// Uploads remembered as failed until they are abandoned. Beyond: the oldest is forgotten.
pub const UPLOADS_FAILED_MAX: usize = 16_384;
/// Bytes read ahead of a socket that takes them as they come. They stand in the page cache, not in this process.
pub const FILE_PIECE_MAX: usize = 524_288;
/// Bytes read ahead of a socket that is slow: hundreds of slow downloads must not push each other out of the page cache.
pub const FILE_PIECE_MIN: usize = 65_536;
/// How long what was read ahead is believed to be in the page cache still. Beyond: it is read again, by a thread that may wait.
pub const FILE_PIECE_KEPT: Duration = Duration::from_secs(1);
/// Bytes a thread reads at once into its buffer, which stays in the processor's cache.
pub const PIECE_SCRATCH: usize = 65_536;
/// Pieces being read. Beyond: the connection waits its turn.
pub const PIECES_IN_FLIGHT_MAX: usize = 32;
/// Connections waiting their turn. Beyond (a disk that hangs, while peers come and go): closed.
pub const PIECES_WAITING_MAX: usize = 16_384;
/// Threads that read pieces: a cold read must not stand before all others.
pub const PIECE_THREADS: usize = 2;

/// Equal background errors are logged once in so long, then with their count.
pub const TROUBLE_WINDOW: Duration = Duration::from_secs(10);
/// Different messages of one kind logged in one window. Beyond: counted with the equal ones.
pub const TROUBLE_LINES_MAX: usize = 5;

// ---- config, cli, logging --------------------------------------------------------------------------

/// Bytes of `.env` and of a file named by `NAME_FILE`: a mistyped path must not be read whole. Beyond: a fault.
pub const CONFIG_FILE_BYTES_MAX: usize = 65_536;
/// Entries of a list in one variable; each request walks ALLOWED_ORIGINS and TRUSTED_PROXIES. Beyond: a fault.
pub const CONFIG_LIST_MAX: usize = 256;
/// Bytes of the line with a password on stdin: 128 characters of four bytes and a line end. Beyond: cut, and refused as too
/// long.
pub const PASSWORD_LINE_MAX: u64 = 1_024;
/// Bytes of an answer of the control socket. Beyond: it makes no sense.
pub const CONTROL_ANSWER_MAX: u64 = 131_072;
/// How long a command waits for the server to say something.
pub const CONTROL_WAIT: Duration = Duration::from_secs(30);
/// Characters of a wrong value that its fault repeats. Beyond: cut with `…`.
pub const CONFIG_SHOWN_CHARS_MAX: usize = 80;
/// Bytes a secret must have: the output of the SHA-256 it keys (RFC 7518 §3.2). Below: a fault.
pub const SECRET_BYTES_MIN: usize = 32;
/// Bytes of one log message, so that no line is a way to fill a disk. Beyond: cut with `…`.
pub const LOG_MESSAGE_BYTES_MAX: usize = 4_096;
/// Bytes of one value in a log line. Beyond: cut with `…`.
pub const LOG_VALUE_BYTES_MAX: usize = 1_024;
