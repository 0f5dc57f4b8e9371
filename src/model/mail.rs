//! Mails natter sends by itself: what each says, to whom, and what storage keeps of it until it is sent. The texts are
//! in `mail_text`, delivery is a worker's.
//! Invariant: a mail is written in the transaction of its cause, and its row is gone once it is sent or given up.

use super::id::{MailId, MemberId, SessionId};
use crate::base::crypto::HmacKey;
use crate::base::secret::Secret;
pub use crate::proto::http::language::Language;

/// A mail to be written to the outbox; the member it goes to is the write's.
#[derive(Clone, Debug)]
pub struct NewMail {
    /// Names the row, and is the Message-ID of every try.
    pub id: MailId,
    /// Of the request that caused it.
    pub language: Language,
    pub content: Content,
    /// Milliseconds it may be held back for what is still to be found out.
    pub hold_ms: u64,
}

impl NewMail {
    /// A mail that is due at once.
    pub fn new(id: MailId, language: Language, content: Content) -> NewMail {
        NewMail { id, language, content, hold_ms: 0 }
    }
}

/// What a mail says, beside its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    VerifyCode(SealedCode),
    ResetCode(SealedCode),
    /// Boxed: every command is as large as the largest.
    NewDevice(Box<NewDevice>),
    PasswordChanged,
    /// The nick name became reserved, and this is the new one: the profile's own, as it is when the mail is sent.
    NickNameChanged(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDevice {
    /// The place is found later, by its session.
    pub session: SessionId,
    pub address: String,
    pub user_agent: String,
    pub place: Option<String>,
}

/// Six digits as they stand in a row of the outbox: neither the database nor a backup of it holds a code that could be
/// used. A pad of six digits, made of a key and the mail's id, is added: each id is drawn once, so each pad hides once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedCode(Secret<u32>);

/// Codes are numbers below this, written with all their zeros.
pub const CODES: u32 = 1_000_000;

impl SealedCode {
    pub fn seal(key: &HmacKey, mail: MailId, code: u32) -> SealedCode {
        SealedCode::from_number((code % CODES + pad(key, mail)) % CODES)
    }

    /// The six digits.
    pub fn open(self, key: &HmacKey, mail: MailId) -> String {
        format!("{:06}", (self.number() + CODES - pad(key, mail)) % CODES)
    }

    /// As it stands in its row.
    pub fn number(self) -> u32 {
        *self.0.expose()
    }

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
    pub at: u64,
    pub limit: u32,
}

#[derive(Clone, Debug)]
pub struct MailPage {
    pub mails: Vec<DueMail>,
    /// When the first of the others is due, Unix ms; past, where the limit cut the page.
    pub next_due_at: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct DueMail {
    pub id: MailId,
    /// `None`: a code was asked for an address that nobody has; nothing is sent.
    pub to: Option<Recipient>,
    pub language: Language,
    /// When its cause happened, Unix ms.
    pub written_at: u64,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub struct Recipient {
    pub member: MemberId,
    pub email: Secret,
}

/// A mail left the house: its row goes.
#[derive(Clone, Debug)]
pub struct MailSent {
    pub id: MailId,
}

/// A try failed: the row stays until its next try, or goes when trying is of no more use.
#[derive(Clone, Debug)]
pub struct MailFailed {
    pub id: MailId,
    pub at: u64,
    /// The server said that it never will take this mail.
    pub permanent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailFate {
    /// Tried again then, Unix ms.
    Again {
        due_at: u64,
    },
    GivenUp,
    /// The row is gone already, with its member or with the code it carried.
    Gone,
}

/// Where a session was opened: for its row, and for the mail that waited for it.
#[derive(Clone, Debug)]
pub struct PlaceSession {
    pub at: u64,
    pub session: SessionId,
    pub place: Option<String>,
}

/// A mail as a worker gets it: rendered, addressed, ready to be sent.
#[derive(Clone, Debug)]
pub struct Letter {
    pub id: MailId,
    pub member: MemberId,
    /// For the log.
    pub kind: &'static str,
    pub to: Secret,
    pub date_ms: u64,
    pub subject: Secret,
    pub body: Secret,
}

impl Content {
    pub fn kind(&self) -> &'static str {
        match self {
            Content::VerifyCode(_) => "verification code",
            Content::ResetCode(_) => "reset code",
            Content::NewDevice(_) => "new device",
            Content::PasswordChanged => "password changed",
            Content::NickNameChanged(_) => "nick name changed",
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
            assert_eq!(format!("{sealed:?}"), "SealedCode(..)");
        }
    }
}
