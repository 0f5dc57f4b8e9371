//! The workers with real partners: a mail server and a look-up service on real sockets, and a real file.

mod support;

#[path = "work/geolocation.rs"]
mod geolocation;
#[path = "work/mail.rs"]
mod mail;
#[cfg(feature = "geoip")]
#[path = "work/mmdb.rs"]
mod mmdb;
#[path = "work/script.rs"]
mod script;
