//! The intake of a body as a file: raw or as a form, in any split, checked as it passes.
//!
//! Owns what a form may contain and which refusal a bad form gets. Keeps no byte of the file: the bytes to be stored
//! are returned at once, and hashed where they are written.
//! Invariant: `size` counts the returned bytes, and a body gives the same bytes in every split.

use super::name;
use crate::base::percent;
use crate::model::id::UploadId;
use crate::model::problem::{Code, Problem};
use crate::model::upload::{Inspection, ReceivedFile, refusal};
use crate::proto::http::head::Headers;
use crate::proto::http::mime::ContentType;
use crate::proto::http::multipart::{Event, Multipart, MultipartError, Part, boundary};
use crate::proto::image::{Filter, Pixels, Rules};

/// Bytes of a form in addition to its file: fields, heads of parts, boundaries, preamble, epilogue. Above it: 413
/// `too_large`.
const FORM_OVERHEAD_MAX: u64 = 65_536;

/// What a route accepts as a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The field of a form that is the file.
    pub field: &'static str,
    /// The route wants only the file: a body that is not a form is the file itself, a form without the file is refused,
    /// and other fields are ignored.
    pub file_only: bool,
    /// The name of a raw body that has none; without one it is refused.
    pub nameless: Option<&'static str>,
    /// The most bytes of the file as it is sent.
    pub bytes_max: u64,
    /// The most pixels of a picture.
    pub pixels_max: u64,
}

/// How the body contains the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Raw { name: String },
    Form { boundary: String },
}

impl Source {
    /// Reads the header fields of an upload or of a form.
    pub fn of(headers: &Headers, wanted: Wanted) -> Result<Source, Problem> {
        let coded =
            headers.get("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"));
        if coded {
            return Err(Problem::new(Code::NotSupportedType));
        }
        let content_type = headers.get("content-type").unwrap_or_default();
        if is_form(content_type) {
            let boundary = boundary(content_type).map_err(malformed)?;
            return Ok(Source::Form { boundary });
        }
        if !wanted.file_only {
            return Err(Problem::new(Code::NotSupportedType));
        }
        let name = match (headers.get("x-filename"), wanted.nameless) {
            (None, Some(name)) => Some(name.to_owned()),
            (name, _) => name.and_then(percent::decode),
        };
        Ok(Source::Raw { name: name::clean(&name.ok_or(Problem::invalid("filename"))?) })
    }

    /// The largest body.
    pub fn body_max(&self, wanted: Wanted) -> u64 {
        match self {
            Source::Raw { .. } => wanted.bytes_max,
            Source::Form { .. } => wanted.bytes_max.saturating_add(FORM_OVERHEAD_MAX),
        }
    }
}

/// Whether a Content-Type is that of a form, well-formed or not.
pub fn is_form(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default();
    media.trim().eq_ignore_ascii_case("multipart/form-data")
        || ContentType::parse(content_type).is_some_and(|parsed| parsed.essence() == "multipart/form-data")
}

fn malformed(_: MultipartError) -> Problem {
    Problem::new(Code::ErrorParsingData)
}

/// The content of a complete body.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    pub file: Option<CheckedFile>,
    /// The other fields of a form; no name occurs twice.
    pub fields: Vec<(String, String)>,
}

/// A file of which all bytes were returned. Only its hash is not known yet.
#[derive(Debug, PartialEq, Eq)]
pub struct CheckedFile {
    id: UploadId,
    name: String,
    mime: &'static str,
    size: u64,
    pixels: Option<Pixels>,
    inspect: Option<Inspection>,
    field: &'static str,
}

impl CheckedFile {
    /// `sha256` is that of the returned bytes.
    pub fn hashed(self, sha256: [u8; 32]) -> ReceivedFile {
        ReceivedFile {
            id: self.id,
            name: self.name,
            mime: self.mime.into(),
            size: self.size,
            sha256,
            width: self.pixels.map(|pixels| pixels.width),
            height: self.pixels.map(|pixels| pixels.height),
            inspect: self.inspect,
            field: self.field,
        }
    }
}

pub struct Intake {
    id: UploadId,
    wanted: Wanted,
    rules: Rules,
    form: Option<Form>,
    /// The file that is being read.
    open: Option<Open>,
    file: Option<CheckedFile>,
    fields: Vec<(String, String)>,
}

struct Form {
    multipart: Multipart,
    /// The plain field that is being read.
    field: Option<(String, Vec<u8>)>,
    /// Bytes of fields so far.
    bytes: u64,
}

struct Open {
    name: String,
    filter: Filter,
    received: u64,
    stored: u64,
}

impl Intake {
    /// `id` becomes the file's id.
    pub fn new(id: UploadId, source: Source, wanted: Wanted, keep_metadata: bool) -> Result<Intake, Problem> {
        let rules = Rules { keep_metadata, pixels_max: wanted.pixels_max };
        let mut intake = Intake { id, wanted, rules, form: None, open: None, file: None, fields: Vec::new() };
        match source {
            Source::Raw { name } => intake.begin(name),
            Source::Form { boundary } => {
                let multipart = Multipart::new(&boundary).map_err(malformed)?;
                intake.form = Some(Form { multipart, field: None, bytes: 0 });
            }
        }
        Ok(intake)
    }

    fn begin(&mut self, name: String) {
        let filter = Filter::new(self.rules);
        self.open = Some(Open { name, filter, received: 0, stored: 0 });
    }

    /// Reads the next bytes of the body and appends the bytes to be stored to `out`. After a refusal the intake must
    /// not be used any more.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Problem> {
        let Some(mut form) = self.form.take() else { return self.store(bytes, out) };
        let result = self.push_form(&mut form, bytes, out);
        self.form = Some(form);
        result
    }

    fn push_form(&mut self, form: &mut Form, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Problem> {
        loop {
            let (consumed, event) = form.multipart.next(bytes).map_err(malformed)?;
            bytes = &bytes[consumed..];
            match event {
                Event::PartBegin(part) => form.field = self.begin_part(part)?,
                Event::Data(data) => match &mut form.field {
                    None => self.store(data, out)?,
                    Some((_, text)) => {
                        form.bytes += data.len() as u64;
                        if form.bytes > FORM_OVERHEAD_MAX {
                            return Err(Problem::new(Code::TooLarge));
                        }
                        text.extend_from_slice(data);
                    }
                },
                Event::PartEnd => match form.field.take() {
                    None => self.end(out)?,
                    Some((name, text)) => self.end_field(name, text)?,
                },
                Event::End | Event::NeedMore => return Ok(()),
            }
        }
    }

    /// The field that begins, or `None` if the file begins.
    fn begin_part(&mut self, part: Part) -> Result<Option<(String, Vec<u8>)>, Problem> {
        let is_named = part.name == self.wanted.field;
        let name = match part.filename {
            Some(name) => name,
            // If the route wants only the file, its field is the file in any spelling.
            None if is_named && self.wanted.file_only => String::new(),
            None => return Ok(Some((part.name, Vec::new()))),
        };
        if !is_named || self.file.is_some() {
            return Err(Problem::invalid(self.wanted.field));
        }
        self.begin(name::clean(&name));
        Ok(None)
    }

    fn end_field(&mut self, name: String, text: Vec<u8>) -> Result<(), Problem> {
        if self.wanted.file_only {
            return Ok(());
        }
        let text = String::from_utf8(text).map_err(|_| Problem::new(Code::ErrorParsingData))?;
        let is_twice = self.fields.iter().any(|(known, _)| *known == name)
            || self.file.is_some() && name == self.wanted.field;
        if is_twice {
            return Err(Problem::new(Code::ErrorParsingData));
        }
        self.fields.push((name, text));
        Ok(())
    }

    /// Reads the next bytes of the file.
    fn store(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Problem> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.received += bytes.len() as u64;
        if open.received > self.wanted.bytes_max {
            return Err(Problem::new(Code::TooLarge));
        }
        let from = out.len();
        open.filter.push(bytes, out).map_err(|refused| refusal(refused, self.wanted.field))?;
        open.stored += (out.len() - from) as u64;
        Ok(())
    }

    /// The file is complete.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let from = out.len();
        let finished = open.filter.finish(out).map_err(|refused| refusal(refused, self.wanted.field))?;
        self.file = Some(CheckedFile {
            id: self.id,
            name: open.name,
            mime: finished.kind.mime(),
            size: open.stored + (out.len() - from) as u64,
            pixels: finished.pixels,
            inspect: finished
                .needs_inspection()
                .then_some(Inspection { kind: finished.kind, rules: self.rules }),
            field: self.wanted.field,
        });
        Ok(())
    }

    /// The body is complete: appends the last bytes to be stored.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Received, Problem> {
        match &self.form {
            Some(form) => form.multipart.finish().map_err(malformed)?,
            None => self.end(out)?,
        }
        if self.file.is_none() && self.wanted.file_only {
            return Err(Problem::invalid(self.wanted.field));
        }
        Ok(Received { file: self.file, fields: self.fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    const FILE: Wanted =
        Wanted { field: "file", file_only: true, nameless: None, bytes_max: 100, pixels_max: 1_000 };
    const PROFILE: Wanted = Wanted { field: "profile_image", file_only: false, ..FILE };

    fn form() -> Source {
        Source::Form { boundary: "b".to_owned() }
    }

    fn raw() -> Source {
        Source::Raw { name: "x".to_owned() }
    }

    fn take(
        source: &Source,
        wanted: Wanted,
        body: &[u8],
        step: usize,
    ) -> Result<(Received, Vec<u8>), Problem> {
        let mut intake = Intake::new(Id::from_u128(9), source.clone(), wanted, false)?;
        let mut out = Vec::new();
        for piece in body.chunks(step) {
            intake.push(piece, &mut out)?;
        }
        let received = intake.finish(&mut out)?;
        Ok((received, out))
    }

    /// A file's name and bytes, and the other fields.
    type Expected<'a> = (&'a str, &'a [u8], &'a [(&'a str, &'a str)]);

    /// Checks that a body gives the same in every split: a file's name and bytes and the other fields, or a refusal.
    fn check(source: Source, wanted: Wanted, body: &[u8], expect: Result<Expected<'_>, &str>) {
        for step in [1, 2, 3, 7, body.len().max(1)] {
            match (take(&source, wanted, body, step), &expect) {
                (Ok((received, stored)), Ok((name, bytes, fields))) => {
                    assert_eq!(stored, *bytes, "step {step}");
                    let found: Vec<_> = received.fields.iter().map(|(k, v)| (&**k, &**v)).collect();
                    assert_eq!(found, *fields, "step {step}");
                    let file = received.file.map(|file| {
                        assert_eq!((file.id, file.size), (Id::from_u128(9), bytes.len() as u64));
                        file.name
                    });
                    assert_eq!(file.as_deref().unwrap_or_default(), *name);
                }
                (Err(problem), Err(code)) => assert_eq!(problem.code_text(), *code, "step {step}"),
                (found, expect) => panic!("step {step}: {found:?} instead of {expect:?}"),
            }
        }
    }

    fn part(head: &str, body: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n")
    }

    fn form_body(parts: &[String]) -> Vec<u8> {
        format!("{}--b--\r\n", parts.concat()).into_bytes()
    }

    #[test]
    fn a_body_is_one_file_in_any_split() {
        let file = part(r#"name="file"; filename="a/b.txt""#, "hello");
        let field = |name: &str| part(&format!("name=\"{name}\""), "v");
        check(raw(), FILE, b"hello", Ok(("x", b"hello", &[])));
        check(raw(), FILE, &[b'a'; 100], Ok(("x", &[b'a'; 100], &[])));
        check(raw(), FILE, &[b'a'; 101], Err("too_large"));
        check(raw(), FILE, b"", Err("invalid_file"));
        check(raw(), FILE, b"\xff\xfe\0", Err("not_supported_type"));
        // An image 1,000 pixels wide, and one of 1,001.
        let gif = |width: u16| {
            let [low, high] = width.to_le_bytes();
            [&b"GIF89a"[..], &[low, high, 1, 0, 0, 0, 0], b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;"]
                .concat()
        };
        check(raw(), FILE, &gif(1_000), Ok(("x", &gif(1_000), &[])));
        check(raw(), FILE, &gif(1_001), Err("invalid_file"));
        check(form(), FILE, &form_body(std::slice::from_ref(&file)), Ok(("a_b.txt", b"hello", &[])));
        check(
            form(),
            FILE,
            &form_body(&[field("a"), file.clone(), field("b")]),
            Ok(("a_b.txt", b"hello", &[])),
        );
        let plain = part(r#"name="file""#, "hello");
        check(form(), FILE, &form_body(&[plain]), Ok(("file", b"hello", &[])));
        let utf_8 = part("name=\"file\"; filename=\"a \u{635}.txt\"", "x\r\n--c\r\n");
        check(form(), FILE, &form_body(&[utf_8]), Ok(("a \u{635}.txt", b"x\r\n--c\r\n", &[])));
    }

    #[test]
    fn a_bad_upload_is_refused() {
        let file = part(r#"name="file"; filename="a""#, "hello");
        check(form(), FILE, &form_body(&[file.clone(), file.clone()]), Err("invalid_file"));
        check(
            form(),
            FILE,
            &form_body(&[part(r#"name="other"; filename="a""#, "hello")]),
            Err("invalid_file"),
        );
        check(form(), FILE, &form_body(&[part(r#"name="other""#, "hello")]), Err("invalid_file"));
        check(form(), FILE, &form_body(&[part(r#"name="file"; filename="""#, "")]), Err("invalid_file"));
        check(form(), FILE, b"--b--\r\n", Err("invalid_file"));
        check(form(), FILE, file.as_bytes(), Err("error_parsing_data"));
        check(form(), FILE, b"", Err("error_parsing_data"));
        check(form(), FILE, b"hello", Err("error_parsing_data"));
        let long = part(r#"name="file"; filename="a""#, &"x".repeat(101));
        check(form(), FILE, &form_body(&[long]), Err("too_large"));
        let wide = part(r#"name="other""#, &"x".repeat(FORM_OVERHEAD_MAX as usize + 1));
        check(form(), FILE, &form_body(&[wide, file]), Err("too_large"));
    }

    #[test]
    fn a_form_keeps_its_fields() {
        let name = part(r#"name="display_name""#, "Ann \u{635}");
        let image = part(r#"name="profile_image"; filename="a.txt""#, "hello");
        let fields: &[(&str, &str)] = &[("display_name", "Ann \u{635}")];
        check(form(), PROFILE, &form_body(std::slice::from_ref(&name)), Ok(("", b"", fields)));
        check(form(), PROFILE, &form_body(&[name.clone(), image.clone()]), Ok(("a.txt", b"hello", fields)));
        check(form(), PROFILE, &form_body(&[image.clone(), name.clone()]), Ok(("a.txt", b"hello", fields)));
        let id = part(r#"name="profile_image""#, "an id");
        check(
            form(),
            PROFILE,
            &form_body(std::slice::from_ref(&id)),
            Ok(("", b"", &[("profile_image", "an id")])),
        );
        check(form(), PROFILE, &form_body(&[image.clone(), id]), Err("error_parsing_data"));
        check(form(), PROFILE, &form_body(&[name.clone(), name]), Err("error_parsing_data"));
        check(form(), PROFILE, &form_body(&[image.clone(), image]), Err("invalid_profile_image"));
        let empty = part(r#"name="profile_image"; filename="""#, "");
        check(form(), PROFILE, &form_body(&[empty]), Err("invalid_profile_image"));
    }
}
