//! The route table: every path, who may use it, which body it takes and which rate it counts in.
//!
//! The name of a row that is an op is the name of the WebSocket op too, and the same handler serves both.
//! Invariant: the table decides before a body byte is read.

use crate::auth::{
    accounts, admin, bots, codes, deletion, export, hooks as bot_hooks, invites, password, profiles, push,
    reports, second_factor, sessions, sign_in, sign_up, tickets,
};
use crate::messaging::{
    changes, conversations, events, files, groups, hooks, messages, preferences, search, streams,
};
use crate::model::handler::{Admit, Handler};
use crate::proto::http::head::Method;
use crate::server::request::conformance;
use crate::site;
use crate::uploads;

/// One row. `path` names its parameters in braces; a parameter that is an id matches only a ULID, a last one with three dots
/// takes the rest of the path.
pub struct Route {
    /// The label in metrics and logs; the name of the op if `op` is set.
    pub name: &'static str,
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    pub body: BodyKind,
    pub rate: RateClass,
    pub action: Action,
    pub op: bool,
    /// Checks the length of a body that becomes a file before the body is read.
    pub admit: Option<Admit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Public,
    /// A bearer access token.
    Bearer,
    /// The bearer, or `?access=`, or a ticket: for WebSocket routes, whose clients can't set headers.
    Socket,
    /// The bearer, or an `events` ticket: for streams that EventSource opens, which can't set headers.
    Events,
    /// Any client of the control socket. The public listener has no such row.
    Control,
    /// On the public listener the bearer, who must be an admin of the server: storage decides that. On the control socket any client,
    /// also without the `/api/v1` of the path.
    Admin,
    /// The bearer, unless the query carries a signature, which the handler checks.
    Signed,
    /// The token in the path, which is that of an incoming hook.
    Hook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// A body is read and dropped.
    None,
    /// A JSON object of at most JSON_BODY_MAX bytes, or nothing.
    Json,
    /// A file, raw or in a form.
    Upload,
    /// As `Upload`, of a picture of at most PREVIEW_MAX bytes that needs no name.
    Preview,
    /// As `Json`, or a form whose field of this name may be a file.
    Form(&'static str),
    /// At most HOOK_BODY_MAX bytes of JSON, a form or text, which the handler reads.
    Hook,
    /// Any bytes, for the conformance echo.
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateClass {
    /// By address: RATE_CREDENTIALS.
    Credential,
    /// By member if the request has an actor, else by address.
    Read,
    /// By member: RATE_WRITES; over HTTP as `Read` in addition.
    Write,
}

/// What runs the row.
#[derive(Clone, Copy)]
pub enum Action {
    Handle(Handler),
    /// This and the next two report on the server itself.
    Health,
    Ready,
    Metrics,
    /// What a node knows of its cluster.
    Cluster,
    /// What an admin of the server sees of the process.
    Overview,
    /// This and the next are the conformance build's: the body, or each message, is sent back.
    Echo,
    EchoSocket,
}

pub const fn row(
    name: &'static str,
    method: Method,
    path: &'static str,
    access: Access,
    body: BodyKind,
    rate: RateClass,
    action: Action,
) -> Route {
    Route { name, method, path, access, body, rate, action, op: false, admit: None }
}

const fn op(
    name: &'static str,
    method: Method,
    path: &'static str,
    rate: RateClass,
    handler: Handler,
) -> Route {
    let body = match method {
        Method::Get => BodyKind::None,
        _ => BodyKind::Json,
    };
    Route {
        name,
        method,
        path,
        access: Access::Bearer,
        body,
        rate,
        action: Action::Handle(handler),
        op: true,
        admit: None,
    }
}

/// A row with a check between its head and its body.
const fn admitted(row: Route, admit: Admit) -> Route {
    Route { admit: Some(admit), ..row }
}

use Access::{Admin, Bearer, Control, Events, Public, Signed, Socket};
use Action::Handle;
use BodyKind::{Form, Json, None as NoBody, Preview, Upload};
use Method::{Delete, Get, Post, Put};
use RateClass::{Credential, Read, Write};

#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    // The site and operations.
    row("site.index", Get, "/", Public, NoBody, Read, Handle(Handler::Public(site::index))),
    row("site.file", Get, "/client/{path...}", Public, NoBody, Read, Handle(Handler::Public(site::file))),
    row("site.docs", Get, "/docs", Public, NoBody, Read, Handle(Handler::Public(site::documents::docs))),
    row("openapi", Get, "/openapi.json", Public, NoBody, Read, Handle(Handler::Public(site::documents::openapi))),
    row("asyncapi", Get, "/asyncapi.json", Public, NoBody, Read, Handle(Handler::Public(site::documents::asyncapi))),
    row("healthz", Get, "/healthz", Public, NoBody, Read, Action::Health),
    row("readyz", Get, "/readyz", Public, NoBody, Read, Action::Ready),
    row("metrics", Get, "/metrics", Public, NoBody, Read, Action::Metrics),
    // Accounts and sessions.
    row("sign_up.policy", Get, "/api/v1/user/sign-up", Public, NoBody, Read, Handle(Handler::Public(sign_up::policy))),
    row("account.sign_up", Post, "/api/v1/user/sign-up", Public, Json, Credential, Handle(Handler::Public(sign_up::sign_up))),
    row("account.sign_in", Post, "/api/v1/user/sign-in", Public, Json, Credential, Handle(Handler::Public(sign_in::sign_in))),
    row("session.refresh", Post, "/api/v1/user/refresh", Public, Json, Credential, Handle(Handler::Public(sessions::refresh))),
    row("session.end", Post, "/api/v1/user/logout", Bearer, Json, Write, Handle(Handler::Member(sessions::logout))),
    row("session.list", Get, "/api/v1/user/sessions", Bearer, NoBody, Read, Handle(Handler::Member(sessions::list))),
    row("session.revoke", Delete, "/api/v1/user/sessions/{session}", Bearer, NoBody, Write, Handle(Handler::Member(sessions::revoke))),
    row("session.revoke", Delete, "/api/v1/user/sessions", Bearer, NoBody, Write, Handle(Handler::Member(sessions::revoke_others))),
    row("ticket.create", Post, "/api/v1/user/ticket", Bearer, Json, Write, Handle(Handler::Member(tickets::create))),
    row("account.password", Put, "/api/v1/user/password", Bearer, Json, Write, Handle(Handler::Member(password::change))),
    row("factor.begin", Post, "/api/v1/user/second-factor", Bearer, Json, Write, Handle(Handler::Member(second_factor::begin))),
    row("factor.confirm", Put, "/api/v1/user/second-factor", Bearer, Json, Write, Handle(Handler::Member(second_factor::confirm))),
    row("factor.recovery", Post, "/api/v1/user/second-factor/recovery", Bearer, Json, Write, Handle(Handler::Member(second_factor::renew))),
    row("factor.remove", Delete, "/api/v1/user/second-factor", Bearer, Json, Write, Handle(Handler::Member(second_factor::remove))),
    row("account.me", Get, "/api/v1/user/me", Bearer, NoBody, Read, Handle(Handler::Member(accounts::me))),
    row("account.update", Put, "/api/v1/user/me", Bearer, Json, Write, Handle(Handler::Member(accounts::update))),
    row("account.export", Get, "/api/v1/user/export", Bearer, NoBody, Read, Handle(Handler::Member(export::export))),
    row("account.delete", Delete, "/api/v1/user/me", Bearer, Json, Write, Handle(Handler::Member(deletion::delete))),
    row("account.delete", Post, "/api/v1/user/delete", Bearer, Json, Write, Handle(Handler::Member(deletion::delete))),
    // Notifications.
    row("push.key", Get, "/api/v1/push", Bearer, NoBody, Read, Handle(Handler::Member(push::key))),
    row("push.subscribe", Put, "/api/v1/push", Bearer, Json, Write, Handle(Handler::Member(push::subscribe))),
    row("push.level", Put, "/api/v1/push/{session}", Bearer, Json, Write, Handle(Handler::Member(push::set_level))),
    row("push.unsubscribe", Delete, "/api/v1/push/{session}", Bearer, NoBody, Write, Handle(Handler::Member(push::unsubscribe))),
    // Those of the operator and of the admins of the server, then the operator's alone.
    row("admin.member.list", Get, "/api/v1/admin/members", Admin, NoBody, Read, Handle(Handler::Either(admin::list))),
    row("admin.member.add", Post, "/api/v1/admin/members", Admin, Json, Write, Handle(Handler::Either(admin::add))),
    row("admin.member.disable", Post, "/api/v1/admin/members/disable", Admin, Json, Write, Handle(Handler::Either(admin::disable))),
    row("admin.member.enable", Post, "/api/v1/admin/members/enable", Admin, Json, Write, Handle(Handler::Either(admin::enable))),
    row("admin.member.delete", Post, "/api/v1/admin/members/delete", Admin, Json, Write, Handle(Handler::Either(admin::delete))),
    row("admin.member.verify", Post, "/api/v1/admin/members/verify", Admin, Json, Write, Handle(Handler::Either(admin::verify))),
    row("admin.member.rename", Post, "/api/v1/admin/members/rename", Admin, Json, Write, Handle(Handler::Either(admin::rename))),
    row("admin.member.revoke", Post, "/api/v1/admin/members/revoke", Admin, Json, Write, Handle(Handler::Either(admin::revoke))),
    row("admin.member.reset_link", Post, "/api/v1/admin/members/reset-link", Admin, Json, Write, Handle(Handler::Either(admin::make_reset_link))),
    row("admin.message.delete", Delete, "/api/v1/admin/messages/{message}", Admin, NoBody, Write, Handle(Handler::Either(admin::remove_message))),
    row("admin.report.list", Get, "/api/v1/admin/reports", Admin, NoBody, Read, Handle(Handler::Either(reports::list))),
    row("admin.report.close", Delete, "/api/v1/admin/reports/{report}", Admin, NoBody, Write, Handle(Handler::Either(reports::close))),
    row("admin.audit", Get, "/api/v1/admin/audit", Admin, NoBody, Read, Handle(Handler::Either(admin::audit))),
    row("admin.storage", Get, "/api/v1/admin/storage", Admin, NoBody, Read, Handle(Handler::Either(admin::storage))),
    row("admin.server", Get, "/api/v1/admin/server", Admin, NoBody, Read, Action::Overview),
    row("admin.server.backup", Post, "/api/v1/admin/backup", Admin, NoBody, Write, Handle(Handler::Either(admin::begin_backup))),
    row("admin.member.promote", Post, "/admin/members/promote", Control, Json, Write, Handle(Handler::Public(admin::promote))),
    row("admin.member.demote", Post, "/admin/members/demote", Control, Json, Write, Handle(Handler::Public(admin::demote))),
    row("admin.member.second_factor", Post, "/admin/members/second-factor-off", Control, Json, Write, Handle(Handler::Public(admin::second_factor_off))),
    row("admin.member.password", Post, "/admin/members/password", Control, Json, Write, Handle(Handler::Public(admin::set_password))),
    row("admin.member.sessions", Post, "/admin/members/sessions", Control, Json, Read, Handle(Handler::Public(admin::sessions))),
    row("admin.group.list", Get, "/admin/groups", Control, NoBody, Read, Handle(Handler::Public(admin::list_groups))),
    row("admin.group.members", Get, "/admin/groups/{conversation}/members", Control, NoBody, Read, Handle(Handler::Public(admin::list_group_members))),
    row("admin.group.delete", Delete, "/admin/groups/{conversation}", Control, NoBody, Write, Handle(Handler::Public(admin::delete_group))),
    row("admin.backup", Post, "/admin/backup", Control, NoBody, Write, Handle(Handler::Public(admin::back_up))),
    row("admin.cluster", Get, "/admin/cluster", Control, NoBody, Read, Action::Cluster),
    row("admin.cluster.remove", Post, "/admin/cluster/remove", Control, Json, Write, Handle(Handler::Public(admin::remove_node))),
    row("admin.invite.create", Post, "/admin/invites", Control, Json, Write, Handle(Handler::Public(invites::operator_create))),
    row("admin.invite.list", Get, "/admin/invites", Control, NoBody, Read, Handle(Handler::Public(invites::operator_list))),
    row("admin.invite.revoke", Post, "/admin/invites/revoke", Control, Json, Write, Handle(Handler::Public(invites::operator_revoke))),
    row("admin.bot.create", Post, "/admin/bots", Control, Json, Write, Handle(Handler::Either(bots::add))),
    row("admin.bot.list", Get, "/admin/bots", Control, NoBody, Read, Handle(Handler::Either(bots::list))),
    row("admin.bot.token.create", Post, "/admin/bots/{profile}/tokens", Control, Json, Write, Handle(Handler::Either(bots::create_token))),
    row("admin.bot.token.list", Get, "/admin/bots/{profile}/tokens", Control, NoBody, Read, Handle(Handler::Either(bots::list_tokens))),
    row("admin.bot.token.revoke", Delete, "/admin/bots/{profile}/tokens/{session}", Control, NoBody, Write, Handle(Handler::Either(bots::revoke_token))),
    row("admin.bot.hook.set", Put, "/admin/bots/{profile}/hook", Control, Json, Write, Handle(Handler::Either(bot_hooks::set))),
    row("admin.bot.hook.get", Get, "/admin/bots/{profile}/hook", Control, NoBody, Read, Handle(Handler::Either(bot_hooks::find))),
    row("admin.bot.hook.remove", Delete, "/admin/bots/{profile}/hook", Control, NoBody, Write, Handle(Handler::Either(bot_hooks::remove))),
    // Invites.
    row("invite.create", Post, "/api/v1/invites", Bearer, Json, Write, Handle(Handler::Member(invites::create))),
    row("invite.list", Get, "/api/v1/invites", Bearer, NoBody, Read, Handle(Handler::Member(invites::list))),
    row("invite.revoke", Delete, "/api/v1/invites/{invite}", Bearer, NoBody, Write, Handle(Handler::Member(invites::revoke))),
    row("invite.check", Post, "/api/v1/invites/check", Public, Json, Credential, Handle(Handler::Public(invites::check))),
    row("invite.use", Post, "/api/v1/invites/use", Bearer, Json, Write, Handle(Handler::Member(invites::redeem))),
    // Bots.
    row("bot.create", Post, "/api/v1/bots", Bearer, Json, Write, Handle(Handler::Either(bots::add))),
    row("bot.list", Get, "/api/v1/bots", Bearer, NoBody, Read, Handle(Handler::Either(bots::list))),
    row("bot.token.create", Post, "/api/v1/bots/{profile}/tokens", Bearer, Json, Write, Handle(Handler::Either(bots::create_token))),
    row("bot.token.list", Get, "/api/v1/bots/{profile}/tokens", Bearer, NoBody, Read, Handle(Handler::Either(bots::list_tokens))),
    row("bot.token.revoke", Delete, "/api/v1/bots/{profile}/tokens/{session}", Bearer, NoBody, Write, Handle(Handler::Either(bots::revoke_token))),
    row("bot.hook.set", Put, "/api/v1/bots/{profile}/hook", Bearer, Json, Write, Handle(Handler::Either(bot_hooks::set))),
    row("bot.hook.get", Get, "/api/v1/bots/{profile}/hook", Bearer, NoBody, Read, Handle(Handler::Either(bot_hooks::find))),
    row("bot.hook.remove", Delete, "/api/v1/bots/{profile}/hook", Bearer, NoBody, Write, Handle(Handler::Either(bot_hooks::remove))),
    row("hook.post", Post, "/hooks/{token}", Access::Hook, BodyKind::Hook, Write, Handle(Handler::Member(hooks::post))),
    // Profiles and blocks.
    row("profile.me", Get, "/api/v1/profile", Bearer, NoBody, Read, Handle(Handler::Member(profiles::me))),
    admitted(row("profile.update", Put, "/api/v1/profile", Bearer, Form("profile_image"), Write, Handle(Handler::Member(profiles::update))), uploads::admit),
    row("profile.get", Get, "/api/v1/profile/{profile}", Bearer, NoBody, Read, Handle(Handler::Member(profiles::get))),
    row("profile.report", Post, "/api/v1/profile/{profile}/report", Bearer, Json, Write, Handle(Handler::Member(reports::person))),
    row("profile.list", Get, "/api/v1/profiles", Bearer, NoBody, Read, Handle(Handler::Member(profiles::list))),
    row("directory", Get, "/api/v1/directory", Bearer, NoBody, Read, Handle(Handler::Member(profiles::directory))),
    row("block.list", Get, "/api/v1/blocks", Bearer, NoBody, Read, Handle(Handler::Member(profiles::blocks))),
    row("block.put", Put, "/api/v1/blocks/{profile}", Bearer, Json, Write, Handle(Handler::Member(profiles::block))),
    row("block.remove", Delete, "/api/v1/blocks/{profile}", Bearer, NoBody, Write, Handle(Handler::Member(profiles::unblock))),
    row("profile.find", Get, "/api/v1/{nick_name}", Bearer, NoBody, Read, Handle(Handler::Member(profiles::find))),
    row("verify.code", Post, "/api/v1/user/verify/code", Bearer, Json, Write, Handle(Handler::Member(codes::verify_code))),
    row("verify.renew", Post, "/api/v1/user/verify/renew", Bearer, Json, Write, Handle(Handler::Member(codes::verify_code))),
    row("verify.check", Post, "/api/v1/user/verify/check", Bearer, Json, Write, Handle(Handler::Member(codes::verify_check))),
    row("reset.code", Post, "/api/v1/user/reset/code", Public, Json, Credential, Handle(Handler::Public(codes::reset_code))),
    row("reset.link", Post, "/api/v1/user/reset/link", Public, Json, Credential, Handle(Handler::Public(admin::use_reset_link))),
    row("reset.password", Post, "/api/v1/user/reset/password", Public, Json, Credential, Handle(Handler::Public(codes::reset_password))),
    row("reset.password", Post, "/api/v1/user/verify/reset/password", Public, Json, Credential, Handle(Handler::Public(codes::reset_password))),
    // Conversations and messages.
    op("message.post", Post, "/api/v1/messages", Write, Handler::Member(messages::post)),
    op("message.list", Get, "/api/v1/conversations/{conversation}/messages", Read, Handler::Member(messages::list)),
    op("file.list", Get, "/api/v1/conversations/{conversation}/files", Read, Handler::Member(files::list)),
    op("conversation.list", Get, "/api/v1/conversations", Read, Handler::Member(conversations::list)),
    op("conversation.read", Post, "/api/v1/conversations/{conversation}/read", Write, Handler::Member(conversations::read)),
    op("message.get", Get, "/api/v1/messages/{message}", Read, Handler::Member(changes::get)),
    op("message.search", Get, "/api/v1/search", Read, Handler::Member(search::messages)),
    row("message.report", Post, "/api/v1/messages/{message}/report", Bearer, Json, Write, Handle(Handler::Member(reports::message))),
    op("message.edit", Put, "/api/v1/messages/{message}", Write, Handler::Member(changes::edit)),
    op("message.delete", Delete, "/api/v1/messages/{message}", Write, Handler::Member(changes::delete)),
    op("message.react", Put, "/api/v1/messages/{message}/reactions/{emoji}", Write, Handler::Member(changes::react)),
    op("message.unreact", Delete, "/api/v1/messages/{message}/reactions/{emoji}", Write, Handler::Member(changes::unreact)),
    op("message.pin", Put, "/api/v1/messages/{message}/pin", Write, Handler::Member(changes::pin)),
    op("message.unpin", Delete, "/api/v1/messages/{message}/pin", Write, Handler::Member(changes::unpin)),
    op("conversation.create", Post, "/api/v1/conversations", Write, Handler::Member(groups::create)),
    op("conversation.get", Get, "/api/v1/conversations/{conversation}", Read, Handler::Member(groups::get)),
    op("conversation.update", Put, "/api/v1/conversations/{conversation}", Write, Handler::Member(groups::update)),
    op("conversation.clear", Post, "/api/v1/conversations/{conversation}/clear", Write, Handler::Member(preferences::clear)),
    op("member.list", Get, "/api/v1/conversations/{conversation}/members", Read, Handler::Member(groups::list_members)),
    op("member.add", Put, "/api/v1/conversations/{conversation}/members/{profile}", Write, Handler::Member(groups::put_member)),
    op("member.remove", Delete, "/api/v1/conversations/{conversation}/members/{profile}", Write, Handler::Member(groups::remove_member)),
    // Uploads.
    admitted(row("upload.create", Post, "/api/v1/uploads", Bearer, Upload, Write, Handle(Handler::Member(uploads::create))), uploads::admit),
    row("upload.update", Put, "/api/v1/uploads/{upload}", Bearer, Json, Write, Handle(Handler::Member(uploads::update))),
    admitted(row("upload.preview", Put, "/api/v1/uploads/{upload}/preview", Bearer, Preview, Write, Handle(Handler::Member(uploads::preview))), uploads::admit_preview),
    row("upload.delete", Delete, "/api/v1/uploads/{upload}", Bearer, Json, Write, Handle(Handler::Member(uploads::delete))),
    row("upload.get", Get, "/uploads/{upload}/{name}", Signed, NoBody, Read, Handle(Handler::Either(uploads::get))),
    // Streams.
    row("socket.open", Get, "/api/v1/ws", Socket, NoBody, Read, Handle(Handler::Member(streams::open_socket))),
    row("pair.open", Get, "/api/v1/ws/{sender}/{receiver}", Socket, NoBody, Read, Handle(Handler::Member(streams::open_legacy_socket))),
    row("event.list", Get, "/api/v1/events", Events, NoBody, Read, Handle(Handler::Member(events::list))),
    row("chat.list", Get, "/api/v1/chat-list", Events, NoBody, Read, Handle(Handler::Member(events::chat_list))),
    row("chat.counter", Get, "/api/v1/chat-counter", Events, NoBody, Read, Handle(Handler::Member(events::chat_counter))),
];

/// The rows of this build.
pub fn all() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().chain(conformance::ROUTES)
}

impl Route {
    /// A WebSocket route: without a version-13 upgrade it is 426.
    pub fn is_socket(&self) -> bool {
        self.access == Access::Socket || matches!(self.action, Action::EchoSocket)
    }
}
