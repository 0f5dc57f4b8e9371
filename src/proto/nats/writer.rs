//! Writes what a client sends.
//!
//! Owns the form of each line. Leaves bounds to the connection. Invariant: a subject ends no word and no line, because the
//! connection has checked it.

use crate::base::json::{self, push_key};

use super::connection::{Credentials, Options};

/// CONNECT. Every server that natter accepts understands headers and answers a request that nobody listens for.
pub(super) fn connect(out: &mut Vec<u8>, options: &Options) {
    let Options { tls, echo, .. } = options;
    // `protocol` is the version with which a server announces changes by INFO.
    let version = env!("CARGO_PKG_VERSION");
    let line = format!(
        r#"CONNECT {{"verbose":false,"pedantic":false,"tls_required":{tls},"echo":{echo},"headers":true,"no_responders":true,"lang":"rust","version":"{version}","protocol":1,"name":"#
    );
    out.extend_from_slice(line.as_bytes());
    json::push_text(out, &options.name);
    match &options.credentials {
        Credentials::None => {}
        Credentials::Password { user, password } => {
            push_key!(out, "user");
            json::push_text(out, user);
            push_key!(out, "pass");
            json::push_text(out, password.expose());
        }
        Credentials::Token(token) => {
            push_key!(out, "auth_token");
            json::push_text(out, token.expose());
        }
    }
    out.extend_from_slice(b"}\r\n");
}

/// PUB, or HPUB if there are headers: `headers` begins with `NATS/1.0` and ends with an empty line.
pub(super) fn publish(out: &mut Vec<u8>, subject: &str, reply: &str, headers: &[u8], payload: &[u8]) {
    words(out, &[if headers.is_empty() { "PUB" } else { "HPUB" }, subject, reply]);
    if !headers.is_empty() {
        words(out, &[&headers.len().to_string()]);
    }
    words(out, &[&(headers.len() + payload.len()).to_string()]);
    end_line(out);
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn subscribe(out: &mut Vec<u8>, subject: &str, sid: u32) {
    words(out, &["SUB", subject, &sid.to_string()]);
    end_line(out);
}

pub(super) fn unsubscribe(out: &mut Vec<u8>, sid: u32) {
    words(out, &["UNSUB", &sid.to_string()]);
    end_line(out);
}

/// Each word that is not empty, and a space after it.
fn words(out: &mut Vec<u8>, words: &[&str]) {
    for word in words.iter().filter(|word| !word.is_empty()) {
        out.extend_from_slice(word.as_bytes());
        out.push(b' ');
    }
}

/// Ends the line in place of the last space.
fn end_line(out: &mut Vec<u8>) {
    out.pop();
    out.extend_from_slice(b"\r\n");
}
