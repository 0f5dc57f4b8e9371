//! Mail, sans-IO: composes it, formats it for a file, and sends it to a server.
//!
//! Owns [`compose`], [`mbox_entry`] and the client side of SMTP ([`Dialogue`], RFC 5321). Leaves to others when a mail is tried
//! again, and its text.

mod dialogue;
mod mail;
mod reply;

pub use dialogue::{Action, Dialogue, Outcome, SmtpOptions, Tls};
pub use mail::{Address, BadAddress, Mail, Mailbox, Transport, compose, mbox_entry};

/// Standard base64 (RFC 4648 §4). The `base` layer has only the URL-safe form.
fn base64(bytes: &[u8]) -> String {
    let mut text = crate::base::crypto::base64url(bytes).replace('-', "+").replace('_', "/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_the_standard_one() {
        for (bytes, text) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"\xfb\xff", "+/8=")]
        {
            assert_eq!(super::base64(bytes), text);
        }
    }
}
