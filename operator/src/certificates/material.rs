//! Certificates and keys as they are kept: read without trust, made anew.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
};
use time::OffsetDateTime;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer as _, ParsedExtension},
};

/// Clocks of others may be behind by so much.
const LEEWAY: Duration = Duration::from_secs(3600);

/// Another one than this is not understood.
const COMMON_NAME: &str = "sluice-webhook";

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    pem: String,
    made: Timestamp,
    expires: Timestamp,
    is_authority: bool,
    names: BTreeSet<String>,
    public_key: Vec<u8>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub certificate: Certificate,
    key: String,
}

impl Certificate {
    /// All that can be read in a text; none when it is no PEM.
    pub fn all_in(text: &str) -> Vec<Self> {
        let pems = pem::parse_many(text).unwrap_or_default();
        pems.iter()
            .filter_map(|pem| Self::of_der(pem.contents()))
            .collect()
    }

    fn of_der(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let validity = parsed.validity();
        let alternatives = parsed.subject_alternative_name().ok()?;
        let names = alternatives
            .iter()
            .flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        let not_before = Timestamp::from_second(validity.not_before.timestamp()).ok()?;
        Some(Self {
            der: der.to_vec(),
            pem: encode(der),
            made: not_before.checked_add(LEEWAY).ok()?,
            expires: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
            is_authority: parsed.extensions().iter().any(|extension| {
                matches!(
                    extension.parsed_extension(),
                    ParsedExtension::BasicConstraints(constraints) if constraints.ca
                )
            }),
            names: names.collect(),
            public_key: parsed.public_key().raw.to_vec(),
        })
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn is_authority(&self) -> bool {
        self.is_authority
    }

    /// When it was made, as its own words let one conclude.
    pub fn made(&self) -> Timestamp {
        self.made
    }

    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires <= now
    }

    /// From here on it is time for another one: a third of its time is left.
    pub fn is_old_from(&self) -> Timestamp {
        let lifetime = self.expires.duration_since(self.made);
        self.expires.checked_sub(lifetime / 3).unwrap_or(self.made)
    }

    pub fn is_for(&self, names: &BTreeSet<String>) -> bool {
        self.names == *names
    }

    pub fn is_signed_by(&self, authority: &Self) -> bool {
        let (Ok((_, own)), Ok((_, issuer))) = (
            X509Certificate::from_der(&self.der),
            X509Certificate::from_der(&authority.der),
        ) else {
            return false;
        };
        authority.is_authority
            && own.issuer() == issuer.subject()
            && own.verify_signature(Some(issuer.public_key())).is_ok()
    }
}

impl Pair {
    /// A pair that fits together; of a chain, the first certificate.
    pub fn read(certificate: &str, key: &str) -> Option<Self> {
        let certificate = Certificate::all_in(certificate).into_iter().next()?;
        let parsed = KeyPair::from_pem(key).ok()?;
        (parsed.subject_public_key_info() == certificate.public_key).then(|| Self {
            certificate,
            key: key.to_owned(),
        })
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// Makes an authority. The time is in its name, so that no two are taken for one.
    pub fn authority(now: Timestamp, lifetime: Duration) -> Result<Self, rcgen::Error> {
        let mut params = params(Vec::new(), now, after(now, lifetime))?;
        params.distinguished_name.push(
            DnType::CommonName,
            format!("{COMMON_NAME} {}", now.as_millisecond()),
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Self::of(certificate.der(), &key)
    }

    /// Makes a server's pair that this authority vouches for, and for no longer than it can.
    pub fn serving(
        &self,
        names: &BTreeSet<String>,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Self, rcgen::Error> {
        let until = after(now, lifetime).min(self.certificate.expires);
        let mut params = params(names.iter().cloned().collect(), now, until)?;
        params
            .distinguished_name
            .push(DnType::CommonName, COMMON_NAME);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer =
            Issuer::from_ca_cert_pem(&self.certificate.pem, KeyPair::from_pem(&self.key)?)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Self::of(certificate.der(), &key)
    }

    fn of(der: &[u8], key: &KeyPair) -> Result<Self, rcgen::Error> {
        Ok(Self {
            certificate: Certificate::of_der(der).ok_or(rcgen::Error::CouldNotParseCertificate)?,
            key: key.serialize_pem(),
        })
    }
}

fn params(
    names: Vec<String>,
    now: Timestamp,
    until: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.not_before = date(now.checked_sub(LEEWAY).unwrap_or(now))?;
    params.not_after = date(until)?;
    Ok(params)
}

fn date(time: Timestamp) -> Result<OffsetDateTime, rcgen::Error> {
    OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(|_| rcgen::Error::Time)
}

/// A time that far away, or as far as times go.
pub fn after(time: Timestamp, pause: Duration) -> Timestamp {
    time.checked_add(pause).unwrap_or(Timestamp::MAX)
}

fn encode(der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new("CERTIFICATE", der), config)
}
