//! Who may ask: a caller with a certificate of these authorities, and of one of these names where any are given.
//!
//! An API server shows one where its admission configuration has it. What is shown is judged in the handshake, so
//! nobody else costs more than that. The file is read anew with the webhook's own certificate; one that
//! cannot be read leaves the authorities as they were, and without any nobody is let in.

use std::{
    fmt, fs,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tracing::{info, warn};
use x509_parser::parse_x509_certificate;

pub(super) struct Callers {
    file: PathBuf,
    names: Vec<String>,
    provider: Arc<CryptoProvider>,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    text: Vec<u8>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Why what the file holds now is not in use.
    trouble: Option<String>,
}

impl Callers {
    /// Those with a certificate of the authorities in this file, and with one of these common names; with
    /// any if there are none.
    pub(super) fn new(file: PathBuf, names: Vec<String>, provider: Arc<CryptoProvider>) -> Self {
        Self {
            file,
            names,
            provider,
            state: RwLock::default(),
        }
    }

    /// Takes the authorities that the file holds, if they are others and work. Reads the file.
    pub(super) fn reload(&self) {
        let read = fs::read(&self.file).map_err(|error| error.to_string());
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let made = read.and_then(|text| {
            if state.verifier.is_some() && state.text == text {
                return Ok(None);
            }
            verifier(&text, &self.provider).map(|verifier| Some((text, verifier)))
        });
        match made {
            Ok(None) => state.trouble = None,
            Ok(Some((text, verifier))) => {
                info!(file = %self.file.display(), "callers need a certificate of these authorities");
                *state = State {
                    text,
                    verifier: Some(verifier),
                    trouble: None,
                };
            }
            Err(trouble) => {
                if state.trouble.as_ref() != Some(&trouble) {
                    let kept = state.verifier.is_some();
                    let file = self.file.display();
                    warn!(
                        kept,
                        "the authorities of callers in {file} cannot be taken: {trouble}"
                    );
                    state.trouble = Some(trouble);
                }
            }
        }
    }

    /// Whether anybody can be let in.
    pub(super) fn is_known(&self) -> Result<(), String> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match (&state.verifier, &state.trouble) {
            (Some(_), _) => Ok(()),
            (None, trouble) => {
                let trouble = trouble.as_deref().unwrap_or("none were read");
                Err(format!("there are no authorities for callers: {trouble}"))
            }
        }
    }

    fn is_named(&self, certificate: &CertificateDer<'_>) -> bool {
        let parsed = parse_x509_certificate(certificate);
        self.names.is_empty()
            || parsed.is_ok_and(|(_, parsed)| {
                let names = parsed.subject().iter_common_name();
                let mut names = names.filter_map(|name| name.as_str().ok());
                names.any(|name| self.names.iter().any(|known| known == name))
            })
    }
}

fn verifier(
    text: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    // No authority at all is an error of the builder.
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    builder.build().map_err(|error| error.to_string())
}

impl ClientCertVerifier for Callers {
    /// Which authorities are known is nobody's business.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let verifier = state.verifier.as_ref().map(Arc::clone);
        drop(state);
        let verifier = verifier.ok_or(CertificateError::UnknownIssuer)?;
        let verified = verifier.verify_client_cert(end_entity, intermediates, now)?;
        if self.is_named(end_entity) {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callers")
            .field("file", &self.file)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}
