//! Reads the certificate and the key of https from their files, in blocking code.
//!
//! Owns when they are read again. Leaves to `proto::tls` whether they can be used, and to the server what follows.
//! Invariant: a problem is logged once, not at each look.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::file_version::FileVersion;
use crate::model::job::{CertificateReport, Done, Job};
use crate::proto::tls::server::{Acceptor, Tickets};

/// Bytes of a file with certificates or a key; a chain has a few kilobytes. Beyond: refused.
const FILE_BYTES_MAX: u64 = 1_048_576;

#[derive(Clone, Debug)]
pub struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    tickets: Tickets,
    /// Of the files that were read last, used or not.
    read: Option<[FileVersion; 2]>,
    problem: Option<String>,
}

impl CertificateFiles {
    /// Reads both for the start. The error names the variable.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<(CertificateFiles, Acceptor), String> {
        let tickets = Tickets::new().map_err(|error| format!("TLS_CERT: {error}"))?;
        let mut files = CertificateFiles { certificate, key, tickets, read: None, problem: None };
        let acceptor = files.load(true)?.ok_or("TLS_CERT: the file did not change")?;
        Ok((files, acceptor))
    }

    /// `None` if the files did not change since they were read. Two files are not replaced at once: until both are new, the
    /// key does not fit, and they are read again when the other one changes.
    fn load(&mut self, always: bool) -> Result<Option<Acceptor>, String> {
        let versions = [version("TLS_CERT", &self.certificate)?, version("TLS_KEY", &self.key)?];
        if !always && self.read == Some(versions) {
            return self.problem.clone().map_or(Ok(None), Err);
        }
        let (certificate, key) = (read("TLS_CERT", &self.certificate)?, read("TLS_KEY", &self.key)?);
        self.read = Some(versions);
        Acceptor::new(&certificate, &key, &self.tickets).map(Some).map_err(|fault| fault.to_string())
    }

    pub fn run(&mut self, job: Job) -> Done {
        let Job::RenewCertificate { always, .. } = job else { return Done::Failed };
        let mut report = CertificateReport::default();
        match self.load(always) {
            Ok(acceptor) => {
                self.problem = None;
                if acceptor.is_some() {
                    log::info!(target: "natter::tls", "the certificate was read again");
                }
                report.acceptor = acceptor;
            }
            Err(problem) => {
                if self.problem.as_ref() != Some(&problem) {
                    log::error!(target: "natter::tls", "{problem}; the certificate in use stays");
                }
                self.problem = Some(problem.clone());
                report.failed = true;
                report.problem = Some(format!("{problem}; the certificate in use stays"));
            }
        }
        Done::Certificate(Box::new(report))
    }
}

fn version(name: &str, path: &Path) -> Result<FileVersion, String> {
    path.metadata().map(|file| FileVersion::of(&file)).map_err(|error| cannot(name, path, &error))
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| cannot(name, path, &error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{name}: {} has more than {FILE_BYTES_MAX} bytes", path.display()));
    }
    Ok(bytes)
}

fn cannot(name: &str, path: &Path, error: &io::Error) -> String {
    format!("{name}: {} can't be read: {error}", path.display())
}
