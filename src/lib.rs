//! natter: a self-hosted real-time chat server, one small binary that never loses, duplicates or reorders a message.
//!
//! This page is the map of the house. It says what each floor is for, how one message crosses them, and what holds
//! everywhere; each folder's `mod.rs` goes on from here.
//!
//! What the server promises its clients is [`protocol`]. natter succeeds a chat server written in Go (the Go server), which
//! comments call the predecessor: the routes that the protocol marks as legacy keep its paths, and tests whose comments name
//! it protect what it got wrong.
//!
//! # One idea
//!
//! A deterministic [`server::Server`] eats [`Input`]s and yields [`Effect`]s; a runtime does nothing else than perform
//! them. One thread owns the server and all sockets. One writes SQLite, a few read it, one searches, one keeps the search
//! index, a few do slow jobs. They share nothing but bounded queues. So the whole server, every protocol and every failure,
//! can be run in a test from one seed, with no socket, no clock and no thread; `tests/simulation.rs` does it.
//!
//! ```text
//!                     one thread                          queues           threads
//!          ┌──────────────────────────────────────────┐
//!          │    runtime                  server       │  Command   ┌──────────────────┐
//!  bytes   │ ┌────────────┐  Input   ┌──────────────┐ │ ─────────→ │ one writer       │     ┌───────────┐
//! ←──────→ │ │ poll       │ ───────→ │ connections  │ │  Outcome   │ readers    store │ ←─→ │ natter.db │
//!  peers   │ │ sockets    │          │ routes       │ │ ←───────── └──────────────────┘     └───────────┘
//!          │ │ clock      │  Effect  │ streams      │ │  Job       ┌──────────────────┐
//!          │ │ signals    │ ←─────── │ hub          │ │ ─────────→ │ workers     work │ ←─→ mail, look-ups
//!          │ └────────────┘          └──────────────┘ │ ←───────── └──────────────────┘
//!          └──────────────────────────────────────────┘  Done
//! ```
//!
//! # The floors
//!
//! Imports go strictly downward; `tests/architecture.rs` holds the table and fails on any other `use`.
//!
//! | floor | | what it is, and what it refuses to know |
//! |---|---|---|
//! | top | [`cli`] [`config`] [`logging`] [`commands`] | a process made of the rest: argv and environment become options |
//! | 5 | [`runtime`] | the only code that touches the world: the loop, sockets, threads, clocks, signals |
//! | 4 | [`server`] | connections and their phases, the table of routes, streams, the hub; no SQL, no socket |
//! | 3 | [`auth`] [`messaging`] [`uploads`] [`site`] | handlers: pure functions from a request to the next step; they don't know each other |
//! | 3 | [`store`] | SQLite: one function an operation, group commit; no thread, no clock, no socket |
//! | 3 | [`work`] | slow jobs in blocking code: password hashes, mail, places of addresses |
//! | 2 | [`model`] | the nouns, and the contracts between threads: operations, jobs, handlers, events, problems |
//! | 1 | [`proto`] | wire formats, sans-IO: bytes in, values out; no chat |
//! | 0 | [`base`] [`limits`] | words any program could use; every bound with its reason |
//!
//! Features stay visible across floors: `messages` is one word in `model`, `messaging` and `store`. A dependency lives in
//! one home, so that what it costs and what it may do is seen in one place.
//!
//! # One message, from one phone to another
//!
//! ```text
//! socket                     bytes of a frame
//!   → Server::handle         Input::Received
//!   → server::streams::websocket         the frame, out of a memory pipe
//!   → server::streams::ops            the row of ROUTES that `op` names: the same one HTTP takes
//!   → messaging::messages    a well-formed post: a PostMessage with its own time and random bits
//!   → Effect::Write          ticket and lane; the connection goes on reading
//!   → runtime::storage       one batch of what is queued, one transaction
//!   → store::messages        client_id, membership, blocks; the next n, the next seq; one insert
//!   → COMMIT                 on disk (WAL, synchronous=FULL)
//!   → Input::Answered        the events first, then the answer
//!   → server::streams::publish        encoded once, the same bytes queued on every device that may hear it
//!   → the poster's answer    queued behind everything that came before it
//!   → one flush              of every socket that has something to send
//! ```
//!
//! Nothing is acknowledged before it is durable, and nothing is delivered before it is committed. Events are facts: they
//! go to the hub whether or not the one who caused them is still there. Answers are for the asker: without one they are
//! dropped. A client that heard no answer posts again under the same `client_id`, for ever safely.
//!
//! A reader who was away resumes by a cursor. Its stream subscribes first and holds what is live, reads the log behind the
//! cursor no faster than the peer takes it, sends what was held with a greater `seq`, says `caught_up`, and is live
//! ([`server::streams::replay`]). So dropping a slow stream loses nothing, and there is one way to catch up for the three kinds
//! of stream: WebSocket, server-sent events, long poll.
//!
//! # What holds everywhere
//!
//! - **Same seed, same run.** Below [`runtime`] there is no clock, no randomness, no socket, no thread. Time comes with
//!   every input, randomness from an [`Entropy`](base::crypto::Entropy) that is handed down, and no map has a random order.
//! - **A handler never sees a connection, a connection never sees SQL, the store never sees a socket.** What crosses is
//!   plain data: [`Input`], [`Effect`], [`Command`](model::operation::Command), [`Job`](model::job::Job).
//! - **One writer gives one total order.** `seq` is the cursor of everything, `n` is dense in its conversation; both are
//!   drawn inside the message's own transaction.
//! - **Order by construction.** A connection that waits for an answer parses nothing more. A lane that saw a fault is
//!   refused to its end, so nothing overtakes what failed. A completion finds its call through a generational ticket:
//!   a closed connection leaves an orphan, never a dangling reference.
//! - **Every buffer, queue, map and loop has a bound** with a name in [`limits`], and a full one refuses; none blocks the
//!   loop.
//! - **Nothing a peer sends can panic the process**; a handler that does costs one 500. A corrupt database does stop it.
//! - **An acknowledged write survives SIGKILL and power loss.** An unacknowledged one may or may not, and its `client_id`
//!   makes the retry safe.
//! - **No secret, token, code, password or message body reaches a log or an error.**
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
