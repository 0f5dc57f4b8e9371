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
use super::reference::Model;
use crate::support::files::Files;

struct Row {
    owner: ProfileId,
    name: String,
    sha256: [u8; 32],
    size: u64,
    /// Equal bytes of one owner are one file.
    file: UploadId,
}

#[derive(Default)]
pub struct Uploads {
    rows: BTreeMap<UploadId, Row>,
    /// What each upload ever was: its name and its length.
    ever: BTreeMap<UploadId, (String, u64)>,
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
        let same = |row: &&Row| row.owner == owner && row.sha256 == new.sha256;
        let copy_of = self.uploads.rows.values().find(same).map(|row| row.file);
        let Ok(Answer::PublishUpload(made)) = &outcome.result else { panic!("{:?}", outcome.result) };
        assert_eq!((made.upload.id, made.is_copy), (new.id, copy_of.is_some()), "upload.create");
        let file = copy_of.unwrap_or(new.id);
        let row = Row { owner, name: new.name.clone(), sha256: new.sha256, size: new.size, file };
        self.uploads.ever.insert(new.id, (new.name.clone(), new.size));
        assert!(self.uploads.rows.insert(new.id, row).is_none(), "an upload twice");
    }

    pub(super) fn upload_deleted(&mut self, delete: &DeleteUpload, outcome: &Outcome) {
        let own = self.uploads.rows.get(&delete.upload).filter(|row| row.owner == delete.actor);
        let file = own.map(|row| row.file);
        let expect = if file.is_some() { Ok(()) } else { Err(Refusal::NotFound) };
        check(outcome, expect, 0, "upload.delete");
        if let Some(file) = file {
            self.uploads.rows.remove(&delete.upload);
            if !self.uploads.rows.values().any(|row| row.file == file) {
                self.uploads.erased.insert(file);
            }
        }
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
            assert_eq!(published.get(&row.file), Some(&row.sha256), "the bytes of {}", row.name);
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

    /// Checks an upload that is shown to its owner.
    pub fn check_upload(&self, shown: &Value<'_>) -> UploadId {
        let id = id_at(shown, "id").expect("an id");
        let (name, size) = self.uploads.ever.get(&id).unwrap_or_else(|| panic!("{id} is not on disk"));
        assert_eq!((text_at(shown, "name").as_ref(), number_at(shown, "size")), (Some(name), Some(*size)));
        if let Some(row) = self.uploads.rows.get(&id) {
            assert_eq!(row.size, *size);
            let hex: String = row.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(text_at(shown, "sha256").unwrap_or(hex.clone()), hex, "the hash of {id}");
        }
        id
    }
}
