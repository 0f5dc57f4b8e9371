//! The disk of a world: the real publisher and opener on a real folder, and the appends the runtime's disk thread would
//! write. Owns the faults a test asks for.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use natter::base::crypto::Sha256;
use natter::model::job::{Done, Job};
use natter::server::contract::UploadId;
use natter::work::files::{Opener, Places, Publisher};

pub struct Files {
    pub uploads: PathBuf,
    publisher: Publisher,
    opener: Opener,
    /// From now on every append fails: with a full disk, or otherwise.
    pub append_fails: Option<bool>,
    /// From now on every publishing finds the disk full.
    pub publish_fails: bool,
    /// From now on appends wait until the test lets them go on.
    pub hold_appends: bool,
    pub held: VecDeque<(UploadId, Vec<u8>, bool)>,
    hashes: BTreeMap<UploadId, Sha256>,
}

impl Files {
    pub fn new(dir: &Path) -> Files {
        let uploads = dir.join("uploads");
        fs::create_dir_all(uploads.join("tmp")).expect("a folder");
        let default_image = dir.join("default.png");
        let places = Places {
            uploads: uploads.clone(),
            default_image: Some(default_image),
            conformance: Some(dir.join("conformance")),
        };
        Files {
            publisher: Publisher::new(uploads.clone()),
            opener: Opener::new(places),
            uploads,
            append_fails: None,
            publish_fails: false,
            hold_appends: false,
            held: VecDeque::new(),
            hashes: BTreeMap::new(),
        }
    }

    pub fn run(&mut self, job: Job) -> Done {
        match job {
            Job::OpenFile { .. } => self.opener.run(job),
            Job::PublishUpload { file, .. } if self.publish_fails => {
                self.abandon(UploadId(file));
                Done::DiskFull
            }
            job => self.publisher.run(job),
        }
    }

    /// The hash of the whole with its last bytes; `Err` with whether the disk is full.
    pub fn append(&mut self, upload: UploadId, bytes: &[u8], last: bool) -> Result<Option<[u8; 32]>, bool> {
        if let Some(full) = self.append_fails {
            return Err(full);
        }
        let path = self.uploads.join("tmp").join(upload.0.to_string());
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("a temporary file");
        file.write_all(bytes).expect("an append");
        self.hashes.entry(upload).or_insert_with(Sha256::new).update(bytes);
        Ok(if last { self.hashes.remove(&upload).map(Sha256::finish) } else { None })
    }

    pub fn abandon(&mut self, upload: UploadId) {
        self.hashes.remove(&upload);
        // One that never had a byte has no file.
        let _ = fs::remove_file(self.uploads.join("tmp").join(upload.0.to_string()));
    }

    /// Every file below the folder: being received and published.
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
