//! A body on its way to a file: decoded, checked by an [`Intake`], appended and hashed piece by piece.
//!
//! Owns the phase, its deadline, its back-pressure, and the end of every upload that is not published.
//!
//! ```text
//! admit ──Receive──→ Receiving ──body complete──→ Storing ──all appended──→ the row's handler
//!                        └── refused, timed out, gone, disk failed ──→ Abandon
//! ```
//! Invariant: a temporary file has one owner: this phase, then the job that publishes it. An owner that has no next step
//! abandons the file.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::limits::{UPLOAD_BYTES_PER_S, UPLOAD_DEADLINE};
use crate::model::handler::Step;
use crate::model::id::UploadId;
use crate::model::job::Job;
use crate::model::params::Params;
use crate::model::problem::{Code, Problem};
use crate::proto::http::body::BodyDecoder;
use crate::proto::http::head::{Expect, Framing};
use crate::proto::http::response::CONTINUE;
use crate::server::conn::{Conn, Phase};
use crate::server::contract::{ConnId, Effect};
use crate::server::core::Core;
use crate::server::request::exchange::Exchange;
use crate::server::request::respond;
use crate::server::request::steps;
use crate::server::request::upload_head::wanted;
use crate::server::request::verified;
use crate::server::uploads::reservations::Reservations;
use crate::uploads::{Intake, Received, Source};

/// Bytes that every form has in addition to its file, so that a file that just fits the quota is not refused before it is read.
const FORM_OVERHEAD_MIN: u64 = 128;
/// Bytes of one upload that are not yet in its file. Above: its connection is not read.
const UPLOAD_AHEAD_MAX: usize = 131_072;
/// The same of all uploads together. Above: none is read until half of it is on disk, so that they are not woken for every
/// piece.
const UPLOADS_AHEAD_MAX: usize = 4_194_304;
/// Bytes that are collected before they are appended: the packets of a slow sender must not be one append each.
const APPEND_MIN: usize = 16_384;

/// A body being received.
pub struct ReadUpload {
    exchange: Box<Exchange>,
    decoder: BodyDecoder,
    intake: Option<Intake>,
    /// Checked bytes that are not appended yet.
    pending: Vec<u8>,
    /// Bytes of the body so far, and the most it may have.
    body: u64,
    body_max: u64,
    /// The body is complete; its last bytes are being appended.
    complete: Option<Received>,
}

impl ReadUpload {
    pub fn is_receiving(&self) -> bool {
        self.complete.is_none()
    }
}

/// The temporary file of an upload.
pub struct Temporary {
    id: UploadId,
    /// Bytes that are being appended and are not in the file yet.
    ahead: usize,
    /// The hash of all bytes, when the last of them is in the file.
    sha256: Option<[u8; 32]>,
}

impl Temporary {
    pub fn has_room(&self) -> bool {
        self.ahead < UPLOAD_AHEAD_MAX
    }
}

/// All uploads being received.
#[derive(Default)]
pub struct Uploads {
    conns: BTreeMap<UploadId, ConnId>,
    /// Bytes of all uploads that are being appended and are not in a file yet.
    ahead: usize,
    /// Whether `ahead` has reached its bound: none is read until half of it is on disk.
    full: bool,
    /// Whether `full` has just ended.
    resumed: bool,
    pub reservations: Reservations,
}

impl Uploads {
    pub fn is_full(&self) -> bool {
        self.full
    }

    fn hand_over(&mut self, bytes: usize) {
        self.ahead += bytes;
        self.full |= self.ahead >= UPLOADS_AHEAD_MAX;
    }

    fn appended(&mut self, bytes: usize) {
        self.ahead = self.ahead.saturating_sub(bytes);
        let resumed = self.full && self.ahead <= UPLOADS_AHEAD_MAX / 2;
        self.full &= !resumed;
        self.resumed |= resumed;
    }

    /// Connections that were not read because `full` was set, and may be read again.
    pub fn take_resumed(&mut self) -> Vec<ConnId> {
        if std::mem::take(&mut self.resumed) { self.conns.values().copied().collect() } else { Vec::new() }
    }

    /// The connection of an upload.
    pub fn conn_of(&self, upload: UploadId) -> Option<ConnId> {
        self.conns.get(&upload).copied()
    }
}

// ---- before the body -----------------------------------------------------------------------------

/// The head is good: runs the row's own check, if it has one, before the body.
pub fn begin(core: &mut Core, conn: &mut Conn, mut exchange: Box<Exchange>) {
    exchange.unread = Some(BodyDecoder::new(exchange.head.framing));
    exchange.body_unasked = exchange.head.expect == Expect::Continue;
    let admit = exchange.route.and_then(|route| route.admit).zip(exchange.actor);
    let Some((admit, actor)) = admit else { return receive(core, conn, exchange, u64::MAX) };
    let bytes = match exchange.head.framing {
        Framing::Length(length) => of_file(length),
        // A body without a length takes at least one byte; how many is known as it comes.
        Framing::Empty | Framing::Chunked => 1,
    };
    conn.reservation = Some(Box::new(core.uploads.reservations.take(actor.profile, bytes)));
    let under_way = core.uploads.reservations.under_way(actor.profile);
    let step = steps::guard(core, |ctx| admit(ctx, actor, under_way));
    let step = match exchange.route {
        Some(route) => verified::gate(core, route, Some(actor), step),
        None => step,
    };
    steps::run(core, conn, exchange, step);
}

/// How many bytes of a body count in the quota: an estimate that may be too low and is never too high.
fn of_file(body: u64) -> u64 {
    body.saturating_sub(FORM_OVERHEAD_MIN).max(1)
}

/// Starts to receive the body. `room` is what its owner has left for this upload and the others in progress.
pub fn receive(core: &mut Core, conn: &mut Conn, mut exchange: Box<Exchange>, room: u64) {
    conn.reservation.iter_mut().for_each(|reservation| reservation.room = room);
    let id = core.entropy.id(core.now.unix_ms);
    let limits = &core.settings.limits;
    let opened = exchange
        .route
        .and_then(|route| wanted(limits, route.body, &exchange.head))
        .ok_or(Problem::new(Code::GeneralError))
        .and_then(|wanted| {
            let source = Source::of(&exchange.head.headers, wanted)?;
            let body_max = source.body_max(wanted);
            let intake = Intake::new(id, source, wanted, core.settings.keep_metadata)?;
            Ok((intake, body_max))
        });
    let (intake, body_max) = match opened {
        Ok(opened) => opened,
        Err(problem) => return respond::refuse(core, conn, exchange, &problem),
    };
    if exchange.head.expect == Expect::Continue && conn.inbox.is_empty() {
        conn.send.push_bytes(CONTINUE);
    }
    let framing = exchange.head.framing;
    exchange.body_unasked = false;
    let decoder = exchange.unread.take().unwrap_or_else(|| BodyDecoder::new(framing));
    core.uploads.conns.insert(id, conn.id);
    conn.upload = Some(Box::new(Temporary { id, ahead: 0, sha256: None }));
    let reading = ReadUpload {
        exchange,
        decoder,
        intake: Some(intake),
        pending: Vec::new(),
        body: 0,
        body_max,
        complete: None,
    };
    conn.deadline = Some(deadline(&reading));
    conn.phase = Phase::ReadUpload(Box::new(reading));
    // An empty body is complete at once.
    let inbox = std::mem::take(&mut conn.inbox);
    received(core, conn, &inbox);
}

/// 60 s plus the size at 8 KiB/s; if the size is not known, that of the bytes so far.
fn deadline(reading: &ReadUpload) -> Instant {
    let bytes = match reading.exchange.head.framing {
        Framing::Length(length) => length,
        Framing::Empty | Framing::Chunked => reading.body,
    };
    reading.exchange.started + UPLOAD_DEADLINE + Duration::from_secs(bytes / UPLOAD_BYTES_PER_S)
}

// ---- the body ------------------------------------------------------------------------------------

/// Takes bytes of the body. Bytes of the next request may follow; they stay in the inbox.
pub fn received(core: &mut Core, conn: &mut Conn, bytes: &[u8]) {
    let Phase::ReadUpload(mut reading) = conn.take_phase() else { return };
    let mut position = 0;
    let outcome = loop {
        let piece = match reading.decoder.decode(&bytes[position..]) {
            Ok(piece) => piece,
            Err(_) => break Err(Problem::new(Code::BadRequest)),
        };
        position += piece.consumed;
        reading.body += piece.data.len() as u64;
        if reading.body > reading.body_max {
            break Err(Problem::new(Code::TooLarge));
        }
        if let Some(reservation) = &mut conn.reservation
            && !core.uploads.reservations.grow(reservation, of_file(reading.body))
        {
            break Err(Problem::new(Code::QuotaExceeded));
        }
        let Some(intake) = &mut reading.intake else { break Ok(false) };
        if let Err(problem) = intake.push(piece.data, &mut reading.pending) {
            break Err(problem);
        }
        if piece.done {
            break match reading.intake.take().map(|intake| intake.finish(&mut reading.pending)) {
                Some(Ok(received)) => {
                    reading.complete = Some(received);
                    Ok(true)
                }
                Some(Err(problem)) => Err(problem),
                None => Ok(false),
            };
        }
        if piece.consumed == 0 || position == bytes.len() {
            break Ok(false);
        }
    };
    conn.inbox.extend_from_slice(&bytes[position..]);
    match outcome {
        Err(problem) => refuse(core, conn, reading, &problem),
        Ok(complete) => {
            hand_over(core, conn, &mut reading);
            conn.deadline = if complete { None } else { Some(deadline(&reading)) };
            conn.phase = Phase::ReadUpload(reading);
            dispatch_if_stored(core, conn);
        }
    }
}

/// Appends the pending bytes when they are enough, and the last bytes of a file in any case, since the hash comes with them.
fn hand_over(core: &mut Core, conn: &mut Conn, reading: &mut ReadUpload) {
    let Some(temporary) = &mut conn.upload else { return };
    let last = reading.complete.as_ref().is_some_and(|received| received.file.is_some());
    if reading.pending.len() < APPEND_MIN && !last {
        return;
    }
    let bytes = std::mem::take(&mut reading.pending);
    temporary.ahead += bytes.len();
    core.uploads.hand_over(bytes.len());
    core.effects.push_back(Effect::Append { upload: temporary.id, bytes, last });
}

/// Bytes of this connection's upload are in its file.
pub fn appended(core: &mut Core, conn: &mut Conn, bytes: usize, sha256: Option<[u8; 32]>) {
    let Some(temporary) = &mut conn.upload else { return };
    temporary.ahead = temporary.ahead.saturating_sub(bytes);
    temporary.sha256 = sha256.or(temporary.sha256);
    core.uploads.appended(bytes);
    dispatch_if_stored(core, conn);
}

fn dispatch_if_stored(core: &mut Core, conn: &mut Conn) {
    let Phase::ReadUpload(reading) = &conn.phase else { return };
    let Some(received) = &reading.complete else { return };
    let hashed = conn.upload.as_ref().is_some_and(|temporary| temporary.sha256.is_some());
    if hashed || received.file.is_none() {
        dispatch(core, conn);
    }
}

/// The body is complete: its row's handler runs.
fn dispatch(core: &mut Core, conn: &mut Conn) {
    let Phase::ReadUpload(reading) = conn.take_phase() else { return };
    let ReadUpload { exchange, complete: Some(received), .. } = *reading else { return };
    // From here on its row counts in the quota, if it gets one.
    core.release_reservation(conn);
    if let Err(problem) = steps::still_good(core, &exchange) {
        abandon(core, conn);
        return respond::refuse(core, conn, exchange, &problem);
    }
    let mut fields = received.fields;
    fields.extend(exchange.query.iter().cloned());
    let params = Params::new(&exchange.path, &fields, None);
    let sha256 = conn.upload.as_ref().and_then(|temporary| temporary.sha256);
    let file = received.file.zip(sha256).map(|(file, sha256)| file.hashed(sha256));
    let step = steps::call_row(core, &exchange, params, file.as_ref(), &[]);
    if matches!(step, Ok(Step::Work(Job::PublishUpload { .. }, _))) {
        release(core, conn);
    } else {
        abandon(core, conn);
    }
    steps::run(core, conn, exchange, step);
}

// ---- other ends ----------------------------------------------------------------------------------

/// Answers and stops receiving; the rest of the body is drained, unless its framing is broken.
fn refuse(core: &mut Core, conn: &mut Conn, reading: Box<ReadUpload>, problem: &Problem) {
    abandon(core, conn);
    let ReadUpload { mut exchange, decoder, intake, .. } = *reading;
    let is_broken = matches!(problem.code, Code::BadRequest);
    exchange.close |= is_broken || problem.code == Code::RequestTimeout;
    if is_broken {
        conn.inbox = Vec::new();
    } else if intake.is_some() {
        exchange.unread = Some(decoder);
    }
    respond::refuse(core, conn, exchange, problem);
}

/// Removes the temporary file, if this connection has one that no handler will publish.
pub fn abandon(core: &mut Core, conn: &mut Conn) {
    if let Some(upload) = release(core, conn) {
        core.effects.push_back(Effect::Abandon { upload });
    }
}

/// Gives the temporary file to the job that publishes it.
fn release(core: &mut Core, conn: &mut Conn) -> Option<UploadId> {
    let temporary = conn.upload.take()?;
    core.uploads.conns.remove(&temporary.id);
    core.uploads.appended(temporary.ahead);
    Some(temporary.id)
}

/// The deadline has come.
pub fn timed_out(core: &mut Core, conn: &mut Conn) {
    match conn.take_phase() {
        Phase::ReadUpload(reading) if reading.is_receiving() => {
            refuse(core, conn, reading, &Problem::new(Code::RequestTimeout));
        }
        // The body is complete, and no deadline applies to the disk.
        other => conn.phase = other,
    }
}

/// The file could not be written.
pub fn disk_failed(core: &mut Core, conn: &mut Conn, full: bool) {
    let Phase::ReadUpload(reading) = conn.take_phase() else { return };
    let code = if full { Code::StorageFull } else { Code::Unavailable };
    refuse(core, conn, reading, &code.into());
}
