//! The bounds that the wire or an operator sees, and those that several parts use: the reason, and what happens above each.
//!
//! A bound that an operator may change is a field of [`Limits`] (its name in the environment is the field's name in
//! capitals); a bound that is part of the design is a constant. A bound with one user is a constant next to that user.

use std::time::Duration;

/// The bounds an operator may set ([`protocol`](crate::protocol), "Limits" and "Rates").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head, request line included. Above: 431 `head_too_large`.
    pub head_max: usize,
    /// Bytes of a JSON request body. Above: 413 `too_large`.
    pub json_body_max: usize,
    /// Bytes of one uploaded file. Above: 413 `too_large`.
    pub upload_max: u64,
    /// Bytes one member may keep in uploads. Above: 413 `quota_exceeded`.
    pub upload_quota: u64,
    /// Uploads one member may keep, whatever their size. Above: 413 `quota_exceeded`.
    pub upload_files_max: u64,
    /// Declared width × height of one picture. Above: 422 `invalid_file`.
    pub pixels_max: u64,
    /// Characters (Unicode scalar values) of a message body. Above: 422 `invalid_body`.
    pub message_max: usize,
    /// Members of a group. Above: 422 `invalid_members`.
    pub members_max: usize,
    /// Bytes of one WebSocket message, this number included. Above: close 1009.
    pub ws_message_max: usize,
    /// Bytes waiting for one slow stream. Above: close 4408; the client resumes by cursor.
    pub send_queue_max: usize,
    /// Open connections. Above: an anonymous one gives way, else an idle one, else the new one gets 503 `busy`.
    pub connections_max: usize,
    /// Open connections of one address (a /64 for IPv6), twice as many of a /56, four times of a /48 or of a /24 of IPv4; through
    /// a trusted proxy: streams and requests in progress of each address and member. Above: 429 `rate_limited`.
    pub connections_per_address: usize,
    /// Open WebSockets, event streams and long polls of one member. Above: 429 `rate_limited`.
    pub streams_per_account: usize,
    /// Seconds until an access token expires.
    pub access_ttl: u64,
    /// Seconds until a refresh token expires.
    pub refresh_ttl: u64,
    /// Between two pings of a stream; a stream silent for 2.5 × this is closed.
    pub heartbeat: Duration,
    /// Credential routes, by address.
    pub rate_credentials: Rate,
    /// Unauthenticated and failed requests, by address.
    pub rate_address: Rate,
    /// Authenticated requests, by member.
    pub rate_account: Rate,
    /// Writes, by member.
    pub rate_writes: Rate,
    /// Writes of a bot, those of its incoming hooks included.
    pub rate_bots: Rate,
    /// `RATE_LIMIT=off` lifts the five rates and the streams of one member, never the limits on codes and failed sign-ins.
    pub rate_limit: bool,
    /// What MEMORY_MAX divides.
    pub memory: MemoryShares,
}

/// Memory that parts of the server hold at most, each for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryShares {
    /// Bytes of all send queues together. Above: the connections with the most are closed. A stream resumes by its cursor, so that it
    /// loses nothing.
    pub queues: usize,
    /// The same of one address, unless it is a trusted proxy's: some thirty readers that take nothing.
    pub queues_of_address: usize,
    /// Bytes of uploads that are queued for their files. Above: that upload fails and can be retried.
    pub uploads: usize,
    /// Passwords that are hashed at once. The others wait.
    pub hashes: usize,
    pub caches: CacheSizes,
}

/// KiB of pages that connections of the database cache. Above: pages are read again, from the system's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSizes {
    /// The writer: the inner pages and the newest leaves of its indexes.
    pub writer_kib: u32,
    /// Each reader.
    pub reader_kib: u32,
    /// The writer of the search index: the newest blocks of the active conversations.
    pub index_kib: u32,
}

impl Default for CacheSizes {
    fn default() -> Self {
        CacheSizes { writer_kib: 16_384, reader_kib: 2_048, index_kib: 4_096 }
    }
}

impl Default for MemoryShares {
    fn default() -> Self {
        MemoryShares {
            queues: 134_217_728,
            queues_of_address: 33_554_432,
            uploads: 16_777_216,
            hashes: PASSWORD_THREADS,
            caches: CacheSizes::default(),
        }
    }
}

/// Subscriptions to notifications of one member. Above: 413 `quota_exceeded`.
pub const PUSH_SUBSCRIPTIONS_MAX: u64 = 20;

/// Threads that give notifications to push services.
pub const PUSH_THREADS: usize = 8;

/// The threads that call outgoing hooks, besides those of notifications.
pub const HOOK_THREADS: usize = 4;

/// What an operator may set MESSAGE_MAX and MEMBERS_MAX to at most: the documents of the API are the same for every server.
pub const MESSAGE_MOST: usize = 1_000_000;
pub const MEMBERS_MOST: usize = 100_000;

/// A token bucket: `per_second` refills it, `burst` is its size. When it is empty: 429 with `Retry-After`.
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
            upload_max: 104_857_600,
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
            rate_bots: rate(5, 60),
            rate_limit: true,
            memory: MemoryShares::default(),
        }
    }
}

// ---- base ----------------------------------------------------------------------------------------

/// A shared payload below this is copied into the queue: a copy costs less than a reference there.
pub const SEGMENT_COPY_MAX: usize = 1_024;

// ---- proto/http ----------------------------------------------------------------------------------

/// Headers of one request. Above: 431 `head_too_large`.
pub const HEADERS_MAX: usize = 64;
/// Bytes of a request target. Above: 414 `target_too_long`.
pub const TARGET_MAX: usize = 8_192;

// ---- proto: multipart, image, smtp, http client ---------------------------------------------------

/// Bytes of an upload that are held until its type is known: they contain the brands of an MP4 and the DocType of a WebM. A
/// file that names its type later counts as text, or is refused.
pub const SNIFF_BYTES: usize = 512;
/// Bytes of one SMTP reply, all its lines (RFC 5321 §4.5.3.1.5 allows 512 each). Above: the try ends as a transient
/// failure.
pub const SMTP_REPLY_MAX: usize = 16_384;

// ---- model, auth, messaging, uploads ---------------------------------------------------------------

/// The most items of a page of a list; a greater `limit` is clamped.
pub const PAGE_MAX: u32 = 200;
/// Bytes after which a page of a list ends, whatever its `limit`.
pub const PAGE_BYTES_MAX: usize = 262_144;
/// Bytes of the body of a call of an incoming hook: GitHub's largest usual ones have a tenth. Above: 413 `too_large`.
pub const HOOK_BODY_MAX: usize = 262_144;
/// Bytes of a preview. Above: 413 `too_large`.
pub const PREVIEW_MAX: u64 = 40_000;
/// Characters of a display name. Above: 422 `invalid_display_name`.
pub const DISPLAY_NAME_MAX: usize = 64;
pub const NICK_NAME_MAX: usize = 25;
/// Different names after an `@` that are looked up for one message. Later ones mention nobody.
pub const MENTIONS_MAX: usize = 64;
/// Unread mentions of a conversation are counted up to this, so that a list costs the same however many there are. A client shows
/// "99+".
pub const UNREAD_MENTIONS_MAX: u64 = 100;
/// Different emoji on one message. Above it: 422 `invalid_emoji`.
pub const REACTIONS_MAX: usize = 20;
/// Profiles shown for one emoji. The count includes all of them.
pub const REACTION_PROFILES_SHOWN: u32 = 50;
pub const SIGN_IN_WINDOW: Duration = Duration::from_secs(15 * 60);
pub const EMAIL_TAKEN_WINDOW: Duration = Duration::from_secs(60 * 60);
/// How long a WebSocket ticket waits to be used (`protocol.md`, "Authentication").
pub const TICKET_TTL: Duration = Duration::from_secs(30);
/// Milliseconds between two codes of one account and purpose. Earlier: no mail, and the old code stays valid.
pub const CODE_INTERVAL_MS: u64 = 60_000;
/// Codes of one account and purpose within an hour. Above: the same as within [`CODE_INTERVAL_MS`].
pub const CODES_AN_HOUR: usize = 5;
/// How often one invite can be used. Above: 422 `invalid_uses`; the command line refuses it too.
pub const INVITE_USES_MAX: u64 = 1_000;
/// The life of an invite, in seconds: a minute to a year. Outside: 422 `invalid_expires_s`; the command line refuses it too.
pub const INVITE_S_MIN: u64 = 60;
/// See [`INVITE_S_MIN`].
pub const INVITE_S_MAX: u64 = 31_536_000;
/// Milliseconds after which an upload that nothing shows is deleted: nobody may know its id, as when the 201 was lost.
pub const UNSHOWN_KEPT_MS: u64 = 7 * 86_400_000;
/// Attachments of one message. Above: 422 `invalid_attachments`.
pub const ATTACHMENTS_MAX: usize = 10;
/// Messages that a legacy socket gets when it opens; older ones come by message.list.
pub const PAIR_HISTORY_MAX: u32 = 100;

// ---- store -----------------------------------------------------------------------------------------

/// Milliseconds that a connection waits for a lock of another process (a shell, a backup). After that: `Unavailable`.
pub const STORE_BUSY_MS: u64 = 5_000;
/// Milliseconds that a checkpoint waits for a reader's old snapshot, while every post waits for the checkpoint. Snapshots of
/// this process last milliseconds. After that: the store's next maintenance tries again.
pub const CHECKPOINT_BUSY_MS: u64 = 100;
/// Bytes up to which every start reads the complete database (about 1 ms a MiB). Above: header, schema and length only.
pub const QUICK_CHECK_BYTES_MAX: u64 = 33_554_432;
/// Bytes in the WAL from which on `/readyz` warns of a reader outside of this process. Writes continue up to WAL_MAX, which is not
/// smaller.
pub const WAL_HELD_BYTES: u64 = 32 << 20;
/// Between two checkpoints that complete an erasure: erased text is removed from every file within a minute, and a flood of
/// erasures costs four checkpoints a minute.
pub const ERASE_EVERY: Duration = Duration::from_secs(15);
/// Messages that one step of an erasure or one page of an export reads to find those of one sender: a few milliseconds, even
/// if each row is on a page of its own. A conversation counts as one more. The rest is for the next step or page.
pub const SENDER_SCAN: u32 = 1_000;
/// Bytes of the WAL file that stay on disk for its next use. The rest is truncated.
pub const WAL_KEPT_BYTES: u64 = 16_777_216;

// ---- work ------------------------------------------------------------------------------------------

// ---- server ----------------------------------------------------------------------------------------

/// Bytes of answers that wait on a connection. Above: its next pipelined request waits.
pub const PIPELINE_BYTES_MAX: usize = 65_536;
/// Bytes of answers and events that wait on a WebSocket. Above: its next frame waits.
pub const STREAM_PAUSE_BYTES: usize = 262_144;
/// Bytes of a replay that wait on a stream. Above: the next page of the log is read later.
pub const REPLAY_LOW_BYTES: usize = 65_536;
/// Bytes of live events that are held while a stream replays. Above: they are dropped and read from the log instead.
pub const HELD_BYTES_MAX: usize = 65_536;
/// Ops of one WebSocket in flight (`protocol.md`, "WebSocket"). Above: the socket is not read.
pub const IN_FLIGHT_MAX: usize = 64;
/// Refused frames within [`REFUSED_WINDOW`] after which a WebSocket is closed 4429.
pub const REFUSED_MAX: usize = 100;
/// See [`REFUSED_MAX`].
pub const REFUSED_WINDOW: Duration = Duration::from_secs(10);
/// How long a request head may take from its first byte (`protocol.md`, "HTTP"). After that: 408.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long an upload may take from its first byte: this, plus its size at [`UPLOAD_BYTES_PER_S`]. After that: 408.
pub const UPLOAD_DEADLINE: Duration = Duration::from_secs(60);
/// See [`UPLOAD_DEADLINE`].
pub const UPLOAD_BYTES_PER_S: u64 = 8_192;
/// Uploads of one member at once: twice the burst of RATE_WRITES, which limits how many begin. Their bytes count in the quota
/// as they come. Above: 429.
pub const UPLOADS_OF_MEMBER_MAX: usize = 128;
/// How long and how much is read and dropped after an answer that came before its body: the peer must be able to read
/// the answer. The upload limit is added to the bytes.
pub const LINGER_DEADLINE: Duration = Duration::from_secs(10);
/// A peer that takes less than [`PROGRESS_BYTES`] of an answer in this time is closed (1 KiB/s).
pub const PROGRESS_WINDOW: Duration = Duration::from_secs(10);
/// See [`PROGRESS_WINDOW`].
pub const PROGRESS_BYTES: u64 = 10_240;
/// In a cluster the row of an erased file is kept for at least this long after the file was removed: a node that starts finds it there.
pub const ERASED_ROWS_KEPT: Duration = Duration::from_secs(3_600);
/// Mails that are being sent or recorded at once. Above: they wait in the outbox.
pub const MAILS_UNDER_WAY_MAX: usize = 8;

// ---- runtime ---------------------------------------------------------------------------------------

/// Bytes of the one buffer into which all sockets are read. More bytes need another read.
pub const READ_BUFFER: usize = 65_536;
/// Connections that enter the server in one turn. The rest waits for the next turn, so that a flood delays no posts.
pub const ACCEPTS_TURN_MAX: usize = 256;
/// From the first signal to the end of the process. After that, connections that are still open are dropped.
pub const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Between two checks whether a database that failed takes writes again.
pub const PROBE_EVERY: Duration = Duration::from_secs(3);

/// Threads that hash passwords: each holds its arena (some MiB) while it has work, and a core.
pub const PASSWORD_THREADS: usize = 2;
/// Passwords that these threads have; the others wait in the server. Above: `Done::Busy`.
pub const PASSWORD_JOBS_MAX: usize = 4;

// ---- config, cli, logging --------------------------------------------------------------------------

/// Bytes of `.env` and of a file named by `NAME_FILE`: a mistyped path must not be read completely. Above: a fault.
pub const CONFIG_FILE_BYTES_MAX: usize = 65_536;
/// Entries of a list in one variable; each request scans ALLOWED_ORIGINS and TRUSTED_PROXIES. Above: a fault.
pub const CONFIG_LIST_MAX: usize = 256;

/// Names in TLS_DOMAIN: as many as Let's Encrypt puts into one certificate. Above: a fault at the start.
pub const TLS_DOMAINS_MAX: usize = 100;
