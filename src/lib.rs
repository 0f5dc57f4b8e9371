//! natter: a self-hosted real-time chat server, one small binary that never loses, duplicates or reorders a message.
//!
//! This page is the map: the idea, the layers, the way of one message, what holds everywhere, what a new feature touches,
//! and the words of the code. Each folder's `mod.rs` continues from here. What the server promises its clients is
//! [`protocol`]. natter succeeds a chat server written in Go, which comments call the predecessor: the routes that the
//! protocol marks as legacy keep its paths, and tests whose comments name it protect against its defects.
//!
//! # The idea
//!
//! [`server::Server`] is a deterministic value: it takes [`Input`]s and yields [`Effect`]s. The runtime performs the effects
//! and does nothing else. One thread owns the server and all sockets; one thread writes SQLite, a few read it, a few do slow
//! work. They share bounded queues of plain data, and counters. So a test can run the complete server, with every protocol and every
//! failure, from one seed, without a socket, a clock or a thread: `tests/simulation.rs` does. [`in_memory`] performs the effects
//! there, in the tests of the API, and for a command that finds no running server.
//!
//! ```text
//!                     one thread                          queues           threads
//!          ┌──────────────────────────────────────────┐
//!          │    runtime                  server       │  Command   ┌──────────────────┐
//!  bytes   │ ┌────────────┐  Input   ┌──────────────┐ │ ─────────→ │ one writer       │     ┌───────────┐
//! ←──────→ │ │ poll       │ ───────→ │ connections  │ │  Outcome   │ readers    store │ ←─→ │ natter.db │
//!  peers   │ │ sockets    │          │ routes       │ │ ←───────── └──────────────────┘     └───────────┘
//!          │ │ clock      │  Effect  │ streams      │ │  Job       ┌──────────────────┐
//!          │ │ signals    │ ←─────── │ hub          │ │ ─────────→ │ workers     work │ ←─→ mail, files, push
//!          │ └────────────┘          └──────────────┘ │ ←───────── └──────────────────┘
//!          └──────────────────────────────────────────┘  Done
//! ```
//!
//! # The layers
//!
//! Imports go downward only; `tests/architecture.rs` holds the table and fails on any other `use`.
//!
//! | layer | parts | what they are, and what they do not know |
//! |---|---|---|
//! | top | [`cli`] [`config`] [`logging`] [`commands`] | the process: arguments and environment become options |
//! | 5 | [`runtime`] | the event loop: the only part with sockets, threads, clocks and signals |
//! | 4 | [`server`] | connections and their phases, the table of routes, streams; no SQL, no socket |
//! | 3 | [`auth`] [`messaging`] [`uploads`] [`site`] | handlers: pure functions from a request to the next step; they do not import each other |
//! | 3 | [`store`] | SQLite: one function for each operation, group commit; no thread, no clock, no socket |
//! | 3 | [`work`] | slow jobs in blocking code: password hashes, mail, notifications, files, geolocation, certificates |
//! | 2 | [`model`] | the nouns, and the contracts between threads: operations, jobs, handlers, events, problems |
//! | 1 | [`proto`] | wire formats without I/O: bytes in, values out; no chat |
//! | 0 | [`base`] [`limits`] | what any program could use; the bounds that the wire or an operator sees |
//!
//! A feature has the same name on each layer: messages are in `model/message.rs`, `messaging/messages.rs` and
//! `store/messages.rs` (their posts in `store/posting.rs`). Each dependency is used in one folder, which `tests/architecture.rs` names, so that it can be replaced.
//!
//! # The way of one message
//!
//! Ann posts over her WebSocket: `{"id":7,"op":"message.post","to":"…","client_id":"…","body":"hi"}`. Bob has a WebSocket
//! open and receives the event. Each row names a file, a function, and what happens if the step fails. A post over HTTP
//! differs only at the ends: `server/request/http.rs` `read_head` and `read_body` replace rows 4 to 6, and
//! `server/request/respond.rs` `reply` replaces row 24; a rate that is used up is 429 there. An empty last column means that the
//! step cannot fail.
//!
//! | | file | function | what it does | if it fails |
//! |---|---|---|---|---|
//! | | **in** | | **on the thread of the loop** | |
//! | 1 | `runtime/event_loop/inputs.rs` | `read` | reads bytes from the socket (`read_socket`), gives them to the server as `Input::Received`; with TLS `runtime/event_loop/secure.rs` `decrypt` does that | a broken socket becomes `Input::Failed`: the connection is forgotten |
//! | 2 | `server/mod.rs` | `handle` | the only way into the server; `with_conn` finds the connection | an input for a closed connection does nothing |
//! | 3 | `server/dispatch.rs` | `received` | the connection's phase is a WebSocket | |
//! | 4 | `proto/websocket/mod.rs` | `next` | parses one frame; `server/streams/websocket.rs` `advance` calls it only while fewer than 64 ops are in flight and the send queue has room | close 1002 for a violation of the protocol, 1007 for text that is not UTF-8, 1009 for a message that is too long, 1003 for a binary frame |
//! | 5 | `server/streams/ops.rs` | `text` | parses the JSON, `server/request/router.rs` `find_op` finds the row of the route table (`server/request/routes.rs`) that `op` names; `auth`, `focus` and `typing` have no row | an `error` frame, and the socket stays open; 100 refused frames in 10 s close 4429 |
//! | 6 | `server/request/admit.rs` | `take` | takes one write from the member's rate | the frame waits in the connection's `Ops` (`server/streams/ops.rs`) until the rate allows it, and the socket is not read meanwhile; no error |
//! | 7 | `server/request/steps.rs` | `call` | runs the row's handler | a panic costs this op a 500: `guard` in the same file catches it. As after every 500, the ops after it are refused and the socket closes 1013 |
//! | 8 | `messaging/messages.rs` | `post` | checks the form, makes a `PostMessage` with the server's time and random bits; returns `Step::Store` | 422 `invalid_<field>`: storage is not asked |
//! | 9 | `server/request/steps.rs` | `ask` | queues `Effect::Write` with a ticket and the connection's lane | |
//! | | **store** | | **on the writer thread** | |
//! | 10 | `runtime/storage.rs` | `submit` | puts the write into the queue of the writer (on the loop) | a full queue is 503 `busy`, and this function refuses what the lane sends from then on with 503 `unavailable` |
//! | 11 | `runtime/storage/writer_thread.rs` | `iterate` | takes what waits, at most 512 writes, as one batch; a write that takes long (the deletion of an account) is a batch of its own | |
//! | 12 | `store/writer.rs` | `transact` | begins the transaction, then `store/batch.rs` `perform` for each write | a fault of the disk ends the transaction: see row 15. An internal error refuses this write with 500, and its lane is closed |
//! | 13 | `store/posting.rs` | `post` | decides whether the sender may post: membership and blocks (`known` in the cache; else `original` looks for the `client_id` first, then `find_destination` decides) | 404 for a stranger to the `conversation`, and for a block with `to`; 403 for a block with `conversation`; 422 for a `reply_to` or `attachments` that do not exist |
//! | 14 | `store/posting.rs` | `insert` | gives the message its `n` and `seq`, inserts one row, makes the event | a `client_id` that this sender has used inserts nothing: `original` returns the stored message, without an event |
//! | 15 | `store/writer.rs` | `end` | `COMMIT`: SQLite syncs the WAL (`synchronous=FULL`) before it returns | `commit` in the same file rolls back and refuses **every** write of the batch: 503, or 507 on a full disk |
//! | 16 | `runtime/storage/writer_thread.rs` | `commit` | posts the outcomes to the loop's inbox (`runtime/inbox.rs` `post` wakes it) | a lane whose write had a fault is closed by `runtime/lanes.rs` `commit`, and `push` in that file refuses its further writes until the connection is closed |
//! | | **out** | | **on the thread of the loop** | |
//! | 17 | `runtime/event_loop/inputs.rs` | `complete` | takes the outcomes: `Input::Answered` for each | a corrupt database stops the process |
//! | 18 | `server/answers.rs` | `answered` | finds the call by its ticket; first handles the events (rows 19 to 22), then runs the continuation | if Ann's connection is closed, the events are sent, the answer is dropped |
//! | 19 | `server/publish.rs` | `publish` | for each profile of the audience, each stream that the hub lists (`server/streams/kinds.rs` `deliver`). Ann's own connection, the origin, gets the answer instead: `server/streams/websocket.rs` `deliver` leaves it out | |
//! | 20 | `server/streams/replay.rs` | `deliver` | queues the event on Bob's send queue. `server/streams/publication.rs` `push_frame` encodes it once for all native WebSockets, since an event has no field that depends on the receiver. A stream that still reads the log keeps the event until it has read it | more such events than a bound: the stream drops them and reads them from the log |
//! | 21 | `server/reactions.rs` | `on_fact` | what else follows from a fact: two profiles whose first message this is learn whether the other is online | |
//! | 22 | `server/streams/websocket.rs` | `on_delivered` | `enforce_limits` compares Bob's send queue with SEND_QUEUE_MAX | close 4408: Bob's client reconnects and resumes |
//! | 23 | `messaging/messages.rs` | `posted` | the continuation: makes the reply; `server/dispatch.rs` `resume` gives it to the op that waits | a refusal becomes its problem, a panic a 500 |
//! | 24 | `server/streams/ops.rs` | `finish` | takes the answers that are next in the order of Ann's writes; `answer` in the same file queues them | after a refusal with `retry`, or a 500, all writes after it are refused, and the socket closes 1013 |
//! | 25 | `runtime/event_loop/effects.rs` | `flush` | one write for each socket with a queue, after 128 outcomes and at the end of each round of the turn. Ann's socket is written to before Bob's | a broken socket becomes `Input::Failed` |
//!
//! `tests/architecture.rs` checks that every file and function of this table exists.
//!
//! One function name in several files is one step on several layers: `messaging/messages.rs` `post` checks the form, `store/posting.rs`
//! `post` decides and inserts; `runtime/event_loop/inputs.rs` `read` reads a socket, `store/event_log/merge.rs` `read` the log;
//! `runtime/storage/writer_thread.rs` `commit` posts the outcomes of `store/writer.rs` `commit`; `server/answers.rs` `answered` gives
//! the outcome of a read of the log to `server/streams/replay.rs` `answered`.
//!
//! **The answer comes after the sync.** Row 15 is before row 18, so nothing is answered before it is durable (unless SYNCHRONOUS=normal is set),
//! and no event is delivered before it is committed. Events are facts: they go to their audience also if the client that caused them has
//! left. A client that received no answer posts again with the same `client_id`, as often as it likes.
//!
//! **If the COMMIT fails**, no part of the batch is visible. (If the process is killed before the repair, a start may find it in the WAL; the same
//! `client_id` makes the repeated post the same message.) Each of its clients gets 503 `unavailable` or 507 `storage_full`, both
//! with `retry`, and its connection closes, so that no later post overtakes the refused one. After a failed write or sync
//! `store/durability.rs` decides what must succeed before a write is answered again, and `store/upkeep.rs` `maintain` does it;
//! until then every write is refused. Reads go on, and `/readyz` names the state.
//!
//! **If the disk is full**, writes are refused with 507, uploads too; lists, histories and the streams of all who do not post go on. When there is room
//! again, `store/upkeep.rs` `maintain` notices it within about a second, and writes are answered again without a restart.
//!
//! **A client that was away** resumes with a cursor (`GET /api/v1/ws?cursor=…`). `server/streams/websocket.rs` `open` subscribes
//! first, so that the stream holds live events (row 20). `server/streams/replay.rs` `begin` and `go_on` read the log after the cursor
//! (`store/event_log/merge.rs` `read`, on a reader's thread), a page at a time and no faster than the peer takes it; `answered` sends
//! the pages, then the held events with a greater `seq`, then `caught_up`; then it is live. A cursor that is too old, or of another epoch,
//! gets a `reset`: the client fetches its lists again.
//!
//! **A slow reader** is closed, never waited for: by its own send queue (row 22), because it took nothing for 2.5 heartbeats
//! (`server/streams/websocket.rs` `timed_out`), or because all send queues together hold too much (`server/admission.rs`
//! `close_largest`). It loses nothing, because it resumes. So the three kinds of stream (WebSocket, server-sent events, long
//! poll) have one way to catch up, and one slow client delays no other.
//!
//! **If the process dies** before row 15 has returned, the post may or may not be stored, and no client has an answer. After that the post
//! is stored: the next start reads the WAL, and the repeated `client_id` gets the original.
//!
//! # What holds everywhere
//!
//! - **Same seed, same run.** Below [`runtime`] there is no clock, no randomness, no socket, no thread. Time comes with
//!   each input, randomness from an [`Entropy`](base::crypto::Entropy) that is passed in, and no map has a random order.
//!   (`work` is blocking code for worker threads: it may open sockets and read the clock.)
//! - **A handler sees no connection, a connection sees no SQL, the store sees no socket.** What crosses is plain data:
//!   [`Input`], [`Effect`], [`Command`](model::operation::Command), [`Job`](model::job::Job).
//! - **One writer makes one total order.** No two events have the same `seq`, and `n` has no gaps in its conversation; both are
//!   assigned in the transaction that stores the message.
//! - **Order by construction.** An HTTP connection that waits for an answer parses nothing more. After a fault the rest of
//!   a lane is refused, so no write overtakes a refused one. An outcome finds its call by a ticket that is never used twice: a call whose
//!   connection has closed still gets its outcome, and only the answer is dropped.
//! - **Every buffer, queue, map and loop has a named bound**; a full one refuses (only the writer and the readers wait for room, in the loop's inbox), and nothing blocks the loop.
//! - **No bytes of a peer can panic the process**, and a handler that panics costs one 500. A corrupt database stops it.
//! - **An answered write survives SIGKILL and power loss** (power loss: unless SYNCHRONOUS=normal is set). Any other may or may not, and `client_id` makes a retry safe.
//! - **No secret, token, code, password or message body reaches a log or an error.**
//!
//! # What a new feature touches
//!
//! *An op*, as `message.react` shows: its command in `model/message.rs` (`React`) and its row in `model/operation.rs`; the
//! SQL in `store/changes.rs` (`react`) and its arm in `store/batch.rs` (a read: `store/reader.rs`); the handler in
//! `messaging/changes.rs` (`react`); its row in `server/request/routes.rs`, which makes it a route and an op at once. Six
//! files (a write also has its bytes in `model/write_bytes.rs`, where the compiler asks for them), and its description in the folder `server/schema` (`.github/CONTRIBUTING.md` has the steps, tests included).
//! One that causes a new kind of event adds that to `model/event.rs` and `store/event_log.rs`.
//!
//! *A kind of stream*, as the export shows, touches two files of the server: its behavior in `server/streams/export.rs`, and
//! its variant and arms in `server/streams/kinds.rs`, where the compiler asks for them. The request that opens it is an op
//! whose handler returns a variant of [`Stream`](model::handler::Stream).
//!
//! *A background task*: a row in `server/background/tasks.rs`. *A configuration variable*: a row in `config/fields.rs`,
//! from which README's table is written. *An error code*: a row in `model/problem.rs`.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | account | what signs in: an e-mail address, a password, a profile, sessions, and all that is stored for them |
//! | member | the person of an account, for code, database and operators (`natter member`). A *group member* is a profile in a group |
//! | user | only in paths and field names of the wire, such as `/user/sign-in`: a member |
//! | profile | a member as other people see it: a name, a nick name, an image |
//! | session | one login of a member on one device, until it ends or its refresh token expires |
//! | actor | the member, profile and session that a request has proven |
//! | peer | of a socket: its other end; a *direct peer*: a profile with which one has a direct conversation |
//! | place | the geographical place of an address: "Cairo, Egypt" |
//! | conversation | direct (two profiles) or a group |
//! | `client_id` | the client's own id of a post, which makes a retry safe |
//! | `n` | the position of a message in its conversation: 1, 2, 3 … |
//! | `seq` | the position of an event in the log; a message has that of its post |
//! | `rev` | the `seq` of a message's last change |
//! | log | the events of the database, in the order of `seq`. SQLite's write-ahead log is the WAL. The log of a *cluster* has the writes of its *nodes*, which *whisper* to each other beside it; one of them holds the *duty* to mail and notify for all |
//! | epoch | names one history of the log; a restored backup begins a new one |
//! | cursor | `<epoch>:<seq>`: after which event a client continues |
//! | fact, event | a fact is what happened; an event is a fact with its `seq` and its audience |
//! | audience | the profiles that receive an event; the *hub* lists the streams of each |
//! | ephemeral event | presence or typing: no `seq`, not stored, best-effort |
//! | op | a request on a WebSocket; most are rows of the table of routes |
//! | handler, step | the function of a row of that table; what it wants next: reply, ask storage, have a job done, open a stream |
//! | problem | an error on its way to a client, with a stable code |
//! | refusal, fault | a refusal says why storage did not do a command; a fault is the kind of refusal that is no decision about the command (a failing or full disk, a full queue, an internal error): the lane is closed |
//! | command, outcome | a question to storage (a read or a write); its answer or refusal, and its events |
//! | ticket | names a call that waits for an outcome. A WebSocket ticket is a one-time credential |
//! | batch | the writes of one transaction: those that waited while the disk synced (group commit) |
//! | lane | the writes of one connection, in order; after a fault it refuses all until the connection closes |
//! | job | slow work for a worker thread |
//! | phase | what a connection waits for now: a head, an outcome, WebSocket frames … |
//! | turn | the handling of one input by the server; of the loop: one poll and the rounds that follow from it, each with its inputs, effects and writes |
//! | send queue | bytes and file ranges that wait for one socket |
//! | stream | a connection that receives events (WebSocket, server-sent events, long poll), or an export |
//! | replay | the log after a cursor, then live events |
//! | legacy socket | the predecessor's form of a WebSocket: one for each conversation |
//! | upload reservation | what an upload in progress takes of its owner's quota |
//! | background task | what the server does by itself, by a table of what runs when |
//!
//! [`Input`]: server::contract::Input
//! [`Effect`]: server::contract::Effect

#[doc = include_str!("site/protocol.md")]
pub mod protocol {}

// Public are the parts that tests, benches and examples drive by hand (the server and the store as values, the wire formats,
// the nouns between them), and what `main` calls. All else is private, so that the compiler reports what nothing uses.
mod auth;
pub mod base;
pub mod cli;
pub mod commands;
pub mod config;
pub mod limits;
mod logging;
mod messaging;
pub mod model;
pub mod proto;
mod runtime;
pub use runtime::in_memory;
#[cfg(feature = "cluster")]
pub use runtime::{nats, replica};
pub mod server;
mod site;
pub mod store;
mod uploads;
pub mod work;
