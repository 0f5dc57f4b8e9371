//! The workers with real partners: a mail server and a look-up service on real sockets, and a real file.

#[cfg(feature = "acme")]
mod acme;
mod geolocation;
mod mail;
#[cfg(feature = "geoip")]
mod mmdb;
mod script;
