//! An upload as it appears in JSON: an id in, a signed URL out.

use serde::{Serialize, Serializer};

use crate::base::id::Id;

/// An image of a profile or a conversation: a signed URL on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub upload: Id,
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
    pub id: Id,
    pub name: String,
    #[serde(rename = "type")]
    pub mime: String,
    pub size: u64,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub url: String,
}
