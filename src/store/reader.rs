//! A reader: one read-only connection, one snapshot a question. Sees everything that was committed before it
//! was asked, and nothing of an open transaction.
//! Invariant: a snapshot lasts one answer, which is bounded, so that no reader pins the WAL.

use rusqlite::Connection;

use super::batch::misdirected;
use super::fault::{OpenFault, Stop, Trouble};
use super::{
    StoreOptions, accounts, blocks, connection, conversations, groups, log, messages, outbox, presence,
    profiles, search, sessions, uploads,
};
use crate::model::operation::{Answer, Command, Refusal};

pub struct Reader {
    conn: Connection,
    trouble: Trouble,
}

impl Reader {
    /// The database must have been opened by a [`super::Store`] of this version before.
    pub fn open(options: &StoreOptions) -> Result<Reader, OpenFault> {
        Ok(Reader { conn: connection::open_reader(options)?, trouble: Trouble::new("a read") })
    }

    /// Answers one question. `Unavailable` and `Internal` stand for a fault, which is logged here.
    pub fn read(&mut self, command: Command) -> Result<Answer, Refusal> {
        match self.look(command) {
            Ok(answer) => {
                self.trouble.is_over();
                Ok(answer)
            }
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Failed(error)) => Err(self.trouble.begins(&error).refusal()),
        }
    }

    fn look(&self, command: Command) -> Result<Answer, Stop> {
        let conn = &self.conn;
        conn.prepare_cached("BEGIN")?.execute([])?;
        let answer = answer(conn, command);
        // A transaction that only read has nothing to lose: an end that fails is reported by the next BEGIN.
        let end = conn.prepare_cached("COMMIT").and_then(|mut end| end.execute([]));
        let answer = answer?;
        end?;
        Ok(answer)
    }
}

fn answer(conn: &Connection, command: Command) -> Result<Answer, Stop> {
    Ok(match command {
        Command::FindCredential(find) => Answer::FindCredential(accounts::find_credential(conn, find)?),
        Command::FindAccount(find) => Answer::FindAccount(Box::new(accounts::find_account(conn, *find)?)),
        Command::FindSecret(find) => Answer::FindSecret(accounts::find_secret(conn, find)?),
        Command::ListSessions(list) => Answer::ListSessions(sessions::list(conn, &list)?),
        Command::ExportAccount(export) => {
            Answer::ExportAccount(Box::new(super::export::page(conn, *export)?))
        }
        Command::ListAccounts(list) => Answer::ListAccounts(accounts::list(conn, &list)?),
        Command::FindMember(find) => Answer::FindMember(accounts::find_member(conn, &find)?),
        Command::FindProfile(find) => Answer::FindProfile(Box::new(profiles::find(conn, &find)?)),
        Command::ListProfiles(list) => Answer::ListProfiles(profiles::list(conn, &list)?),
        Command::SearchProfiles(search) => Answer::SearchProfiles(profiles::search(conn, search)?),
        Command::ListBlocks(list) => Answer::ListBlocks(blocks::list(conn, &list)?),
        Command::ListMessages(list) => Answer::ListMessages(messages::list(conn, list)?),
        Command::ListConversations(list) => Answer::ListConversations(conversations::list(conn, list)?),
        Command::OpenPair(open) => Answer::OpenPair(messages::open_pair(conn, open)?),
        Command::ListChats(list) => Answer::ListChats(conversations::list_chats(conn, list)?),
        Command::FindListeners(find) => Answer::FindListeners(presence::find_listeners(conn, find)?),
        Command::FindPeers(find) => Answer::FindPeers(presence::find_peers(conn, find)?),
        Command::SearchMessages(find) => Answer::SearchMessages(search::search(conn, find)?),
        Command::ReadLog(read) => Answer::ReadLog(log::read(conn, read)?),
        Command::GetMessage(get) => Answer::GetMessage(Box::new(messages::get(conn, *get)?)),
        Command::GetConversation(get) => Answer::GetConversation(Box::new(conversations::get(conn, *get)?)),
        Command::ListMembers(list) => Answer::ListMembers(groups::list_members(conn, list)?),
        Command::FetchMail(fetch) => Answer::FetchMail(outbox::fetch(conn, fetch)?),
        Command::AdmitUpload(admit) => Answer::AdmitUpload(uploads::admit(conn, admit)?),
        Command::FindUpload(find) => Answer::FindUpload(uploads::find(conn, find)?),
        Command::ListErasedFiles(list) => Answer::ListErasedFiles(uploads::list_erased(conn, list)?),
        Command::FindOrphans(find) => Answer::FindOrphans(uploads::orphans(conn, find)?),
        Command::SignUp(_)
        | Command::PruneLog(_)
        | Command::MarkOffline(_)
        | Command::IssueVerifyCode(_)
        | Command::IssueResetCode(_)
        | Command::VerifyMember(_)
        | Command::ResetPassword(_)
        | Command::MailSent(_)
        | Command::MailFailed(_)
        | Command::PlaceSession(_)
        | Command::OpenSession(_)
        | Command::RefreshSession(_)
        | Command::EndSession(_)
        | Command::RevokeSessions(_)
        | Command::ChangePassword(_)
        | Command::NoteSeen(_)
        | Command::DeleteAccount(_)
        | Command::EraseMessages(_)
        | Command::AddMember(_)
        | Command::BackUp(_)
        | Command::SetActive(_)
        | Command::UpdateProfile(_)
        | Command::SetBlock(_)
        | Command::PostMessage(_)
        | Command::EditMessage(_)
        | Command::DeleteMessage(_)
        | Command::React(_)
        | Command::CreateConversation(_)
        | Command::UpdateConversation(_)
        | Command::PutMember(_)
        | Command::RemoveMember(_)
        | Command::PublishUpload(_)
        | Command::DeleteUpload(_)
        | Command::ForgetFiles(_)
        | Command::MarkRead(_) => return Err(Stop::Refused(misdirected(&command))),
    })
}
