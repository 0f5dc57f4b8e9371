//! The kinds of ids: what an id names is part of its type.
//!
//! Owns the kinds and the form of a message's id. Leaves the text and the parts of an id to [`base::id`](crate::base::id).
//! Invariant: an id gets its kind where it is drawn, read from a row or parsed, and no function changes it.

use crate::base::id::Id;
use crate::base::time::UnixMs;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $id:ident;)*) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[doc = concat!("The kind of [`", stringify!($id), "`].")]
pub struct $kind;

        $(#[$doc])*
        pub type $id = Id<$kind>;
    )*};
}

kinds! {
    /// A member.
    OfMember MemberId;
    /// A profile: a member as others see it.
    OfProfile ProfileId;
    /// A direct conversation or a group.
    OfConversation ConversationId;
    /// A message; [`MessageId::of`] has its form.
    OfMessage MessageId;
    /// A client's own id of a post, which makes a retry safe.
    OfPost ClientId;
    /// A file: from its first byte, `UPLOADS/tmp/<id>`, to the upload that clients see.
    OfUpload UploadId;
    /// A session: one login of a member on one device.
    OfSession SessionId;
    /// An invite; its code is something else.
    OfInvite InviteId;
    /// An outgoing hook.
    OfHook HookId;
    /// A report of a member to the admins of the server.
    OfReport ReportId;
    /// A row of the outbox.
    OfMail MailId;
    /// One run of a natter among several, from its start.
    OfLife Life;
    /// A ticket for one WebSocket.
    OfTicket TicketId;
}

impl MessageId {
    /// Time (48 bits), random bits (16), `seq` (64). A lookup finds `seq`, then compares all bits.
    pub fn of(unix_ms: UnixMs, random: u16, seq: u64) -> MessageId {
        MessageId::from_u128(
            u128::from(unix_ms.0 & 0xffff_ffff_ffff) << 80 | u128::from(random) << 64 | u128::from(seq),
        )
    }

    /// Its position in the log.
    pub fn seq(self) -> u64 {
        self.low()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_by_its_seq() {
        let message = MessageId::of(UnixMs(5), 9, 77);
        assert_eq!((message.seq(), message.unix_ms(), message.high()), (77, UnixMs(5), (5 << 16) + 9));
    }
}
