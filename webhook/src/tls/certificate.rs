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
    #[error("{name} is not PEM: {source}")]
    Pem {
        name: &'static str,
        source: pem::Error,
    },
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
    /// Reads `tls.crt` and `tls.key`. Half a file does not pass.
    pub(super) fn read(dir: &Path, provider: &CryptoProvider) -> Result<Self, CertificateError> {
        let (certificate, key) = files(dir)?;
        let pem = |name| move |source| CertificateError::Pem { name, source };
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(pem(CERTIFICATE))?;
        let leaf = chain.first().ok_or(CertificateError::Empty)?;
        let (_, parsed) = parse_x509_certificate(leaf).map_err(|_| CertificateError::NotX509)?;
        let validity = parsed.validity();
        let (not_before, not_after) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(pem(KEY))?;
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

/// Both files of the same moment: they change one after the other, or all at once in between.
fn files(dir: &Path) -> Result<(Vec<u8>, Vec<u8>), CertificateError> {
    let mut certificate = file(dir, CERTIFICATE)?;
    loop {
        let key = file(dir, KEY)?;
        let again = file(dir, CERTIFICATE)?;
        if again == certificate {
            return Ok((certificate, key));
        }
        certificate = again;
    }
}

fn file(dir: &Path, name: &str) -> Result<Vec<u8>, CertificateError> {
    let path = dir.join(name);
    fs::read(&path).map_err(|source| CertificateError::Read { path, source })
}

/// The latest time that there is, for one beyond it.
fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
