//! The handlers of profile.find, me, get, list, search and update, and of block.list, put and remove.
//!
//! Owns what a request may contain. Storage decides who may see whom, in the same read as the profile itself.
//! Invariant: a nick name is looked up literally, never as a pattern.

use super::rules;
use crate::base::crypto::{base64url, base64url_decode};
use crate::base::id::Id;
use crate::limits::DISPLAY_NAME_MAX;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::id::ProfileId;
use crate::model::params::written_text;
use crate::model::problem::{Code, Problem};
use crate::model::profile::{
    FindProfile, ListBlocks, ListProfiles, Profile, SearchCursor, SearchProfiles, SetBlock, Source,
    UpdateProfile, search_key,
};
use crate::model::settings::SignUrls;
use crate::model::upload::DeleteUpload;

/// Ids of one profile.list (`protocol.md`, "Profiles and blocks"). Above: 422 `invalid_ids`.
pub(crate) const PROFILE_IDS_MAX: usize = 100;

/// GET /{nick_name}.
pub fn find(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let source = match request.params.text("source")? {
        None | Some("search") => Source::Search,
        Some("qr_code") => Source::QrCode,
        Some(_) => return Err(Problem::invalid("source")),
    };
    let nick_name = request.params.required_text("nick_name")?.to_ascii_lowercase();
    Ok(Step::store(FindProfile { viewer: actor.profile, nick_name, source }, |ctx, mut profile| {
        profile.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::ok(&profile).step()
    }))
}

/// GET /profile.
pub fn me(_: &mut Ctx<'_>, actor: Actor, _: &Request<'_>) -> Result<Step, Problem> {
    // The token is good and its profile does not exist: the member was deleted, so the token no longer permits
    // anything.
    one(actor, actor.profile, Code::UnauthorizedAccess)
}

/// GET /profile/{profile}.
pub fn get(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    one(actor, request.params.required_id("profile")?, Code::NotFound)
}

fn one(actor: Actor, profile: ProfileId, missing: Code) -> Result<Step, Problem> {
    let list = ListProfiles { viewer: actor.profile, ids: vec![profile] };
    Ok(Step::store(list, move |ctx, mut profiles| {
        profiles.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::ok(profiles.first().ok_or(Problem::new(missing))?).step()
    }))
}

/// GET /profiles: by ids, or searched by the beginning of a name.
pub fn list(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    if let Some(query) = request.params.text("query")? {
        return search(actor, request, query, false);
    }
    if !request.params.has("ids") {
        return Err(Problem::invalid("ids"));
    }
    let ids = request.params.ids("ids", PROFILE_IDS_MAX)?;
    Ok(Step::store(ListProfiles { viewer: actor.profile, ids }, |ctx, mut profiles| {
        profiles.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::list(&profiles, None).step()
    }))
}

/// GET /directory.
pub fn directory(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    if !ctx.settings.directory {
        return Err(Code::NotFound.into());
    }
    search(actor, request, request.params.text("query")?.unwrap_or_default(), true)
}

fn search(actor: Actor, request: &Request<'_>, query: &str, is_directory: bool) -> Result<Step, Problem> {
    if !(written_text(query, DISPLAY_NAME_MAX) || query.is_empty() && is_directory) {
        return Err(Problem::invalid("query"));
    }
    let search = SearchProfiles {
        viewer: actor.profile,
        prefix: search_key(query),
        is_directory,
        after: request.params.next(read_place)?,
        limit: request.params.limit()?,
    };
    Ok(Step::store(search, |ctx, mut found| {
        found.profiles.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::list(&found.profiles, found.next.as_ref().map(write_place)).step()
    }))
}

/// `n<nick name>`, or `d<profile><display name in base64url>`.
fn write_place(place: &SearchCursor) -> String {
    match place {
        SearchCursor::Nick(nick) => format!("n{nick}"),
        SearchCursor::Name { name, profile } => format!("d{profile}{}", base64url(name.as_bytes())),
    }
}

fn read_place(text: &str) -> Option<SearchCursor> {
    if let Some(nick) = text.strip_prefix('n') {
        return rules::good_nick_name(nick).then(|| SearchCursor::Nick(nick.to_owned()));
    }
    let (profile, name) = text.strip_prefix('d')?.split_at_checked(crate::base::id::ID_LEN)?;
    let name = String::from_utf8(base64url_decode(name)?).ok()?;
    Some(SearchCursor::Name { name, profile: Id::parse(profile)? })
}

/// PUT /profile.
pub fn update(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let display_name = match params.has("display_name") {
        true => Some(rules::display_name(params)?.into()),
        false => None,
    };
    let nick_name = match params.text("nick_name")? {
        Some(nick) if !rules::good_nick_name(nick) => return Err(Problem::invalid("nick_name")),
        nick => nick.map(str::to_owned),
    };
    let image = match params.id("profile_image")? {
        None => params.is_null("profile_image").then_some(None),
        image => Some(image),
    };
    let update = UpdateProfile {
        at: ctx.now.unix_ms,
        profile: actor.profile,
        display_name,
        nick_name,
        is_private: params.flag("is_private")?,
        presence: params.flag("presence")?,
        image,
    };
    match request.file {
        None => Ok(Step::store(update, shown)),
        // Only a picture is stored as a profile image.
        Some(file) if !file.is_image() => Err(Problem::invalid("profile_image")),
        Some(file) => Ok(file.clone().publish(ctx, actor, None, move |_, upload| {
            let update = UpdateProfile { image: Some(Some(upload.id)), ..update };
            Ok(Step::store_or(update, move |ctx, result| match result {
                Ok(profile) => shown(ctx, profile),
                // No client knows the id of a picture that came with a form, so it is deleted with its form.
                Err(refusal) => {
                    let delete = DeleteUpload { actor: actor.profile, upload: upload.id };
                    Ok(Step::store_or(delete, move |_, _| Err(refusal.into())))
                }
            }))
        })),
    }
}

fn shown(ctx: &mut Ctx<'_>, mut profile: Profile) -> Result<Step, Problem> {
    profile.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
    Reply::ok(&profile).step()
}

/// GET /blocks.
pub fn blocks(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let after = request.params.next_number('b')?;
    let list = ListBlocks { blocker: actor.profile, after, limit: request.params.limit()? };
    Ok(Step::store(list, |ctx, mut page| {
        page.profiles.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::list(&page.profiles, page.next.map(|place| format!("b{place}"))).step()
    }))
}

/// PUT /blocks/{profile}.
pub fn block(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    set_block(actor, request, true)
}

/// DELETE /blocks/{profile}.
pub fn unblock(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    set_block(actor, request, false)
}

fn set_block(actor: Actor, request: &Request<'_>, blocked: bool) -> Result<Step, Problem> {
    let other = request.params.required_id("profile")?;
    if other == actor.profile {
        return Err(Problem::invalid("profile"));
    }
    let set = SetBlock { blocker: actor.profile, other, blocked };
    Ok(Step::store(set, |_, _| Reply::no_content().step()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_were_written() {
        for place in [
            SearchCursor::Nick("ada.l_1".to_owned()),
            SearchCursor::Name { name: "ada é \u{10ffff}".to_owned(), profile: Id::from_u128(7) },
        ] {
            assert_eq!(read_place(&write_place(&place)), Some(place));
        }
        let whole = write_place(&SearchCursor::Name { name: "a".to_owned(), profile: Id::from_u128(7) });
        for bad in ["", "n", "d", "nA", "n%", "x1", &whole[..20], &format!("{whole}=")] {
            assert_eq!(read_place(bad), None, "{bad}");
        }
    }
}
