//! A private key as text: PKCS #8 in PEM (RFC 7468 §10).
//!
//! Invariant: a key that was written can be read again, and its text is a [`Secret`].

use crate::base::secret::Secret;

/// Characters of a line (RFC 7468 §2).
const LINE: usize = 64;
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----\n";
const END: &str = "-----END PRIVATE KEY-----\n";

pub fn write_private_key(pkcs8: &[u8]) -> Secret {
    let digits = data_encoding::BASE64.encode(pkcs8);
    let mut pem = BEGIN.to_owned();
    for line in digits.as_bytes().chunks(LINE) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str(END);
    Secret::new(pem)
}

/// The first private key of the text; `None` if there is none.
pub fn read_private_key(text: &str) -> Option<Secret<Vec<u8>>> {
    let (_, rest) = text.split_once(BEGIN.trim_end())?;
    let (body, _) = rest.split_once(END.trim_end())?;
    let digits: String = body.split_ascii_whitespace().collect();
    data_encoding::BASE64.decode(digits.as_bytes()).ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_text() {
        let key: Vec<u8> = (0..=255).collect();
        let pem = write_private_key(&key);
        assert!(pem.expose().lines().all(|line| line.len() <= LINE) && pem.expose().ends_with(END));
        for text in [
            pem.expose().clone(),
            format!("before\n{}after", pem.expose()),
            pem.expose().replace('\n', "\r\n"),
        ] {
            assert_eq!(read_private_key(&text).expect("a key").expose(), &key);
        }
        for bad in ["", &format!("{BEGIN}!\n{END}"), &pem.expose()[..90]] {
            assert!(read_private_key(bad).is_none());
        }
    }
}
