//! Checks uploads: which rows there are, and that the files on disk are those of the rows.
//!
//! Owns the rows and the files that are to be removed. Invariant: a row exists only while its file is on disk, with its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use natter::base::crypto::sha256;
use natter::base::id::Id;
use natter::base::json::Value;
use natter::model::id::{ProfileId, UploadId};
use natter::model::operation::{Answer, Outcome, Refusal};
use natter::model::upload::{DeleteUpload, ForgetFiles, PublishUpload};

use super::answer_checker::check;
use super::codec::{id_at, number_at, text_at};
use super::device::Download;
use super::history::{Conversation, Message};
use super::reference::Model;
use crate::support::files::Files;

struct Row {
    owner: ProfileId,
    known: Known,
    /// Equal bytes of one owner are one file.
    file: UploadId,
}

/// What an upload is, and was if it is erased.
#[derive(Clone)]
struct Known {
    name: String,
    sha256: [u8; 32],
    size: u64,
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
        check(outcome, Ok(()), 0, "upload.create");
        let (owner, new) = (publish.owner, &publish.file);
        let same = |row: &&Row| row.owner == owner && row.known.sha256 == new.sha256;
        let copy_of = self.uploads.rows.values().find(same).map(|row| row.file);
        let Ok(Answer::PublishUpload(made)) = &outcome.result else { panic!("{:?}", outcome.result) };
        assert_eq!((made.upload.id, made.is_copy), (new.id, copy_of.is_some()), "upload.create");
        let file = copy_of.unwrap_or(new.id);
        let known = Known { name: new.name.clone(), sha256: new.sha256, size: new.size };
        self.uploads.ever.insert(new.id, known.clone());
        let row = Row { owner, known, file };
        assert!(self.uploads.rows.insert(new.id, row).is_none(), "an upload twice");
    }

    pub(super) fn upload_deleted(&mut self, delete: &DeleteUpload, outcome: &Outcome) {
        let expect = match self.uploads.rows.get(&delete.upload) {
            Some(row) if row.owner == delete.actor && self.is_attached(delete.upload) => Err(Refusal::InUse),
            Some(row) if row.owner == delete.actor => Ok(()),
            Some(_) if self.may_download(delete.actor, delete.upload) => Err(Refusal::NotAllowed),
            _ => Err(Refusal::NotFound),
        };
        check(outcome, expect, 0, "upload.delete");
        if expect.is_ok() {
            self.erase_unless_shown(delete.upload);
        }
    }

    /// An upload that no message shows any more is erased, and its file if no other upload shares it.
    pub(super) fn erase_unless_shown(&mut self, upload: UploadId) {
        if self.is_attached(upload) {
            return;
        }
        // With the account of its owner, it is erased before the messages that showed it.
        let Some(Row { file, .. }) = self.uploads.rows.remove(&upload) else { return };
        if !self.uploads.rows.values().any(|row| row.file == file) {
            self.uploads.erased.insert(file);
        }
    }

    /// With the account.
    pub(super) fn uploads_erased(&mut self, owner: ProfileId) {
        for upload in self.uploads_of(owner) {
            self.uploads.erased.extend(self.uploads.rows.remove(&upload).map(|row| row.file));
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
        assert_eq!((sha256(bytes), bytes.len() as u64), (known.sha256, known.size), "{download:?}");
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
            let Known { name, sha256, .. } = &row.known;
            assert_eq!(published.get(&row.file), Some(sha256), "the bytes of {name}");
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
            let known: BTreeSet<UploadId> = self.uploads.rows.values().map(|row| row.file).collect();
            let unknown = |file: &UploadId| !known.contains(file) && !self.uploads.erased.contains(file);
            let left: Vec<UploadId> = published(files).into_keys().filter(unknown).collect();
            assert!(left.is_empty(), "a start leaves files without a row: {left:?}");
        }
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
        id
    }
}
