//! Checks mails: which rows the outbox has, when each is due, and that each is sent, to its member alone.
//!
//! Owns the rows and what mail servers have answered. A crash may send a mail twice; one process never does.

use std::collections::{BTreeMap, BTreeSet};

use natter::base::time::UnixMs;
use natter::limits::{CODE_INTERVAL_MS, CODES_AN_HOUR};
use natter::model::code::NewCode;
use natter::model::id::{MailId, MemberId};
use natter::model::job::Delivery;
use natter::model::mail::{
    Content, Digest, DueMail, FetchMail, Language, Letter, MailFailed, MailFate, MailPage, MailSent, NewMail,
    PlaceSession, SetDigest, WriteDigests,
};
use natter::model::operation::{Answer, Outcome};
use natter::model::session::NewSession;

use super::answer_checker::check;
use super::reference::Model;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A member, or an address that no member has.
type Holder = Result<MemberId, [u8; 16]>;

#[derive(Clone, Debug)]
struct Mail {
    /// `None`: nobody has the address of this code, and nothing is sent.
    member: Option<MemberId>,
    content: Content,
    written_at: UnixMs,
    due_at: UnixMs,
    tries: u32,
}

#[derive(Default)]
pub struct Mails {
    pub emails: BTreeMap<MemberId, String>,
    /// Members whose account was deleted.
    gone: BTreeSet<MemberId>,
    /// What every member has signed in with.
    devices: BTreeSet<(MemberId, String)>,
    /// When the codes of each kind were made, of a member or of an address that no member has.
    codes: BTreeMap<(Holder, &'static str), Vec<UnixMs>>,
    /// Each mail that was ever written.
    written: BTreeMap<MailId, Option<MemberId>>,
    outbox: BTreeMap<MailId, Mail>,
    /// Who wants digests, and when the last one was written.
    digests: BTreeMap<MemberId, (bool, UnixMs)>,
    /// Mails that a mail server has taken, and those of this process.
    sent: BTreeSet<MailId>,
    sent_by_process: BTreeSet<MailId>,
    sending: BTreeSet<MailId>,
    /// The last answer of a mail server.
    answers: BTreeMap<MailId, Delivery>,
}

impl Mails {
    /// The member with this address. A request may be older than the deletion of the account.
    pub fn member(&self, email: &str) -> Option<MemberId> {
        let is = |(member, known): &(&MemberId, &String)| *known == email && !self.gone.contains(*member);
        self.emails.iter().find(is).map(|(member, _)| *member)
    }
}

impl Model {
    // ---- what writes a mail -------------------------------------------------------------------------

    /// A session was opened. Returns whether its device is new to its member.
    pub(super) fn device_is_new(&mut self, member: MemberId, session: &NewSession) -> bool {
        let device = match &session.unique_id {
            Some(unique_id) => unique_id.clone(),
            None => format!("user agent {}", session.user_agent),
        };
        self.mails.devices.insert((member, device))
    }

    pub(super) fn mail_written(&mut self, member: Option<MemberId>, mail: &NewMail, at: UnixMs) {
        let NewMail { id, content, hold_ms, .. } = mail;
        let due_at = at.after(*hold_ms);
        let row = Mail { member, content: content.clone(), written_at: at, due_at, tries: 0 };
        assert!(self.mails.written.insert(*id, member).is_none(), "a mail twice");
        self.mails.outbox.insert(*id, row);
    }

    /// A code replaces the one before it, unless that is too young or there were too many.
    pub(super) fn code_issued(&mut self, member: Option<MemberId>, code: &NewCode, at: UnixMs) {
        let kind = code.mail.content.kind();
        let made = self.mails.codes.entry((member.ok_or(code.holder), kind)).or_default();
        let within = |then: &UnixMs, ms: u64| at >= *then && at.since(*then) < ms;
        let recent = made.iter().rev().take(CODES_AN_HOUR).filter(|then| within(then, HOUR_MS)).count();
        if made.last().is_some_and(|then| within(then, CODE_INTERVAL_MS)) || recent >= CODES_AN_HOUR {
            return;
        }
        made.push(at);
        self.mails
            .outbox
            .retain(|_, mail| mail.member.is_none() || mail.member != member || mail.content.kind() != kind);
        self.mail_written(member, &code.mail, at);
    }

    pub(super) fn digest_set(&mut self, set: &SetDigest, outcome: &Outcome) {
        check(outcome, Ok(()), 0, "account.update");
        self.mails.digests.entry(set.member).or_insert((false, UnixMs(0))).0 = set.on;
    }

    /// A member who wants them gets one a day at most.
    pub(super) fn digests_written(&mut self, write: &WriteDigests, outcome: &Outcome) {
        check(outcome, Ok(()), 0, "digests");
        for (member, mail) in &write.mails {
            let Some((true, written_at)) = self.mails.digests.get_mut(member) else { continue };
            if written_at.0 + DAY_MS <= write.at.0 {
                *written_at = write.at;
                let mail = NewMail::new(*mail, Language::En, Content::Digest(Digest::default()));
                self.mail_written(Some(*member), &mail, write.at);
            }
        }
    }

    // ---- what becomes of it -------------------------------------------------------------------------

    pub(super) fn mail_sent(&mut self, sent: &MailSent, outcome: &Outcome) {
        check(outcome, Ok(()), 0, "a mail that was sent");
        // A digest of which everything was read meanwhile is not sent.
        let is_digest = |id: &MailId| {
            self.mails.outbox.get(id).is_some_and(|mail| matches!(mail.content, Content::Digest(_)))
        };
        let is_sent = self.mails.sent.contains(&sent.id);
        let is_to_nobody = self.mails.written.get(&sent.id) == Some(&None);
        assert!(is_sent || is_to_nobody || is_digest(&sent.id), "no mail server has taken {}", sent.id);
        self.mails.outbox.remove(&sent.id);
    }

    pub(super) fn mail_failed(&mut self, failed: &MailFailed, outcome: &Outcome) {
        check(outcome, Ok(()), 0, "a mail that failed");
        let MailFailed { id, at, permanent } = *failed;
        let answer = self.mails.answers.get(&id);
        let is_true = match answer {
            Some(Delivery::Refused) => permanent,
            Some(Delivery::Failed | Delivery::Blocked) => !permanent,
            _ => false,
        };
        assert!(is_true, "{failed:?} after {answer:?}");
        let fate = match self.mails.outbox.get_mut(&id) {
            None => MailFate::Gone,
            Some(mail) => {
                let wait = 15_000_u64.saturating_mul(4_u64.saturating_pow(mail.tries)).min(HOUR_MS);
                let due_at = at.after(wait);
                if permanent || due_at.since(mail.written_at) > DAY_MS {
                    self.mails.outbox.remove(&id);
                    MailFate::GivenUp
                } else {
                    (mail.tries, mail.due_at) = (mail.tries + 1, due_at);
                    MailFate::Again { due_at }
                }
            }
        };
        let Ok(Answer::MailFailed(answer)) = &outcome.result else { panic!("{:?}", outcome.result) };
        assert_eq!(*answer, fate, "what becomes of {id}");
    }

    pub(super) fn placed(&mut self, found: &PlaceSession, outcome: &Outcome) {
        check(outcome, Ok(()), 0, "a place");
        if let Some(session) = self.sessions.get_mut(&found.session) {
            session.place.clone_from(&found.place);
        }
        for mail in self.mails.outbox.values_mut().filter(|mail| mail.tries == 0) {
            if let Content::NewDevice(device) = &mut mail.content
                && device.session == found.session
            {
                device.place.clone_from(&found.place);
                mail.due_at = mail.due_at.min(found.at);
            }
        }
    }

    /// A reader has answered which mails are due: from the database as it is now.
    pub fn check_fetched(&self, fetch: &FetchMail, page: &MailPage) {
        let mut due: Vec<(UnixMs, MailId)> =
            self.mails.outbox.iter().map(|(id, mail)| (mail.due_at, *id)).collect();
        due.sort_unstable();
        let count = due.iter().filter(|(due_at, _)| *due_at <= fetch.at).count().min(fetch.limit as usize);
        assert_eq!(page.mails.len(), count, "mails that are due");
        assert_eq!(page.next_due_at, due.get(count).map(|(due_at, _)| *due_at), "when the next is due");
        let latest = due[..count].last().map(|(due_at, _)| *due_at);
        for mail in &page.mails {
            let DueMail { id, to, written_at, content, .. } = mail;
            let row = &self.mails.outbox[id];
            let unread = match content {
                Content::Digest(digest) => Some(digest.total),
                _ => None,
            };
            assert_eq!(to.is_none(), row.member.is_none() || unread == Some(0), "the recipient of {id}");
            if let Some(to) = to {
                assert_eq!(Some(to.member), row.member);
                assert_eq!(*to.email.expose(), self.mails.emails[&to.member]);
            }
            let is_same = unread.is_some() || *content == row.content;
            assert!(is_same && *written_at == row.written_at, "the mail {id}");
            assert!(Some(row.due_at) <= latest, "{id} before one that is longer due");
        }
    }

    /// A worker gets a mail.
    pub fn mail_sending(&mut self, letter: &Letter) {
        let Letter { id, member, to, .. } = letter;
        assert_eq!(self.mails.written.get(id), Some(&Some(*member)), "the recipient of {id}");
        assert_eq!(*to.expose(), self.mails.emails[member], "the address of {id}");
        assert!(!self.mails.sent_by_process.contains(id), "{id} is sent again by the process that sent it");
        assert!(self.mails.sending.insert(*id), "{id} is sent by two workers");
    }

    /// A mail server has answered.
    pub fn mail_answered(&mut self, id: MailId, delivery: Delivery) {
        self.mails.sending.remove(&id);
        self.mails.answers.insert(id, delivery);
        if delivery == Delivery::Sent {
            self.mails.sent.insert(id);
            self.mails.sent_by_process.insert(id);
        }
    }

    /// A new process knows nothing of the last one's mails.
    pub fn mails_forgotten(&mut self) {
        self.mails.sending.clear();
        self.mails.sent_by_process.clear();
    }

    /// With the account.
    pub(super) fn mails_erased(&mut self, member: MemberId) {
        self.mails.gone.insert(member);
        self.mails.digests.remove(&member);
        self.mails.outbox.retain(|_, mail| mail.member != Some(member));
    }

    /// How many mails wait, and how many mail servers have taken.
    pub fn mail_counts(&self) -> (usize, usize) {
        (self.mails.outbox.len(), self.mails.sent.len())
    }
}
