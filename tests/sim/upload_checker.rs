//! Checks uploads: which rows there are, and that the files on disk are those of the rows.
//!
//! Owns the rows and the files that are to be removed. Invariant: a row exists only while its file is on disk, with its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use natter::base::crypto::sha256;
use natter::base::id::Id;
use natter::base::json::Value;
use natter::base::time::UnixMs;
use natter::model::id::{ConversationId, MessageId, ProfileId, UploadId};
use natter::model::operation::{Answer, Outcome, Refusal};
use natter::model::upload::{DeleteUpload, ForgetFiles, PublishUpload, UpdateUpload};

use super::answer_checker::check;
use super::codec::{at, id_at, number_at, text_at};
use super::device::Download;
use super::history::{Conversation, Message};
use super::reference::Model;
use crate::support::files::Files;

struct Row {
    owner: ProfileId,
    created_at: UnixMs,
    known: Known,
    /// Equal bytes of one owner are one file.
    file: UploadId,
    /// The file of its preview, and its hash.
    preview: Option<(UploadId, [u8; 32])>,
}

impl Row {
    /// Its files, and their hashes.
    fn files(&self) -> impl Iterator<Item = (UploadId, [u8; 32])> {
        [(self.file, self.known.sha256)].into_iter().chain(self.preview)
    }
}

/// What an upload is, and was if it is erased.
#[derive(Clone)]
struct Known {
    name: String,
    sha256: [u8; 32],
    size: u64,
    /// Its alt texts, the present one last, and the hashes of its previews.
    alts: Vec<Option<String>>,
    previews: Vec<[u8; 32]>,
}

#[derive(Default)]
pub struct Uploads {
    rows: BTreeMap<UploadId, Row>,
    /// What each upload ever was.
    ever: BTreeMap<UploadId, Known>,
    /// Files without a row that are not removed yet.
    erased: BTreeSet<UploadId>,
}

/// The bytes of each published file, by its id.
fn published(files: &Files) -> BTreeMap<UploadId, [u8; 32]> {
    let id = |path: &Path| path.file_name().and_then(|name| Id::parse(name.to_str()?)).expect("an id");
    let bytes = |path: &Path| std::fs::read(path).expect("a file");
    files.all().1.iter().map(|path| (id(path), sha256(&bytes(path)))).collect()
}

impl Model {
    pub(super) fn upload_published(&mut self, publish: &PublishUpload, outcome: &Outcome) {
        let (owner, new) = (publish.owner, &publish.file);
        let expect = publish.preview_of.map_or(Ok(()), |upload| self.may_change(owner, upload));
        check(outcome, expect, 0, "upload.create");
        if expect.is_err() {
            return;
        }
        let own = self.uploads.rows.values().filter(|row| row.owner == owner);
        let copy_of = own.flat_map(Row::files).find(|file| file.1 == new.sha256).map(|file| file.0);
        let Ok(Answer::PublishUpload(made)) = &outcome.result else { panic!("{:?}", outcome.result) };
        let id = publish.preview_of.unwrap_or(new.id);
        assert_eq!((made.upload.id, made.is_copy), (id, copy_of.is_some()), "upload.create");
        let file = copy_of.unwrap_or(new.id);
        if publish.preview_of.is_some() {
            self.uploads.ever.get_mut(&id).expect("an upload").previews.push(new.sha256);
            let before = self.uploads.rows.get_mut(&id).expect("a row").preview.replace((file, new.sha256));
            before.into_iter().for_each(|(file, _)| self.file_dropped(file));
            return;
        }
        let known = Known {
            name: new.name.clone(),
            sha256: new.sha256,
            size: new.size,
            alts: vec![None],
            previews: Vec::new(),
        };
        self.uploads.ever.insert(new.id, known.clone());
        let row = Row { owner, created_at: publish.at, known, file, preview: None };
        assert!(self.uploads.rows.insert(new.id, row).is_none(), "an upload twice");
    }

    /// Whether an upload may be changed or deleted by a profile now.
    fn may_change(&self, actor: ProfileId, upload: UploadId) -> Result<(), Refusal> {
        match self.uploads.rows.get(&upload) {
            Some(row) if row.owner == actor && self.is_attached(upload) => Err(Refusal::InUse),
            Some(row) if row.owner == actor => Ok(()),
            Some(_) if self.may_download(actor, upload) => Err(Refusal::NotAllowed),
            _ => Err(Refusal::NotFound),
        }
    }

    pub(super) fn upload_updated(&mut self, update: &UpdateUpload, outcome: &Outcome) {
        let expect = self.may_change(update.actor, update.upload);
        check(outcome, expect, 0, "upload.update");
        if expect.is_ok() {
            let known = self.uploads.ever.get_mut(&update.upload).expect("an upload");
            known.alts.push(update.alt.clone());
        }
    }

    pub(super) fn upload_deleted(&mut self, delete: &DeleteUpload, outcome: &Outcome) {
        let expect = self.may_change(delete.actor, delete.upload);
        check(outcome, expect, 0, "upload.delete");
        if expect.is_ok() {
            self.erase_unless_shown(delete.upload);
        }
    }

    /// The files of a forwarded message become uploads of who forwards it, on the same bytes.
    pub(super) fn uploads_shared(
        &mut self,
        (owner, created_at): (ProfileId, UnixMs),
        sources: &[UploadId],
        made: &[UploadId],
    ) {
        for (source, made) in sources.iter().zip(made) {
            let mut known = self.uploads.ever[source].clone();
            known.alts.drain(..known.alts.len() - 1);
            let shared = &self.uploads.rows[source];
            // The bytes that the owner has already are its file of them.
            let file = |(file, hash): (UploadId, [u8; 32])| {
                let own = self.uploads.rows.values().filter(|row| row.owner == owner);
                let own = own.flat_map(Row::files).find(|(_, other)| *other == hash);
                own.unwrap_or((file, hash))
            };
            let (preview, (file, _)) = (shared.preview.map(file), file((shared.file, known.sha256)));
            known.previews = preview.iter().map(|(_, hash)| *hash).collect();
            self.uploads.ever.insert(*made, known.clone());
            let row = Row { owner, created_at, known, file, preview };
            assert!(self.uploads.rows.insert(*made, row).is_none(), "an upload twice");
        }
    }

    /// An upload that no message shows any more is erased, and its file if no other upload shares it.
    pub(super) fn erase_unless_shown(&mut self, upload: UploadId) {
        if self.is_attached(upload) {
            return;
        }
        // With the account of its owner, it is erased before the messages that showed it.
        let Some(row) = self.uploads.rows.remove(&upload) else { return };
        row.files().for_each(|(file, _)| self.file_dropped(file));
    }

    /// An upload has a file no more.
    fn file_dropped(&mut self, file: UploadId) {
        if !self.uploads.rows.values().flat_map(Row::files).any(|(other, _)| other == file) {
            self.uploads.erased.insert(file);
        }
    }

    /// With the account.
    pub(super) fn uploads_erased(&mut self, owner: ProfileId) {
        for upload in self.uploads_of(owner) {
            let row = self.uploads.rows.remove(&upload);
            row.iter().flat_map(Row::files).for_each(|(file, _)| self.file_dropped(file));
        }
    }

    /// Whether a message may show these uploads.
    pub(super) fn may_attach(&self, owner: ProfileId, uploads: &[UploadId]) -> bool {
        uploads.iter().all(|upload| self.uploads.rows.get(upload).is_some_and(|row| row.owner == owner))
    }

    /// The conversations with a message that shows an upload now.
    fn shown_in(&self, upload: UploadId) -> impl Iterator<Item = &Conversation> {
        let shows = move |conversation: &&Conversation| {
            conversation.messages.iter().any(|message| message.now().attachments.contains(&upload))
        };
        self.conversations.values().filter(shows)
    }

    /// When an upload that is there was made.
    pub(super) fn uploaded_at(&self, upload: UploadId) -> Option<UnixMs> {
        self.uploads.rows.get(&upload).map(|row| row.created_at)
    }

    /// The messages that show it, in the order of the log.
    pub(super) fn shown_by(&self, upload: UploadId) -> Vec<u64> {
        let all = self.conversations.values().flat_map(|conversation| &conversation.messages);
        let shows = |message: &&Message| message.now().attachments.contains(&upload);
        let mut shown: Vec<u64> = all.filter(shows).map(|message| message.seq).collect();
        shown.sort_unstable();
        shown
    }

    fn is_attached(&self, upload: UploadId) -> bool {
        self.shown_in(upload).next().is_some()
    }

    /// Whether a profile may read an upload now.
    pub fn may_download(&self, viewer: ProfileId, upload: UploadId) -> bool {
        let Some(row) = self.uploads.rows.get(&upload) else { return false };
        row.owner == viewer || self.shown_in(upload).any(|conversation| conversation.has(viewer))
    }

    /// Whether a profile was allowed to read an upload at any time since a seq.
    fn might_download(&self, viewer: ProfileId, download: &Download) -> bool {
        let shown = |conversation: &Conversation| {
            let shows = |message: &Message, seq: u64| {
                message.seq <= seq && message.version(seq).attachments.contains(&download.upload)
            };
            (download.floor..=self.head).any(|seq| {
                conversation.had(viewer, seq) && conversation.messages.iter().any(|one| shows(one, seq))
            })
        };
        download.may_read || self.conversations.values().any(shown)
    }

    /// The file that a request for it was answered with.
    pub fn check_downloaded(&self, viewer: ProfileId, download: &Download, bytes: &[u8]) {
        let known = &self.uploads.ever[&download.upload];
        assert!(download.exists, "an erased file is served: {download:?}");
        assert!(self.might_download(viewer, download), "{viewer} must not read {download:?}");
        if download.is_preview {
            assert!(known.previews.contains(&sha256(bytes)), "{download:?}");
        } else {
            assert_eq!((sha256(bytes), bytes.len() as u64), (known.sha256, known.size), "{download:?}");
        }
    }

    /// A request for a file was answered with 404.
    pub fn check_not_downloaded(&self, viewer: ProfileId, download: &Download) {
        let left = |conversation: &Conversation| conversation.was_left_after(viewer, download.floor);
        let excused = !download.may_read
            || !self.may_download(viewer, download.upload)
            || self.conversations.values().any(left);
        assert!(excused, "{viewer} may read {download:?}");
    }

    /// The name of an upload that is or was there.
    pub fn upload_name(&self, upload: UploadId) -> &str {
        &self.uploads.ever[&upload].name
    }

    pub fn has_preview(&self, upload: UploadId) -> bool {
        self.uploads.rows.get(&upload).is_some_and(|row| row.preview.is_some())
    }

    pub fn upload_exists(&self, upload: UploadId) -> bool {
        self.uploads.rows.contains_key(&upload)
    }

    pub(super) fn files_forgotten(&mut self, forget: &ForgetFiles, outcome: &Outcome) {
        check(outcome, Ok(()), 0, "the removal of files");
        forget.files.iter().for_each(|file| {
            self.uploads.erased.remove(file);
        });
    }

    /// Each row has its file. A file that was forgotten is not there any more.
    pub fn check_files(&self, files: &Files, forgotten: &[UploadId]) {
        let published = published(files);
        for row in self.uploads.rows.values() {
            for (file, sha256) in row.files() {
                assert_eq!(published.get(&file), Some(&sha256), "the bytes of {}", row.known.name);
            }
        }
        for file in forgotten {
            assert!(!published.contains_key(file), "{file} is forgotten, and on disk");
        }
    }

    /// After a start, only the files of rows are there, and those that are about to be removed.
    pub fn check_swept(&self, files: &Files) {
        self.check_files(files, &[]);
        assert!(files.all().0.is_empty(), "a start leaves unfinished files");
        // A database without any file may belong to another folder.
        if !self.uploads.rows.is_empty() {
            let known: BTreeSet<UploadId> =
                self.uploads.rows.values().flat_map(Row::files).map(|(file, _)| file).collect();
            let unknown = |file: &UploadId| !known.contains(file) && !self.uploads.erased.contains(file);
            let left: Vec<UploadId> = published(files).into_keys().filter(unknown).collect();
            assert!(left.is_empty(), "a start leaves files without a row: {left:?}");
        }
    }

    /// A page of the files of a conversation that are no pictures: those of the messages that the viewer sees now, the newest first.
    pub fn check_files_of(
        &self,
        viewer: ProfileId,
        conversation: ConversationId,
        before: u64,
        limit: usize,
        page: &Value<'_>,
        envelope: &Value<'_>,
    ) {
        let known = &self.conversations[&conversation];
        let seen = |message: &&Message| message.n < before && message.n >= known.first_n(viewer);
        let files =
            known.messages.iter().rev().filter(seen).flat_map(|message| {
                // With its owner's account a file is erased before the message.
                let shown =
                    message.now().attachments.iter().rev().filter(|file| {
                        self.upload_exists(**file) && !self.upload_name(**file).ends_with(".png")
                    });
                shown.map(|file| (message.n, *file))
            });
        let expect: Vec<(u64, UploadId)> = files.collect();
        let page = page.as_list().expect("a list").iter().map(|shown| {
            let n = number_at(shown, "n").expect("n");
            assert_eq!(number_at(shown, "n"), id_at(shown, "message").map(|id| self.n_of(conversation, id)));
            (n, self.check_attachment(at(shown, "file").expect("a file")))
        });
        let page: Vec<(u64, UploadId)> = page.collect();
        assert!(page.len() <= limit && expect.starts_with(&page), "{page:?} instead of {expect:?}");
        let is_last = at(envelope, "next").is_none_or(|next| *next == Value::Null);
        assert_eq!(is_last, page.len() == expect.len(), "{page:?} of {expect:?}");
        assert!(is_last || !page.is_empty(), "a page without a file");
    }

    fn n_of(&self, conversation: ConversationId, message: MessageId) -> u64 {
        let of = |other: &&Message| other.id == message;
        self.conversations[&conversation].messages.iter().find(of).expect("a message").n
    }

    /// How many files without a row are not removed yet.
    pub fn files_to_remove(&self) -> usize {
        self.uploads.erased.len()
    }

    pub fn uploads_of(&self, profile: ProfileId) -> BTreeSet<UploadId> {
        let own = |(_, row): &(&UploadId, &Row)| row.owner == profile;
        self.uploads.rows.iter().filter(own).map(|(id, _)| *id).collect()
    }

    pub fn all_uploads(&self) -> Vec<UploadId> {
        self.uploads.rows.keys().copied().collect()
    }

    /// Those that are erased included.
    pub fn all_uploads_ever(&self) -> Vec<UploadId> {
        self.uploads.ever.keys().copied().collect()
    }

    /// Checks an upload that is shown, to its owner or as an attachment.
    pub fn check_upload(&self, shown: &Value<'_>) -> UploadId {
        let id = id_at(shown, "id").expect("an id");
        let known = self.uploads.ever.get(&id).unwrap_or_else(|| panic!("{id} is not on disk"));
        let shown_as = (text_at(shown, "name"), number_at(shown, "size"));
        assert_eq!(shown_as, (Some(known.name.clone()), Some(known.size)), "{id}");
        let hex: String = known.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text_at(shown, "sha256").unwrap_or(hex.clone()), hex, "the hash of {id}");
        assert!(known.alts.contains(&text_at(shown, "alt")), "the alt text of {id}");
        let preview = text_at(shown, "preview");
        assert!(preview.is_none() || !known.previews.is_empty(), "the preview of {id}");
        id
    }

    /// Checks a file of a message: what its owner added to it does not change any more.
    pub fn check_attachment(&self, shown: &Value<'_>) -> UploadId {
        let id = self.check_upload(shown);
        let known = &self.uploads.ever[&id];
        assert_eq!(Some(&text_at(shown, "alt")), known.alts.last(), "the alt text of {id} in a message");
        let has_preview = text_at(shown, "preview").is_some();
        assert_eq!(has_preview, !known.previews.is_empty(), "the preview of {id} in a message");
        id
    }
}
