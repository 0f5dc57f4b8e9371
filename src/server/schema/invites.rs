//! The rows of the schema table for invites.

use super::operations::{Operation, paging, row};
use super::shape::*;
use super::types::invite_fields;
use crate::limits::{INVITE_S_MAX, INVITE_S_MIN, INVITE_USES_MAX};
use crate::model::problem::Code;
use crate::proto::http::head::Method::{Delete, Get, Post};

/// The code of a link, as a request presents it: any other text is answered as one that is not valid.
pub fn presented() -> Schema {
    text().length(0, 128)
}

#[rustfmt::skip]
pub fn operations() -> Vec<Operation> {
    let tag = "Invites";
    let which = "The group; without it, an invite to the server.";
    let mut created = invite_fields();
    created.extend([
        must("code", text().length(22, 22), "Only here: the server keeps its hash."),
        must("url", super::types::url(), "The link, with the code in its fragment."),
    ]);
    vec![
        row(Post, "/api/v1/invites", tag, "Makes an invite to a group, by its admins, or to the server, by the admins of the server")
            .says("A member has at most 100 invites that can be used. 403 `sign_up_closed` for one to a server whose sign-up is closed.")
            .json(&[
                may("conversation", id(), which),
                may("uses", count_from(1).at_most(INVITE_USES_MAX), "How often it can be used; once unless given."),
                may("expires_s", count_from(INVITE_S_MIN as usize).at_most(INVITE_S_MAX), "How many seconds it can be used; a week unless given."),
            ])
            .gives(201, "Made.", object(&created), "The invite.")
            .codes(&[Code::NotFound, Code::NotAllowed, Code::SignUpClosed, Code::QuotaExceeded])
            .invalid(&["conversation", "uses", "expires_s"]),
        row(Get, "/api/v1/invites", tag, "The invites that can be used, for the admins of the group or of the server")
            .query([vec![may("conversation", id(), which)], paging()].concat())
            .pages("The oldest first, without their codes.", named("Invite"), vec![])
            .codes(&[Code::NotFound, Code::NotAllowed])
            .invalid(&["conversation"]),
        row(Delete, "/api/v1/invites/{invite}", tag, "Revokes an invite")
            .no_content("It can't be used any more."),
        row(Post, "/api/v1/invites/check", tag, "What a link leads to; needs no access token")
            .says("422 `invalid_invite` for each code that can't be used: wrong, expired, used up or revoked.")
            .json(&[must("invite", presented(), "The code of the link.")])
            .gives(200, "It can be used.", object(&[
                must("conversation", or_null(named("ConversationBrief")), "The group that one joins; null for an invite to the server."),
                must("sign_up", flag(), "Whether one can create an account with it."),
            ]), "What it leads to.")
            .invalid(&["invite"]),
        row(Post, "/api/v1/invites/use", tag, "Joins the group of an invite")
            .says("Counts one use, unless one is in the group already. An invite to the server does nothing for a member.")
            .json(&[must("invite", presented(), "The code of the link.")])
            .gives(200, "The group; null for an invite to the server.", or_null(named("Conversation")), "The group.")
            .invalid(&["invite", "members"]),
    ]
}
