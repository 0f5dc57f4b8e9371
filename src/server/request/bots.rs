//! The tokens of bots and of incoming hooks, and what of the API is for people only.
//!
//! Owns the tokens that can be used, by their hashes, so that a request with one is admitted without a look into storage. Leaves the rows to
//! `store`: what is here follows from the facts of commits, also of those of other nodes.
//! Invariant: a token that is not here permits nothing; one of a hook permits nothing but a call of its hook.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::bot::{
    BOT_PREFIX, BOT_TOKENS_MAX, BOTS_MAX, LiveToken, TOKEN_EXPIRE, TokenHash, token_hash,
};
use crate::model::handler::{Actor, Step};
use crate::model::id::{ConversationId, MemberId, SessionId};
use crate::model::operation::{Command, Read};
use crate::model::problem::{Code, Problem};
use crate::server::core::Core;
use crate::server::request::routes::Route;

/// Tokens of a server, about 150 bytes each: storage makes no more.
const TOKENS_MAX: u64 = BOTS_MAX * BOT_TOKENS_MAX;

/// Paths that a bot has no use for, or that would tell it of people with whom it has no conversation.
const FOR_PEOPLE: [&str; 7] = [
    "/api/v1/admin/",
    "/api/v1/user/",
    "/api/v1/push",
    "/api/v1/invites",
    "/api/v1/bots",
    "/api/v1/directory",
    "/api/v1/{nick_name}",
];
/// Of these, what a bot may ask.
const OF_ONESELF: &str = "account.me";

#[derive(Debug, Default)]
pub struct Bots {
    tokens: BTreeMap<TokenHash, LiveToken>,
    hashes: BTreeMap<SessionId, TokenHash>,
    /// Who has a token.
    members: BTreeSet<(MemberId, SessionId)>,
}

impl Bots {
    pub fn add(&mut self, token: LiveToken) {
        self.tokens.insert(token.hash, token);
        self.hashes.insert(token.session, token.hash);
        self.members.insert((token.member, token.session));
        debug_assert!(self.tokens.len() as u64 <= TOKENS_MAX, "storage makes no more");
    }

    /// A session has ended, which may be a token's.
    pub fn session_ended(&mut self, session: SessionId) {
        if let Some(token) = self.hashes.remove(&session).and_then(|hash| self.tokens.remove(&hash)) {
            self.members.remove(&(token.member, session));
        }
    }

    /// Whether a member is a bot with a token, and so all that asks in its name.
    pub fn has(&self, member: MemberId) -> bool {
        let first = self.members.range((member, SessionId::from_u128(0))..).next();
        first.is_some_and(|(found, _)| *found == member)
    }

    /// The bot of a bearer token.
    pub fn actor(&self, bearer: &str) -> Option<Actor> {
        // Nothing else is hashed: an access token is a thousand bytes.
        let token = bearer.starts_with(BOT_PREFIX).then(|| self.tokens.get(&token_hash(bearer)))??;
        token.conversation.is_none().then(|| actor(token))
    }

    /// The bot of an incoming hook, and the conversation to which it posts.
    pub fn hook(&self, token: &str) -> Option<(Actor, ConversationId)> {
        let token = self.tokens.get(&token_hash(token))?;
        token.conversation.map(|conversation| (actor(token), conversation))
    }
}

fn actor(token: &LiveToken) -> Actor {
    Actor { member: token.member, profile: token.profile, session: token.session, expires: TOKEN_EXPIRE }
}

/// Runs between the handler of a request and its first step: 403 for a bot that asks what only people may. The ops of a WebSocket are
/// all for bots, too.
pub fn gate(core: &Core, route: &Route, actor: Option<Actor>, step: &Step) -> Result<(), Problem> {
    if !actor.is_some_and(|actor| core.requests.bots.has(actor.member)) {
        return Ok(());
    }
    let is_search = matches!(step, Step::Store(Command::Read(Read::SearchProfiles(_)), _));
    if is_search || is_for_people(route) { Err(Code::NotAllowed.into()) } else { Ok(()) }
}

/// Whether a bot gets 403 from this row, whatever it asks.
pub fn is_for_people(route: &Route) -> bool {
    route.name != OF_ONESELF && FOR_PEOPLE.iter().any(|path| route.path.starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    fn token(text: &str, session: u128, conversation: Option<u128>) -> LiveToken {
        LiveToken {
            hash: token_hash(text),
            session: Id::from_u128(session),
            member: Id::from_u128(1),
            profile: Id::from_u128(2),
            conversation: conversation.map(Id::from_u128),
        }
    }

    #[test]
    fn a_token_is_good_for_one_thing_until_it_ends() {
        let mut bots = Bots::default();
        bots.add(token("nb_a", 10, None));
        bots.add(token("nh_b", 11, Some(5)));
        assert_eq!(bots.actor("nb_a").map(|actor| actor.session), Some(Id::from_u128(10)));
        assert_eq!(bots.hook("nh_b").map(|(_, conversation)| conversation), Some(Id::from_u128(5)));
        assert!(bots.actor("nh_b").is_none() && bots.hook("nb_a").is_none() && bots.actor("nb_x").is_none());
        assert!(bots.has(Id::from_u128(1)) && !bots.has(Id::from_u128(0)) && !bots.has(Id::from_u128(2)));
        bots.session_ended(Id::from_u128(10));
        assert!(bots.actor("nb_a").is_none() && bots.has(Id::from_u128(1)));
        bots.session_ended(Id::from_u128(11));
        assert!(bots.hook("nh_b").is_none() && !bots.has(Id::from_u128(1)));
    }
}
