//! Whispers: what the nodes of a cluster tell each other beside the log. A whisper may be lost, and nothing of it is stored.
//!
//! Owns what is said and its bytes. Leaves who says it and when to `server`, the seal and the transport to `runtime`.
//! Invariant: a whisper that this build does not know, or that is too large, is no whisper; reading one never panics.

use std::net::IpAddr;

use super::attempts::{Attempt, AttemptEnd};
use super::id::{ConversationId, ProfileId, TicketId};
use crate::base::fields::{self, Field, Reader, fields, variants};

/// Bytes of a whisper: the largest that is made has half of it. Above: it is not read.
pub const WHISPER_BYTES_MAX: usize = 131_072;
/// Profiles and conversations in one whisper.
pub const WHISPER_IDS_MAX: usize = 1_024;

/// What one node tells the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whisper {
    /// It has just started and knows nothing of the others.
    Ask,
    /// Who has a device on it.
    Here(Here),
    /// Someone types, or no longer does.
    Typing(Typing),
    /// An attempt ended; all nodes count the failures of all.
    Attempt(AttemptEnd),
    /// A ticket for a WebSocket was used.
    TicketUsed(TicketId),
}

/// All that is so on one node, of some profiles: another node forgets what it knew of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// Of which profiles.
    pub about: About,
    /// Those of them that have a device on the node.
    pub online: Vec<ProfileId>,
    /// What these devices show.
    pub shown: Vec<(ProfileId, ConversationId)>,
}

/// Some profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// From the first to the second, both included.
    Span((ProfileId, ProfileId)),
    /// These.
    These(Vec<ProfileId>),
}

/// Typing of one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typing {
    /// Who types.
    pub profile: ProfileId,
    /// Where.
    pub conversation: ConversationId,
    /// `false` once it has ended.
    pub active: bool,
    /// Who may know it.
    pub listeners: Vec<ProfileId>,
}

variants! {
    Whisper { 1 Ask, 2 Here(here), 3 Typing(typing), 4 Attempt(ended), 5 TicketUsed(ticket) }
    About { 1 Span(span), 2 These(profiles) }
    AttemptEnd { 1 Failed(attempt), 2 Succeeded(attempt) }
    Attempt { 1 SignIn(key), 2 Password(key), 3 EmailTaken(address) }
}

fields! {
    Here { 1 about, 2 online, 3 shown }
    Typing { 1 profile, 2 conversation, 3 active, 4 listeners }
}

/// Four bytes or sixteen.
impl Field for IpAddr {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
        }
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> IpAddr {
        let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).unwrap_or_else(|_| {
            reader.fail();
            IpAddr::from([0; 4])
        })
    }
}

impl Whisper {
    /// The bytes that [`Whisper::from_bytes`] reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// `None` for what no build has said, or a newer one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Whisper> {
        (bytes.len() <= WHISPER_BYTES_MAX).then(|| fields::read(bytes)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(number: usize) -> ProfileId {
        ProfileId::from_u128(u128::MAX - number as u128)
    }

    fn samples() -> Vec<Whisper> {
        let room = ConversationId::from_u128(7);
        let about = About::Span((ProfileId::from_u128(0), profile(0)));
        let typing =
            Typing { profile: profile(1), conversation: room, active: true, listeners: vec![profile(2)] };
        vec![
            Whisper::Ask,
            Whisper::Here(Here {
                about,
                online: vec![profile(1), profile(2)],
                shown: vec![(profile(1), room)],
            }),
            Whisper::Here(Here {
                about: About::These(vec![profile(3)]),
                online: Vec::new(),
                shown: Vec::new(),
            }),
            Whisper::Typing(Typing { active: false, ..typing.clone() }),
            Whisper::Typing(typing),
            Whisper::Attempt(AttemptEnd::Failed(Attempt::SignIn([1; 32]))),
            Whisper::Attempt(AttemptEnd::Succeeded(Attempt::Password([2; 32]))),
            Whisper::Attempt(AttemptEnd::Failed(Attempt::EmailTaken(IpAddr::from([192, 0, 2, 1])))),
            Whisper::Attempt(AttemptEnd::Failed(Attempt::EmailTaken(
                "2001:db8::1".parse().expect("an address"),
            ))),
            Whisper::TicketUsed(TicketId::from_u128(9)),
        ]
    }

    #[test]
    fn what_is_said_is_heard() {
        for whisper in samples() {
            assert_eq!(Whisper::from_bytes(&whisper.to_bytes()), Some(whisper));
        }
    }

    #[test]
    fn the_largest_has_half_of_the_bytes() {
        let all: Vec<ProfileId> = (0..WHISPER_IDS_MAX).map(profile).collect();
        let shown = all.iter().map(|profile| (*profile, ConversationId::from_u128(u128::MAX))).collect();
        let here = Here { about: About::These(all.clone()), online: Vec::new(), shown };
        let bytes = Whisper::Here(here).to_bytes().len();
        assert!(bytes <= WHISPER_BYTES_MAX / 2, "{bytes}");
    }

    #[test]
    fn other_bytes_are_no_whisper_and_do_no_harm() {
        for whisper in samples() {
            let good = whisper.to_bytes();
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 0x55;
                for bytes in [&good[..at], &bad] {
                    // Some are other whispers. None of them panics or takes much memory.
                    if let Some(other) = Whisper::from_bytes(bytes) {
                        assert_ne!(other.to_bytes(), good);
                    }
                }
            }
        }
        // Of a newer build, and too large.
        assert_eq!(Whisper::from_bytes(&[200, 1, 2]), None);
        assert_eq!(Whisper::from_bytes(&vec![1; WHISPER_BYTES_MAX + 1]), None);
        assert_eq!(Whisper::from_bytes(&[]), None);
    }
}
