//! Uploads: as they appear in JSON (an id in, a signed URL out), and what may be asked of them.
//! Bytes and name are two things: equal bytes of one owner are one file under several uploads, each counted.

use serde::{Serialize, Serializer};

use super::handler::{Actor, Ctx, Step};
use super::id::{ProfileId, UploadId};
use super::job::{Done, Job};
use super::problem::{Code, Problem};
use super::settings::SignUrls;
use crate::proto::image::{Kind, Pixels, Refused, Rules};

/// An image of a profile or a conversation: a signed URL on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub upload: UploadId,
    pub name: String,
    /// Empty until [`super::settings::UrlSigner`] has signed it; never sent empty.
    pub url: String,
}

impl Serialize for Image {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.url)
    }
}

/// A file a message shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attachment {
    pub id: UploadId,
    pub name: String,
    #[serde(rename = "type")]
    pub mime: String,
    pub size: u64,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub url: String,
}

/// The answer to upload.create.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Upload {
    pub id: UploadId,
    pub name: String,
    #[serde(rename = "type")]
    pub mime: String,
    pub size: u64,
    /// In hexadecimal, of the stored bytes.
    pub sha256: String,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub url: String,
}

/// A file that was received whole: its bytes stand in `UPLOADS/tmp/<id>`, and are dropped unless they are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedFile {
    pub id: UploadId,
    pub name: String,
    pub mime: &'static str,
    pub size: u64,
    pub sha256: [u8; 32],
    pub width: Option<u32>,
    pub height: Option<u32>,
    /// What is left to be found out once the whole file is on disk.
    pub inspect: Option<Inspection>,
    /// The field that a refusal names.
    pub field: &'static str,
}

/// A file of a kind that only its whole tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    pub kind: Kind,
    pub rules: Rules,
}

/// What an inspection found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InspectedFile {
    pub mime: &'static str,
    pub pixels: Option<Pixels>,
    /// Of the bytes as they are now, where some were overwritten or cut off.
    pub sha256: Option<[u8; 32]>,
    pub size: u64,
}

impl ReceivedFile {
    fn learn(&mut self, inspected: InspectedFile) {
        self.mime = inspected.mime;
        self.size = inspected.size;
        self.width = inspected.pixels.map(|pixels| pixels.width).or(self.width);
        self.height = inspected.pixels.map(|pixels| pixels.height).or(self.height);
        self.sha256 = inspected.sha256.unwrap_or(self.sha256);
    }

    pub fn is_image(&self) -> bool {
        is_image(self.mime)
    }

    /// Publishes the bytes, then writes the row, then goes on: nobody hears of an upload whose bytes a power cut could
    /// still take. What comes of a handler that takes a file is this step: the server drops a file that is not published.
    pub fn publish(
        self,
        ctx: &Ctx<'_>,
        actor: Actor,
        then: impl FnOnce(&mut Ctx<'_>, Upload) -> Result<Step, Problem> + Send + 'static,
    ) -> Step {
        let (file, quota, field) = (self.id, ctx.settings.limits.upload_quota, self.field);
        let job = Job::PublishUpload { file, inspect: self.inspect };
        let mut publish = PublishUpload { at: ctx.now.unix_ms, owner: actor.profile, file: self, quota };
        Step::work(job, move |_, done| match done {
            Done::UploadPublished { inspected } => Ok(Step::store_or(
                {
                    inspected.into_iter().for_each(|inspected| publish.file.learn(inspected));
                    publish
                },
                move |ctx, result| match result {
                    Ok(PublishedUpload { mut upload, is_copy }) => {
                        upload.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
                        if is_copy { Ok(removed(file, |ctx| then(ctx, upload))) } else { then(ctx, upload) }
                    }
                    // Nothing refers to the file, and nobody was told of it.
                    Err(refusal) => Ok(removed(file, move |_| Err(refusal.into()))),
                },
            )),
            Done::UploadRefused(refused) => Err(refusal(refused, field)),
            Done::DiskFull => Err(Code::StorageFull.into()),
            _ => Err(Code::GeneralError.into()),
        })
    }
}

/// What is answered for a file that is not stored; `field` is what brought it.
pub fn refusal(refused: Refused, field: &'static str) -> Problem {
    match refused {
        Refused::Empty | Refused::TooManyPixels => Problem::invalid(field),
        Refused::UnknownType | Refused::BrokenImage => Problem::new(Code::NotSupportedType),
    }
}

/// Goes on once a file is gone. One that could not be removed was reported where it failed, and the next start sweeps it.
fn removed(
    file: UploadId,
    then: impl FnOnce(&mut Ctx<'_>) -> Result<Step, Problem> + Send + 'static,
) -> Step {
    Step::Work(Job::RemoveFiles { files: vec![file] }, Box::new(move |ctx, _| then(ctx)))
}

/// Whether a type is one that may stand as a picture of somebody or something.
pub fn is_image(mime: &str) -> bool {
    mime.starts_with("image/")
}

/// What the uploads of one member that have no row yet take, the one to be admitted included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    pub files: u64,
    pub bytes: u64,
}

/// Whether there is room for so many bytes more, and how much there is: `QuotaExceeded` where there is not. Asked before a
/// body is read; the verdict that counts falls in [`PublishUpload`].
#[derive(Clone, Copy, Debug)]
pub struct AdmitUpload {
    pub owner: ProfileId,
    /// Of all uploads under way, this one included, and their number.
    pub bytes: u64,
    pub files: u64,
    pub quota: u64,
    pub files_max: u64,
}

/// Makes an upload of bytes that stand in their place on disk. `QuotaExceeded` where its owner has no room for them.
#[derive(Clone, Debug)]
pub struct PublishUpload {
    pub at: u64,
    /// A profile.
    pub owner: ProfileId,
    /// Its id becomes the upload's, and names the file.
    pub file: ReceivedFile,
    pub quota: u64,
}

#[derive(Clone, Debug)]
pub struct PublishedUpload {
    pub upload: Upload,
    /// The owner had these bytes already: the new file is not referred to.
    pub is_copy: bool,
}

/// `NotFound` where there is no such upload of this name, or the viewer may not read it: its owner, the members of a
/// conversation in which a message shows it, and for images of profiles and groups any member may.
#[derive(Clone, Debug)]
pub struct FindUpload {
    pub upload: UploadId,
    pub name: String,
    /// A profile; `None` for the holder of a signed URL.
    pub viewer: Option<ProfileId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    pub file: UploadId,
    pub mime: String,
    pub size: u64,
    pub sha256: [u8; 32],
    pub created_at: u64,
}

/// `InUse` while something shows it, `NotAllowed` for others who may read it.
#[derive(Clone, Copy, Debug)]
pub struct DeleteUpload {
    pub actor: ProfileId,
    pub upload: UploadId,
}

/// Files no row refers to any more, the oldest first.
#[derive(Clone, Copy, Debug)]
pub struct ListErasedFiles {
    pub limit: u32,
}

/// These files are gone from the disk.
#[derive(Clone, Debug)]
pub struct ForgetFiles {
    pub files: Vec<UploadId>,
}

/// Which of these files no row refers to. `None` where storage knows of no file at all: then it is more likely another
/// folder's database than that all of them are orphans.
#[derive(Clone, Debug)]
pub struct FindOrphans {
    pub files: Vec<UploadId>,
}

/// A file to be sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileSource {
    /// `UPLOADS/<aa>/<id>`.
    Upload(UploadId),
    /// What DEFAULT_PROFILE_PIC names.
    DefaultImage,
    /// A file of the folder CONFORMANCE_FILES.
    #[cfg(feature = "conformance")]
    Conformance(String),
}
