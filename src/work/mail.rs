//! The delivery of one mail: to the configured server by SMTP, or, without one, into a file.
//!
//! Owns one attempt; storage decides when the next one is due.
//! Invariant: a mail that is reported as sent was accepted by the server, or is on disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::wire::{Trust, Wire, WireFault};
use crate::base::no_follow::NO_FOLLOW;
use crate::model::job::{Delivery, Done, Job};
use crate::model::mail::Letter;
use crate::proto::smtp::{Action, Address, Dialogue, Mail, Mailbox, Outcome, SmtpOptions, mbox_entry};

/// Time limit of one delivery to the mail server: less than [`DRAIN_MAX`](crate::limits::DRAIN_MAX), so that a hanging mail
/// server does not delay the end of the process. After it, the mail is tried again later.
const SMTP_DEADLINE: Duration = Duration::from_secs(25);

/// Where mails go.
#[derive(Clone)]
pub enum MailOptions {
    Server {
        host: String,
        port: u16,
        from: Mailbox,
        smtp: SmtpOptions,
        trust: Trust,
    },
    /// An mbox file (0600), for a host without a mail server.
    File {
        path: PathBuf,
        from: Mailbox,
    },
}

/// One worker thread's mailer.
pub struct Mailer {
    options: MailOptions,
    /// All workers append to one file, one at a time.
    file: Arc<Mutex<()>>,
}

impl Mailer {
    /// All mailers of one server share `file`.
    pub fn new(options: MailOptions, file: Arc<Mutex<()>>) -> Mailer {
        Mailer { options, file }
    }

    /// Does the job in this thread, in at most [`SMTP_DEADLINE`] and the time of the resolver.
    pub fn run(&mut self, job: Job) -> Done {
        match job {
            Job::SendMail(letter) => Done::Mail(self.send(&letter)),
            // The pools give each worker only its own kinds of job.
            _ => {
                log::error!(target: "natter::mail", "{} is not a mail job", job.name());
                Done::Failed
            }
        }
    }

    fn send(&self, letter: &Letter) -> Delivery {
        let (id, member) = (letter.id, letter.member);
        let Ok(to) = Address::parse(letter.to.expose()) else {
            // Sign-up refuses such an address; only a row that another program wrote can hold one.
            log::error!(target: "natter::mail", mail:% = id, member:% = member; "this member's address is not valid, so no mail can be sent to it");
            return Delivery::Refused;
        };
        let to = Mailbox { name: String::new(), address: to };
        match &self.options {
            MailOptions::File { path, from } => {
                let guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
                let written = append(path, &mbox_entry(&compose(letter, from, to)));
                drop(guard);
                match written {
                    Ok(()) => {
                        log::info!(
                            target: "natter::mail", mail:% = id, member:% = member, kind = letter.kind;
                            "EMAIL_HOST is not set: a mail was written to mail.mbox"
                        );
                        Delivery::Sent
                    }
                    Err(error) => {
                        log::warn!(target: "natter::mail", mail:% = id, member:% = member; "mail.mbox: {error}");
                        Delivery::Failed
                    }
                }
            }
            MailOptions::Server { host, port, from, smtp, trust } => {
                let outcome = hand_over(host, *port, smtp, trust, compose(letter, from, to));
                log_result(letter, outcome)
            }
        }
    }
}

fn compose(letter: &Letter, from: &Mailbox, to: Mailbox) -> Mail {
    let domain = from.address.as_str().rsplit('@').next().unwrap_or("localhost");
    Mail {
        message_id: format!("{}@{domain}", letter.id),
        from: from.clone(),
        to,
        subject: letter.subject.expose().clone(),
        body: letter.body.expose().clone(),
        date_ms: letter.date_ms,
    }
}

/// Appends a complete entry or nothing, and returns after it is on disk, since the row is erased next.
fn append(path: &PathBuf, entry: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(NO_FOLLOW).open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(entry).and_then(|()| file.sync_data());
    if let Err(error) = written {
        // An incomplete entry would hide the head of the next one.
        cut(&file, before);
        return Err(error);
    }
    Ok(())
}

fn cut(file: &File, length: u64) {
    if let Err(error) = file.set_len(length) {
        log::error!(target: "natter::mail", "mail.mbox ends in an incomplete mail: {error}");
    }
}

/// One SMTP dialogue. A result that was reached before the connection broke stays valid.
fn hand_over(
    host: &str,
    port: u16,
    smtp: &SmtpOptions,
    trust: &Trust,
    mail: Mail,
) -> Result<Outcome, WireFault> {
    let mut wire = Wire::connect(host, port, SMTP_DEADLINE)?;
    let mut dialogue = Dialogue::new(smtp.clone(), mail);
    let mut received = Vec::new();
    loop {
        match dialogue.poll() {
            Action::Send(bytes) => {
                if let Err(fault) = wire.send(&bytes) {
                    return end(dialogue, fault);
                }
            }
            Action::StartTls => wire.start_tls(trust, host)?,
            Action::NeedInput => {
                received.clear();
                match wire.receive(&mut received) {
                    Ok(more) => {
                        dialogue.receive(&received);
                        if !more {
                            dialogue.ended();
                        }
                    }
                    Err(fault) => return end(dialogue, fault),
                }
            }
            Action::Done(outcome) => {
                wire.close();
                return Ok(outcome);
            }
        }
    }
}

/// The connection broke: after the server's 250 only the reply to QUIT is lost.
fn end(mut dialogue: Dialogue, fault: WireFault) -> Result<Outcome, WireFault> {
    dialogue.ended();
    match dialogue.poll() {
        Action::Done(outcome @ (Outcome::Delivered | Outcome::PermanentFailure { .. })) => Ok(outcome),
        _ => Err(fault),
    }
}

/// Logs the result of an attempt. The server's text may repeat the address, so the address is removed from it.
fn log_result(letter: &Letter, outcome: Result<Outcome, WireFault>) -> Delivery {
    let (id, member, kind) = (letter.id, letter.member, letter.kind);
    match outcome {
        Ok(Outcome::Delivered) => {
            log::info!(target: "natter::mail", mail:% = id, member:% = member, kind = kind; "a mail was sent");
            Delivery::Sent
        }
        Ok(Outcome::TransientFailure { code, text }) => {
            let text = without(&text, letter.to.expose());
            log::warn!(target: "natter::mail", mail:% = id, member:% = member, code = code; "not sent, to be tried again: {text}");
            Delivery::Failed
        }
        Ok(Outcome::PermanentFailure { code, text }) => {
            let text = without(&text, letter.to.expose());
            log::warn!(target: "natter::mail", mail:% = id, member:% = member, code = code; "refused, and not tried again: {text}");
            Delivery::Refused
        }
        Ok(Outcome::Misconfigured { code, text }) => {
            let text = without(&text, letter.to.expose());
            log::error!(target: "natter::mail", mail:% = id, member:% = member, code = code; "no mail can be sent until the EMAIL_ settings match the server: {text}");
            Delivery::Blocked
        }
        Err(WireFault::Misconfigured(reason)) => {
            log::error!(target: "natter::mail", mail:% = id, member:% = member; "no mail can be sent until the EMAIL_ settings or TLS_CA_FILE match the server: {reason}");
            Delivery::Blocked
        }
        Err(WireFault::Failed(reason)) => {
            log::warn!(target: "natter::mail", mail:% = id, member:% = member; "not sent, to be tried again: {reason}");
            Delivery::Failed
        }
    }
}

/// `text` without an address, in upper or lower case.
fn without(text: &str, address: &str) -> String {
    let (lower, address) = (text.to_ascii_lowercase(), address.to_ascii_lowercase());
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = lower[at..].find(&address).filter(|_| !address.is_empty()) {
        out.push_str(&text[at..at + found]);
        out.push('…');
        at += found + address.len();
    }
    out.push_str(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_the_server_repeats_is_not_logged() {
        let check = |text: &str, expect: &str| assert_eq!(without(text, "ada@example.org"), expect);
        check("5.1.1 <Ada@Example.ORG>: unknown, ada@example.org", "5.1.1 <…>: unknown, …");
        check("nothing here, é", "nothing here, é");
        check("", "");
    }

    #[test]
    fn a_mail_is_never_written_through_a_symbolic_link() {
        let folder = crate::base::testing::Folder::new();
        let (file, link) = (folder.join("elsewhere"), folder.join("mail.mbox"));
        std::fs::write(&file, "as it was").expect("a file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        append(&link, b"From somebody").expect_err("a link");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "as it was");
        append(&folder.join("another"), b"From somebody").expect("no link");
    }
}
