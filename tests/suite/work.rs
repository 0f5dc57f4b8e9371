//! The workers with real partners: a mail server and a look-up service on real sockets, and a real file.

mod geolocation;
mod mail;
#[cfg(feature = "geoip")]
mod mmdb;
mod script;
