//! Tests of the multipart parser: every split of the input, and every error.

use super::*;
use proptest::prelude::*;

/// The parts with their content, if the body arrives in `pieces`.
fn run<'a>(
    boundary: &str,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<(Part, Vec<u8>)>, MultipartError> {
    let mut form = Multipart::new(boundary)?;
    let (mut parts, mut open) = (Vec::new(), None);
    for mut piece in pieces {
        loop {
            let (consumed, event) = form.next(piece)?;
            piece = &piece[consumed..];
            match event {
                Event::PartBegin(part) => assert!(open.replace((part, Vec::new())).is_none()),
                Event::Data(data) => {
                    assert!(!data.is_empty());
                    open.as_mut().expect("data inside a part").1.extend_from_slice(data);
                }
                Event::PartEnd => parts.push(open.take().expect("an open part")),
                Event::NeedMore | Event::End => break,
            }
        }
        assert!(piece.is_empty());
    }
    form.finish()?;
    Ok(parts)
}

/// Name, file name, content.
type Expected<'a> = (&'a str, Option<&'a str>, &'a [u8]);

/// In one piece, byte by byte, and split in two at every byte.
fn check(body: &[u8], expect: Result<&[Expected<'_>], MultipartError>) {
    let got = run("XX", [body].into_iter());
    let seen = got.as_ref().map_err(|&e| e).map(|parts| {
        let seen = |(part, data): &(Part, Vec<u8>)| (part.name.clone(), part.filename.clone(), data.clone());
        parts.iter().map(seen).collect::<Vec<_>>()
    });
    let expect = expect.map(|parts| {
        let own = |&(name, filename, data): &Expected<'_>| {
            (name.to_owned(), filename.map(str::to_owned), data.to_vec())
        };
        parts.iter().map(own).collect::<Vec<_>>()
    });
    let shown = String::from_utf8_lossy(body);
    assert_eq!(seen, expect, "{shown:?}");
    assert_eq!(run("XX", body.chunks(1)), got, "byte by byte: {shown:?}");
    for at in 0..=body.len() {
        let (a, b) = body.split_at(at);
        assert_eq!(run("XX", [a, b].into_iter()), got, "split at {at}: {shown:?}");
    }
}

fn field(head: &str, data: &str) -> Vec<u8> {
    format!("--XX\r\n{head}\r\n\r\n{data}\r\n--XX--\r\n").into_bytes()
}

#[test]
fn forms() {
    let file = "Content-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\nContent-Type: image/png";
    check(b"--XX--", Ok(&[]));
    check(b"pre\r\n--X\r\n--XX--\r\nepilogue\r\n--XX\r\n", Ok(&[]));
    check(
        format!("preamble\r\n--XX \t\r\n{file}\r\n\r\n\r\n\r\n--XX\r\ncontent-disposition:form-data;name=b\r\n\r\n1\r\n--XX--").as_bytes(),
        Ok(&[("file", Some("a.bin"), b"\r\n"), ("b", None, b"1")]),
    );
    // An empty part, with and without its own CRLF.
    check(&field(file, ""), Ok(&[("file", Some("a.bin"), b"")]));
    check(format!("--XX\r\n{file}\r\n\r\n--XX--").as_bytes(), Ok(&[("file", Some("a.bin"), b"")]));
}

#[test]
fn bytes_that_look_like_a_delimiter_are_data() {
    let long = format!("\r\n--XX{}\r\n", " ".repeat(MULTIPART_PADDING_MAX + 1));
    for data in [
        "\r",
        "\r\n",
        "\r\n-",
        "\r\n--",
        "\r\n--X",
        "\r\n--XY",
        "\r\n--XXY\r\n",
        "\r\n--XX-",
        "\r\n--XX-\r\n",
        "\r\n--XX \rX",
        "\r\n--XX\n",
        "\r\n--XX\r",
        "\r\r\n\r\n--\r\n--X",
        "--X",
        "--XXY",
        "\n--XX--",
        "\0\r\n--XX\t-",
        &long,
    ] {
        let disposition = "Content-Disposition: form-data; name=a";
        check(&field(disposition, data), Ok(&[("a", None, data.as_bytes())]));
    }
}

#[test]
fn names() {
    for (parameters, expect) in [
        ("name=a", Some(("a", None))),
        ("name=\"\"; filename=\"\"", Some(("", Some("")))),
        ("NAME = \"a b\" ; FileName = x.txt ;", Some(("a b", Some("x.txt")))),
        ("name=a; filename=\"\u{0645}\u{0631}.jpg\"", Some(("a", Some("\u{0645}\u{0631}.jpg")))),
        ("name=a; filename=\"q\\\"u\\\\o;te%22\"", Some(("a", Some("q\"u\\o;te\"")))),
        ("name=a; filename=\"C:\\dir\\x.txt\"", Some(("a", Some("C:\\dir\\x.txt")))),
        ("name=a; filename=x; filename*=UTF-8''%e2%82%AC.txt", Some(("a", Some("\u{20ac}.txt")))),
        ("name=a; filename*=utf-8'en'a%20b", Some(("a", Some("a b")))),
        ("name=a; unknown=1; unknown=2", Some(("a", None))),
        ("name=a; filename*=ISO-8859-1''%e9", None),
        ("name=a; filename*=UTF-8''%ff", None),
        ("name=a; filename*=UTF-8''%4", None),
        ("name=a; filename*=x", None),
        ("name=a; name=b", None),
        ("name=a; filename=b; filename=c", None),
        ("name=\"a", None),
        ("name=\"a\"b", None),
        ("name", None),
        ("=a", None),
        ("filename=a", None),
        ("", None),
    ] {
        let body = field(&format!("Content-Disposition: form-data; {parameters}"), "1");
        match expect {
            Some((name, filename)) => check(&body, Ok(&[(name, filename, b"1")])),
            None => check(&body, Err(MultipartError::Head)),
        }
    }
}

#[test]
fn heads_that_are_refused() {
    let good = "Content-Disposition: form-data; name=a";
    for head in [
        "Content-Type: text/plain",
        "Content-Disposition: attachment; name=a",
        "Content-Disposition: form-data",
        "Content-Disposition : form-data; name=a",
        "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=a",
        "Content-Disposition: form-data;\r\n name=a",
        "Content-Disposition: form-data; name=a\nX: y",
        "Content-Disposition: form-data; name=\"a\0\"",
        "Content-Disposition: form-data; name=a\r\nnonsense",
        "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64",
    ] {
        check(&field(head, "1"), Err(MultipartError::Head));
    }
    check(b"--XX\r\n\r\n1\r\n--XX--", Err(MultipartError::Head));
    check(
        b"--XX\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n1\r\n--XX--",
        Err(MultipartError::Head),
    );
    let at_bound = MULTIPART_HEAD_MAX - good.len() - "\r\nX: \r\n\r\n".len();
    let head = |padding: usize| format!("{good}\r\nX: {}", "x".repeat(padding));
    assert!(run("XX", [&field(&head(at_bound), "1")[..]].into_iter()).is_ok());
    let over = run("XX", [&field(&head(at_bound + 1), "1")[..]].into_iter());
    assert_eq!(over, Err(MultipartError::HeadTooLarge));
}

#[test]
fn a_body_that_ends_early_is_truncated() {
    let body = field("Content-Disposition: form-data; name=a", "12");
    let end = body.len() - 2; // the last CRLF is already epilogue
    for at in 0..end {
        assert_eq!(run("XX", [&body[..at]].into_iter()), Err(MultipartError::Truncated), "{at}");
    }
    assert!(run("XX", [&body[..end]].into_iter()).is_ok());
}

#[test]
fn parts_are_counted() {
    let part = "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n";
    let form = |parts: usize| part.repeat(parts) + "--XX--";
    let count = |parts| run("XX", [form(parts).as_bytes()].into_iter()).map(|parts| parts.len());
    assert_eq!(count(MULTIPART_PARTS_MAX), Ok(MULTIPART_PARTS_MAX));
    assert_eq!(count(MULTIPART_PARTS_MAX + 1), Err(MultipartError::TooManyParts));
}

#[test]
fn boundaries() {
    let long = "b".repeat(MULTIPART_BOUNDARY_MAX);
    for (content_type, expect) in [
        ("multipart/form-data; boundary=abc".to_owned(), Some("abc")),
        ("Multipart/Form-Data ; charset=utf-8; Boundary=\"a b(c)\"".to_owned(), Some("a b(c)")),
        (format!("multipart/form-data; boundary={long}"), Some(long.as_str())),
        (format!("multipart/form-data; boundary={long}b"), None),
        ("multipart/form-data; boundary=----=_Part_1:2".to_owned(), Some("----=_Part_1:2")),
        ("multipart/form-data; boundary=a&b".to_owned(), None),
        ("multipart/form-data; boundary=\"\"".to_owned(), None),
        ("multipart/form-data".to_owned(), None),
        ("multipart/form-data; boundary=".to_owned(), None),
        ("multipart/form-data; boundary=\"a \"".to_owned(), None),
        ("multipart/form-data; boundary=\"a\rb\"".to_owned(), None),
        ("multipart/form-data; boundary=a; boundary=a".to_owned(), None),
        ("multipart/mixed; boundary=a".to_owned(), None),
    ] {
        assert_eq!(boundary(&content_type).ok().as_deref(), expect, "{content_type}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_the_same_at_once_and_split(
        pieces in prop::collection::vec(prop_oneof![
            Just(b"\r\n--XX".to_vec()), Just(b"\r\n".to_vec()), Just(b"--".to_vec()), Just(b"\r".to_vec()),
            Just(b"--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..8),
        ], 0..24),
        at in any::<prop::sample::Index>(),
    ) {
        let body = pieces.concat();
        let at_once = run("XX", [&body[..]].into_iter());
        let (a, b) = body.split_at(at.index(body.len() + 1));
        prop_assert_eq!(run("XX", [a, b].into_iter()), at_once.clone());
        prop_assert_eq!(run("XX", body.chunks(1)), at_once);
    }
}
