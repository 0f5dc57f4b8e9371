//! Answers one connection of another node: takes a file, gives one, or says which it lacks.
//!
//! Invariant: nothing is read or written before the first question has come, sealed for this connection.

use std::fs::File;
use std::io::ErrorKind;
use std::net::TcpStream;

use super::link::Link;
use super::receive::receive;
use super::{Copies, CopyFault, send_bytes};
use crate::model::id::UploadId;
use crate::proto::copies::{Refused, Reply, Request};

/// Answers other nodes.
#[derive(Clone)]
pub struct Answerer(Copies);

impl Answerer {
    pub fn new(copies: Copies) -> Answerer {
        Answerer(copies)
    }

    /// Answers the one question of a connection. Lasts as long as [`Link`] allows.
    pub fn answer(&self, socket: TcpStream) {
        match self.try_answer(socket) {
            Ok(()) => {}
            // Anyone can connect: that must not fill the log.
            Err(fault @ CopyFault::Wire(_)) => {
                log::debug!(target: "natter::cluster", "a connection of another node ended: {fault}");
            }
            Err(fault) => {
                log::warn!(target: "natter::cluster", "a file did not pass between this node and another one: {fault}");
            }
        }
    }

    fn try_answer(&self, socket: TcpStream) -> Result<(), CopyFault> {
        let shared = &self.0.0;
        let mut link = Link::accept(socket, &shared.options.key, shared.hello())?;
        match Request::parse(&link.receive()?).ok_or(CopyFault::Unexpected)? {
            Request::Store { file, size, sha256 } => {
                link.allow(size);
                self.take(&mut link, UploadId::from_u128(file.to_u128()), size, sha256)
            }
            Request::Fetch { file } => self.give(&mut link, UploadId::from_u128(file.to_u128())),
            Request::Lacks { mut files } => {
                link.allow(0);
                files.retain(|file| !shared.publisher.path(UploadId::from_u128(file.to_u128())).exists());
                Ok(link.send(&Reply::Lacks { files }.to_bytes())?)
            }
        }
    }

    fn take(&self, link: &mut Link, file: UploadId, size: u64, sha256: [u8; 32]) -> Result<(), CopyFault> {
        let shared = &self.0.0;
        if let Err(error) = (shared.options.room)(size) {
            link.send(&Reply::Refused(Refused::Full).to_bytes())?;
            return Err(CopyFault::Disk(error));
        }
        link.send(&Reply::Send.to_bytes())?;
        let (reply, fault) = match receive(shared, link, file, size, sha256) {
            Ok(()) => (Reply::Stored { sha256 }, None),
            Err(CopyFault::OtherBytes) => (Reply::Refused(Refused::OtherBytes), Some(CopyFault::OtherBytes)),
            Err(CopyFault::Disk(error)) => {
                let is_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
                let why = if is_full { Refused::Full } else { Refused::Failed };
                (Reply::Refused(why), Some(CopyFault::Disk(error)))
            }
            Err(fault) => return Err(fault),
        };
        link.send(&reply.to_bytes())?;
        fault.map_or(Ok(()), Err)
    }

    fn give(&self, link: &mut Link, file: UploadId) -> Result<(), CopyFault> {
        let opened = File::open(self.0.0.publisher.path(file))
            .and_then(|bytes| bytes.metadata().map(|about| (bytes, about.len())));
        let (mut bytes, size) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(link.send(&Reply::Refused(Refused::NoFile).to_bytes())?);
            }
            Err(error) => {
                link.send(&Reply::Refused(Refused::Failed).to_bytes())?;
                return Err(CopyFault::Disk(error));
            }
        };
        link.allow(size);
        link.send(&Reply::Bytes { size }.to_bytes())?;
        send_bytes(link, &mut bytes, size)
    }
}
