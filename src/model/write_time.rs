//! The time of a write: what the clock of the asker showed, held to the time of the log.
//!
//! Owns which field of a row that is. Leaves the time of the log to storage.
//! Invariant: in a cluster no row has a time that only the clock of one node has shown: a clock that is an hour off neither delays a mail
//! nor ends a session of the other nodes.

use super::operation::Write;
use crate::base::time::UnixMs;

/// Milliseconds that a write may be ahead of the log: the clocks of the nodes and of the servers of the log differ a little.
pub const AHEAD_MS_MAX: u64 = 1_000;
/// Milliseconds that a write may be behind the log: an asker waits for ten seconds, and clocks differ.
pub const BEHIND_MS_MAX: u64 = 15_000;

impl Write {
    /// Moves its time to that of the log, if it is further away than a sound clock and the wait for the log explain.
    pub fn hold_to(&mut self, log: UnixMs) {
        let (earliest, latest) = (UnixMs(log.0.saturating_sub(BEHIND_MS_MAX)), log.after(AHEAD_MS_MAX));
        match self {
            // What was seen may be long ago.
            Write::RecordLastSeen(row) => row.seen.iter_mut().for_each(|(_, at)| *at = latest.min(*at)),
            Write::MarkOffline(row) => row.at = latest.min(row.at),
            row => {
                if let Some(at) = row.time_mut() {
                    *at = (*at).clamp(earliest, latest);
                }
            }
        }
    }

    /// What the clock of the asker showed. `None` for a row without such a time.
    pub fn time_mut(&mut self) -> Option<&mut UnixMs> {
        Some(match self {
            Write::SignUp(row) => &mut row.account.at,
            Write::OpenSession(row) => &mut row.at,
            Write::RefreshSession(row) => &mut row.at,
            Write::EndSession(row) => &mut row.at,
            Write::RevokeSessions(row) => &mut row.at,
            Write::ChangePassword(row) => &mut row.at,
            Write::DeleteAccount(row) => &mut row.at,
            Write::EraseMessages(row) => &mut row.at,
            Write::EraseOld(row) => &mut row.at,
            Write::AddMember(row) => &mut row.account.at,
            Write::SetActive(row) => &mut row.at,
            Write::UpdateProfile(row) => &mut row.at,
            Write::ReleaseNickNames(row) => &mut row.at,
            Write::IssueVerifyCode(row) => &mut row.at,
            Write::IssueResetCode(row) => &mut row.at,
            Write::VerifyMember(row) => &mut row.at,
            Write::ResetPassword(row) => &mut row.at,
            Write::MailFailed(row) => &mut row.at,
            Write::PlaceSession(row) => &mut row.at,
            Write::WriteDigests(row) => &mut row.at,
            Write::PostMessage(row) => &mut row.draft_mut().created_at,
            Write::ForwardMessage(row) => &mut row.post.draft_mut().created_at,
            Write::EditMessage(row) => &mut row.at,
            Write::DeleteMessage(row) => &mut row.at,
            Write::React(row) => &mut row.at,
            Write::PinMessage(row) => &mut row.at,
            Write::MarkRead(row) => &mut row.at,
            Write::CreateConversation(row) => &mut row.at,
            Write::UpdateConversation(row) => &mut row.at,
            Write::ClearConversation(row) => &mut row.at,
            Write::PutMember(row) => &mut row.at,
            Write::RemoveMember(row) => &mut row.at,
            Write::CreateInvite(row) => &mut row.at,
            Write::UseInvite(row) => &mut row.at,
            Write::AddBot(row) => &mut row.account.at,
            Write::CreateBotToken(row) => &mut row.at,
            Write::RevokeBotToken(row) => &mut row.at,
            Write::SetHook(row) => &mut row.at,
            Write::Subscribe(row) => &mut row.at,
            Write::PublishUpload(row) => &mut row.at,
            Write::SetAdmin(row) => &mut row.at,
            Write::RevokeInvite(row) => &mut row.at,
            Write::RemoveNode(row) => &mut row.at,
            Write::Administer(row) => &mut row.at,
            Write::UseResetLink(row) => &mut row.at,
            Write::MakeReport(row) => &mut row.at,
            Write::ChangeFactor(row) => &mut row.at,
            Write::RecordLastSeen(_)
            | Write::MarkOffline(_)
            | Write::SetBlock(_)
            | Write::MailSent(_)
            | Write::SetDigest(_)
            | Write::SetPushLevel(_)
            | Write::Unsubscribe(_)
            | Write::ForgetSubscription(_)
            | Write::MovePushCursor(_)
            // Its time is one to come.
            | Write::MoveHook(_)
            | Write::UpdateUpload(_)
            | Write::DeleteUpload(_)
            | Write::ForgetFiles(_)
            | Write::PruneLog(_)
            | Write::HoldDuty(_)
            | Write::KeepCertificate(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use crate::model::mail::MailFailed;
    use crate::model::presence::MarkOffline;
    use crate::model::session::RecordLastSeen;

    #[test]
    fn a_clock_that_is_off_moves_no_time() {
        let log = UnixMs(100_000);
        let (earliest, latest) = (log.0 - BEHIND_MS_MAX, log.0 + AHEAD_MS_MAX);
        for (at, expect) in [
            (log.0, log.0),
            (latest, latest),
            (latest + 1, latest),
            (u64::MAX, latest),
            (earliest, earliest),
            (earliest - 1, earliest),
            (0, earliest),
        ] {
            let mut write =
                Write::from(MailFailed { id: Id::from_u128(1), at: UnixMs(at), permanent: false });
            write.hold_to(log);
            assert_eq!(write.time_mut().copied(), Some(UnixMs(expect)), "{at}");
            // When somebody was seen is long ago.
            let expect = UnixMs(at.min(latest));
            let mut write = Write::from(MarkOffline { profile: Id::from_u128(1), at: UnixMs(at) });
            write.hold_to(log);
            assert!(matches!(&write, Write::MarkOffline(row) if row.at == expect), "{write:?}");
            let mut write = Write::from(RecordLastSeen { seen: vec![(Id::from_u128(1), UnixMs(at))] });
            write.hold_to(log);
            assert!(matches!(&write, Write::RecordLastSeen(row) if row.seen[0].1 == expect), "{write:?}");
        }
        let mut early = Write::from(MailFailed { id: Id::from_u128(1), at: UnixMs(5), permanent: false });
        early.hold_to(UnixMs(2));
        assert_eq!(early.time_mut().copied(), Some(UnixMs(5)));
    }
}
