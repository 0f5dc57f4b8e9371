//! Which connections may be open, and which close when all of them together hold too much.
//!
//! Owns what a new connection is answered, and the two bounds over all connections: incomplete requests and send queues.
//! [`crowd`], `request::receiving` and `streams::backlog` decide which connection closes first.
//! Invariant: a connection for which there is no room gets an answer unless its network is refused again and again, and no
//! more than `connections_max` others are open.

use std::net::IpAddr;

use super::Server;
use super::close_reason::CloseReason;
use super::conn::{Conn, Phase};
use super::contract::{ConnId, Effect, ListenerKind};
use super::crowd;
use super::dispatch;
use super::request::delays;
use super::request::http;
use super::request::respond;
use super::streams::backlog::Held;
use super::streams::hub;
use crate::limits::HEAD_DEADLINE;
use crate::model::problem::Problem;

impl Server {
    pub(super) fn accepted(&mut self, id: ConnId, peer: IpAddr, listener_kind: ListenerKind) {
        let peer = peer.to_canonical();
        // The slot is in use although the runtime reuses it: then the old connection no longer exists.
        if let Some(old) = self.conns.in_slot(id) {
            self.close(old, CloseReason::SocketFailed);
        }
        if self.core.is_draining() {
            self.core.effects.push_back(Effect::Close(id));
            return;
        }
        let now = self.core.now.instant;
        let mut conn = Conn::new(id, peer, listener_kind, now, now + HEAD_DEADLINE);
        conn.is_proxy = self.is_proxy(peer);
        // A proxy carries the connections of many people.
        let exempt = conn.is_proxy || listener_kind == ListenerKind::Control;
        let per_address = self.core.settings.limits.connections_per_address;
        let refusal = if !exempt && !self.core.crowd.has_room(peer, per_address) {
            Some(crowd::too_many())
        } else if listener_kind != ListenerKind::Control && !self.make_room() {
            Some(crowd::full())
        } else {
            None
        };
        match refusal {
            None => {
                self.core.crowd.enter(&conn);
                self.conns.insert(conn);
                self.count();
                self.update(id);
            }
            // A refusal that the peer can read would cost a handshake.
            Some(_) if listener_kind == ListenerKind::Tls => {
                self.core.metrics.closed(CloseReason::Refused);
                self.core.effects.push_back(Effect::Close(id));
            }
            Some(problem) if delays::is_prompt(&mut self.core, peer) => self.refuse(conn, &problem),
            // A network that is refused again and again: an answer to each would keep the loop from the requests of others.
            Some(_) => {
                self.core.metrics.closed(CloseReason::Refused);
                self.core.effects.push_back(Effect::Close(id));
            }
        }
    }

    /// Makes room for one more connection, if necessary by closing one that gives way.
    fn make_room(&mut self) -> bool {
        if self.conns.len() - self.core.crowd.refused() < self.core.settings.limits.connections_max {
            return true;
        }
        let Some(first) = self.core.crowd.first_to_yield() else { return false };
        self.close(first, CloseReason::GaveWay);
        true
    }

    /// Answers a new connection for which there is no room, and keeps it open until it has read the answer.
    fn refuse(&mut self, mut conn: Conn, problem: &Problem) {
        let id = conn.id;
        conn.is_refused = true;
        self.conns.insert(conn);
        if let Some(oldest) = self.core.crowd.refuse(id) {
            self.close(oldest, CloseReason::Refused);
        }
        self.count();
        self.with_conn(id, |core, conn| {
            respond::headless(core, conn, problem);
            http::linger(core, conn, CloseReason::Refused);
            conn.deadline = Some(core.now.instant + crowd::REFUSED_LINGER);
        });
    }

    /// Refuses the largest incomplete requests and messages while all of them together hold too much memory.
    pub(super) fn relieve(&mut self) {
        while let Some(id) = self.core.requests.receiving.victim(&self.core.settings.limits) {
            self.with_conn(id, dispatch::crowded_out);
            // What is left of it holds nothing, or it is closed.
            if self.conns.get(id).is_some_and(|conn| conn.held.is_some()) {
                self.close(id, CloseReason::GaveWay);
            }
        }
    }

    /// All send queues together hold too much: the largest close. A close frame would wait after all that is queued, so they
    /// close without one.
    pub(super) fn close_largest(&mut self) {
        let held = |conn: &Conn| Held { conn: conn.id, address: conn.address, bytes: conn.charged };
        let all = self.conns.iter().filter(|conn| conn.charged > 0).map(held).collect();
        for id in self.core.streams.backlog.beyond(all) {
            self.with_conn(id, |core, conn| {
                core.metrics.streams_cut += 1;
                hub::unsubscribe(core, conn);
                conn.phase = Phase::Closed(CloseReason::QueuesFull);
            });
        }
    }
}
