//! The handler of account.sign_in.
//!
//! Owns the order of its steps and what a response may disclose. A worker compares the hash; storage writes the
//! session.
//! Invariant: a wrong password, an unknown address and a disabled member get the same response, after the same work.

use super::accounts::{find_place, has_place, new_session, signed_in};
use super::{rules, second_factor};
use crate::base::crypto::sha256;
use crate::model::attempts::{Attempt, AttemptKey};
use crate::model::handler::{Client, Ctx, Request, Step};
use crate::model::job::{Done, Job, VerifyPassword};
use crate::model::mail::{Content, FactorNews, NewDevice, NewMail};
use crate::model::member::FindCredential;
use crate::model::operation::Refusal;
use crate::model::problem::{Code, Problem};
use crate::model::second_factor::UsedFactor;
use crate::model::session::{NewSession, OpenSession};

/// Milliseconds that a mail about a new device waits for the place of its address: the limit of a look-up and the queue before
/// it. After that the mail says that the place is unknown.
const PLACE_HOLD_MS: u64 = 10_000;

/// POST /user/sign-in.
///
/// After ten failures an account takes sign-ins from known devices only, so that strangers can't lock out the member's
/// devices. A device is known by its `unique_id` only, since a user agent can be guessed.
pub fn sign_in(_: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let email = rules::email(&request.params)?;
    let password = rules::presented_password(&request.params)?;
    let device = rules::unique_id(&request.params)?;
    let code = second_factor::presented_code(request)?;
    let client = request.client.clone();
    let question =
        FindCredential { email: email.clone(), device: device.as_deref().map(|id| sha256(id.as_bytes())) };

    Ok(Step::store(question, move |ctx, credential| {
        let account_key = account_key(ctx, &email);
        let device_known = credential.as_ref().is_some_and(|credential| credential.device_known);
        refuse_guesser(ctx, &account_key, device_known)?;
        // Without an active member the worker uses a dummy hash of the same cost.
        let credential = credential.filter(|credential| credential.active);
        let hash = credential.as_ref().map(|credential| credential.hash.clone());
        let known_to = credential.as_ref().filter(|_| device_known).map(|credential| credential.member);
        let job = VerifyPassword { password, hash, salt: ctx.salt(), known_to };
        let job = Job::VerifyPassword(Box::new(job));
        Ok(Step::work(job, move |ctx, done| {
            let Done::PasswordVerified { matches, rehash } = done else {
                return Err(Code::GeneralError.into());
            };
            // Checked again: of many guesses sent at once, those after the tenth failure learn nothing.
            refuse_guesser(ctx, &account_key, device_known)?;
            let Some(credential) = credential.filter(|_| matches) else {
                ctx.attempts.failed(Attempt::SignIn(account_key), ctx.now);
                return Err(Code::EmailPasswordWrong.into());
            };
            let member = credential.member;
            let used = match (&credential.second_factor, &code) {
                (None, _) => None,
                // The password alone is no success: its failures still count.
                (Some(_), None) => return Err(Code::SecondFactorRequired.into()),
                (Some(factor), Some(code)) => Some(second_factor::check(ctx, member, factor, code)?),
            };
            let has_code = code.is_some();
            ctx.attempts.succeeded(Attempt::SignIn(account_key));
            let session = new_session(ctx, &client, device);
            let mail = new_device_mail(ctx, &client, &session);
            let used_mail = matches!(used, Some(UsedFactor::Recovery(_))).then(|| {
                NewMail::new(ctx.id(), client.language, Content::SecondFactor(FactorNews::CodeUsed))
            });
            let write = OpenSession {
                at: ctx.now.unix_ms,
                member,
                session,
                hash: credential.hash,
                rehash,
                mail,
                used,
                used_mail,
            };
            Ok(Step::store_or(write, move |ctx, opened| match opened {
                Ok(opened) => {
                    if opened.account.member.second_factor {
                        second_factor::succeeded(ctx, member);
                    }
                    find_place(ctx, opened.pair.session, client.address);
                    signed_in(ctx, 200, opened).step()
                }
                // The member was disabled or deleted while the hash was computed.
                Err(Refusal::Unauthorized) => Err(Code::EmailPasswordWrong.into()),
                // The member got a second factor meanwhile.
                Err(Refusal::CodeWrong) if !has_code => Err(Code::SecondFactorRequired.into()),
                Err(refusal) => Err(refusal.into()),
            }))
        }))
    }))
}

/// The mail that is sent if the device is new. If the geolocation can be found, the mail waits for it; the sign-in does
/// not.
fn new_device_mail(ctx: &mut Ctx<'_>, client: &Client, session: &NewSession) -> NewMail {
    let content = Content::NewDevice(Box::new(NewDevice {
        session: session.id,
        address: session.address.clone(),
        user_agent: session.user_agent.clone(),
        place: None,
    }));
    let mail = NewMail::new(ctx.id(), client.language, content);
    let hold_ms = if has_place(ctx, client.address) { PLACE_HOLD_MS } else { 0 };
    NewMail { hold_ms, ..mail }
}

/// The key under which the failed sign-ins of an account are counted, whether the account exists or not.
pub(super) fn account_key(ctx: &Ctx<'_>, email: &str) -> AttemptKey {
    ctx.settings.lookup_key.sign(format!("sign-in:{email}").as_bytes())
}

fn refuse_guesser(ctx: &Ctx<'_>, account: &AttemptKey, device_known: bool) -> Result<(), Problem> {
    match ctx.attempts.blocked(Attempt::SignIn(*account), ctx.now) {
        Some(wait) if !device_known => Err(Problem::rate_limited(wait.as_millis() as u64)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::accounts::testing::opened;
    use super::*;
    use crate::base::id::Id;
    use crate::base::secret::Secret;
    use crate::model::handler::Handler;
    use crate::model::member::Credential;
    use crate::model::operation::{Answer, Command, Read, Write};
    use crate::model::testing::{Played, Stage, problem, reply};

    const SIGN_IN: Handler = Handler::Public(sign_in);
    const CREDENTIALS: &str = r#"{"email":"Ada@Example.org","password":"analytical engine"}"#;

    fn credential(active: bool, device_known: bool) -> Answer {
        Answer::FindCredential(Box::new(Some(Credential {
            member: Id::from_u128(11),
            profile: Id::from_u128(12),
            active,
            hash: Secret::new("$phc".to_owned()),
            display_name: "Ada".to_owned(),
            device_known,
            second_factor: None,
        })))
    }

    /// Plays a sign-in up to the worker's result.
    fn guess(stage: &mut Stage, found: Answer, right: bool) -> Played {
        let step = stage.ask(SIGN_IN, CREDENTIALS);
        let step = stage.answer(step, |_| found)?;
        stage.finish(Ok(step), |_| Done::PasswordVerified { matches: right, rehash: None })
    }

    fn open(stage: &mut Stage, step: Played) -> Played {
        stage.answer(step, |command| {
            let Command::Write(Write::OpenSession(open)) = command else { panic!("{command:?}") };
            Answer::OpenSession(Box::new(opened(Id::from_u128(11), Id::from_u128(12), &open.session)))
        })
    }

    #[test]
    fn sign_in_reads_verifies_and_opens_a_session() {
        let mut stage = Stage::new();
        let step = stage.ask(SIGN_IN, &CREDENTIALS.replace('}', r#","unique_id":"phone"}"#));
        let step = stage.answer(step, |command| {
            let Command::Read(Read::FindCredential(find)) = command else { panic!("{command:?}") };
            // The predecessor locked out users whose address was typed with a capital letter.
            assert_eq!((find.email.as_str(), find.device), ("ada@example.org", Some(sha256(b"phone"))));
            credential(true, false)
        });
        let step = stage.finish(step, |job| {
            let Job::VerifyPassword(verify) = job else { panic!("{job:?}") };
            let VerifyPassword { password, hash, .. } = *verify;
            assert_eq!(
                (password.expose().as_str(), hash.as_ref().map(|hash| hash.expose().as_str())),
                ("analytical engine", Some("$phc"))
            );
            Done::PasswordVerified { matches: true, rehash: Some(Secret::new("$new".to_owned())) }
        });
        let step = stage.answer(step, |command| {
            let Command::Write(Write::OpenSession(open)) = command else { panic!("{command:?}") };
            assert_eq!((open.member, open.rehash), (Id::from_u128(11), Some(Secret::new("$new".to_owned()))));
            assert_eq!(open.session.unique_id.as_deref(), Some("phone"));
            Answer::OpenSession(Box::new(opened(Id::from_u128(11), Id::from_u128(12), &open.session)))
        });
        assert_eq!(reply(step).status, 200);
    }

    /// No response tells which accounts exist. In the predecessor the texts and the time of its responses did.
    #[test]
    fn wrong_unknown_and_disabled_look_the_same() {
        let mut seen = Vec::new();
        for found in
            [credential(true, false), Answer::FindCredential(Box::default()), credential(false, false)]
        {
            let active = matches!(&found, Answer::FindCredential(found) if found.as_ref().as_ref().is_some_and(|found| found.active));
            let mut stage = Stage::new();
            let step = stage.ask(SIGN_IN, CREDENTIALS);
            let step = stage.answer(step, |_| found);
            let mut jobs = 0;
            // The worker runs in every case; without an active member it has no hash that it could disclose.
            let step = stage.finish(step, |job| {
                let Job::VerifyPassword(verify) = job else { panic!("{job:?}") };
                let hash = verify.hash;
                assert_eq!(hash.is_some(), active);
                jobs += 1;
                Done::PasswordVerified { matches: false, rehash: None }
            });
            let Err(refused) = step else { panic!("expected a problem") };
            seen.push((refused, jobs));
        }
        assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
        assert_eq!(seen[0].0.code_text(), "email_password_wrong");

        // The member is disabled between the two steps.
        let mut stage = Stage::new();
        let step = guess(&mut stage, credential(true, false), true);
        assert_eq!(
            problem(stage.refuse(step, Refusal::Unauthorized)),
            (401, "email_password_wrong".to_owned())
        );
    }

    #[test]
    fn a_password_that_breaks_the_rules_is_a_wrong_one() {
        for password in ["a", "", &"x".repeat(129)] {
            let mut stage = Stage::new();
            let body = format!(r#"{{"email":"ada@example.org","password":"{password}"}}"#);
            let step = stage.ask(SIGN_IN, &body);
            let step = stage.answer(step, |_| credential(true, false));
            let step = stage.finish(step, |job| {
                let Job::VerifyPassword(verify) = job else { panic!("{job:?}") };
                let password = verify.password;
                assert!(password.expose().len() <= 128);
                Done::PasswordVerified { matches: false, rehash: None }
            });
            assert_eq!(problem(step), (401, "email_password_wrong".to_owned()), "{password}");
        }
        for (body, code) in [
            ("{}", "invalid_email"),
            (r#"{"email":"ada","password":"x"}"#, "invalid_email"),
            (r#"{"email":"ada@example.org"}"#, "invalid_password"),
            (r#"{"email":"ada@example.org","password":1}"#, "invalid_password"),
            (r#"{"email":"ada@example.org","password":"x","unique_id":" "}"#, "invalid_unique_id"),
        ] {
            assert_eq!(problem(Stage::new().ask(SIGN_IN, body)), (422, code.to_owned()), "{body}");
        }
    }

    /// Guesses of a password are counted. The predecessor had no limit on them.
    #[test]
    fn ten_failures_close_an_account_for_unknown_devices() {
        for unknown in [false, true] {
            let found = |known| {
                if unknown { Answer::FindCredential(Box::default()) } else { credential(true, known) }
            };
            let mut stage = Stage::new();
            for _ in 0..10 {
                let step = guess(&mut stage, found(false), false);
                assert_eq!(problem(step), (401, "email_password_wrong".to_owned()));
                // Another address makes no difference.
                stage.client.address = "192.0.2.9".parse().expect("an address");
            }
            let step = guess(&mut stage, found(false), true);
            let Err(refused) = step else { panic!("expected a problem") };
            assert_eq!((refused.status(), refused.retry_after_ms), (429, Some(900_000)));
            stage.settings.limits.rate_limit = false;
            assert_eq!(
                problem(guess(&mut stage, found(false), true)).0,
                429,
                "RATE_LIMIT=off never lifts this"
            );
            if !unknown {
                // The owner's own device is not locked out.
                let step = guess(&mut stage, found(true), true);
                assert_eq!(reply(open(&mut stage, step)).status, 200);
            }
            stage.wait(900);
            assert_eq!(problem(guess(&mut stage, found(false), false)).0, 401);
        }
    }

    #[test]
    fn guesses_sent_at_once_learn_no_more_than_ten() {
        let mut stage = Stage::new();
        let mut flying = Vec::new();
        for _ in 0..20 {
            let step = stage.ask(SIGN_IN, CREDENTIALS);
            flying.push(stage.answer(step, |_| credential(true, false)));
        }
        let mut statuses = Vec::new();
        for (i, step) in flying.into_iter().enumerate() {
            // The fifteenth password is right, and its client does not learn it.
            let step = stage.finish(step, |_| Done::PasswordVerified { matches: i == 14, rehash: None });
            statuses.push(problem(step).0);
        }
        assert_eq!(statuses, [[401; 10], [429; 10]].concat());
    }

    #[test]
    fn a_success_clears_the_count() {
        let mut stage = Stage::new();
        for _ in 0..3 {
            for _ in 0..9 {
                assert_eq!(problem(guess(&mut stage, credential(true, false), false)).0, 401);
            }
            let step = guess(&mut stage, credential(true, false), true);
            assert_eq!(reply(open(&mut stage, step)).status, 200);
        }
    }

    #[test]
    fn a_fault_does_not_count_as_a_failed_guess() {
        let mut stage = Stage::new();
        let step = stage.ask(SIGN_IN, CREDENTIALS);
        let step = stage.answer(step, |_| credential(true, false));
        assert_eq!(problem(stage.finish(step, |_| Done::Failed)), (500, "general_error".to_owned()));
        assert!(stage.attempts.blocked(Attempt::SignIn([0; 32]), stage.now).is_none());
    }
}
