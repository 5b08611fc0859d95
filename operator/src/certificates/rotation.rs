//! When which certificate is made anew: no I/O, the time is passed in.
//!
//! Whoever checks a serving certificate may know the bundle of a while ago, and whoever serves may
//! have the certificate of a while ago. So an authority is in the bundle for a while before anything
//! that it signed is used, and it stays there until it expires. Only what is lost or broken is
//! replaced at once.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::material::{Certificate, Pair, after};

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    pub authority: Duration,
    pub serving: Duration,
    /// By then everybody has heard of a new authority.
    pub settling: Duration,
}

/// Former authorities beyond this number are forgotten: nobody gets through so many in order.
const FORMER: usize = 3;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is stored; nothing of it need be right.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub authority: Option<Pair>,
    /// Former authorities, as the authority's own Secret has them.
    pub former: Vec<Certificate>,
    /// Whom the server's Secret says to trust.
    pub bundle: Vec<Certificate>,
    pub serving: Option<Pair>,
}

/// What should be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub authority: Pair,
    pub former: Vec<Certificate>,
    pub serving: Pair,
    /// When something will be due, if nothing else happens.
    pub until: Timestamp,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            authority: DAY * 730,
            serving: DAY * 90,
            settling: Duration::from_secs(3600),
        }
    }
}

impl Wanted {
    /// Keeps of what is stored whatever can be kept.
    pub fn of(
        stored: Stored,
        names: &BTreeSet<String>,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<Self, rcgen::Error> {
        let Stored {
            authority,
            former,
            bundle,
            serving,
        } = stored;
        let authority = authority.filter(|authority| {
            authority.certificate.is_authority() && !authority.certificate.has_expired(now)
        });
        let mut candidates = Vec::new();
        let authority = match authority {
            Some(authority) if now < authority.certificate.is_old_from() => authority,
            old => {
                match old {
                    Some(old) => candidates.push(old.certificate),
                    // It is lost with its key, but those who trust it may still be served by it.
                    None => candidates.extend(bundle),
                }
                Pair::authority(now, lifetimes.authority)?
            }
        };
        candidates.extend(former);
        let former = still_good(candidates, &authority.certificate, now);

        let settled = after(authority.certificate.made(), lifetimes.settling);
        let serving = serving
            .filter(|serving| {
                let certificate = &serving.certificate;
                let mut trusted = former.iter().chain([&authority.certificate]);
                certificate.is_for(names)
                    && !certificate.has_expired(now)
                    && trusted.any(|trusted| certificate.is_signed_by(trusted))
            })
            .filter(|serving| {
                let certificate = &serving.certificate;
                let is_ours = certificate.is_signed_by(&authority.certificate);
                now < settled || is_ours && now < certificate.is_old_from()
            });
        let serving = match serving {
            Some(serving) => serving,
            None => authority.serving(names, now, lifetimes.serving)?,
        };

        let is_ours = serving.certificate.is_signed_by(&authority.certificate);
        let next = if is_ours {
            serving.certificate.is_old_from().max(settled)
        } else {
            settled
        };
        let expiries = former.iter().map(Certificate::expires);
        let due = expiries.chain([next, authority.certificate.is_old_from()]);
        Ok(Self {
            until: due.min().unwrap_or(next),
            authority,
            former,
            serving,
        })
    }

    /// Whom to trust, the newest first.
    pub fn bundle(&self) -> String {
        let all = [&self.authority.certificate]
            .into_iter()
            .chain(&self.former);
        all.map(Certificate::pem).collect()
    }

    pub fn former(&self) -> String {
        self.former.iter().map(Certificate::pem).collect()
    }
}

/// The newest of them that can still vouch for something, each once.
fn still_good(
    mut candidates: Vec<Certificate>,
    current: &Certificate,
    now: Timestamp,
) -> Vec<Certificate> {
    candidates.retain(|certificate| {
        certificate.is_authority() && !certificate.has_expired(now) && certificate != current
    });
    candidates.sort_by_key(|certificate| std::cmp::Reverse(certificate.made()));
    candidates.dedup();
    candidates.truncate(FORMER);
    candidates
}
