//! A value that is never printed.
//!
//! Owns the redaction: `{:?}` of a structure with a [`Secret`] in it shows where it is and not what it is. So a structure
//! derives its `Debug`, and a field that is added to it is shown or hidden by its type. Leaves keys that sign to
//! [`super::crypto::HmacKey`].

use std::fmt;

/// A password, a hash of one, the tag of a code, an address, a text of a person.
///
/// Two are equal if their values are; that takes longer the more they have in common. Compare what a peer sent with a
/// stored secret by an HMAC of both.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    pub fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// The value, for the one purpose of the secret.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_in_what_holds_it() {
        #[derive(Debug)]
        #[allow(dead_code, reason = "read by its Debug only")]
        struct Login {
            name: &'static str,
            password: Option<Secret>,
        }
        let login = Login { name: "ada", password: Some(Secret::new("analytical engine".to_owned())) };
        assert_eq!(format!("{login:?}"), r#"Login { name: "ada", password: Some(Secret(..)) }"#);
        assert_eq!(format!("{:#?}", Secret::new([7u8; 32])), "Secret(..)");
    }
}
