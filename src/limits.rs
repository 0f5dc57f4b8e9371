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

/// What an operator may set MESSAGE_MAX and MEMBERS_MAX to at most: the documents of the API are the same for every server.
pub const MESSAGE_MOST: usize = 1_000_000;
pub const MEMBERS_MOST: usize = 100_000;

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

/// A shared payload below this is copied into the queue: a copy costs less than a reference there.
pub const SEGMENT_COPY_MAX: usize = 1_024;

// ---- proto/http ----------------------------------------------------------------------------------

/// Headers of one request. Beyond: 431 `head_too_large`.
pub const HEADERS_MAX: usize = 64;
/// Bytes of a request target. Beyond: 414 `target_too_long`.
pub const TARGET_MAX: usize = 8_192;

// ---- proto: multipart, image, smtp, http client ---------------------------------------------------

/// Bytes of an upload held back until its type is known: the brands of an MP4 and the DocType of a WebM
/// stand in them. What names its type only later is taken for text, or refused.
pub const SNIFF_BYTES: usize = 512;
/// Bytes of one SMTP reply, all its lines (RFC 5321 §4.5.3.1.5 allows 512 each). Beyond: the try ends as a
/// transient failure.
pub const SMTP_REPLY_MAX: usize = 16_384;

// ---- proto: websocket, sse -------------------------------------------------------------------------

// ---- model, auth, messaging, uploads ---------------------------------------------------------------

/// Items of a list at the most; a greater `limit` is clamped.
pub const PAGE_MAX: u32 = 200;
/// Bytes after which a page of a list ends, whatever its `limit`.
pub const PAGE_BYTES_MAX: usize = 262_144;
/// Characters of a display name. Beyond: 422 `invalid_display_name`.
pub const DISPLAY_NAME_MAX: usize = 64;
pub const NICK_NAME_MAX: usize = 25;
/// Different emoji on one message. Above it: 422 `invalid_emoji`.
pub const REACTIONS_MAX: usize = 20;
/// Profiles shown for one emoji. The count includes all of them.
pub const REACTION_PROFILES_SHOWN: u32 = 50;
pub const SIGN_IN_WINDOW: Duration = Duration::from_secs(15 * 60);
pub const EMAIL_TAKEN_WINDOW: Duration = Duration::from_secs(60 * 60);
/// How long a WebSocket ticket waits to be used (`protocol.md`, "Authentication").
pub const TICKET_TTL: Duration = Duration::from_secs(30);
/// Milliseconds between two codes of one account and purpose. Sooner: no mail, and the old code stays.
pub const CODE_INTERVAL_MS: u64 = 60_000;
/// Codes of one account and purpose within an hour. Beyond: as sooner than [`CODE_INTERVAL_MS`].
pub const CODES_AN_HOUR: usize = 5;
/// Attachments of one message. Beyond: 422 `invalid_attachments`.
pub const ATTACHMENTS_MAX: usize = 10;
/// Messages a Go-form socket is given when it opens; older ones come by message.list.
pub const PAIR_HISTORY_MAX: u32 = 100;

// ---- store -----------------------------------------------------------------------------------------

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
/// Pages in the WAL (32 MiB, 33 MB) from which on `/readyz` warns of a reader outside of this process. Writing goes on up to
/// WAL_MAX, which is no less.
pub const WAL_HELD_PAGES: u64 = 8_000;
/// Between two checkpoints for the sake of erasure: what was erased is gone from every file within a minute, and a flood of
/// erasures costs four checkpoints a minute.
pub const ERASE_EVERY: Duration = Duration::from_secs(15);
/// Messages looked at in one step of an erasure and for one page of an export, on the way through conversations to those of
/// one sender: a few milliseconds, though each row may be a page of its own. A conversation counts as one more. Beyond: the
/// next step or page.
pub const SENDER_SCAN: u32 = 1_000;
/// Bytes of the WAL file that stay on disk for its next round. Beyond: given back.
pub const WAL_KEPT_BYTES: i64 = 16_777_216;

// ---- work ------------------------------------------------------------------------------------------

// ---- server ----------------------------------------------------------------------------------------

/// Answers waiting on a connection before the next pipelined request is looked at.
pub const PIPELINE_BYTES_MAX: usize = 65_536;
/// Answers and events waiting on a WebSocket before its next frame is looked at.
pub const STREAM_PAUSE_BYTES: usize = 262_144;
/// Replay waiting on a stream before the next page of the log is read.
pub const REPLAY_LOW_BYTES: usize = 65_536;
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
/// An upload from its first byte: this, and its size at [`UPLOAD_BYTES_PER_S`]. Beyond: 408.
pub const UPLOAD_DEADLINE: Duration = Duration::from_secs(60);
/// See [`UPLOAD_DEADLINE`].
pub const UPLOAD_BYTES_PER_S: u64 = 8_192;
/// Uploads one member brings at once; twice the burst of RATE_WRITES, which begins them. Their bytes count in the quota as they
/// come. Beyond: 429.
pub const UPLOADS_OF_MEMBER_MAX: usize = 128;
/// How long and how much is read and dropped after an answer that came before its body: the peer must be able to read
/// the answer. The upload limit is added to the bytes.
pub const LINGER_DEADLINE: Duration = Duration::from_secs(10);
/// A peer that takes less than [`PROGRESS_BYTES`] of an answer in this time is closed (1 KiB/s).
pub const PROGRESS_WINDOW: Duration = Duration::from_secs(10);
/// See [`PROGRESS_WINDOW`].
pub const PROGRESS_BYTES: u64 = 10_240;
/// Mails being sent or settled at once. Beyond: they wait in the outbox.
pub const MAILS_UNDER_WAY_MAX: usize = 8;

// ---- runtime ---------------------------------------------------------------------------------------

/// Bytes of the one buffer all sockets are read into. A larger read takes another turn of the same loop.
pub const READ_BUFFER: usize = 65_536;
/// Connections accepted in one turn by one listener. Beyond: the next turn, so that a flood of them can't stop the talk.
pub const ACCEPTS_TURN_MAX: usize = 256;
/// From the first signal to the end, finished or not. Beyond: what is still open is dropped.
pub const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Between two looks whether a database that failed takes writes again.
pub const PROBE_EVERY: Duration = Duration::from_secs(3);

/// Threads that hash passwords: each holds its arena (some MiB) while it has work, and a core.
pub const PASSWORD_THREADS: usize = 2;
/// Passwords handed to them: the server keeps those that wait, in the order of its turns. Beyond: `Done::Busy`.
pub const PASSWORD_JOBS_MAX: usize = 4;

// ---- config, cli, logging --------------------------------------------------------------------------

/// Bytes of `.env` and of a file named by `NAME_FILE`: a mistyped path must not be read whole. Beyond: a fault.
pub const CONFIG_FILE_BYTES_MAX: usize = 65_536;
/// Entries of a list in one variable; each request walks ALLOWED_ORIGINS and TRUSTED_PROXIES. Beyond: a fault.
pub const CONFIG_LIST_MAX: usize = 256;
