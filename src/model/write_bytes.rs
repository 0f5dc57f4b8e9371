//! The bytes of every write.
//!
//! Owns the numbers of the rows, of their fields and of the variants in them. Leaves the form to [`base::fields`](crate::base::fields).
//!
//! A new row gets the next number of `Write`, and a new field the next one of its structure; the compiler asks for both. An older build
//! ignores a field that it does not know, and cannot read a row: what it must not ignore raises [`LEVEL`](super::entry::LEVEL).
//!
//! Numbered fields were chosen by a measurement of nine rows in a program of their own, built as a release. What each adds to the
//! program, and a post with a text of 100 bytes:
//!
//! | | program | encode | decode | bytes |
//! |---|---|---|---|---|
//! | numbered fields | 22 KiB | 65 ns | 120 ns | 193 |
//! | serde and serde_json | 178 KiB | 330 ns | 610 ns | 424 |
//! | serde and MessagePack, with names | 384 KiB | 62 ns | 225 ns | 316 |
//!
//! serde writes a visitor for each type and each format; a list of numbers needs one call for each field. Also, the `Serialize` of
//! the model is the JSON of clients, which leaves fields out that storage needs.
//!
//! Invariant: a number is never changed and never used again, since the logs and the nodes of other builds have it.

use super::admin::{
    Act, Administer, EndSessions, MakeResetLink, RemoveFactor, Rename, SetPassword, UseResetLink,
};
use super::bot::{AddBot, CreateBotToken, RevokeBotToken};
use super::certificate::{CertificateRow, KeepCertificate};
use super::code::{IssueResetCode, IssueVerifyCode, NewCode, ResetPassword, VerifyMember};
use super::conversation::{
    CreateConversation, History, MarkRead, PutMember, RemoveMember, UpdateConversation,
};
use super::duty::{HoldDuty, RemoveNode};
use super::event::{PruneLog, Role};
use super::hook::{MoveHook, NewHook, SetHook};
use super::invite::{CreateInvite, PresentedInvite, RevokeInvite, UseInvite};
use super::mail::{
    Content, Digest, FactorNews, Language, MailFailed, MailSent, NewDevice, NewMail, PlaceSession,
    SealedCode, SetDigest, WriteDigests,
};
use super::member::{
    AddMember, DeleteAccount, EraseMessages, Leftovers, NewAccount, SetActive, SetAdmin, SignUp,
};
use super::message::{
    DeleteMessage, Destination, EditMessage, ForwardMessage, Message, PinMessage, PostMessage, React,
};
use super::operation::Write;
use super::preferences::{ChangePreferences, ClearConversation};
use super::presence::MarkOffline;
use super::profile::{DisplayName, ReleaseNickNames, SetBlock, UpdateProfile};
use super::push::{
    ForgetSubscription, MovePushCursor, PushLevel, Recipient, SetPushLevel, Subscribe, Unsubscribe,
};
use super::report::{MakeReport, Reported};
use super::retention::{EraseOld, Old};
use super::second_factor::{ChangeFactor, FactorChange, NewFactor, UsedFactor};
use super::session::{
    ChangePassword, EndSession, NewSession, OpenSession, RecordLastSeen, RefreshSession, RevokeSessions,
    SessionSelector,
};
use super::upload::{DeleteUpload, ForgetFiles, PublishUpload, Quota, ReceivedFile, UpdateUpload};
use crate::base::fields::{Field, Reader, fields, variants};

variants! {
    Write {
        1 SignUp(row),
        2 OpenSession(row),
        3 RefreshSession(row),
        4 EndSession(row),
        5 RevokeSessions(row),
        6 ChangePassword(row),
        7 RecordLastSeen(row),
        8 DeleteAccount(row),
        9 EraseMessages(row),
        10 AddMember(row),
        11 SetActive(row),
        12 SetAdmin(row),
        13 UpdateProfile(row),
        14 SetBlock(row),
        15 IssueVerifyCode(row),
        16 IssueResetCode(row),
        17 VerifyMember(row),
        18 ResetPassword(row),
        19 MailSent(row),
        20 MailFailed(row),
        21 PlaceSession(row),
        22 SetDigest(row),
        23 WriteDigests(row),
        24 PostMessage(row),
        25 ForwardMessage(row),
        26 EditMessage(row),
        27 DeleteMessage(row),
        28 React(row),
        29 PinMessage(row),
        30 MarkRead(row),
        31 CreateConversation(row),
        32 UpdateConversation(row),
        33 ClearConversation(row),
        34 PutMember(row),
        35 RemoveMember(row),
        36 CreateInvite(row),
        37 RevokeInvite(row),
        38 UseInvite(row),
        39 MarkOffline(row),
        40 Subscribe(row),
        41 SetPushLevel(row),
        42 Unsubscribe(row),
        43 ForgetSubscription(row),
        44 MovePushCursor(row),
        45 PublishUpload(row),
        46 UpdateUpload(row),
        47 DeleteUpload(row),
        48 ForgetFiles(row),
        49 PruneLog(row),
        50 HoldDuty(row),
        51 KeepCertificate(row),
        52 AddBot(row),
        53 CreateBotToken(row),
        54 RevokeBotToken(row),
        55 SetHook(row),
        56 MoveHook(row),
        57 RemoveNode(row),
        58 ReleaseNickNames(row),
        59 EraseOld(row),
        60 ChangeFactor(row),
        61 Administer(row),
        62 UseResetLink(row),
        63 MakeReport(row)
    }
}

// Accounts and sessions.

fields! {
    NewAccount { 1 at, 2 member, 3 profile, 4 email, 5 hash, 6 display_name, 7 nick_names }
    SignUp { 1 account, 2 session, 3 code, 4 invite }
    NewSession {
        1 id, 2 access_uuid, 3 refresh_uuid, 4 unique_id, 5 user_agent, 6 address, 7 access_expire, 8 refresh_expire
    }
    OpenSession { 1 at, 2 member, 3 session, 4 hash, 5 rehash, 6 mail, 7 used, 8 used_mail }
    RefreshSession {
        1 at, 2 session, 3 refresh_uuid, 4 device, 5 next_access_uuid, 6 next_refresh_uuid, 7 access_expire,
        8 refresh_expire
    }
    EndSession { 1 at, 2 session }
    RevokeSessions { 1 at, 2 member, 3 which }
    ChangePassword { 1 at, 2 member, 3 session, 4 old_hash, 5 hash, 6 mail }
    RecordLastSeen { 1 seen }
    DeleteAccount { 1 at, 2 member, 3 proven, 4 leftovers, 5 by }
    EraseMessages { 1 at }
    ChangeFactor { 1 member, 2 proven, 3 used, 4 change, 5 at, 6 mail }
    NewFactor { 1 sealed, 2 step, 3 recovery }
    EraseOld { 1 at, 2 old, 3 kept }
    AddMember { 1 account, 2 by }
    SetActive { 1 at, 2 member, 3 active, 4 by }
    SetAdmin { 1 member, 2 admin, 3 at }
}

variants! {
    SessionSelector { 1 One(session), 2 AllBut(session) }
    Leftovers { 1 Keep, 2 Erase }
    UsedFactor { 1 Step(step), 2 Recovery(tag) }
    FactorChange { 1 Add(factor), 2 Renew(recovery), 3 Remove }
    Old { 1 Conversation(id), 2 Upload(id) }
}

// Profiles and blocks.

fields! {
    DisplayName { 1 text, 2 key }
    UpdateProfile { 1 at, 2 profile, 3 display_name, 4 nick_name, 5 is_private, 6 presence, 7 image }
    SetBlock { 1 blocker, 2 other, 3 blocked }
    ReleaseNickNames { 1 at, 2 names, 3 seed }
}

// Codes and mail.

fields! {
    NewCode { 1 tag, 2 holder, 3 mail }
    IssueVerifyCode { 1 at, 2 member, 3 code }
    IssueResetCode { 1 at, 2 email, 3 code }
    VerifyMember { 1 at, 2 member, 3 holder, 4 tag }
    ResetPassword { 1 at, 2 email, 3 holder, 4 tag, 5 hash, 6 mail }
    NewMail { 1 id, 2 language, 3 content, 4 hold_ms }
    NewDevice { 1 session, 2 address, 3 user_agent, 4 place }
    Digest { 1 total, 2 conversations }
    MailSent { 1 id }
    MailFailed { 1 id, 2 at, 3 permanent }
    PlaceSession { 1 at, 2 session, 3 place }
    SetDigest { 1 member, 2 on, 3 language }
    WriteDigests { 1 at, 2 mails }
}

variants! {
    Content {
        1 VerifyCode(code), 2 ResetCode(code), 3 NewDevice(device), 4 PasswordChanged, 5 NickNameChanged(name),
        6 Digest(digest), 7 SecondFactor(news)
    }
    FactorNews { 1 On, 2 Off, 3 Renewed, 4 CodeUsed }
    Language { 1 En, 2 Ar }
}

impl Field for SealedCode {
    fn put(&self, out: &mut Vec<u8>) {
        self.number().put(out);
    }

    fn take(bytes: &[u8], reader: &mut Reader) -> SealedCode {
        SealedCode::from_number(u32::take(bytes, reader))
    }
}

// Conversations and messages.

fields! {
    // What a post sets of its message. Storage sets the others.
    Message {
        1 client_id, 2 sender, 3 body, 4 reply_to, 5 created_at;
        id = Default::default(), conversation = Default::default(), n = 0, seq = 0, rev = 0, attachments = Vec::new(),
        reactions = Vec::new(), mentions = Vec::new(), forwarded = false, pinned = false, system = None,
        edited_at = None, deleted_at = None, damaged = false
    }
    PostMessage { 1 draft, 2 destination, 3 attachments, 4 conversation_if_new, 5 random }
    ForwardMessage { 1 post, 2 message, 3 uploads, 4 quota }
    Quota { 1 bytes, 2 files }
    EditMessage { 1 at, 2 actor, 3 message, 4 body }
    DeleteMessage { 1 at, 2 actor, 3 message }
    React { 1 at, 2 actor, 3 message, 4 emoji, 5 on }
    PinMessage { 1 at, 2 actor, 3 message, 4 on }
    MarkRead { 1 at, 2 reader, 3 conversation, 4 n }
    CreateConversation { 1 at, 2 creator, 3 client_id, 4 id, 5 title, 6 members, 7 members_max }
    UpdateConversation { 1 at, 2 actor, 3 conversation, 4 title, 5 image, 6 history, 7 own, 8 messages_kept }
    ChangePreferences { 1 muted, 2 muted_until, 3 pinned, 4 archived, 5 marked_unread }
    ClearConversation { 1 at, 2 actor, 3 conversation, 4 hide }
    PutMember { 1 at, 2 actor, 3 conversation, 4 profile, 5 role, 6 members_max }
    RemoveMember { 1 at, 2 actor, 3 conversation, 4 profile }
}

variants! {
    Destination { 1 Conversation(conversation), 2 To(profile) }
    History { 1 All, 2 Joined }
    Role { 1 Admin, 2 Member }
}

// Invites, bots, presence, notifications.

fields! {
    CreateInvite { 1 at, 2 by, 3 id, 4 hash, 5 conversation, 6 uses_max, 7 expires_at }
    RevokeInvite { 1 by, 2 invite, 3 at }
    PresentedInvite { 1 hash, 2 must_admit, 3 members_max }
    UseInvite { 1 at, 2 profile, 3 invite }
    AddBot { 1 by, 2 account }
    CreateBotToken { 1 at, 2 by, 3 bot, 4 id, 5 hash, 6 name, 7 conversation }
    RevokeBotToken { 1 at, 2 by, 3 bot, 4 token }
    SetHook { 1 at, 2 by, 3 bot, 4 epoch, 5 hook }
    NewHook { 1 id, 2 url, 3 secret }
    MoveHook { 1 hook, 2 epoch, 3 through, 4 failures, 5 retry_at, 6 error }
    MarkOffline { 1 profile, 2 at }
    Subscribe { 1 at, 2 member, 3 session, 4 endpoint, 5 recipient, 6 level }
    Recipient { 1 public, 2 auth }
    SetPushLevel { 1 member, 2 session, 3 level }
    Unsubscribe { 1 member, 2 session }
    ForgetSubscription { 1 session, 2 endpoint }
    MovePushCursor { 1 through }
}

variants! {
    PushLevel { 1 Off, 2 Who, 3 Text }
}

// The acts of admins, and reports.

fields! {
    Administer { 1 at, 2 by, 3 act }
    SetPassword { 1 member, 2 hash, 3 mail }
    Rename { 1 member, 2 display_name, 3 nick_name }
    EndSessions { 1 member, 2 session }
    MakeResetLink { 1 member, 2 hash, 3 expires_at }
    RemoveFactor { 1 member, 2 mail }
    UseResetLink { 1 at, 2 link, 3 hash, 4 mail }
    MakeReport { 1 at, 2 reporter, 3 id, 4 what, 5 reason }
}

variants! {
    Act {
        1 SetPassword(set), 2 VerifyAddress(member), 3 Rename(rename), 4 EndSessions(end), 5 MakeResetLink(make),
        6 DeleteGroup(group), 7 RemoveMessage(message), 8 CloseReport(report), 9 BackUp, 11 RemoveFactor(remove)
    }
    Reported { 1 Message(message), 2 Person(profile) }
}

// Uploads, and the log.

fields! {
    PublishUpload { 1 at, 2 owner, 3 file, 4 preview_of, 5 quota }
    // Storage gets a file that was inspected, and refuses none of its fields.
    ReceivedFile { 1 id, 2 name, 3 mime, 4 size, 5 sha256, 6 width, 7 height; inspect = None, field = "" }
    UpdateUpload { 1 actor, 2 upload, 3 alt, 4 duration_ms }
    DeleteUpload { 1 actor, 2 upload }
    ForgetFiles { 1 files }
    PruneLog { 1 before }
    HoldDuty { 1 node }
    KeepCertificate { 1 node, 2 rows }
    CertificateRow { 1 name, 2 sealed }
    RemoveNode { 1 node, 2 at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::crypto::Entropy;
    use crate::base::fields::sample::Sample;

    impl Sample for SealedCode {
        fn sample(entropy: &mut dyn Entropy) -> SealedCode {
            SealedCode::from_number(u32::sample(entropy))
        }
    }
}
