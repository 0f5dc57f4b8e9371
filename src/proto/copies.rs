//! What one node of a cluster asks another one about the bytes of an uploaded file, and what it is answered.
//!
//! Owns the texts of the frames. Leaves their encryption to `base::channel`, and the connection to `work::copies`.
//!
//! ```text
//! 1 Store, file: 16, size: 8, SHA-256: 32 ──► 1 Send ──bytes──► 2 Stored        2 Fetch, file: 16 ──► 3 Bytes, size: 8, and the bytes
//!                                        └──► 4 Refused, why: 1                                 └──► 4 Refused, why: 1
//! 3 Lacks, files: 16 each ──► 5 Lacks, files: 16 each
//! ```
//! The bytes of a file follow in frames of their own, exactly as many as its size says.
//! Invariant: a text that is longer or shorter than its form is none.

use crate::base::id::Id;

/// Files of one [`Request::Lacks`].
pub const LACKS_MAX: usize = 1_024;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To store the bytes that follow once they may, and to answer when they are on disk.
    Store { file: Id, size: u64, sha256: [u8; 32] },
    /// For the bytes of a file.
    Fetch { file: Id },
    /// Which of these files it does not have.
    Lacks { files: Vec<Id> },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The bytes may follow.
    Send,
    /// The file is on disk, under its name, with this SHA-256.
    Stored {
        sha256: [u8; 32],
    },
    /// So many bytes follow.
    Bytes {
        size: u64,
    },
    Refused(Refused),
    /// It does not have these files.
    Lacks {
        files: Vec<Id>,
    },
}

/// Why a node does not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It does not have the file.
    NoFile = 1,
    /// Its disk is full.
    Full = 2,
    /// The bytes that came are not those of the question.
    OtherBytes = 3,
    /// Its disk has failed; its log says how.
    Failed = 4,
}

const STORE: u8 = 1;
const FETCH: u8 = 2;
const ASKS: u8 = 3;

const SEND: u8 = 1;
const STORED: u8 = 2;
const BYTES: u8 = 3;
const REFUSED: u8 = 4;
const LACKS: u8 = 5;

impl Request {
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Request::Store { file, size, sha256 } => {
                [&[STORE][..], &file.to_bytes(), &size.to_be_bytes(), sha256].concat()
            }
            Request::Fetch { file } => [&[FETCH][..], &file.to_bytes()].concat(),
            Request::Lacks { files } => ids_to_bytes(ASKS, files),
        }
    }

    pub fn parse(text: &[u8]) -> Option<Request> {
        let (kind, rest) = text.split_first()?;
        if *kind == ASKS {
            return ids(rest).map(|files| Request::Lacks { files });
        }
        let (file, rest) = rest.split_first_chunk()?;
        let file = Id::from_bytes(*file);
        match (*kind, rest) {
            (STORE, rest) => {
                let (size, rest) = rest.split_first_chunk()?;
                let (size, sha256) = (u64::from_be_bytes(*size), rest.try_into().ok()?);
                Some(Request::Store { file, size, sha256 })
            }
            (FETCH, []) => Some(Request::Fetch { file }),
            _ => None,
        }
    }
}

impl Reply {
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Reply::Send => vec![SEND],
            Reply::Stored { sha256 } => [&[STORED][..], sha256].concat(),
            Reply::Bytes { size } => [&[BYTES][..], &size.to_be_bytes()].concat(),
            Reply::Refused(why) => vec![REFUSED, *why as u8],
            Reply::Lacks { files } => ids_to_bytes(LACKS, files),
        }
    }

    pub fn parse(text: &[u8]) -> Option<Reply> {
        let (kind, rest) = text.split_first()?;
        match (*kind, rest) {
            (SEND, []) => Some(Reply::Send),
            (STORED, sha256) => Some(Reply::Stored { sha256: sha256.try_into().ok()? }),
            (LACKS, files) => ids(files).map(|files| Reply::Lacks { files }),
            (BYTES, size) => Some(Reply::Bytes { size: u64::from_be_bytes(size.try_into().ok()?) }),
            (REFUSED, [why]) => {
                let all = [Refused::NoFile, Refused::Full, Refused::OtherBytes, Refused::Failed];
                all.into_iter().find(|each| *each as u8 == *why).map(Reply::Refused)
            }
            _ => None,
        }
    }
}

fn ids_to_bytes(kind: u8, files: &[Id]) -> Vec<u8> {
    let mut text = Vec::with_capacity(1 + size_of_val(files));
    text.push(kind);
    files.iter().for_each(|file| text.extend_from_slice(&file.to_bytes()));
    text
}

fn ids(text: &[u8]) -> Option<Vec<Id>> {
    let (files, rest) = text.as_chunks();
    let is_list = rest.is_empty() && files.len() <= LACKS_MAX;
    is_list.then(|| files.iter().map(|file| Id::from_bytes(*file)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each text is read as it was written; longer and shorter ones are not.
    fn check<T: PartialEq + std::fmt::Debug + Clone>(
        text: &[u8],
        value: T,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) {
        assert_eq!(parse(text), Some(value));
        (0..text.len()).for_each(|end| assert_eq!(parse(&text[..end]), None, "{end} of {text:?}"));
        assert_eq!(parse(&[text, b"x"].concat()), None, "{text:?} and a byte");
    }

    #[test]
    fn questions_and_answers_have_one_form() {
        let file = Id::from_u128(5);
        for request in [Request::Store { file, size: 1 << 40, sha256: [3; 32] }, Request::Fetch { file }] {
            check(&request.to_bytes(), request, Request::parse);
        }
        // A list is longer or shorter by whole ids.
        let all: Vec<Id> = (0..LACKS_MAX as u128).map(Id::from_u128).collect();
        for files in [&all[..0], &all[..1], &all[..]] {
            let (files, text) = (files.to_vec(), ids_to_bytes(LACKS, files));
            assert_eq!(Reply::parse(&text), Some(Reply::Lacks { files: files.clone() }));
            assert_eq!(Request::parse(&[&[ASKS][..], &text[1..]].concat()), Some(Request::Lacks { files }));
            assert_eq!(Reply::parse(&[&text[..], b"x"].concat()), None);
        }
        assert_eq!(Reply::parse(&ids_to_bytes(LACKS, &[&all[..], &all[..1]].concat())), None, "too many");
        for reply in [
            Reply::Send,
            Reply::Stored { sha256: [4; 32] },
            Reply::Bytes { size: u64::MAX },
            Reply::Refused(Refused::NoFile),
            Reply::Refused(Refused::Full),
            Reply::Refused(Refused::OtherBytes),
            Reply::Refused(Refused::Failed),
        ] {
            check(&reply.to_bytes(), reply, Reply::parse);
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in [&[0; 17][..], &[4; 17], &[0; 57], &[9; 57]] {
            assert_eq!(Request::parse(text), None, "{text:?}");
        }
        for text in [&[0][..], &[6], &[4, 0], &[4, 5], &[9; 33]] {
            assert_eq!(Reply::parse(text), None, "{text:?}");
        }
    }

    /// Nodes of other builds have the same.
    #[test]
    fn the_bytes_of_a_question() {
        let request = Request::Store { file: Id::from_u128(0x0102), size: 3, sha256: [4; 32] };
        let expect = [&[1][..], &[0; 14], &[1, 2], &[0; 7], &[3], &[4; 32]].concat();
        assert_eq!(request.to_bytes(), expect);
    }

    proptest! {
        /// What is read is what was written: no two texts say the same, and no bytes panic.
        #[test]
        fn any_bytes_are_none_or_the_text_of_what_they_say(
            kind in 0u8..7,
            rest in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                prop::collection::vec(any::<u8>(), 0..2),
                prop::collection::vec(any::<u8>(), 8..9),
                prop::collection::vec(any::<u8>(), 16..17),
                prop::collection::vec(any::<u8>(), 32..33),
                prop::collection::vec(any::<u8>(), 56..57),
            ],
        ) {
            let text = [&[kind][..], &rest].concat();
            for (said, is_known) in [
                (Request::parse(&text).map(|said| said.to_bytes()), kind == ASKS && rest.len().is_multiple_of(16)
                    || kind == FETCH && rest.len() == 16
                    || kind == STORE && rest.len() == 56),
                (Reply::parse(&text).map(|said| said.to_bytes()), match kind {
                    LACKS => rest.len().is_multiple_of(16),
                    SEND => rest.is_empty(),
                    STORED => rest.len() == 32,
                    BYTES => rest.len() == 8,
                    REFUSED => matches!(rest[..], [1..=4]),
                    _ => false,
                }),
            ] {
                prop_assert_eq!(said, is_known.then(|| text.clone()));
            }
        }
    }
}
