//! The handlers of bots and their tokens, for the admins of the server and for the operator.
//!
//! Owns what a request may contain, and the token itself: 128 random bits, which are in the answer to `bot.token` only. Storage decides
//! who may do what.
//! Invariant: who has no actor is the operator, whose routes only the control socket offers.

use serde::Serialize;

use super::rules;
use crate::base::crypto::base64url;
use crate::base::secret::Secret;
use crate::model::bot::{
    AddBot, BOT_PREFIX, Bot, BotToken, CreateBotToken, HOOK_PREFIX, ListBotTokens, ListBots, MadeToken,
    RevokeBotToken, TOKEN_NAME_MAX, token_hash,
};
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::id::MemberId;
use crate::model::member::NewAccount;
use crate::model::params::written_name;
use crate::model::problem::Problem;
use crate::model::settings::SignUrls;

/// Bytes of a token: 128 bits, which nobody guesses.
const TOKEN_BYTES: usize = 16;

fn by(actor: Option<Actor>) -> Option<MemberId> {
    actor.map(|actor| actor.member)
}

/// POST /bots.
pub fn add(ctx: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let display_name = rules::display_name(&request.params)?;
    let mut nick_names = rules::nick_names(&display_name, ctx.entropy);
    // The name itself, if it is a nick name that nobody has.
    let plain = display_name.to_ascii_lowercase();
    if rules::good_nick_name(&plain) {
        nick_names.insert(0, plain);
    }
    let member: MemberId = ctx.id();
    let account = NewAccount {
        at: ctx.now.unix_ms,
        member,
        profile: ctx.id(),
        // Neither is what an address or a hash can be: it can't sign in, and gets no mail.
        email: Secret::new(format!("bot {member}")),
        hash: Secret::new(String::new()),
        nick_names,
        display_name: display_name.into(),
    };
    Ok(Step::store(AddBot { by: by(actor), account }, |ctx, bot| Reply::created(&shown(ctx, bot)).step()))
}

/// GET /bots.
pub fn list(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let list = ListBots { by: by(actor), after: params.next_number('b')?, limit: params.limit()? };
    Ok(Step::store(list, |ctx, page| {
        let bots: Vec<Bot> = page.bots.into_iter().map(|bot| shown(ctx, bot)).collect();
        Reply::list(&bots, page.next.map(|place| format!("b{place}"))).step()
    }))
}

fn shown(ctx: &Ctx<'_>, mut bot: Bot) -> Bot {
    bot.profile.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
    bot
}

/// POST /bots/{profile}/tokens.
pub fn create_token(ctx: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    #[derive(Serialize)]
    struct Created {
        #[serde(flatten)]
        made: BotToken,
        token: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    }
    let params = &request.params;
    let name = params.required_text("name")?;
    if !written_name(name, TOKEN_NAME_MAX) {
        return Err(Problem::invalid("name"));
    }
    let conversation = params.id("conversation")?;
    let mut random = [0; TOKEN_BYTES];
    ctx.entropy.fill(&mut random);
    let prefix = if conversation.is_some() { HOOK_PREFIX } else { BOT_PREFIX };
    let token = format!("{prefix}{}", base64url(&random));
    let create = CreateBotToken {
        at: ctx.now.unix_ms,
        by: by(actor),
        bot: params.required_id("profile")?,
        id: ctx.id(),
        hash: token_hash(&token),
        name: name.to_owned(),
        conversation,
    };
    Ok(Step::store(create, move |ctx, MadeToken { token: made, .. }| {
        let url = conversation.map(|_| format!("{}/hooks/{token}", ctx.settings.public_url));
        Reply::created(&Created { made, token, url }).step()
    }))
}

/// GET /bots/{profile}/tokens.
pub fn list_tokens(_: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let list = ListBotTokens { by: by(actor), bot: request.params.required_id("profile")? };
    Ok(Step::store(list, |_, tokens| Reply::list(&tokens, None).step()))
}

/// DELETE /bots/{profile}/tokens/{session}.
pub fn revoke_token(ctx: &mut Ctx<'_>, actor: Option<Actor>, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let (bot, token) = (params.required_id("profile")?, params.required_id("session")?);
    let revoke = RevokeBotToken { at: ctx.now.unix_ms, by: by(actor), bot, token };
    Ok(Step::store(revoke, |_, ()| Reply::no_content().step()))
}
