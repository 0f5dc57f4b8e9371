//! The disk of a test server: the real publisher and opener on a real folder, and the appends of the runtime's disk thread.
//!
//! Owns the faults that a test injects.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use natter::base::crypto::Sha256;
use natter::model::id::UploadId;
use natter::model::job::{Done, Job};
use natter::work::files::{FilePaths, Opener, Publisher};

pub struct Files {
    pub uploads: PathBuf,
    publisher: Publisher,
    opener: Opener,
    /// While set, every append fails: with a full disk (`true`) or with another error.
    pub append_fails: Option<bool>,
    /// While set, every publishing fails with a full disk.
    pub publish_fails: bool,
    /// The folder of another node, which gives its files.
    pub other_node: Option<PathBuf>,
    hashes: BTreeMap<UploadId, Sha256>,
}

impl Files {
    pub fn new(dir: &Path) -> Files {
        let uploads = dir.join("uploads");
        fs::create_dir_all(uploads.join("tmp")).expect("a folder");
        let default_image = dir.join("default.png");
        let paths = FilePaths {
            uploads: uploads.clone(),
            default_image: Some(default_image),
            conformance: Some(dir.join("conformance")),
        };
        Files {
            publisher: Publisher::new(uploads.clone()),
            opener: Opener::new(paths, std::sync::Arc::new(drop)),
            uploads,
            append_fails: None,
            publish_fails: false,
            other_node: None,
            hashes: BTreeMap::new(),
        }
    }

    pub fn run(&mut self, job: Job) -> Done {
        match job {
            Job::OpenFile { .. } => self.opener.run(job),
            Job::PublishUpload { file, .. } if self.publish_fails => {
                self.abandon(file);
                Done::DiskFull
            }
            Job::FetchFile { file, .. } => self.fetch(file),
            job => self.publisher.run(job),
        }
    }

    fn fetch(&self, file: UploadId) -> Done {
        let name = PathBuf::from(format!("{:02x}", file.low() as u8)).join(file.to_string());
        let Some(from) = self.other_node.as_ref().map(|folder| folder.join(&name)) else {
            return Done::NotFetched;
        };
        let to = self.uploads.join(name);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(from, to).map_or(Done::NotFetched, |bytes| Done::FileFetched { bytes })
    }

    /// The hash of the complete file with its last bytes; `Err` says whether the disk is full.
    pub fn append(&mut self, upload: UploadId, bytes: &[u8], last: bool) -> Result<Option<[u8; 32]>, bool> {
        if let Some(full) = self.append_fails {
            return Err(full);
        }
        let path = self.uploads.join("tmp").join(upload.to_string());
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("a temporary file");
        file.write_all(bytes).expect("an append");
        self.hashes.entry(upload).or_insert_with(Sha256::new).update(bytes);
        Ok(if last { self.hashes.remove(&upload).map(Sha256::finish) } else { None })
    }

    pub fn abandon(&mut self, upload: UploadId) {
        self.hashes.remove(&upload);
        // An upload without any byte has no file.
        let _ = fs::remove_file(self.uploads.join("tmp").join(upload.to_string()));
    }

    /// All files below the folder: those being received, and the published ones.
    pub fn all(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut temporary, mut published) = (Vec::new(), Vec::new());
        for folder in fs::read_dir(&self.uploads).expect("a folder") {
            let folder = folder.expect("an entry").path();
            let list = if folder.ends_with("tmp") { &mut temporary } else { &mut published };
            for file in fs::read_dir(folder).expect("a folder") {
                list.push(file.expect("an entry").path());
            }
        }
        (temporary, published)
    }
}
