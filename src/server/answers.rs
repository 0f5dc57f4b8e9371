//! What storage and workers have answered, and what follows from a commit.
//!
//! Owns the order: the events of a command, the reactions to it, then the answer of the call that waits for it, if one does. Leaves each
//! of them to its part.
//! Invariant: what is committed has the same effect whether a call of this server asked for it, one whose connection has closed, or
//! another node of its cluster.

use super::Server;
use super::background::tasks;
use super::calls::{Caller, Next};
use super::contract::{ConnId, Effect, Ticket};
use super::dispatch;
use super::publish;
use super::reactions;
use super::request::steps;
use super::streams::ephemeral;
use super::streams::kinds;
use super::streams::presence;
use super::streams::sse;
use super::streams::values;
use crate::model::event::{Event, Events};
use crate::model::handler::Step;
use crate::model::job::Done;
use crate::model::operation::{Answer, Outcome, Refusal};
use crate::model::problem::Problem;

impl Server {
    pub(super) fn finished(&mut self, ticket: Ticket, done: Done) {
        if self.core.calls.get(ticket).is_some_and(|call| matches!(call.next, Next::Hash(_))) {
            self.core.requests.hashing.done();
        }
        self.core.metrics.copies.count(&done);
        self.go_on_with(ticket, done);
    }

    /// A worker has done a job, or the job was refused.
    pub(super) fn go_on_with(&mut self, ticket: Ticket, done: Done) {
        let Some(call) = self.core.calls.remove(ticket) else { return };
        let then = match call.next {
            Next::Work(then) | Next::Hash(then) => then,
            Next::Task(task) => return tasks::finished(&mut self.core, task, done),
            // Those wait for storage, not for a worker.
            _ => return,
        };
        let step = steps::guard(&mut self.core, |ctx| then(ctx, done));
        self.go_on(call.caller, ticket, step);
    }

    fn go_on(&mut self, caller: Caller, ticket: Ticket, step: Result<Step, Problem>) {
        if self.conns.get(caller.conn()).is_some() {
            self.with_conn(caller.conn(), |core, conn| dispatch::resume(core, conn, caller, ticket, step));
        } else {
            let went_on = steps::resume_alone(&mut self.core, caller, step);
            if let Caller::Task(task) = caller
                && !went_on
            {
                tasks::ended(&mut self.core, task, None);
            }
        }
    }

    /// Events first and unconditionally; then the answer, if its connection is still open.
    pub(super) fn answered(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(call) = self.core.calls.remove(ticket) else { return };
        let origin = call.caller.conn();
        self.core.requests.reads.answered(origin, ticket);
        // The writer refuses the rest of this lane until it learns that the connection is closed.
        if outcome.result.as_ref().is_err_and(|refusal| refusal.is_fault()) {
            match self.conns.get_mut(origin) {
                Some(conn) => conn.faulted = true,
                None => self.core.effects.push_back(Effect::LaneReset(origin.lane())),
            }
        }
        // The connection that asked is written to first.
        if !outcome.events.is_empty() {
            self.ask_flush(origin);
        }
        let Outcome { result, events } = outcome;
        self.on_committed(origin, events, &result);
        match call.next {
            Next::Store(then) => {
                let step = steps::guard(&mut self.core, |ctx| then(ctx, result));
                self.go_on(call.caller, ticket, step);
            }
            Next::Task(task) => tasks::answered(&mut self.core, task, result),
            Next::Work(_) | Next::Hash(_) => {}
            Next::Presence { profile, online } => {
                presence::answered(&mut self.core, profile, online, result);
            }
            Next::Chats(profile) => {
                let Some(found) = values::answered(&mut self.core, profile, result) else { return };
                for id in self.core.streams.hub.of(profile).to_vec() {
                    self.with_conn(id, |core, conn| sse::found(core, conn, &found));
                }
            }
            Next::Greeting => self.with_conn(origin, |core, conn| ephemeral::on_snapshot(core, conn, result)),
            Next::Typing(asked) => self.with_conn(origin, |core, conn| {
                ephemeral::typed(core, conn, call.caller, asked, result);
            }),
            Next::Stream => {
                self.with_conn(origin, |core, conn| kinds::answered(core, conn, ticket, result));
            }
        }
    }

    /// What follows from a command, whoever asked for it: a call of this server, or another node of its cluster.
    pub(super) fn on_committed(&mut self, origin: ConnId, events: Events, result: &Result<Answer, Refusal>) {
        for event in events {
            self.publish(origin, event);
        }
        reactions::on_answer(&mut self.core, &mut self.conns, result);
    }

    /// Sends an event to its audience, then does what follows from it.
    fn publish(&mut self, origin: ConnId, event: Event) {
        let (fact, audience) = publish::publish(&mut self.core, &mut self.conns, origin, event);
        reactions::on_fact(&mut self.core, &mut self.conns, &fact, &audience);
        let mut touched = std::mem::take(&mut self.core.turn.touched);
        for id in touched.drain(..) {
            self.with_conn(id, kinds::on_delivered);
        }
        self.core.turn.touched = touched;
    }
}
