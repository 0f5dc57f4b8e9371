//! What the nodes of a cluster share of the certificate of https, which one of them orders for all: sealed rows.
//!
//! Owns their form outside of the worker that looks after the certificate. Leaves to `work::acme` what they say.
//! Invariant: only the node that has the duty changes them, by the time of the log.

use std::sync::Arc;

use super::node::NodeName;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// What it is.
    pub name: String,
    /// The sealed content, in base64url.
    pub sealed: String,
}

/// All rows, in the order of their names.
pub type CertificateRows = Arc<[CertificateRow]>;

/// Keeps these rows in place of those with the same names, if the node has the duty at the time of this entry. The answer is what was
/// kept: all or nothing.
#[derive(Clone, Debug)]
pub struct KeepCertificate {
    /// The node that has made them.
    pub node: NodeName,
    /// The rows.
    pub rows: Vec<CertificateRow>,
}

/// What the worker of a node of a cluster goes by.
#[derive(Clone, Debug)]
pub struct SharedCertificate {
    /// Whether this node orders.
    pub has_duty: bool,
    /// What all nodes have.
    pub rows: CertificateRows,
}
