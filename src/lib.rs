//! natter: a self-hosted real-time chat server, one small binary that never loses, duplicates or reorders a message.
//!
//! This page is the map: the idea, the layers, the way of one message, what holds everywhere, what a new feature touches,
//! and the words of the code. Each folder's `mod.rs` continues from here. What the server promises its clients is
//! [`protocol`]. natter succeeds a chat server written in Go (the Go server), which comments call the predecessor: the
//! routes that the protocol marks as legacy keep its paths, and tests whose comments name it protect what it got wrong.
//!
//! # The idea
//!
//! [`server::Server`] is a deterministic value: it takes [`Input`]s and yields [`Effect`]s. The runtime does nothing else
//! than perform them. One thread owns the server and all sockets; one thread writes SQLite, a few read it, a few do slow
//! work. They share nothing but bounded queues of plain data. So a test can run the whole server, every protocol and every
//! failure, from one seed, without a socket, a clock or a thread: `tests/simulation.rs` does.
//!
//! ```text
//!                     one thread                          queues           threads
//!          ┌──────────────────────────────────────────┐
//!          │    runtime                  server       │  Command   ┌──────────────────┐
//!  bytes   │ ┌────────────┐  Input   ┌──────────────┐ │ ─────────→ │ one writer       │     ┌───────────┐
//! ←──────→ │ │ poll       │ ───────→ │ connections  │ │  Outcome   │ readers    store │ ←─→ │ natter.db │
//!  peers   │ │ sockets    │          │ routes       │ │ ←───────── └──────────────────┘     └───────────┘
//!          │ │ clock      │  Effect  │ streams      │ │  Job       ┌──────────────────┐
//!          │ │ signals    │ ←─────── │ hub          │ │ ─────────→ │ workers     work │ ←─→ mail, files
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
//! | 5 | [`runtime`] | the only code that touches the world: the loop, sockets, threads, clocks, signals |
//! | 4 | [`server`] | connections and their phases, the table of routes, streams; no SQL, no socket |
//! | 3 | [`auth`] [`messaging`] [`uploads`] [`site`] | handlers: pure functions from a request to the next step; they do not know each other |
//! | 3 | [`store`] | SQLite: one function for each operation, group commit; no thread, no clock, no socket |
//! | 3 | [`work`] | slow jobs in blocking code: password hashes, mail, files, geolocation |
//! | 2 | [`model`] | the nouns, and the contracts between threads: operations, jobs, handlers, events, problems |
//! | 1 | [`proto`] | wire formats without I/O: bytes in, values out; no chat |
//! | 0 | [`base`] [`limits`] | what any program could use; the bounds that the wire or an operator sees |
//!
//! A feature has the same name on each layer: `messages` is a file in `model`, `messaging` and `store`. A dependency has
//! one home, so that its cost and its reach are seen in one place.
//!
//! # The way of one message
//!
//! A client posts over its WebSocket, `{"op":"message.post",…}`; another client receives the event.
//!
//! ```text
//! in     runtime/event_loop/inputs.rs  read            bytes of a frame from the socket
//!        server/mod.rs                 Server::handle  Input::Received
//!        server/dispatch.rs            received        the connection's phase is a WebSocket
//!        server/streams/websocket.rs   advance         one frame, as long as there is room for its answer
//!        server/streams/ops.rs         text            the row of ROUTES that `op` names, the same that HTTP uses
//!        server/request/steps.rs       call, ask       the handler runs; its Step::Store becomes an effect
//!        messaging/messages.rs         post            a valid PostMessage with its own time and random bits
//! store  runtime/storage.rs                            Effect::Store, in the lane of the connection; one batch
//!        store/batch.rs, messages.rs   post            client_id, membership, blocks; the next n and seq; one insert
//!        store/writer.rs               commit          COMMIT: on disk (WAL, synchronous=FULL)
//! out    server/mod.rs                 answered        Input::Answered: the events first, then the answer
//!        server/publish.rs             publish         encoded once per wire form, queued on each stream
//!        server/reactions.rs           on_fact         what else follows, such as two people who are peers now
//!        server/dispatch.rs            resume          the handler's continuation, Step::Reply
//!        server/streams/ops.rs         finish          the answer, in the order of the client's writes
//!        runtime/event_loop/effects.rs flush           one write to each socket that has something to send
//! ```
//!
//! Nothing is acknowledged before it is durable, and nothing is delivered before it is committed. Events are facts: they go
//! to their audience whether or not the client that caused them is still connected. Answers are for that client: without it
//! they are dropped. A client that received no answer posts again with the same `client_id`, as often as it likes.
//!
//! If it fails: `messaging/messages.rs` refuses what the protocol forbids (422) before storage is asked. A repeated
//! `client_id` is answered with the stored original, in `store/messages.rs`, before membership and blocks, and makes no
//! event. If the COMMIT fails, `store/writer.rs` rolls the batch back and refuses every command of it (503, 507 on a full
//! disk), `runtime/storage.rs` refuses what the same connection still has in its lane, and the connection closes (1013).
//! After a failed write or sync, `store/durability.rs` says what must succeed before a write is answered again, and
//! `store/upkeep.rs` does it; reads go on, and `/readyz` names the state.
//!
//! A client that was away resumes by a cursor. Its stream subscribes first and holds live events, reads the log after the
//! cursor no faster than the peer takes it, sends the held events with a greater `seq`, then `caught_up`, and is live
//! ([`server::streams::replay`]). So a slow stream can be closed without loss, and the three kinds of stream (WebSocket,
//! server-sent events, long poll) have one way to catch up.
//!
//! # What holds everywhere
//!
//! - **Same seed, same run.** Below [`runtime`] there is no clock, no randomness, no socket, no thread. Time comes with
//!   each input, randomness from an [`Entropy`](base::crypto::Entropy) that is passed in, and no map has a random order.
//! - **A handler sees no connection, a connection sees no SQL, the store sees no socket.** What crosses is plain data:
//!   [`Input`], [`Effect`], [`Command`](model::operation::Command), [`Job`](model::job::Job).
//! - **One writer gives one total order.** `seq` is the cursor of everything, `n` has no gaps in its conversation; both are
//!   assigned inside the message's own transaction.
//! - **Order by construction.** An HTTP connection that waits for an answer parses nothing more. After a fault the rest of
//!   a lane is refused, so nothing overtakes what failed. An answer finds its call by a generational ticket: a connection
//!   that closed leaves an orphan, never a dangling reference.
//! - **Every buffer, queue, map and loop has a named bound**, and what is full refuses; nothing blocks the loop.
//! - **Nothing a peer sends can panic the process**, and a handler that panics costs one 500. A corrupt database stops it.
//! - **An acknowledged write survives SIGKILL and power loss.** Any other may or may not, and `client_id` makes a retry safe.
//! - **No secret, token, code, password or message body reaches a log or an error.**
//!
//! # What a new feature touches
//!
//! *An op*, as `message.react` shows: its question in `model/message.rs` (`React`) and its row in `model/operation.rs`; the
//! SQL in `store/changes.rs` (`react`) and its arm in `store/batch.rs` (a read: `store/reader.rs`); the handler in
//! `messaging/changes.rs` (`react`); its row in `server/request/routes.rs`, which makes it a route and an op at once. Six
//! files, and its description in the folder `server/schema` (`.github/CONTRIBUTING.md` has the steps, tests included).
//! One that causes a new kind of event adds that to `model/event.rs` and `store/event_log.rs`.
//!
//! *A kind of stream*, as the export shows: its phase in `server/streams/export.rs`, a variant of
//! [`Stream`](model::handler::Stream) that a handler returns, a variant of [`Phase`](server::conn::Phase), and its arms in
//! `server/dispatch.rs`, where the compiler asks for them.
//!
//! *A background task*: a row in `server/background/tasks.rs`. *A configuration variable*: a row in `config/fields.rs`,
//! from which README's table is written. *An error code*: a row in `model/problem.rs`.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | member, profile | an account; how other people see it |
//! | actor | the member, profile and session that a request proved |
//! | peer | the other end of a socket; in chat: a person with whom one has a conversation |
//! | conversation | direct (two profiles) or a group |
//! | `seq`, `n`, `rev` | position in the log of all; position in one conversation; the `seq` of a message's last change |
//! | cursor | `<epoch>:<seq>`: after which event a client continues |
//! | epoch | names one history of the log; a restored backup begins a new one |
//! | log | the events of the database in the order of `seq`; SQLite's write-ahead log is the WAL |
//! | fact, event | what happened; a fact with its `seq` and its audience |
//! | ephemeral event | presence or typing: no `seq`, not stored, best-effort |
//! | audience | the profiles that receive an event |
//! | `client_id` | the client's own id of a post, which makes a retry safe |
//! | op | a request on a WebSocket; the same table row as an HTTP route |
//! | handler, step | a function of a row; what it wants next: reply, ask storage, have work done, open a stream |
//! | continuation | what a handler does with an answer it asked for |
//! | problem, refusal, fault | an error on its way to a client; storage's reason not to do something; a failure of disk or system |
//! | command, answer, outcome | a question to storage; what it answers; an answer with its events |
//! | job, done | slow work for a worker thread; its result |
//! | ticket | names a call that is waited for. A WebSocket ticket is a one-time credential |
//! | batch | the writes of one transaction: what waited for the writer while the disk synced (group commit) |
//! | lane | the writes of one connection, done in order; after a fault it refuses all until the connection closes |
//! | flow | reads that share one turn in the queue of the readers |
//! | phase | what a connection is doing now: reading a request, waiting for an answer, being a WebSocket |
//! | exchange | one HTTP request between its head and its response |
//! | inbox, send queue | bytes that came and are not parsed; bytes that wait for the socket |
//! | segment | a part of the send queue: owned bytes, shared bytes, or a range of a file |
//! | stream | a connection that receives events: WebSocket, server-sent events, long poll, or an export |
//! | legacy socket, value stream | the predecessor's forms of a WebSocket and of an event stream |
//! | replay | the log after a cursor, then live events |
//! | hub | which connections receive the events of a profile |
//! | turn | the handling of one input |
//! | drain | to finish what was begun, and end |
//! | linger | to read and drop what still comes, so that the last response arrives |
//! | back-pressure | not to read from a peer that does not take its answers |
//! | upload reservation | what an upload in progress takes of its owner's quota |
//! | follow-up | work that a handler causes and no client waits for |
//! | background task | work of the server itself, by a table of what runs when |
//! | outbox | mails that are stored and not sent yet |
//! | listener | a socket that accepts connections: public, or the control socket of the operator |
//! | tombstone | what remains of a deleted message |
//!
//! [`Input`]: server::contract::Input
//! [`Effect`]: server::contract::Effect

#[doc = include_str!("site/protocol.md")]
pub mod protocol {}

pub mod auth;
pub mod base;
pub mod cli;
pub mod commands;
pub mod config;
pub mod limits;
pub mod logging;
pub mod messaging;
pub mod model;
pub mod proto;
pub mod runtime;
pub mod server;
pub mod site;
pub mod store;
pub mod uploads;
pub mod work;
