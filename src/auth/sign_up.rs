//! The handlers of account.sign_up and sign_up.policy.
//!
//! Owns the order of its steps and what a response may disclose. A worker computes the hash; storage writes the rows.
//! Invariant: a network that asked too often whether an e-mail is taken learns nothing more.

use std::net::IpAddr;

use serde::Serialize;

use super::accounts::{find_place, new_session, signed_in};
use super::{codes, invites, rules};
use crate::base::secret::Secret;
use crate::model::attempts::Attempt;
use crate::model::handler::{Client, Ctx, Reply, Request, Step};
use crate::model::invite::{FindInvite, PresentedInvite};
use crate::model::job::{Done, Job};
use crate::model::member::{NewAccount, SignUp};
use crate::model::operation::Refusal;
use crate::model::problem::{Code, Problem};
use crate::model::settings::SignUpRule;

#[derive(Serialize)]
struct Policy {
    open: bool,
    invite: bool,
    verification_required: bool,
}

/// GET /user/sign-up: a client offers no form that the server refuses.
pub fn policy(ctx: &mut Ctx<'_>, _: &Request<'_>) -> Result<Step, Problem> {
    let rule = ctx.settings.sign_up;
    let (open, invite) = (rule == SignUpRule::Open, rule == SignUpRule::Invite);
    let policy = Policy { open, invite, verification_required: ctx.settings.require_verified };
    Reply::ok(&policy).step()
}

/// POST /user/sign-up.
pub fn sign_up(ctx: &mut Ctx<'_>, request: &Request<'_>) -> Result<Step, Problem> {
    let rule = ctx.settings.sign_up;
    if rule == SignUpRule::Closed || (rule == SignUpRule::Invite && !request.params.has("invite")) {
        return Err(Code::SignUpClosed.into());
    }
    let invite = invites::presented(&request.params)?.map(|hash| PresentedInvite {
        hash,
        must_admit: rule == SignUpRule::Invite,
        members_max: ctx.settings.limits.members_max,
    });
    let display_name = rules::display_name(&request.params)?;
    let email = rules::email(&request.params)?;
    let password = request.params.required_text("password")?;
    if !rules::good_password(password, &email, &display_name) {
        return Err(Problem::invalid("password"));
    }
    let device = rules::unique_id(&request.params)?;
    refuse_prober(ctx, request.client.address)?;

    let password = Secret::new(password.to_owned());
    let valid = ValidSignUp { display_name, email, password, device, client: request.client.clone(), invite };
    let Some(invite) = invite else { return Ok(make(ctx, valid)) };
    // No hash is computed for a code that is not valid; the transaction checks it again.
    let find = FindInvite { at: ctx.now.unix_ms, hash: invite.hash };
    Ok(Step::store(find, move |ctx, found| match invite.must_admit && !found.admits {
        true => Err(Code::SignUpClosed.into()),
        false => Ok(make(ctx, valid)),
    }))
}

/// A request whose values are valid.
struct ValidSignUp {
    display_name: String,
    email: String,
    password: Secret,
    device: Option<String>,
    client: Client,
    invite: Option<PresentedInvite>,
}

fn make(ctx: &mut Ctx<'_>, valid: ValidSignUp) -> Step {
    let ValidSignUp { display_name, email, password, device, client, invite } = valid;
    let job = Job::HashPassword { password, salt: ctx.salt() };
    Step::work(job, move |ctx, done| {
        let Done::PasswordHashed(hash) = done else { return Err(Code::GeneralError.into()) };
        let member = ctx.id();
        let code = codes::new_verify_code(ctx, member, client.language);
        let account = NewAccount {
            at: ctx.now.unix_ms,
            member,
            profile: ctx.id(),
            email: Secret::new(email),
            hash,
            nick_names: rules::nick_names(&display_name, ctx.entropy),
            display_name: display_name.into(),
        };
        let session = new_session(ctx, &client, device);
        let write = SignUp { account, session, code: Some(Box::new(code)), invite };
        Ok(Step::store_or(write, move |ctx, opened| match opened {
            Ok(opened) => {
                find_place(ctx, opened.pair.session, client.address);
                let reply = signed_in(ctx, 201, opened);
                codes::with_delivery(ctx, reply).step()
            }
            Err(Refusal::EmailTaken) => {
                // Checked again: other requests of this network may have been answered meanwhile.
                refuse_prober(ctx, client.address)?;
                ctx.attempts.failed(Attempt::EmailTaken(client.address), ctx.now);
                Err(Code::EmailTaken.into())
            }
            // The maker of the invite is no admin of the server any more.
            Err(Refusal::NotAllowed) => Err(Code::SignUpClosed.into()),
            Err(refusal) => Err(refusal.into()),
        }))
    })
}

/// `email_taken` is the one permitted disclosure: a network that asked often enough may not sign anyone up for a while, whether
/// the e-mail is taken or not. It is a rate limit by address, so `RATE_LIMIT=off` removes it.
fn refuse_prober(ctx: &Ctx<'_>, address: IpAddr) -> Result<(), Problem> {
    match ctx.attempts.blocked(Attempt::EmailTaken(address), ctx.now) {
        Some(wait) if ctx.settings.limits.rate_limit => Err(Problem::rate_limited(wait.as_millis() as u64)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::accounts::testing::opened;
    use super::super::token;
    use super::*;
    use crate::base::json;
    use crate::model::handler::Handler;
    use crate::model::operation::{Answer, Command, Write};
    use crate::model::testing::{Stage, UNIX_MS, problem, text};

    const SIGN_UP: Handler = Handler::Public(sign_up);
    const GOOD: &str = r#"{"display_name":"Ada","email":"Ada@Example.org","password":"analytical engine"}"#;

    fn hashed(job: Job) -> Done {
        let Job::HashPassword { password, salt } = job else { panic!("{job:?}") };
        assert_eq!(password.expose(), "analytical engine");
        assert_ne!(salt, [0; 16]);
        Done::PasswordHashed(Secret::new("$phc".to_owned()))
    }

    #[test]
    fn sign_up_hashes_then_writes_then_answers_with_tokens() {
        let mut stage = Stage::new();
        let step = stage.ask(SIGN_UP, &GOOD.replace('}', r#","unique_id":"phone"}"#));
        let step = stage.finish(step, hashed);
        let step = stage.answer(step, |command| {
            let Command::Write(Write::SignUp(write)) = command else { panic!("{command:?}") };
            assert_eq!(
                (
                    write.account.at,
                    write.account.email.expose().as_str(),
                    write.account.hash.expose().as_str()
                ),
                (UNIX_MS, "ada@example.org", "$phc")
            );
            assert_eq!(
                (write.account.display_name.text.as_str(), write.account.nick_names.len()),
                ("Ada", 5)
            );
            assert_eq!(write.session.unique_id.as_deref(), Some("phone"));
            assert_eq!(
                (write.session.address.as_str(), write.session.user_agent.as_str()),
                ("192.0.2.7", "test")
            );
            assert_eq!(write.session.access_expire, UNIX_MS.s().after(900));
            assert_eq!(write.session.refresh_expire, UNIX_MS.s().after(2_592_000));
            let (account, session) = (&write.account, &write.session);
            let drawn = [account.member.unix_ms(), account.profile.unix_ms(), session.id.unix_ms()];
            assert_eq!((drawn, session.access_uuid.unix_ms()), ([UNIX_MS; 3], UNIX_MS));
            Answer::SignUp(Box::new(opened(write.account.member, write.account.profile, &write.session)))
        });
        let (status, body) = text(step);
        assert_eq!(status, 201);
        let value = json::parse(body.as_bytes()).expect("JSON");
        let data = value.get("data").expect("data");
        let access = data.get("token").and_then(|token| token.get("access")).and_then(|a| a.as_str());
        let claims =
            token::verify_access(&stage.settings, "k3", UNIX_MS.s(), access.expect("access")).expect("good");
        assert!(token::device_matches(claims.device, Some("phone")) && claims.device.is_some());
        for name in ["access", "refresh", "token_uuid", "refresh_uuid", "token_expire", "refresh_expire"] {
            assert!(data.get("token").and_then(|token| token.get(name)).is_some(), "{name}");
        }
        assert_eq!(
            data.get("member").and_then(|m| m.get("email")).and_then(|e| e.as_str()),
            Some("ada@example.org")
        );
        assert!(data.get("profile").and_then(|p| p.get("presence")).is_some());
        assert!(!body.contains("$phc"));
    }

    #[test]
    fn sign_up_names_what_is_wrong_before_any_work() {
        let check = |body: &str, expect: (u16, &str)| {
            let (status, code) = problem(Stage::new().ask(SIGN_UP, body));
            assert_eq!((status, code.as_str()), expect, "{body}");
        };
        check("{}", (422, "invalid_display_name"));
        check(&GOOD.replace("Ada@Example.org", "ada"), (422, "invalid_email"));
        check(&GOOD.replace("\"Ada\"", "\" \""), (422, "invalid_display_name"));
        check(&GOOD.replace("\"Ada\"", "[]"), (422, "invalid_display_name"));
        check(&GOOD.replace("analytical engine", "a"), (422, "invalid_password"));
        check(&GOOD.replace("analytical engine", "ada@example.org"), (422, "invalid_password"));
        check(&GOOD.replace('}', r#","unique_id":"a b"}"#), (422, "invalid_unique_id"));
        let mut closed = Stage::new();
        closed.settings.sign_up = SignUpRule::Closed;
        assert_eq!(problem(closed.ask(SIGN_UP, GOOD)), (403, "sign_up_closed".to_owned()));
        closed.settings.sign_up = SignUpRule::Invite;
        assert_eq!(problem(closed.ask(SIGN_UP, GOOD)), (403, "sign_up_closed".to_owned()));
        for bad in [r#""""#, r#""short""#, "7", r#""AAAAAAAAAAAAAAAAAAAAAB""#] {
            let body = GOOD.replace('}', &format!(r#","invite":{bad}}}"#));
            assert_eq!(problem(closed.ask(SIGN_UP, &body)), (422, "invalid_invite".to_owned()), "{bad}");
        }
    }

    #[test]
    fn the_policy_is_what_the_operator_configured() {
        let rules = [
            (SignUpRule::Open, true, false),
            (SignUpRule::Invite, false, true),
            (SignUpRule::Closed, false, false),
        ];
        for (rule, open, invite) in rules {
            let (mut stage, required) = (Stage::new(), invite);
            stage.settings.sign_up = rule;
            stage.settings.require_verified = required;
            let expect = format!(
                r#"{{"data":{{"open":{open},"invite":{invite},"verification_required":{required}}}}}"#
            );
            assert_eq!(text(stage.ask(Handler::Public(policy), "{}")), (200, expect));
        }
    }

    #[test]
    fn the_unique_id_header_alone_binds_nothing() {
        let mut stage = Stage::new();
        stage.client.unique_id = Some("header".to_owned());
        let step = stage.ask(SIGN_UP, &GOOD.replace('}', r#","unique_id":""}"#));
        let step = stage.finish(step, hashed);
        stage
            .answer(step, |command| {
                let Command::Write(Write::SignUp(write)) = command else { panic!("{command:?}") };
                assert_eq!(write.session.unique_id, None);
                Answer::SignUp(Box::new(opened(write.account.member, write.account.profile, &write.session)))
            })
            .map(|_| ())
            .expect("an answer");
    }

    #[test]
    fn an_address_learns_ten_times_an_hour_that_an_e_mail_is_taken() {
        let taken = |stage: &mut Stage| {
            let step = stage.ask(SIGN_UP, GOOD);
            if step.is_err() {
                return problem(step);
            }
            let step = stage.finish(step, hashed);
            problem(stage.refuse(step, Refusal::EmailTaken))
        };
        let mut stage = Stage::new();
        for _ in 0..10 {
            assert_eq!(taken(&mut stage), (409, "email_taken".to_owned()));
        }
        assert_eq!(taken(&mut stage), (429, "rate_limited".to_owned()));
        stage.client.address = "192.0.2.8".parse().expect("an address");
        assert_eq!(taken(&mut stage), (409, "email_taken".to_owned()));
        stage.client.address = "192.0.2.7".parse().expect("an address");
        stage.wait(3_600);
        assert_eq!(taken(&mut stage), (409, "email_taken".to_owned()));

        // An IPv6 household counts as one address, and RATE_LIMIT=off removes the limit.
        let mut stage = Stage::new();
        for i in 0..10 {
            stage.client.address = format!("2001:db8::{i}").parse().expect("an address");
            assert_eq!(taken(&mut stage), (409, "email_taken".to_owned()));
        }
        stage.client.address = "2001:db8::ff".parse().expect("an address");
        assert_eq!(taken(&mut stage), (429, "rate_limited".to_owned()));
        stage.settings.limits.rate_limit = false;
        assert_eq!(taken(&mut stage), (409, "email_taken".to_owned()));
    }

    #[test]
    fn a_worker_without_time_is_busy() {
        let mut stage = Stage::new();
        let step = stage.ask(SIGN_UP, GOOD);
        assert_eq!(problem(stage.finish(step, |_| Done::Busy)), (503, "busy".to_owned()));
    }
}
