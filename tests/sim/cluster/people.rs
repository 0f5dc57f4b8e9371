//! Who is online, who types and what is shown, across nodes: when all is calm, what each socket was told is what is so.
//!
//! Owns this part of a run: people come, leave, and lose their node. Leaves what a socket was told to `client`.
//! Invariant: nobody else is disturbed. A person is shown once as online and once as offline, however many devices and nodes they have.

use std::collections::BTreeSet;
use std::time::Duration;

use natter::base::crypto::base64url;
use natter::model::id::ProfileId;

use super::Run;
use super::client::{Form, Shown, What};

/// Within this time it is known who came or left (`protocol.md`).
const KNOWN_MAX: Duration = Duration::from_secs(10);
/// Within this time nobody is online on a node that died.
const DEAD_MAX: Duration = Duration::from_secs(30);
/// Within this time other nodes know who types, and what is shown.
const TYPING_MAX: Duration = Duration::from_secs(1);
/// Typing that is not renewed ends after this time.
const LAPSE: Duration = Duration::from_secs(7);
/// Within this time a message that nobody has read is pushed.
const PUSHED_MAX: Duration = Duration::from_secs(15);

impl Run {
    /// Presence, typing and what is shown, on sound nodes that have all entries.
    pub fn people_are_known(&mut self) {
        let all: Vec<usize> = (0..self.devices.len()).collect();
        let d = self.shared.rng.below(self.devices.len());
        all.iter().for_each(|d| self.leaves(*d));
        all.iter().for_each(|each| self.comes(*each, *each == d));
        self.settle("sockets");
        self.waits(KNOWN_MAX * 2);
        self.presence_is_right("after all came");
        self.one_has_two_devices(d);
        self.one_leaves(d);
        self.one_types(d);
        self.what_is_shown_is_not_pushed(d);
        self.a_node_dies();
        for d in all {
            self.comes(d, false);
        }
        self.settle("all are back");
        self.waits(KNOWN_MAX * 2);
        self.presence_is_right("after a node was back");
    }

    /// A device of any form makes its person online; only a socket shows others.
    fn comes(&mut self, d: usize, by_socket: bool) {
        let form = if by_socket || self.shared.rng.chance(700) { Form::Socket } else { Form::Events };
        self.open(d, form, None);
    }

    fn leaves(&mut self, d: usize) {
        for (_, conn) in self.devices[d].conns() {
            self.cut(d, conn);
        }
    }

    /// Time passes in which nothing is asked for.
    fn waits(&mut self, time: Duration) {
        let until = self.shared.time + time;
        while self.shared.time < until {
            self.rounds(true);
            self.pass((until - self.shared.time).min(Duration::from_millis(500)));
        }
        self.rounds(true);
    }

    /// From now on it counts what is shown.
    fn watch(&mut self) {
        self.devices
            .iter_mut()
            .filter_map(|device| device.stream.as_mut())
            .for_each(|stream| stream.shown.clear());
    }

    /// People with a device on any node.
    fn online(&self) -> BTreeSet<ProfileId> {
        let there =
            self.devices.iter().filter(|device| device.stream.as_ref().is_some_and(|it| it.is_device()));
        there.map(|device| device.me()).collect()
    }

    /// Each socket shows those of its peers that are online, and no others.
    fn presence_is_right(&self, when: &str) {
        let online = self.online();
        for (d, device) in self.devices.iter().enumerate() {
            let Some(stream) = device.live_socket() else { continue };
            let is_peer = |other: &ProfileId| self.shared.record.are_peers(device.me(), *other);
            let expected: BTreeSet<ProfileId> = online.iter().copied().filter(is_peer).collect();
            assert_eq!(
                stream.online, expected,
                "{when}: device {d} on node {} shows others as online",
                stream.node
            );
        }
    }

    /// Each socket of a peer was shown this of one person, and nothing else.
    fn was_shown(&self, of: ProfileId, expected: &[Shown], when: &str) {
        for (d, device) in self.devices.iter().enumerate() {
            let Some(stream) = device.live_socket() else { continue };
            let is_peer = self.shared.record.are_peers(device.me(), of);
            let expected = if is_peer { expected } else { &[] };
            let node = stream.node;
            assert_eq!(stream.shown, expected, "{when}: device {d} on node {node} of {of}");
        }
    }

    /// A person on two nodes is online once: a device that leaves and comes back on any node is no news.
    fn one_has_two_devices(&mut self, d: usize) {
        let person = self.devices[d].person;
        let is_other = |other: &usize| self.devices[*other].person == person && *other != d;
        let Some(other) = (0..self.devices.len()).find(is_other) else { return };
        let its_node = self.devices[other].stream.as_ref().expect("a stream").node;
        self.watch();
        for node in (0..self.nodes.len())
            .filter(|node| *node != its_node && self.nodes[*node].accepts())
            .collect::<Vec<_>>()
        {
            self.leaves(d);
            self.waits(DEAD_MAX);
            self.open(d, Form::Socket, Some(node));
            self.waits(KNOWN_MAX);
        }
        // Its own socket is told who is online when it comes.
        self.devices[d].stream.as_mut().expect("a stream").shown.clear();
        self.was_shown(self.devices[d].me(), &[], "one of two devices moves");
        self.presence_is_right("one of two devices moves");
    }

    /// Who leaves all nodes is offline once, and online once after they came back.
    fn one_leaves(&mut self, d: usize) {
        let (person, me) = (self.devices[d].person, self.devices[d].me());
        let of_person = |d: &usize| self.devices[*d].person == person;
        let theirs: Vec<usize> = (0..self.devices.len()).filter(of_person).collect();
        self.watch();
        theirs.iter().for_each(|each| self.leaves(*each));
        self.waits(KNOWN_MAX);
        self.was_shown(me, &[Shown::Online(me, false)], "a person left");
        self.presence_is_right("a person left");
        self.watch();
        theirs.iter().for_each(|each| self.comes(*each, *each == d));
        self.waits(KNOWN_MAX);
        for each in theirs {
            self.devices[each].stream.as_mut().expect("a stream").shown.clear();
        }
        self.was_shown(me, &[Shown::Online(me, true)], "a person is back");
        self.presence_is_right("a person is back");
    }

    /// All others see on any node that one types, and that it has ended.
    fn one_types(&mut self, d: usize) {
        let (person, me, group) = (self.devices[d].person, self.devices[d].me(), self.devices[d].group);
        self.watch();
        let members = format!(r#""conversation":"{}","active":true"#, group.expect("a group"));
        self.op(d, What::Change, "typing", &members);
        for (time, is_active) in [(TYPING_MAX, true), (LAPSE, false)] {
            self.waits(time);
            for (other, device) in self.devices.iter().enumerate() {
                let Some(stream) = device.live_socket() else { continue };
                let expected = [Shown::Typing(me, is_active)];
                let expected = if device.person == person { &[][..] } else { &expected };
                assert_eq!(stream.shown, expected, "device {other} on node {} of {me}", stream.node);
            }
            self.watch();
        }
    }

    /// A conversation that a device shows on one node is not pushed by another one; else it is, once.
    fn what_is_shown_is_not_pushed(&mut self, d: usize) {
        let token = self.devices[d].token.as_ref().expect("a token");
        let (session, group) = (token.session, self.devices[d].group.expect("a group"));
        let (public, auth) = (base64url(&[4; 65]), base64url(&session.to_bytes()));
        let keys = format!(r#""p256dh":"{public}","auth":"{auth}","level":"text""#);
        let body = format!(r#"{{"endpoint":"https://push.example/1",{keys}}}"#);
        self.ask(d, What::Change, "PUT", "/api/v1/push", Some(&body));
        self.settle("a subscription");
        self.waits(PUSHED_MAX);
        let others: Vec<usize> = (0..self.devices.len())
            .filter(|other| self.devices[*other].person != self.devices[d].person)
            .collect();
        for (shown, expected) in [(format!("\"{group}\""), 0), ("null".to_owned(), 1)] {
            self.op(d, What::Change, "focus", &format!(r#""conversation":{shown}"#));
            self.waits(TYPING_MAX);
            self.shared.pushes.clear();
            let other = *self.shared.rng.pick(&others).expect("another person");
            self.compose_to(other, None);
            self.send_posts(other, 1);
            self.waits(PUSHED_MAX);
            let pushed = self.shared.pushes.iter().filter(|its| **its == session).count();
            assert_eq!(
                pushed, expected,
                "device {d} shows {shown} and is told of a message of device {other}"
            );
        }
    }

    /// Who was on a node that dies is offline soon, once; all others stay online.
    fn a_node_dies(&mut self) {
        let open: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].accepts()).collect();
        let at = *self.shared.rng.pick(&open).expect("a node");
        let before = self.online();
        self.watch();
        self.crash(at);
        self.waits(DEAD_MAX);
        let after = self.online();
        for (d, device) in self.devices.iter().enumerate() {
            let Some(stream) = device.live_socket() else { continue };
            let is_peer = |other: &ProfileId| self.shared.record.are_peers(device.me(), *other);
            let gone = before.difference(&after).copied().filter(is_peer);
            let expected: BTreeSet<(ProfileId, bool)> = gone.map(|profile| (profile, false)).collect();
            let shown = stream.shown.iter().filter_map(|shown| match shown {
                Shown::Online(profile, is_online) => Some((*profile, *is_online)),
                Shown::Typing(..) => None,
            });
            assert_eq!(shown.clone().count(), expected.len(), "device {d}: {:?}", stream.shown);
            assert_eq!(
                shown.collect::<BTreeSet<_>>(),
                expected,
                "device {d} on node {} after a death",
                stream.node
            );
        }
        self.presence_is_right("a node died");
        self.heal();
        self.settle("the node is back");
    }
}
