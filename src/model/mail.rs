//! The mails that natter sends: the content of each, its recipient, and its row in the outbox until it is sent.
//!
//! Leaves the texts to `mail_text` and the delivery to a worker.
//! Invariant: a mail is written in the transaction of its cause, and its row is deleted when it is sent or given up.

use super::id::{MailId, MemberId, ProfileId, SessionId};
use crate::base::crypto::HmacKey;
use crate::base::secret::Secret;
use crate::base::time::UnixMs;
pub use crate::proto::http::language::Language;

/// A mail to be written to the outbox. It goes to the member of the write that contains it.
#[derive(Clone, Debug)]
pub struct NewMail {
    /// The id of the row, and the Message-ID of every try.
    pub id: MailId,
    /// The language of the request that caused it.
    pub language: Language,
    /// What it says.
    pub content: Content,
    /// Milliseconds that it may wait for the place of an address.
    pub hold_ms: u64,
}

impl NewMail {
    /// A mail that is due at once.
    pub fn new(id: MailId, language: Language, content: Content) -> NewMail {
        NewMail { id, language, content, hold_ms: 0 }
    }
}

/// What a mail says, in addition to its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The code that verifies the address.
    VerifyCode(SealedCode),
    /// The code for a new password.
    ResetCode(SealedCode),
    /// Boxed: every command is as large as the largest.
    NewDevice(Box<NewDevice>),
    /// The password was changed.
    PasswordChanged,
    /// The nick name became reserved. This is the new one, as the profile has it when the mail is sent.
    NickNameChanged(String),
    /// What is unread, as it is when the mail is sent.
    Digest(Digest),
    /// The second factor is another one, or a recovery code stood for it.
    SecondFactor(FactorNews),
}

/// What happened to the second factor of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorNews {
    /// It has one now.
    On,
    /// It has none any more.
    Off,
    /// Its recovery codes are other ones.
    Renewed,
    /// Somebody signed in with a recovery code.
    CodeUsed,
}

/// What a member has not read. No text of a message is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Unread messages in all conversations that are not muted.
    pub total: u64,
    /// The first conversations: their titles, or the names of their peers, and how many messages of each are unread.
    pub conversations: Vec<(String, u64)>,
}

/// Whether a member wants digests.
#[derive(Clone, Debug)]
pub struct SetDigest {
    /// The member.
    pub member: MemberId,
    /// Whether it wants them.
    pub on: bool,
    /// The language that they are in.
    pub language: Language,
}

/// Who is to get a digest now, of a page of the members who want them.
#[derive(Clone, Copy, Debug)]
pub struct FindDigests {
    /// When it is asked, Unix ms.
    pub at: UnixMs,
    /// The page begins after this; 0 at the beginning.
    pub after: u64,
}

/// The answer to [`FindDigests`].
#[derive(Clone, Debug, Default)]
pub struct DigestPage {
    /// The members, with their profiles.
    pub members: Vec<(MemberId, ProfileId)>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// Writes a digest to each of these members for whom it is still time.
#[derive(Clone, Debug)]
pub struct WriteDigests {
    /// When it is asked, Unix ms.
    pub at: UnixMs,
    /// The members, each with the id of its mail.
    pub mails: Vec<(MemberId, MailId)>,
}

/// A sign-in from a device that the member has not used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDevice {
    /// The session; its place is found later.
    pub session: SessionId,
    /// The IP address, as text.
    pub address: String,
    /// The `User-Agent`, cut to 512 characters.
    pub user_agent: String,
    /// The place of the address, if it is known.
    pub place: Option<String>,
}

/// Six digits as they are stored in a row of the outbox: neither the database nor a backup of it holds a code that can be used.
/// A pad of six digits is added, made from a key and the mail's id: each id is drawn once, so each pad is used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedCode(Secret<u32>);

/// Codes are numbers below this, written with leading zeros.
pub const CODES: u32 = 1_000_000;

impl SealedCode {
    /// Seals a code for the row of this mail.
    pub fn seal(key: &HmacKey, mail: MailId, code: u32) -> SealedCode {
        SealedCode::from_number((code % CODES + pad(key, mail)) % CODES)
    }

    /// The six digits.
    pub fn open(self, key: &HmacKey, mail: MailId) -> String {
        format!("{:06}", (self.number() + CODES - pad(key, mail)) % CODES)
    }

    /// As it is stored in its row.
    pub fn number(self) -> u32 {
        *self.0.expose()
    }

    /// From its row.
    pub fn from_number(number: u32) -> SealedCode {
        SealedCode(Secret::new(number % CODES))
    }
}

fn pad(key: &HmacKey, mail: MailId) -> u32 {
    let tag = key.sign(&[&b"natter code mail "[..], &mail.to_bytes()].concat());
    let mut first = [0; 8];
    first.copy_from_slice(&tag[..8]);
    (u64::from_be_bytes(first) % u64::from(CODES)) as u32
}

/// The rows of the outbox that are due, the longest waiting first.
#[derive(Clone, Debug)]
pub struct FetchMail {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The most items of the page.
    pub limit: u32,
}

/// The answer to [`FetchMail`].
#[derive(Clone, Debug)]
pub struct MailPage {
    /// The mails, at most [`FetchMail::limit`].
    pub mails: Vec<DueMail>,
    /// When the first of the other rows is due, Unix ms; in the past, if the limit cut the page.
    pub next_due_at: Option<UnixMs>,
}

/// A row of the outbox that is due.
#[derive(Clone, Debug)]
pub struct DueMail {
    /// The id of the row.
    pub id: MailId,
    /// `None`: a code was asked for an address without an account; nothing is sent.
    pub to: Option<Recipient>,
    /// The language.
    pub language: Language,
    /// When its cause happened, Unix ms.
    pub written_at: UnixMs,
    /// What it says.
    pub content: Content,
}

/// To whom a mail goes.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The member.
    pub member: MemberId,
    /// The e-mail address, in lower case.
    pub email: Secret,
}

/// A mail was sent: its row is deleted.
#[derive(Clone, Debug)]
pub struct MailSent {
    /// The mail.
    pub id: MailId,
}

/// A try failed: the row stays until the next try, or is deleted if no further try is worth it.
#[derive(Clone, Debug)]
pub struct MailFailed {
    /// The mail.
    pub id: MailId,
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// Whether the mail server refused it permanently.
    pub permanent: bool,
}

/// What follows from a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailFate {
    /// It is tried again.
    Again {
        /// When, Unix ms.
        due_at: UnixMs,
    },
    /// It is not tried again.
    GivenUp,
    /// The row was deleted before, with its member or with the code in it.
    Gone,
}

/// The place where a session was opened: for its row, and for the mail that waited for it.
#[derive(Clone, Debug)]
pub struct PlaceSession {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The session.
    pub session: SessionId,
    /// The place of the address, if it is known.
    pub place: Option<String>,
}

/// A mail as a worker gets it: ready to be sent.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The Message-ID.
    pub id: MailId,
    /// The member it goes to, for the log.
    pub member: MemberId,
    /// What it is, for the log.
    pub kind: &'static str,
    /// The e-mail address.
    pub to: Secret,
    /// Its date, Unix ms.
    pub date_ms: UnixMs,
    /// The subject.
    pub subject: Secret,
    /// The text.
    pub body: Secret,
}

impl Content {
    /// A name for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Content::VerifyCode(_) => "verification code",
            Content::ResetCode(_) => "reset code",
            Content::NewDevice(_) => "new device",
            Content::PasswordChanged => "password changed",
            Content::NickNameChanged(_) => "nick name changed",
            Content::Digest(_) => "digest",
            Content::SecondFactor(_) => "second factor",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    #[test]
    fn a_sealed_code_opens_with_its_key_and_its_mail_only() {
        let (key, other) = (HmacKey::new(b"key"), HmacKey::new(b"other"));
        for code in [0, 7, 42_000, 999_999] {
            let sealed = SealedCode::seal(&key, Id::from_u128(5), code);
            assert_eq!(sealed.open(&key, Id::from_u128(5)), format!("{code:06}"));
            assert_eq!(SealedCode::from_number(sealed.number()), sealed);
            assert_ne!(sealed.open(&key, Id::from_u128(6)), format!("{code:06}"));
            assert_ne!(sealed.open(&other, Id::from_u128(5)), format!("{code:06}"));
            assert_eq!(format!("{sealed:?}"), "SealedCode(Secret(..))");
        }
    }
}
