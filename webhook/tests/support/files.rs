//! Certificates in files, changed as kubelet changes a Secret's volume.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    SerialNumber, date_time_ymd,
};
use tempfile::TempDir;
use tokio_rustls::rustls::{RootCertStore, pki_types::CertificateDer};

/// What the webhook is called in a cluster.
pub(crate) const NAME: &str = "sluice-webhook.sluice-system.svc";

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as text.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
}

/// A folder that looks like a mounted Secret.
pub(crate) struct Volume {
    folder: TempDir,
    writes: u32,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        roots
    }

    pub(crate) fn issue(&self, serial: u64) -> Pair {
        self.sign(serial, |_| {})
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// The certificate of a caller of this name.
    pub(crate) fn caller(&self, name: &str) -> Pair {
        self.sign(1, |params| {
            let mut subject = DistinguishedName::new();
            subject.push(DnType::CommonName, name);
            params.distinguished_name = subject;
        })
    }

    pub(crate) fn expired(&self) -> Pair {
        self.sign(1, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    pub(crate) fn of_the_future(&self) -> Pair {
        self.sign(1, |params| {
            params.not_before = date_time_ymd(3000, 1, 1);
            params.not_after = date_time_ymd(3001, 1, 1);
        })
    }

    fn sign(&self, serial: u64, change: impl Fn(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new([NAME.to_owned()]).expect("a name");
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
        }
    }
}

impl Volume {
    pub(crate) fn empty() -> Self {
        Self {
            folder: TempDir::new().expect("a folder"),
            writes: 0,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// All files in one: a new folder beside the old one, and one rename of the link to it.
    pub(crate) fn write(&mut self, certificate: &str, key: &str) {
        self.writes += 1;
        let content = format!("..{}", self.writes);
        let folder = self.at(&content);
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("tls.crt"), certificate).expect("a file");
        fs::write(folder.join("tls.key"), key).expect("a file");
        symlink(&content, self.at("..data_tmp")).expect("a link");
        fs::rename(self.at("..data_tmp"), self.at("..data")).expect("a link");
        if self.writes == 1 {
            for name in ["tls.crt", "tls.key"] {
                symlink(Path::new("..data").join(name), self.at(name)).expect("a link");
            }
        } else {
            fs::remove_dir_all(self.at(&format!("..{}", self.writes - 1))).expect("the old folder");
        }
    }

    pub(crate) fn put(&mut self, pair: &Pair) {
        self.write(&pair.certificate, &pair.key);
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
