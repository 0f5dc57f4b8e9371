//! natter: a self-hosted real-time chat server.

pub mod auth;
pub mod base;
pub mod cli;
pub mod commands;
pub mod config;
pub mod limits;
pub mod logging;
pub mod messaging;
pub mod model;
pub mod proto;
pub mod runtime;
pub mod server;
pub mod site;
pub mod store;
pub mod work;
