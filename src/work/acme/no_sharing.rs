//! A build without the feature `cluster`: there is nobody to share a certificate with.
//!
//! Invariant: no value of these types exists.

use crate::model::certificate::CertificateRow;

/// See the feature `cluster`.
#[derive(Clone, Debug)]
pub enum RowSeal {}

pub(super) enum Sharing {}

#[derive(Default)]
pub(super) struct News {
    pub(super) written: Vec<(String, String)>,
    pub(super) kept: Vec<&'static str>,
}

impl Sharing {
    pub(super) fn new(seal: RowSeal) -> Sharing {
        match seal {}
    }

    pub(super) fn receive(&mut self, _: &[CertificateRow], _: bool) -> News {
        match *self {}
    }

    pub(super) fn is_empty(&self) -> bool {
        match *self {}
    }

    pub(super) fn put(&mut self, _: &'static str, _: &str) {
        match *self {}
    }

    pub(super) fn has_pending(&self) -> bool {
        match *self {}
    }

    pub(super) fn pending(&mut self) -> Vec<CertificateRow> {
        match *self {}
    }
}
