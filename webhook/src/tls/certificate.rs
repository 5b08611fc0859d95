//! One certificate with its key, and how long it holds.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use tokio_rustls::rustls::{
    self,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::parse_x509_certificate;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

#[derive(Clone, Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    not_before: i64,
    not_after: i64,
}

/// Why there is no certificate to be had from the files.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not PEM: {source}")]
    Pem { path: PathBuf, source: pem::Error },
    #[error("{CERTIFICATE} holds no certificate")]
    Empty,
    #[error("{CERTIFICATE} holds something else than an X.509 certificate")]
    NotX509,
    #[error("{CERTIFICATE} and {KEY} do not work together: {0}")]
    Pair(#[source] rustls::Error),
    #[error("the certificate is not valid before {0}")]
    NotYetValid(Timestamp),
    #[error("the certificate was valid until {0}")]
    Expired(Timestamp),
}

impl Certificate {
    /// Reads `tls.crt` and `tls.key`. Files that are written while they are read do not pass.
    pub(super) fn read(dir: &Path, provider: &CryptoProvider) -> Result<Self, CertificateError> {
        let (path, text) = file(dir, CERTIFICATE)?;
        let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|source| CertificateError::Pem { path, source })?;
        let leaf = chain.first().ok_or(CertificateError::Empty)?;
        let (_, parsed) = parse_x509_certificate(leaf).map_err(|_| CertificateError::NotX509)?;
        let validity = parsed.validity();
        let (not_before, not_after) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        let (path, text) = file(dir, KEY)?;
        let key = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|source| CertificateError::Pem { path, source })?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(CertificateError::Pair)?;
        Ok(Self {
            key: Arc::new(key),
            not_before,
            not_after,
        })
    }

    pub(super) fn valid_at(&self, now: SystemTime) -> Result<(), CertificateError> {
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < self.not_before {
            Err(CertificateError::NotYetValid(time(self.not_before)))
        } else if now > self.not_after {
            Err(CertificateError::Expired(time(self.not_after)))
        } else {
            Ok(())
        }
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    /// In seconds since 1970.
    pub(super) const fn not_after(&self) -> i64 {
        self.not_after
    }

    pub(super) fn until(&self) -> Timestamp {
        time(self.not_after)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

fn file(dir: &Path, name: &str) -> Result<(PathBuf, Vec<u8>), CertificateError> {
    let path = dir.join(name);
    match fs::read(&path) {
        Ok(text) => Ok((path, text)),
        Err(source) => Err(CertificateError::Read { path, source }),
    }
}

/// The latest time that there is, for one beyond it.
fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
