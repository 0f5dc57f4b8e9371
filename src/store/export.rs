//! All stored data about one member, page by page.
//!
//! Each page is a snapshot of its own and bounded, so that a long export pins no snapshot.
//! Invariant: an export holds a member's own texts and settings, and of other profiles only what a list would show.

use rusqlite::{Connection, Row};
use serde::Serialize;

use super::fault::Stop;
use super::profiles::{self, Names};
use super::value::{id, int, joined, number, text, text_or_null};
use super::{accounts, by_sender, messages, preferences, push, uploads};
use crate::base::emoji;
use crate::base::json;
use crate::base::time::UnixMs;
use crate::limits::PAGE_BYTES_MAX;
use crate::model::export::{ExportAccount, ExportCursor, ExportPage, MessageCursor};
use crate::model::id::{ConversationId, MessageId, ProfileId, SessionId};
use crate::model::invite::Invite;
use crate::model::message::Message;
use crate::model::operation::Refusal;
use crate::model::preferences::Preferences;
use crate::model::push::PushSubscription;
use crate::model::settings::SignUrls;
use crate::model::upload::Upload;

/// Lines of one page of an export, read in one snapshot of a few milliseconds. The rest is on the next pages.
const EXPORT_PAGE: u32 = 500;

/// Lines of one page.
struct Lines {
    out: Vec<u8>,
    left: u32,
}

impl Lines {
    fn push<T: Serialize>(&mut self, kind: &'static str, data: &T) {
        #[derive(Serialize)]
        struct Line<'a, T> {
            kind: &'static str,
            data: &'a T,
        }
        json::write(&mut self.out, &Line { kind, data });
        self.out.push(b'\n');
        self.left = self.left.saturating_sub(1);
    }

    fn is_full(&self) -> bool {
        self.left == 0 || self.out.len() >= PAGE_BYTES_MAX
    }
}

pub fn page(conn: &Connection, export: ExportAccount) -> Result<ExportPage, Stop> {
    let mut account = accounts::account(conn, export.member)?.ok_or(Refusal::Unauthorized)?;
    let member = accounts::key(conn, export.member)?.ok_or(Refusal::Unauthorized)?;
    let profile = profiles::key(conn, export.profile)?.ok_or(Refusal::Unauthorized)?;
    let mut lines = Lines { out: Vec::new(), left: EXPORT_PAGE };
    let next = match export.cursor {
        ExportCursor::Account => {
            lines.push("member", &account.member);
            account.profile.sign_urls(&export.urls, export.unix_s);
            lines.push("profile", &account.profile);
            Some(ExportCursor::Sessions(0))
        }
        ExportCursor::Sessions(after) => {
            let last = sessions(conn, &mut lines, member, after)?;
            Some(last.map_or(ExportCursor::Blocks(0), ExportCursor::Sessions))
        }
        ExportCursor::Blocks(after) => {
            let last = blocks(conn, &mut lines, profile, after)?;
            Some(last.map_or(ExportCursor::Invites(0), ExportCursor::Blocks))
        }
        ExportCursor::Invites(after) => {
            let last = invites(conn, &mut lines, member, export.profile, after)?;
            Some(last.map_or(ExportCursor::Uploads(0), ExportCursor::Invites))
        }
        ExportCursor::Uploads(after) => {
            let sign = |upload: &mut Upload| upload.sign_urls(&export.urls, export.unix_s);
            let last = own_uploads(conn, &mut lines, profile, after, sign)?;
            Some(last.map_or(ExportCursor::Conversations(0), ExportCursor::Uploads))
        }
        ExportCursor::Conversations(after) => {
            let last = conversations(conn, &mut lines, profile, (after, export.unix_s.ms()))?;
            Some(last.map_or(ExportCursor::Messages(MessageCursor::default()), ExportCursor::Conversations))
        }
        ExportCursor::Messages(after) => {
            let sign = |message: &mut Message| message.sign_urls(&export.urls, export.unix_s);
            let last = own_messages(conn, &mut lines, profile, after, sign)?;
            Some(last.map_or(ExportCursor::Reactions(0, String::new()), ExportCursor::Messages))
        }
        ExportCursor::Reactions(seq, emoji) => reactions(conn, &mut lines, profile, seq, &emoji)?
            .map(|(seq, emoji)| ExportCursor::Reactions(seq, emoji)),
    };
    Ok(ExportPage { lines: lines.out, next })
}

/// Writes rows until the page is full. Returns the cursor of the last row if the page is full.
fn each<P, T: Serialize>(
    lines: &mut Lines,
    kind: &'static str,
    mut rows: rusqlite::Rows<'_>,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<(P, T)>,
) -> rusqlite::Result<Option<P>> {
    while let Some(row) = rows.next()? {
        let (cursor, data) = read(row)?;
        lines.push(kind, &data);
        if lines.is_full() {
            return Ok(Some(cursor));
        }
    }
    Ok(None)
}

fn sessions(conn: &Connection, lines: &mut Lines, member: i64, after: u64) -> rusqlite::Result<Option<u64>> {
    #[derive(Serialize)]
    struct Session {
        id: SessionId,
        unique_id: Option<String>,
        user_agent: String,
        address: String,
        place: Option<String>,
        created_at: UnixMs,
        last_seen_at: UnixMs,
        push: Option<PushSubscription>,
    }
    let mut statement = conn.prepare_cached(
        "SELECT s.key, s.id, s.unique_id, s.user_agent, s.address, s.place, s.created_at, s.last_seen_at, \
         u.level, u.created_at FROM sessions s LEFT JOIN push_subscriptions u ON u.session = s.key \
         WHERE s.member = ?1 AND s.key > ?2 ORDER BY s.key",
    )?;
    each(lines, "session", statement.query((member, int(after)))?, |row| {
        let session = Session {
            id: id(row, 1)?,
            unique_id: text_or_null(row, 2)?,
            user_agent: text(row, 3)?,
            address: text(row, 4)?,
            place: text_or_null(row, 5)?,
            created_at: UnixMs(number(row, 6)?),
            last_seen_at: UnixMs(number(row, 7)?),
            push: push::of_session(row, 8)?,
        };
        Ok((number(row, 0)?, session))
    })
}

fn blocks(conn: &Connection, lines: &mut Lines, profile: i64, after: u64) -> rusqlite::Result<Option<u64>> {
    #[derive(Serialize)]
    struct Block {
        profile: ProfileId,
    }
    let mut statement = conn.prepare_cached(
        "SELECT b.key, p.id FROM blocks b JOIN profiles p ON p.key = b.blocked \
         WHERE b.blocker = ?1 AND b.key > ?2 ORDER BY b.key",
    )?;
    each(lines, "block", statement.query((profile, int(after)))?, |row| {
        Ok((number(row, 0)?, Block { profile: id(row, 1)? }))
    })
}

fn invites(
    conn: &Connection,
    lines: &mut Lines,
    member: i64,
    profile: ProfileId,
    after: u64,
) -> rusqlite::Result<Option<u64>> {
    let mut statement = conn.prepare_cached(
        "SELECT i.key, i.id, c.id, i.uses, i.uses_max, i.created_at, i.expires_at FROM invites i \
         LEFT JOIN conversations c ON c.key = i.conversation WHERE i.maker = ?1 AND i.key > ?2 ORDER BY i.key",
    )?;
    each(lines, "invite", statement.query((member, int(after)))?, |row| {
        let invite = Invite {
            id: id(row, 1)?,
            conversation: row.get::<_, Option<[u8; 16]>>(2)?.map(ConversationId::from_bytes),
            maker: Some(profile),
            uses: number(row, 3)?,
            uses_max: number(row, 4)?,
            created_at: UnixMs(number(row, 5)?),
            expires_at: UnixMs(number(row, 6)?),
        };
        Ok((number(row, 0)?, invite))
    })
}

fn conversations(
    conn: &Connection,
    lines: &mut Lines,
    profile: i64,
    (after, at): (u64, UnixMs),
) -> rusqlite::Result<Option<u64>> {
    #[derive(Serialize)]
    struct Conversation {
        id: ConversationId,
        #[serde(rename = "type")]
        kind: &'static str,
        title: Option<String>,
        /// The other profile of a direct conversation; null once deleted and for groups.
        peer: Option<ProfileId>,
        read_n: u64,
        last_n: u64,
        #[serde(flatten)]
        own: Preferences,
    }
    let mut statement = conn.prepare_cached(concat!(
        "SELECT m.conversation, c.id, c.kind, c.title, m.read_n, c.last_n, ",
        preferences::columns!(),
        ", (SELECT p.id FROM profiles p WHERE p.key = iif(c.low = m.profile, c.high, c.low) AND p.member IS NOT NULL) \
         FROM memberships m JOIN conversations c ON c.key = m.conversation \
         WHERE m.profile = ?1 AND m.conversation > ?2 ORDER BY m.conversation",
    ))?;
    each(lines, "conversation", statement.query((profile, int(after)))?, |row| {
        let last_n = number(row, 5)?;
        let conversation = Conversation {
            id: id(row, 1)?,
            kind: if row.get::<_, i64>(2)? == 0 { "direct" } else { "group" },
            title: text_or_null(row, 3)?,
            peer: row.get::<_, Option<[u8; 16]>>(12)?.map(ProfileId::from_bytes),
            read_n: number(row, 4)?,
            last_n,
            own: preferences::read(conn, row, 6, (row.get(0)?, last_n), at)?,
        };
        Ok((number(row, 0)?, conversation))
    })
}

fn own_uploads(
    conn: &Connection,
    lines: &mut Lines,
    profile: i64,
    after: u64,
    sign: impl Fn(&mut Upload),
) -> rusqlite::Result<Option<u64>> {
    #[derive(Serialize)]
    struct Own {
        #[serde(flatten)]
        upload: Upload,
        created_at: UnixMs,
    }
    let mut statement = conn.prepare_cached(concat!(
        "SELECT ",
        uploads::upload_columns!(),
        ", u.created_at, u.key FROM files f JOIN uploads u ON u.file = f.key \
             WHERE f.owner = ?1 AND u.key > ?2 ORDER BY u.key"
    ))?;
    each(lines, "upload", statement.query((profile, int(after)))?, |row| {
        let mut upload = uploads::upload(row)?;
        sign(&mut upload);
        Ok((number(row, 11)?, Own { upload, created_at: UnixMs(number(row, 10)?) }))
    })
}

/// Conversation by conversation, in their order. A page ends when it is full, or after a limit of read messages.
fn own_messages(
    conn: &Connection,
    lines: &mut Lines,
    profile: i64,
    after: MessageCursor,
    sign: impl Fn(&mut Message),
) -> rusqlite::Result<Option<MessageCursor>> {
    let (mut names, mut last) = (Names::default(), None);
    by_sender::scan(conn, profile, after, |own| {
        let conversation = match last {
            Some((key, conversation)) if key == own.conversation => conversation,
            _ => conn
                .prepare_cached("SELECT id FROM conversations WHERE key = ?1")?
                .query_row([int(own.conversation)], |row| id(row, 0))?,
        };
        last = Some((own.conversation, conversation));
        let message = messages::of_seq(conn, &mut names, conversation, own.message.seq())?;
        let mut message: Message = message.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        sign(&mut message);
        lines.push("message", &message);
        Ok(!lines.is_full())
    })
}

fn reactions(
    conn: &Connection,
    lines: &mut Lines,
    profile: i64,
    seq: u64,
    emoji: &str,
) -> rusqlite::Result<Option<(u64, String)>> {
    #[derive(Serialize)]
    struct Reaction {
        message: MessageId,
        emoji: String,
    }
    let mut statement = conn.prepare_cached(
        "SELECT r.message, m.id_high, r.emoji FROM reactions r JOIN messages m ON m.seq = r.message \
         WHERE r.profile = ?1 AND (r.message, r.emoji) > (?2, ?3) ORDER BY r.message, r.emoji",
    )?;
    each(lines, "reaction", statement.query((profile, int(seq), emoji))?, |row| {
        let (seq, emoji) = (number(row, 0)?, text(row, 2)?);
        let message = joined(row.get(1)?, int(seq));
        let shown = emoji::qualified(&emoji::without_style(&emoji));
        Ok(((seq, emoji), Reaction { message, emoji: shown }))
    })
}
