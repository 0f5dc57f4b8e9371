//! Uploads: their form in JSON (an id in, a signed URL out), and what storage may be asked about them.
//!
//! Invariant: equal bytes of one owner are one file with several uploads, and each counts in the quota. Files of several owners may
//! share the bytes on disk.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::handler::{Actor, Ctx, Step};
use super::id::{ConversationId, MessageId, ProfileId, UploadId};
use super::job::{Done, Job, Received};
use super::operation::Refusal;
use super::problem::{Code, Problem};
use super::settings::SignUrls;
use crate::base::time::UnixMs;
use crate::proto::image::{Kind, Pixels, Refused, Rules};

/// An image of a profile or a conversation: a signed URL on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The upload.
    pub upload: UploadId,
    /// The file name.
    pub name: String,
    /// Empty until [`super::settings::UrlSigner`] has signed it; never sent empty.
    pub url: String,
}

impl Serialize for Image {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.url)
    }
}

/// A file that a message shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attachment {
    /// The id.
    pub id: UploadId,
    /// The file name.
    pub name: String,
    /// The media type, found from the bytes.
    #[serde(rename = "type")]
    pub mime: String,
    /// Bytes.
    pub size: u64,
    /// Pixels, as displayed.
    pub width: Option<u32>,
    /// Pixels, as displayed.
    pub height: Option<u32>,
    /// A text for who does not see or hear it, by its owner.
    pub alt: Option<String>,
    /// How long a sound or a film plays, by its owner.
    pub duration_ms: Option<u64>,
    /// Signed; empty until then.
    pub url: String,
    /// Signed; empty until then.
    pub preview: Option<String>,
}

/// The answer to upload.create.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Upload {
    /// The id, which a message or a profile names.
    pub id: UploadId,
    /// The file name.
    pub name: String,
    /// The media type, found from the bytes.
    #[serde(rename = "type")]
    pub mime: String,
    /// Bytes.
    pub size: u64,
    /// In hexadecimal, of the stored bytes.
    pub sha256: String,
    /// Pixels, as displayed.
    pub width: Option<u32>,
    /// Pixels, as displayed.
    pub height: Option<u32>,
    /// A text for who does not see or hear it, by its owner.
    pub alt: Option<String>,
    /// How long a sound or a film plays, by its owner.
    pub duration_ms: Option<u64>,
    /// Signed; empty until then.
    pub url: String,
    /// Signed; empty until then.
    pub preview: Option<String>,
}

/// A file that was received completely: its bytes are in `UPLOADS/tmp/<id>`, and are removed unless they are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedFile {
    /// The id of the file, which becomes the upload's.
    pub id: UploadId,
    /// The file name.
    pub name: String,
    /// The media type, found from the bytes.
    pub mime: Cow<'static, str>,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// Pixels, as displayed.
    pub width: Option<u32>,
    /// Pixels, as displayed.
    pub height: Option<u32>,
    /// How the complete file has to be inspected.
    pub inspect: Option<Inspection>,
    /// The field that a refusal names.
    pub field: &'static str,
}

/// An inspection of the complete file, for types that the first bytes do not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What the first bytes say.
    pub kind: Kind,
    /// What is removed and checked.
    pub rules: Rules,
}

/// What an inspection found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InspectedFile {
    /// The media type, found from the bytes.
    pub mime: &'static str,
    /// Its size in pixels, if it has one.
    pub pixels: Option<Pixels>,
    /// SHA-256 of the bytes, if some were overwritten or cut off.
    pub sha256: Option<[u8; 32]>,
    /// Bytes after the inspection.
    pub size: u64,
}

impl ReceivedFile {
    fn learn(&mut self, inspected: InspectedFile) {
        self.mime = inspected.mime.into();
        self.size = inspected.size;
        self.width = inspected.pixels.map(|pixels| pixels.width).or(self.width);
        self.height = inspected.pixels.map(|pixels| pixels.height).or(self.height);
        self.sha256 = inspected.sha256.unwrap_or(self.sha256);
    }

    /// Whether it may be an image of a profile or a group.
    pub fn is_image(&self) -> bool {
        is_image(&self.mime)
    }

    /// Publishes the bytes as an upload, or as the preview of one, then writes the row, then continues with `then`: no client learns of an upload whose bytes a power cut
    /// could still remove. A handler that takes a file must return this step: the server removes a file that is not published.
    pub fn publish(
        self,
        ctx: &Ctx<'_>,
        actor: Actor,
        preview_of: Option<UploadId>,
        then: impl FnOnce(&mut Ctx<'_>, Upload) -> Result<Step, Problem> + Send + 'static,
    ) -> Step {
        let (file, quota, field) = (self.id, ctx.settings.limits.upload_quota, self.field);
        let received = Box::new(Received { owner: actor.profile, sha256: self.sha256 });
        let job = Job::PublishUpload { file, inspect: self.inspect, received };
        let mut publish =
            PublishUpload { at: ctx.now.unix_ms, owner: actor.profile, file: self, preview_of, quota };
        Step::work(job, move |_, done| match done {
            Done::UploadPublished { inspected, .. } => Ok(Step::store_or(
                {
                    inspected.into_iter().for_each(|inspected| publish.file.learn(*inspected));
                    publish
                },
                move |ctx, result| match result {
                    Ok(PublishedUpload { mut upload, is_copy }) => {
                        upload.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
                        if is_copy { Ok(removed(file, |ctx| then(ctx, upload))) } else { then(ctx, upload) }
                    }
                    // The log of a cluster may take the row later: a file that gets none is removed when it is old.
                    Err(Refusal::Unavailable) if ctx.settings.cluster.is_some() => {
                        Err(Refusal::Unavailable.into())
                    }
                    // Nothing refers to the file, and no client knows it.
                    Err(refusal) => Ok(removed(file, move |_| Err(refusal.into()))),
                },
            )),
            Done::UploadRefused(refused) => Err(refusal(refused, field)),
            Done::DiskFull => Err(Code::StorageFull.into()),
            Done::NotGiven => Err(Code::Unavailable.into()),
            _ => Err(Code::GeneralError.into()),
        })
    }
}

/// The problem for a file that is not stored; `field` is the parameter that contained it.
pub fn refusal(refused: Refused, field: &'static str) -> Problem {
    match refused {
        Refused::Empty | Refused::TooManyPixels => Problem::invalid(field),
        Refused::UnknownType | Refused::BrokenImage => Problem::new(Code::NotSupportedType),
    }
}

/// Continues when a file is removed. A file that could not be removed was reported where it failed; the next start removes it.
fn removed(
    file: UploadId,
    then: impl FnOnce(&mut Ctx<'_>) -> Result<Step, Problem> + Send + 'static,
) -> Step {
    Step::Work(Job::RemoveFiles { files: vec![file] }, Box::new(move |ctx, _| then(ctx)))
}

/// The name of every preview in a path. No upload has it.
pub const PREVIEW: &str = "preview";

/// Whether a file of this type has a length.
pub fn is_played(mime: &str) -> bool {
    mime.starts_with("audio/") || mime.starts_with("video/")
}

/// Whether a file of this type may be a preview: the types that each browser shows and that do not move on for long.
pub fn is_preview(mime: &str) -> bool {
    matches!(mime, "image/jpeg" | "image/png" | "image/webp")
}

/// Whether a file of this type may be the image of a profile or a group.
pub fn is_image(mime: &str) -> bool {
    mime.starts_with("image/")
}

/// The uploads of one member that have no row yet, the one to be admitted included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// How many.
    pub files: u64,
    /// Their bytes so far.
    pub bytes: u64,
}

/// How much a member may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all its uploads.
    pub bytes: u64,
    /// How many uploads.
    pub files: u64,
}

/// Asks how many bytes of the quota are left: `QuotaExceeded` if these uploads do not fit. It is asked before a body is read;
/// [`PublishUpload`] decides finally.
#[derive(Clone, Copy, Debug)]
pub struct AdmitUpload {
    /// The profile that uploads.
    pub owner: ProfileId,
    /// Bytes of all uploads in progress, this one included.
    pub bytes: u64,
    /// How many uploads are in progress.
    pub files: u64,
    /// How much the owner may keep.
    pub quota: Quota,
}

/// Makes an upload of a file that is on disk, or the preview of an upload; a former preview is erased. `QuotaExceeded` if its
/// owner has no room for it. For a preview also the refusals of [`UpdateUpload`].
#[derive(Clone, Debug)]
pub struct PublishUpload {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The profile that uploads.
    pub owner: ProfileId,
    /// The file; its id becomes the upload's, unless it is a preview.
    pub file: ReceivedFile,
    /// The upload of which it is the preview.
    pub preview_of: Option<UploadId>,
    /// The most bytes that the owner may keep.
    pub quota: u64,
}

/// The answer to [`PublishUpload`].
#[derive(Clone, Debug)]
pub struct PublishedUpload {
    /// The upload.
    pub upload: Upload,
    /// Whether the owner had these bytes before: then nothing refers to the new file.
    pub is_copy: bool,
}

/// Replaces what its owner says about an upload. `NotFound` and `NotAllowed` if the actor is not its owner, `InUse` once something
/// shows it: what a message shows does not change. `Invalid` for a length of a file that is no sound and no film.
#[derive(Clone, Debug)]
pub struct UpdateUpload {
    /// The profile that asks.
    pub actor: ProfileId,
    /// The upload.
    pub upload: UploadId,
    /// A text for who does not see or hear it.
    pub alt: Option<String>,
    /// How long a sound or a film plays.
    pub duration_ms: Option<u64>,
}

/// `NotFound` if there is no such upload of this name, or if the viewer may not read it. Its owner may, the members of a
/// conversation in which a message shows it, and for images of profiles and groups any member.
#[derive(Clone, Debug)]
pub struct FindUpload {
    /// The upload.
    pub upload: UploadId,
    /// The file name, as in the URL, or [`PREVIEW`].
    pub name: String,
    /// The profile that asks; `None` for the holder of a signed URL.
    pub viewer: Option<ProfileId>,
}

/// The answer to [`FindUpload`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// The id of the file on disk.
    pub file: UploadId,
    /// The media type, found from the bytes.
    pub mime: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// When it was uploaded, Unix ms.
    pub created_at: UnixMs,
}

/// Deletes an upload. `InUse` while something shows it, `NotAllowed` for other profiles that may read it.
#[derive(Clone, Copy, Debug)]
pub struct DeleteUpload {
    /// The profile that asks.
    pub actor: ProfileId,
    /// The upload.
    pub upload: UploadId,
}

/// What kind of file an attachment is, for those who look for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A picture or a film.
    Media = 0,
    /// A sound.
    Audio = 1,
    /// Any other.
    File = 2,
}

impl FileKind {
    /// Every kind, and its name on the wire.
    pub const ALL: [(FileKind, &'static str); 3] =
        [(FileKind::Media, "media"), (FileKind::Audio, "audio"), (FileKind::File, "file")];

    /// The kind of a file of this type.
    pub fn of(mime: &str) -> FileKind {
        match mime.split('/').next() {
            Some("image" | "video") => FileKind::Media,
            Some("audio") => FileKind::Audio,
            _ => FileKind::File,
        }
    }
}

/// The position of an attachment in its conversation: the `n` of its message, and its place in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilePlace {
    /// Of the message.
    pub n: u64,
    /// From 0.
    pub place: u64,
}

/// The files that the messages of a conversation show, the newest first. `NotFound` unless the viewer is a member.
#[derive(Clone, Copy, Debug)]
pub struct ListFiles {
    /// The profile that asks.
    pub viewer: ProfileId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Files of this kind only.
    pub kind: FileKind,
    /// Those before this one.
    pub before: Option<FilePlace>,
    /// The most files.
    pub limit: u32,
}

/// A file, and the message that shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownFile {
    /// The message.
    pub message: MessageId,
    /// The position of the message in its conversation.
    pub n: u64,
    /// Who sent it; `None` once deleted.
    pub sender: Option<ProfileId>,
    /// When it was sent.
    pub created_at: UnixMs,
    /// The file.
    pub file: Attachment,
}

/// The answer to [`ListFiles`].
#[derive(Clone, Debug)]
pub struct FilePage {
    /// The newest first.
    pub files: Vec<ShownFile>,
    /// Where the next page begins: before this one.
    pub next: Option<FilePlace>,
}

/// Files to which no row refers any more, the oldest first.
#[derive(Clone, Copy, Debug)]
pub struct ListErasedFiles {
    /// The page begins after this one.
    pub after: Option<UploadId>,
    /// The most files.
    pub limit: u32,
}

/// These files were removed from the disk.
#[derive(Clone, Debug)]
pub struct ForgetFiles {
    /// The files.
    pub files: Vec<UploadId>,
}

/// Files that one [`Job::FindOldFiles`] finds.
pub const OLD_FILES_MAX: usize = 1_024;

/// To which of these files no row refers. `None` if storage has no file at all: then the database probably belongs to another
/// folder, and the files are no orphans.
#[derive(Clone, Debug)]
pub struct FindOrphans {
    /// Their ids.
    pub files: Vec<UploadId>,
}

/// What is known of these files: of each that has a row.
#[derive(Clone, Debug)]
pub struct FindKept {
    /// Their ids.
    pub files: Vec<UploadId>,
}

/// A file that a row refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptFile {
    /// Its id.
    pub file: UploadId,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// A file to be sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileSource {
    /// `UPLOADS/<aa>/<id>`.
    Upload(UploadId),
    /// What DEFAULT_PROFILE_PIC names.
    DefaultImage,
    /// A file of the folder CONFORMANCE_FILES.
    Conformance(String),
}
