//! A reader: one read-only connection, with one snapshot for each read.
//!
//! A read sees everything that was committed before it began, and nothing of an open transaction.
//! Invariant: a snapshot lasts for one answer, which is bounded, so that no reader keeps the WAL from restarting.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, InterruptHandle};

use super::fault::{FaultLog, OpenFault, Stop};
use super::search::IndexReader;
use super::{
    StoreOptions, accounts, admin, attachments, audit, blocks, bots, connection, conversations, digests,
    event_log, groups, hooks, invites, messages, outbox, presence, profiles, push, reports, retention,
    search, sessions, uploads,
};
use crate::model::operation::{Answer, Read, Refusal};

pub struct Reader {
    conn: Connection,
    search: IndexReader,
    options: StoreOptions,
    /// The inode of the open file. The writer replaces the file after a failed sync.
    file: u64,
    /// Interrupts the current connection, for use by other threads.
    interrupt: Arc<Mutex<InterruptHandle>>,
    faults: FaultLog,
}

impl Reader {
    /// A [`super::Store`] of this version must have opened the database before.
    pub fn open(options: &StoreOptions) -> Result<Reader, OpenFault> {
        let inode = connection::inode(&options.path)
            .map_err(|error| OpenFault::Failed { path: options.path.clone(), detail: error.to_string() })?;
        let (conn, search) = (connection::open_reader(options)?, IndexReader::new(options));
        let interrupt = Arc::new(Mutex::new(conn.get_interrupt_handle()));
        let (options, faults) = (options.clone(), FaultLog::new("a read"));
        Ok(Reader { conn, search, options, file: inode, interrupt, faults })
    }

    /// Answers one read. A fault is logged here and returned as its refusal, such as `Unavailable` or `Internal`.
    pub fn read(&mut self, read: Read) -> Result<Answer, Refusal> {
        if let Err(fault) = self.follow() {
            log::error!("storage: a reader can't follow the database to its new file: {fault}");
            return Err(Refusal::Unavailable);
        }
        match self.answer(read) {
            Ok(answer) => {
                self.faults.is_over();
                Ok(answer)
            }
            Err(Stop::Refused(refusal)) => Err(refusal),
            // It took too long, or its client is gone: this is not a fault of the database.
            Err(Stop::Failed(error)) if is_interruption(&error) => Err(Refusal::Busy),
            Err(Stop::Failed(error)) => Err(self.faults.begins(&error).refusal()),
        }
    }

    /// A function that ends the current read early, from any thread. It has no effect on later reads.
    pub fn interrupter(&self) -> impl Fn() + Send + 'static {
        let handle = Arc::clone(&self.interrupt);
        move || handle.lock().unwrap_or_else(PoisonError::into_inner).interrupt()
    }

    /// Opens the database again if its file was replaced: only the new file contains later writes. While the old file is
    /// open, no other file has its inode.
    fn follow(&mut self) -> Result<(), OpenFault> {
        if !connection::inode(&self.options.path).is_ok_and(|now| now == self.file) {
            let reader = Reader::open(&self.options)?;
            (self.conn, self.file) = (reader.conn, reader.file);
            *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = self.conn.get_interrupt_handle();
        }
        Ok(())
    }

    fn answer(&mut self, read: Read) -> Result<Answer, Stop> {
        let Reader { conn, search, .. } = self;
        within_snapshot(conn, |conn| answer(conn, search, read))
    }
}

fn within_snapshot<T>(
    conn: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, Stop>,
) -> Result<T, Stop> {
    // The last read panicked, and its caller caught the panic: this read must not use the old snapshot.
    if !conn.is_autocommit() {
        conn.prepare_cached("ROLLBACK")?.execute([])?;
    }
    conn.prepare_cached("BEGIN")?.execute([])?;
    let answer = read(conn);
    // A failed COMMIT loses nothing, because this transaction only read. A lasting fault is reported by the next BEGIN.
    let end = conn.prepare_cached("COMMIT").and_then(|mut end| end.execute([]));
    let answer = answer?;
    end?;
    Ok(answer)
}

fn is_interruption(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

fn answer(conn: &Connection, index: &mut IndexReader, read: Read) -> Result<Answer, Stop> {
    Ok(match read {
        Read::FindCredential(find) => {
            Answer::FindCredential(Box::new(accounts::find_credential(conn, *find)?))
        }
        Read::FindAccount(find) => Answer::FindAccount(Box::new(accounts::find_account(conn, *find)?)),
        Read::FindSecret(find) => Answer::FindSecret(Box::new(accounts::find_secret(conn, *find)?)),
        Read::CheckAdmin(check) => Answer::CheckAdmin(audit::check(conn, check.by)?),
        Read::ListAudit(list) => Answer::ListAudit(Box::new(audit::list(conn, *list)?)),
        Read::ListReports(list) => Answer::ListReports(Box::new(reports::list(conn, *list)?)),
        Read::ListStorage(list) => Answer::ListStorage(admin::list_storage(conn, list)?),
        Read::ListGroups(list) => Answer::ListGroups(Box::new(admin::list_groups(conn, *list)?)),
        Read::ListGroupMembers(list) => {
            Answer::ListGroupMembers(Box::new(admin::list_group_members(conn, *list)?))
        }
        Read::FindResetLink(find) => Answer::FindResetLink(Box::new(admin::find_reset_link(conn, *find)?)),
        Read::ListSessions(list) => Answer::ListSessions(Box::new(sessions::list(conn, &list)?)),
        Read::ExportAccount(export) => Answer::ExportAccount(Box::new(super::export::page(conn, *export)?)),
        Read::ListAccounts(list) => Answer::ListAccounts(Box::new(accounts::list(conn, &list)?)),
        Read::FindMember(find) => Answer::FindMember(Box::new(accounts::find_member(conn, &find)?)),
        Read::FindProfile(find) => Answer::FindProfile(Box::new(profiles::find(conn, &find)?)),
        Read::ListProfiles(list) => Answer::ListProfiles(profiles::list(conn, &list)?),
        Read::SearchProfiles(search) => Answer::SearchProfiles(Box::new(profiles::search(conn, *search)?)),
        Read::ListBlocks(list) => Answer::ListBlocks(Box::new(blocks::list(conn, &list)?)),
        Read::ListMessages(list) => Answer::ListMessages(Box::new(messages::list(conn, *list)?)),
        Read::ListConversations(list) => {
            Answer::ListConversations(Box::new(conversations::list(conn, *list)?))
        }
        Read::OpenLegacySocket(open) => {
            Answer::OpenLegacySocket(Box::new(messages::open_legacy_socket(conn, *open)?))
        }
        Read::ListChats(list) => Answer::ListChats(Box::new(conversations::list_chats(conn, *list)?)),
        Read::FindListeners(find) => Answer::FindListeners(presence::find_listeners(conn, find)?),
        Read::FindPeers(find) => Answer::FindPeers(Box::new(presence::find_peers(conn, *find)?)),
        Read::SearchMessages(find) => Answer::SearchMessages(Box::new(search::search(conn, index, *find)?)),
        Read::ReadLog(read) => Answer::ReadLog(Box::new(event_log::read(conn, *read)?)),
        Read::GetMessage(get) => Answer::GetMessage(Box::new(messages::get(conn, *get)?)),
        Read::GetConversation(get) => Answer::GetConversation(Box::new(conversations::get(conn, *get)?)),
        Read::ListMembers(list) => Answer::ListMembers(Box::new(groups::list_members(conn, *list)?)),
        Read::FindInvite(find) => Answer::FindInvite(Box::new(invites::find(conn, *find)?)),
        Read::ListInvites(list) => Answer::ListInvites(Box::new(invites::list(conn, &list)?)),
        Read::FindHook(find) => Answer::FindHook(Box::new(hooks::find(conn, *find)?)),
        Read::ListHooks(_) => Answer::ListHooks(hooks::list(conn)?),
        Read::ListBots(list) => Answer::ListBots(Box::new(bots::list(conn, *list)?)),
        Read::ListBotTokens(list) => Answer::ListBotTokens(bots::list_tokens(conn, list)?),
        Read::ReadPosted(read) => Answer::ReadPosted(Box::new(push::read_posted(conn, *read)?)),
        Read::FindPush(find) => Answer::FindPush(Box::new(push::find(conn, *find)?)),
        Read::FetchMail(fetch) => Answer::FetchMail(Box::new(outbox::fetch(conn, *fetch)?)),
        Read::ListFiles(list) => Answer::ListFiles(Box::new(attachments::list(conn, *list)?)),
        Read::FindOld(find) => Answer::FindOld(Box::new(retention::find(conn, *find)?)),
        Read::FindDigests(find) => Answer::FindDigests(Box::new(digests::find(conn, *find)?)),
        Read::AdmitUpload(admit) => Answer::AdmitUpload(uploads::admit(conn, admit)?),
        Read::FindUpload(find) => Answer::FindUpload(Box::new(uploads::find(conn, *find)?)),
        Read::ListErasedFiles(list) => Answer::ListErasedFiles(uploads::list_erased(conn, list)?),
        Read::FindOrphans(find) => Answer::FindOrphans(uploads::orphans(conn, find)?),
        Read::CountTotals(_) => Answer::CountTotals(Box::new(uploads::totals(conn)?)),
        Read::FindKept(find) => Answer::FindKept(uploads::kept(conn, find)?),
    })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::base::crypto::SystemEntropy;
    use crate::base::time::UnixMs;
    use crate::model::member::ListAccounts;
    use crate::store::Store;

    #[test]
    fn a_read_that_panicked_does_not_keep_its_snapshot() {
        let folder = std::env::temp_dir().join(format!("natter-reader-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let options = StoreOptions::new(folder.join("natter.db"));
        let (mut store, _) = Store::open(&options, &mut SystemEntropy::new(), UnixMs(0)).expect("a store");
        let reader = Reader::open(&options).expect("a reader");
        let touched = |conn: &Connection| {
            Ok(conn.query_row("SELECT touched FROM state", [], |row| row.get::<_, i64>(0))?)
        };
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            within_snapshot::<()>(&reader.conn, |conn| {
                assert_eq!(touched(conn).expect("a number"), 0);
                panic!("as a handler might");
            })
        }));
        assert!(panicked.is_err());
        for expect in 1..3 {
            store.handle().probe().expect("a write");
            assert_eq!(
                within_snapshot(&reader.conn, touched).expect("a number"),
                expect,
                "it does not see the last commit"
            );
        }
        drop(reader);
        store.close().expect("closed");
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn an_interrupted_read_is_not_a_fault_and_leaves_the_reader_usable() {
        let folder = std::env::temp_dir().join(format!("natter-interrupt-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let options = StoreOptions::new(folder.join("natter.db"));
        let (store, _) = Store::open(&options, &mut SystemEntropy::new(), UnixMs(0)).expect("a store");
        let mut reader = Reader::open(&options).expect("a reader");
        let interrupt = reader.interrupter();
        interrupt();
        let list = ListAccounts { by: None, search: None, after: None, limit: 1 };
        assert!(reader.read(list.clone().into()).is_ok(), "no read was in progress");
        let ended = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    interrupt();
                    std::thread::yield_now();
                }
            });
            let endless =
                "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";
            let read = within_snapshot(&reader.conn, |conn| {
                Ok(conn.query_row(endless, [], |row| row.get::<_, i64>(0))?)
            });
            ended.store(true, Ordering::SeqCst);
            let Err(Stop::Failed(error)) = read else { panic!("{read:?}") };
            assert!(is_interruption(&error), "{error}");
        });
        assert!(reader.read(list.into()).is_ok(), "the next read");
        drop(reader);
        store.close().expect("closed");
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
