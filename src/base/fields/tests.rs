//! The form of values in bytes: what it is, what other builds may do with it, and that any other bytes are refused.

use super::sample::Sample;
use super::{Field, fields, read, variants};
use crate::base::crypto::Entropy;
use crate::base::id::Id;
use crate::base::testing::Seeded;

type Image = Option<Option<Id>>;

#[derive(Debug, PartialEq, Default)]
struct Old {
    id: Id,
    name: String,
    image: Image,
    kind: Kind,
}

/// A later build has added fields, and left one out.
#[derive(Debug, PartialEq, Default)]
struct New {
    id: Id,
    image: Image,
    kind: Kind,
    size: u64,
    tags: Vec<String>,
    place: Option<Place>,
}

#[derive(Debug, PartialEq, Default)]
struct Place {
    x: u32,
    y: u32,
}

#[derive(Debug, PartialEq, Default)]
enum Kind {
    #[default]
    None,
    Text(String),
    Count(u64),
}

fields! {
    Old { 1 id, 2 name, 3 image, 5 kind }
    New { 1 id, 3 image, 5 kind, 7 size, 8 tags, 16 place }
    Place { 1 x, 2 y }
}

variants! {
    Kind { 1 None, 3 Text(text), 4 Count(count) }
}

fn bytes<T: Field>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    value.put(&mut out);
    out
}

#[track_caller]
fn check<T: Field + std::fmt::Debug + PartialEq>(value: T, expect: &[u8]) {
    assert_eq!(bytes(&value), expect);
    assert_eq!(read(expect), Some(value));
}

#[test]
fn the_bytes_of_values() {
    check(0u64, b"");
    check(255u64, b"\xff");
    check(256u64, b"\0\x01");
    check(u64::MAX, &[255; 8]);
    check(false, b"");
    check(true, b"\x01");
    check("é".to_owned(), "é".as_bytes());
    check(vec![1u64, 0, 256], b"\x01\x01\0\x02\0\x01");
    check(Kind::None, b"\x01");
    check(Kind::Text("a".to_owned()), b"\x03a");
    check((7u64, "a".to_owned()), b"\x01\x01\x07\x02\x01a");
    // A structure whose fields are all missing has no bytes; as an option it has one.
    check(Place { x: 0, y: 0 }, b"");
    check(Some(Place { x: 0, y: 2 }), b"\x01\x02\x01\x02");
    check(Some(Place { x: 0, y: 0 }), b"\x01");
    let (none, set) =
        ([b"\x01\x10".as_slice(), &[0; 16]].concat(), [b"\x01\x10".as_slice(), &[9; 16]].concat());
    let id = Id::from_bytes([9; 16]);
    check(Old::default(), &[&none[..], b"\x05\x01\x01"].concat());
    check(Old { image: Some(None), ..Old::default() }, &[&none[..], b"\x03\x01\x01\x05\x01\x01"].concat());
    let image = [b"\x03\x12\x01\x01".as_slice(), &[9; 16]].concat();
    check(Old { id, image: Some(Some(id)), ..Old::default() }, &[&set[..], &image, b"\x05\x01\x01"].concat());
}

#[test]
fn a_length_has_as_many_bytes_as_it_needs() {
    for (len, expect) in [
        (0, &b"\0"[..]),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\x01"),
        (2_097_152, b"\x80\x80\x80\x01"),
    ] {
        let texts = vec!["b".repeat(len), "next".to_owned()];
        let written = bytes(&texts);
        assert_eq!(&written[..expect.len()], expect, "{len}");
        assert_eq!(read(&written), Some(texts), "{len}");
    }
    // Padded lengths are read; one of more than 32 bits is not.
    assert_eq!(read(b"\x81\x80\0a"), Some(vec!["a".to_owned()]));
    assert_eq!(read::<Vec<String>>(b"\x81\x80\x80\x80\x80\0a"), None);
}

#[test]
fn another_build_reads_what_it_knows() {
    let mut entropy = Seeded(7);
    for _ in 0..300 {
        let New { id, image, kind, size: _, tags: _, place: _ } = New::sample(&mut entropy);
        let old = Old { id, name: String::new(), image, kind };
        let New { id, image, kind, size, tags, place } =
            read(&bytes(&old)).expect("missing fields have defaults");
        assert_eq!((size, tags, place), (0, Vec::new(), None));
        let new =
            New { id, image, kind, size: 1 + entropy.below(9), tags: Vec::sample(&mut entropy), place: None };
        assert_eq!(read(&bytes(&new)), Some(old), "unknown fields are ignored");
    }
}

#[test]
fn what_has_no_default_must_be_there() {
    let old = Old::default();
    assert_eq!(read(&bytes(&old)), Some(old));
    // Without the id, or without the kind.
    assert_eq!(read::<Old>(b"\x05\x01\x01"), None);
    assert_eq!(read::<Old>(&[b"\x01\x10".as_slice(), &[0; 16]].concat()), None);
}

#[test]
fn other_bytes_are_no_value() {
    fn none<T: Field + std::fmt::Debug>(bytes: &[u8]) {
        let read = read::<T>(bytes);
        assert!(read.is_none(), "{bytes:?} is {read:?}");
    }
    none::<u64>(&[1; 9]);
    none::<u32>(&[1; 5]);
    none::<u16>(&[1; 3]);
    none::<bool>(b"\x02");
    none::<String>(b"\xff");
    none::<Id>(&[1; 15]);
    none::<Id>(&[1; 17]);
    none::<[u8; 4]>(&[1; 3]);
    none::<[Id; 2]>(&[1; 31]);
    none::<[Id; 2]>(&[1; 33]);
    none::<[Id; 2]>(&[1; 48]);
    none::<Option<u64>>(b"\x02");
    none::<Kind>(b"");
    none::<Kind>(b"\0");
    none::<Kind>(b"\x02");
    none::<Kind>(b"\x05");
    none::<Kind>(b"\x04123456789");
    none::<Vec<String>>(b"\x02a");
    none::<Vec<String>>(b"\x80");
    none::<Vec<String>>(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    // A field without a length, with too few bytes, with the number 0.
    none::<Place>(b"\x01");
    none::<Place>(b"\x01\x02a");
    none::<Place>(b"\0\0");
}

#[test]
fn no_bytes_panic() {
    let mut entropy = Seeded(3);
    for _ in 0..2_000 {
        let mut written = bytes(&New::sample(&mut entropy));
        written.truncate(200);
        for end in 0..written.len() {
            // A shorter text may be a value, too: what matters is that it is read.
            let _ = read::<New>(&written[..end]);
        }
        let at = entropy.below(written.len() as u64) as usize;
        written[at] = entropy.u64() as u8;
        let _ = read::<New>(&written);
    }
}
