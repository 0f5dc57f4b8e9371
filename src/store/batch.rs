//! One open transaction of the writer: what an operation may use, and the dispatch of writes to operations.
//!
//! Invariant: an operation checks before it writes. An operation that stops leaves no row and uses no `seq`.

use rusqlite::{CachedStatement, Connection, ffi};

use super::cache::Cache;
use super::fault::{Fault, Stop};
use super::uploads;
use super::{
    accounts, admin, blocks, bots, certificate, changes, codes, conversations, deletion, digests, duty,
    event_log, groups, hooks, invites, outbox, pins, posting, preferences, presence, profiles, push, reports,
    reserved, retention, second_factor, sessions,
};
use crate::base::time::UnixMs;
use crate::model::event::Events;
use crate::model::operation::{Answer, Refusal, Write};

/// The newest positions of the event log, as they will be after the batch.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    pub head: u64,
    /// The high half of the newest message's id: its time and its random bits. No later message has a smaller one.
    pub newest_id_high: u64,
    /// Whether the head belongs to no row of `messages` or `log`.
    pub head_is_bare: bool,
    /// The time that the log of a cluster gave the entry whose writes are performed; `None` for a natter alone.
    pub time: Option<UnixMs>,
    /// By which writes are performed: the level in force in a cluster, the last one for a natter alone.
    #[cfg_attr(not(feature = "cluster"), allow(dead_code, reason = "a natter alone has one level"))]
    pub level: u32,
}

pub struct Batch<'a> {
    pub conn: &'a Connection,
    pub log: &'a mut Log,
    pub cache: &'a mut Cache,
    /// The statement of a plain post, looked up once per batch.
    pub insert: Option<CachedStatement<'a>>,
}

/// The result of an operation. A refusal may have events too: a stolen refresh token ends its session.
pub struct Written {
    pub result: Result<Answer, Refusal>,
    pub events: Events,
}

impl Written {
    /// An answer without events.
    pub fn quietly(answer: Answer) -> Result<Written, Stop> {
        Ok(Written { result: Ok(answer), events: Events::None })
    }
}

impl Batch<'_> {
    /// The `seq` of the next event. The caller must write its row to `messages` or `log`.
    pub fn next_seq(&mut self) -> u64 {
        self.log.head += 1;
        self.log.head_is_bare = false;
        self.log.head
    }

    /// As [`Batch::next_seq`], for an event that is a column of another row.
    pub fn next_bare_seq(&mut self) -> u64 {
        self.log.head += 1;
        self.log.head_is_bare = true;
        self.log.head
    }

    /// Performs one write. `Err` is a fault of the disk or of SQLite, which ends the complete transaction.
    ///
    /// In a cluster any fault does: an answer that only this node gives would make its rows differ from those of the other nodes.
    pub fn perform(&mut self, write: Write) -> Result<Written, rusqlite::Error> {
        let name = write.name();
        let before = *self.log;
        let stop = match self.dispatch(write) {
            Ok(written) => return Ok(written),
            Err(stop) => stop,
        };
        *self.log = before;
        let is_alone = self.log.time.is_none();
        let refusal = match stop {
            Stop::Refused(refusal) if is_alone || !refusal.is_fault() => refusal,
            Stop::Refused(_) => return Err(inconsistent(name)),
            Stop::Failed(error) if Fault::of(&error) != Fault::Internal => return Err(error),
            Stop::Failed(error) if !is_alone => {
                log::error!("storage: {name} failed: {error}");
                return Err(error);
            }
            Stop::Failed(error) => {
                // A bug of this operation only. The other writes of the batch continue, with rows read again from the
                // database.
                log::error!("storage: {name} failed: {error}");
                self.cache.write(self.conn)?;
                self.cache.clear();
                Refusal::Internal
            }
        };
        Ok(Written { result: Err(refusal), events: Events::None })
    }

    fn dispatch(&mut self, write: Write) -> Result<Written, Stop> {
        match write {
            Write::PostMessage(post) => posting::post(self, post),
            Write::ForwardMessage(forward) => posting::forward(self, *forward),
            Write::MarkRead(mark) => conversations::mark_read(self, mark),
            Write::EditMessage(edit) => self.in_savepoint(|batch| changes::edit(batch, edit)),
            Write::DeleteMessage(delete) => self.in_savepoint(|batch| changes::delete(batch, delete)),
            Write::React(react) => self.in_savepoint(|batch| changes::react(batch, *react)),
            Write::PinMessage(pin) => self.in_savepoint(|batch| pins::pin(batch, pin)),
            Write::CreateConversation(create) => self.in_savepoint(|batch| groups::create(batch, *create)),
            Write::UpdateConversation(update) => self.in_savepoint(|batch| groups::update(batch, *update)),
            Write::ClearConversation(clear) => self.in_savepoint(|batch| preferences::clear(batch, clear)),
            Write::PutMember(put) => self.in_savepoint(|batch| groups::put_member(batch, *put)),
            Write::RemoveMember(remove) => self.in_savepoint(|batch| groups::remove_member(batch, remove)),
            Write::CreateInvite(create) => self.in_savepoint(|batch| invites::create(batch, &create)),
            Write::RevokeInvite(revoke) => self.in_savepoint(|batch| invites::revoke(batch, &revoke)),
            Write::UseInvite(used) => self.in_savepoint(|batch| invites::redeem(batch, *used)),
            Write::AddBot(add) => self.in_savepoint(|batch| bots::add(batch, &add)),
            Write::CreateBotToken(create) => self.in_savepoint(|batch| bots::create_token(batch, &create)),
            Write::RevokeBotToken(revoke) => self.in_savepoint(|batch| bots::revoke_token(batch, *revoke)),
            Write::SetHook(set) => self.in_savepoint(|batch| hooks::set(batch, &set)),
            Write::MoveHook(moved) => hooks::move_on(self, &moved),
            Write::MarkOffline(mark) => presence::mark_offline(self, *mark),
            Write::PruneLog(prune) => event_log::prune(self, prune),
            Write::HoldDuty(hold) => duty::hold(self, hold),
            Write::KeepCertificate(keep) => self.in_savepoint(|batch| certificate::keep(batch, keep)),
            Write::RemoveNode(remove) => self.in_savepoint(|batch| duty::remove_node(batch, &remove)),
            Write::SignUp(sign_up) => self.in_savepoint(|batch| accounts::sign_up(batch, *sign_up)),
            Write::OpenSession(open) => self.in_savepoint(|batch| sessions::open(batch, *open)),
            Write::RefreshSession(refresh) => self.in_savepoint(|batch| sessions::refresh(batch, *refresh)),
            Write::EndSession(end) => self.in_savepoint(|batch| sessions::end(batch, end)),
            Write::RevokeSessions(revoke) => self.in_savepoint(|batch| sessions::revoke_some(batch, revoke)),
            Write::ChangePassword(change) => {
                self.in_savepoint(|batch| sessions::change_password(batch, *change))
            }
            Write::RecordLastSeen(seen) => sessions::record_last_seen(self, &seen),
            Write::DeleteAccount(delete) => self.in_savepoint(|batch| deletion::delete(batch, &delete)),
            Write::EraseOld(erase) => self.in_savepoint(|batch| retention::erase(batch, erase)),
            Write::EraseMessages(erase) => self.in_savepoint(|batch| deletion::erase_some(batch, erase)),
            Write::AddMember(add) => self.in_savepoint(|batch| accounts::add(batch, &add)),
            Write::ChangeFactor(change) => self.in_savepoint(|batch| second_factor::change(batch, &change)),
            Write::SetActive(set) => self.in_savepoint(|batch| accounts::set_active(batch, *set)),
            Write::SetAdmin(set) => self.in_savepoint(|batch| accounts::set_admin(batch, *set)),
            Write::Administer(act) => self.in_savepoint(|batch| admin::perform(batch, *act)),
            Write::UseResetLink(used) => self.in_savepoint(|batch| admin::use_reset_link(batch, &used)),
            Write::MakeReport(make) => self.in_savepoint(|batch| reports::make(batch, &make)),
            Write::UpdateProfile(update) => self.in_savepoint(|batch| profiles::update(batch, &update)),
            Write::ReleaseNickNames(names) => self.in_savepoint(|batch| reserved::perform(batch, &names)),
            Write::SetBlock(block) => self.in_savepoint(|batch| blocks::set(batch, *block)),
            Write::IssueVerifyCode(issue) => self.in_savepoint(|batch| codes::issue_verify(batch, *issue)),
            Write::IssueResetCode(issue) => self.in_savepoint(|batch| codes::issue_reset(batch, *issue)),
            Write::VerifyMember(verify) => self.in_savepoint(|batch| codes::verify(batch, *verify)),
            Write::ResetPassword(reset) => self.in_savepoint(|batch| codes::reset(batch, *reset)),
            Write::MailSent(sent) => outbox::sent(self, sent),
            Write::MailFailed(failed) => outbox::failed(self, failed),
            Write::PlaceSession(found) => self.in_savepoint(|batch| outbox::place_session(batch, found)),
            Write::SetDigest(set) => digests::set(self, &set),
            Write::WriteDigests(write) => self.in_savepoint(|batch| digests::write(batch, write)),
            Write::Subscribe(subscribe) => self.in_savepoint(|batch| push::subscribe(batch, *subscribe)),
            Write::SetPushLevel(set) => self.in_savepoint(|batch| push::set_level(batch, &set)),
            Write::Unsubscribe(unsubscribe) => push::unsubscribe(self, &unsubscribe),
            Write::ForgetSubscription(gone) => push::forget(self, &gone),
            Write::MovePushCursor(moved) => push::move_cursor(self, moved),
            Write::PublishUpload(publish) => self.in_savepoint(|batch| uploads::publish(batch, *publish)),
            Write::UpdateUpload(update) => self.in_savepoint(|batch| uploads::update(batch, *update)),
            Write::DeleteUpload(delete) => self.in_savepoint(|batch| uploads::delete(batch, delete)),
            Write::ForgetFiles(forget) => self.in_savepoint(|batch| uploads::forget(batch, forget)),
        }
    }

    /// Runs several statements as one: if one fails, the others are undone.
    pub fn in_savepoint<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        self.conn.prepare_cached("SAVEPOINT operation")?.execute([])?;
        let result = work(self);
        match &result {
            Ok(_) => {}
            // The transaction has ended, and perhaps the savepoint with it.
            Err(Stop::Failed(error)) if Fault::of(error) != Fault::Internal => return result,
            Err(_) => {
                self.conn.prepare_cached("ROLLBACK TO operation")?.execute([])?;
            }
        }
        self.conn.prepare_cached("RELEASE operation")?.execute([])?;
        result
    }
}

/// The error of an operation that found rows which contradict each other.
fn inconsistent(name: &str) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        ffi::Error::new(ffi::SQLITE_INTERNAL),
        Some(format!("{name} found no row")),
    )
}

/// Whether the write erases content that must not stay readable anywhere.
pub fn erases(write: &Write) -> bool {
    matches!(
        write,
        Write::DeleteMessage(_)
            | Write::EditMessage(_)
            | Write::DeleteAccount(_)
            | Write::EraseMessages(_)
            | Write::EraseOld(_)
            | Write::Administer(_)
    )
}
