//! The certificates of one cluster: an authority, and an identity for each program and person.
//!
//! The API server believes what a client's certificate says: its common name is the user, its organisation the group.
//! All keys live in the run's folder, which only root may enter.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::json;

/// Signs the identities of a cluster.
#[derive(Debug)]
pub(super) struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A key and its certificate, as files.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// Who a certificate is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) user: &'a str,
    pub(super) group: Option<&'a str>,
}

impl Authority {
    /// Makes an authority that keeps its files in `folder`, which must not exist.
    pub(super) fn create(folder: PathBuf) -> Result<Self> {
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        let mut params = named("sluice-testbed", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)
            .context("making an authority")?;
        let authority = Self { folder, issuer };
        fs::write(authority.certificate(), authority.issuer.pem())?;
        fs::write(authority.key(), authority.issuer.key().serialize_pem())?;
        let tokens = KeyPair::generate()?;
        fs::write(authority.token_key(), tokens.serialize_pem())?;
        fs::write(authority.token_public_key(), tokens.public_key_pem())?;
        Ok(authority)
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.join("authority.crt")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.folder.join("authority.key")
    }

    /// The key that signs the tokens of service accounts.
    pub(super) fn token_key(&self) -> PathBuf {
        self.folder.join("tokens.key")
    }

    /// The public half of [`Authority::token_key`].
    pub(super) fn token_public_key(&self) -> PathBuf {
        self.folder.join("tokens.pub")
    }

    /// An identity for a client.
    pub(super) fn client(&self, file: &str, subject: Subject<'_>) -> Result<Identity> {
        let mut params = named(subject.user, subject.group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(file, params)
    }

    /// An identity for a server that is called by these names and addresses.
    pub(super) fn server(
        &self,
        file: &str,
        user: &str,
        names: &[&str],
        addresses: &[IpAddr],
    ) -> Result<Identity> {
        let mut params = named(user, None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            params
                .subject_alt_names
                .push(SanType::DnsName(Ia5String::try_from(*name)?));
        }
        params
            .subject_alt_names
            .extend(addresses.iter().copied().map(SanType::IpAddress));
        self.issue(file, params)
    }

    /// Writes a kubeconfig by which a client with this identity reaches the API server at `url`.
    pub(super) fn kubeconfig(&self, path: &Path, identity: &Identity, url: &str) -> Result<()> {
        let name = "sluice";
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
            "clusters": [{
                "name": name,
                "cluster": { "server": url, "certificate-authority": self.certificate() },
            }],
            "users": [{
                "name": name,
                "user": { "client-certificate": identity.certificate, "client-key": identity.key },
            }],
        });
        fs::write(path, config.to_string()).with_context(|| format!("writing {}", path.display()))
    }

    fn issue(&self, file: &str, mut params: CertificateParams) -> Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("signing {file}"))?;
        let identity = Identity {
            certificate: self.folder.join(format!("{file}.crt")),
            key: self.folder.join(format!("{file}.key")),
        };
        fs::write(&identity.certificate, certificate.pem())?;
        fs::write(&identity.key, key.serialize_pem())?;
        Ok(identity)
    }
}

fn named(user: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
    }
    params
}
