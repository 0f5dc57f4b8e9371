//! The handler of account.me, and the new session and its response that sign-up and sign-in share.
//!
//! Owns which device a new session is bound to, the response that carries its tokens, and which addresses are looked up
//! for a geolocation. Leaves the syntax of the request to `rules` and the tokens' bytes to `token`.
//! Invariant: a session is bound to the `unique_id` of the body, and to nothing else.

use std::net::IpAddr;

use serde::Serialize;

use super::token;
use crate::base::network::is_public;
use crate::model::handler::{Actor, Client, Ctx, FollowUp, Reply, Request, Step};
use crate::model::id::SessionId;
use crate::model::mail::SetDigest;
use crate::model::member::{FindAccount, Member};
use crate::model::operation::Refusal;
use crate::model::problem::{Code, Problem};
use crate::model::profile::Profile;
use crate::model::session::{NewSession, Opened, Token};
use crate::model::settings::SignUrls;

/// GET /user/me.
pub fn me(_: &mut Ctx<'_>, actor: Actor, _: &Request<'_>) -> Result<Step, Problem> {
    Ok(account(actor))
}

/// PUT /user/me.
pub fn update(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let Some(on) = request.params.flag("digest")? else { return Ok(account(actor)) };
    if on && ctx.settings.mail_to_file {
        return Err(Problem::invalid("digest"));
    }
    let set = SetDigest { member: actor.member, on, language: request.client.language };
    Ok(Step::store(set, move |_, ()| Ok(account(actor))))
}

fn account(actor: Actor) -> Step {
    #[derive(Serialize)]
    struct Me {
        member: Member,
        profile: Profile,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        directory: bool,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        mails: bool,
    }
    Step::store_or(FindAccount { member: actor.member }, |ctx, account| {
        let mut account = account.map_err(|refusal| match refusal {
            // The member was deleted, so the token no longer permits anything.
            Refusal::NotFound => Code::UnauthorizedAccess.into(),
            refusal => Problem::from(refusal),
        })?;
        account.profile.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        let (directory, mails) = (ctx.settings.directory, !ctx.settings.mail_to_file);
        Reply::ok(&Me { member: account.member, profile: account.profile, directory, mails }).step()
    })
}

/// `{token,member,profile}`.
pub(super) fn signed_in(ctx: &Ctx<'_>, status: u16, opened: Opened) -> Reply {
    #[derive(Serialize)]
    struct SignedIn {
        token: Token,
        member: Member,
        profile: Profile,
    }
    let Opened { mut account, pair } = opened;
    account.profile.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
    let token = token::sign_pair(ctx.settings, ctx.epoch, &pair);
    Reply::data(status, &SignedIn { token, member: account.member, profile: account.profile })
}

/// The session is bound to the `unique_id` of the body and to nothing else: a client that only sends the `UniqueId` header
/// has not asked to be bound, and would be locked out as soon as it omits the header.
pub(super) fn new_session(ctx: &mut Ctx<'_>, client: &Client, unique_id: Option<String>) -> NewSession {
    let issued = ctx.now.unix_s();
    NewSession {
        id: ctx.id(),
        access_uuid: ctx.id(),
        refresh_uuid: ctx.id(),
        unique_id,
        user_agent: client.user_agent.clone(),
        address: client.address.to_canonical().to_string(),
        access_expire: issued.after(ctx.settings.limits.access_ttl),
        refresh_expire: issued.after(ctx.settings.limits.refresh_ttl),
    }
}

/// Whether the geolocation of this address is looked up. A private address has no geolocation and is never sent to an
/// outside service.
pub(super) fn has_place(ctx: &Ctx<'_>, address: IpAddr) -> bool {
    ctx.settings.places && is_public(address)
}

pub(super) fn find_place(ctx: &mut Ctx<'_>, session: SessionId, address: IpAddr) {
    if has_place(ctx, address) {
        ctx.follow_ups.push(FollowUp::FindPlace { session, address });
    }
}

/// Storage outcomes for the tests of sign-up and sign-in.
#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::base::crypto::sha256;
    use crate::model::id::{MemberId, ProfileId};
    use crate::model::member::Account;
    use crate::model::session::TokenPair;
    use crate::model::testing::UNIX_MS;

    pub fn account(member: MemberId, profile: ProfileId) -> Account {
        Account {
            member: Member {
                id: member,
                email: "ada@example.org".to_owned(),
                verified: false,
                active: true,
                admin: false,
                bot: false,
                digest: false,
                second_factor: false,
                recovery_codes: None,
                created_at: UNIX_MS,
            },
            profile: Profile {
                id: profile,
                member: Some(member),
                display_name: "Ada".to_owned(),
                nick_name: "ada1234".to_owned(),
                profile_image: None,
                is_private: false,
                created_at: UNIX_MS,
                presence: Some(true),
                bot: false,
            },
        }
    }

    pub fn opened(member: MemberId, profile: ProfileId, session: &NewSession) -> Opened {
        Opened {
            account: account(member, profile),
            pair: TokenPair {
                session: session.id,
                member,
                profile,
                access_uuid: session.access_uuid,
                refresh_uuid: session.refresh_uuid,
                device: session.unique_id.as_deref().map(|id| sha256(id.as_bytes())),
                issued: UNIX_MS.s(),
                access_expire: session.access_expire,
                refresh_expire: session.refresh_expire,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::account;
    use super::*;
    use crate::base::id::Id;
    use crate::model::handler::Handler;
    use crate::model::id::{MemberId, ProfileId};
    use crate::model::operation::{Answer, Command, Read};
    use crate::model::testing::{Stage, problem, text};

    const ME: Handler = Handler::Member(me);

    #[test]
    fn me_is_my_account() {
        let mut stage = Stage::new();
        let step = stage.ask(ME, "");
        let step = stage.answer(step, |command| {
            let Command::Read(Read::FindAccount(find)) = command else { panic!("{command:?}") };
            assert_eq!(find.member, Id::from_u128(11));
            Answer::FindAccount(Box::new(account(Id::from_u128(11), Id::from_u128(12))))
        });
        let (status, body) = text(step);
        assert_eq!(status, 200);
        let (member, profile) = (MemberId::from_u128(11), ProfileId::from_u128(12));
        assert_eq!(
            body,
            format!(
                r#"{{"data":{{"member":{{"id":"{member}","email":"ada@example.org","verified":false,"active":true,"created_at":"2026-11-22T13:03:54.120Z"}},"profile":{{"id":"{profile}","member":"{member}","display_name":"Ada","nick_name":"ada1234","profile_image":null,"is_private":false,"created_at":"2026-11-22T13:03:54.120Z","presence":true}},"mails":true}}}}"#
            )
        );
        let step = stage.ask(ME, "");
        assert_eq!(problem(stage.refuse(step, Refusal::NotFound)), (401, "unauthorized_access".to_owned()));
    }
}
