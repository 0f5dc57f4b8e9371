//! Replaces `proto::tls` in a build without the feature `tls`: types without a value.
//!
//! The code around a TLS connection compiles unchanged, and none of it can run.

pub mod server {
    //! The server's side of TLS, which this build does not have.

    use std::convert::Infallible;
    use std::fmt;
    use std::io::{self, IoSlice, Write};

    use super::TlsError;
    use crate::proto::x509::Facts;

    #[derive(Clone, Debug)]
    pub struct Tickets(Infallible);

    #[derive(Clone, Debug)]
    pub struct Acceptor(Infallible);

    #[derive(Debug)]
    pub struct Session(Infallible);

    #[derive(Debug)]
    pub struct CertificateFault(Infallible);

    impl fmt::Display for CertificateFault {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {}
        }
    }

    impl Tickets {
        pub fn new() -> Result<Tickets, TlsError> {
            Err(TlsError)
        }
    }

    impl Acceptor {
        pub fn new(_: &[u8], _: &[u8], tickets: &Tickets) -> Result<Acceptor, CertificateFault> {
            match tickets.0 {}
        }

        pub fn facts(&self) -> Option<&Facts> {
            match self.0 {}
        }

        pub fn accept(&self) -> Result<Session, TlsError> {
            match self.0 {}
        }
    }

    pub fn begins_tls(_: u8) -> bool {
        false
    }

    impl Session {
        pub fn take(&mut self, _: &[u8]) -> Result<bool, TlsError> {
            match self.0 {}
        }

        pub fn work(&mut self) -> Result<(), TlsError> {
            match self.0 {}
        }

        pub fn receive(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), TlsError> {
            match self.0 {}
        }

        pub fn take_plain(&mut self, _: &mut Vec<u8>) -> Result<(), TlsError> {
            match self.0 {}
        }

        pub fn encrypt(&mut self, _: &[IoSlice<'_>], _: usize) -> Result<usize, TlsError> {
            match self.0 {}
        }

        pub fn has_output(&self) -> bool {
            match self.0 {}
        }

        pub fn write_to(&mut self, _: &mut dyn Write) -> io::Result<usize> {
            match self.0 {}
        }

        pub fn close(&mut self) {
            match self.0 {}
        }

        pub fn is_handshaking(&self) -> bool {
            match self.0 {}
        }

        pub fn is_challenge(&self) -> bool {
            match self.0 {}
        }

        pub fn is_resumed(&self) -> bool {
            match self.0 {}
        }

        pub fn peer_closed(&mut self) -> bool {
            match self.0 {}
        }
    }
}

#[derive(Debug)]
pub struct TlsError;

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this build is without the feature tls")
    }
}
