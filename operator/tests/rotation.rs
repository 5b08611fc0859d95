//! Rotation of the webhook's certificates by a hand-cranked clock, judged by another library than the
//! one that makes them.

#![allow(clippy::expect_used, reason = "a test may")]

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use sluice_operator::certificates::{
    material::{Certificate, Pair},
    rotation::{Lifetimes, Stored, Wanted},
};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

const HOUR: Duration = Duration::from_secs(3600);
const NAME: &str = "sluice-webhook.sluice-system.svc";

/// What is in the two Secrets, as texts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Texts {
    authority: [String; 3],
    serving: [String; 3],
}

fn lifetimes() -> Lifetimes {
    Lifetimes {
        settling: 48 * HOUR,
        ..Lifetimes::default()
    }
}

fn names() -> BTreeSet<String> {
    BTreeSet::from([NAME.to_owned()])
}

fn stored(texts: &Texts) -> Stored {
    let Texts {
        authority: [certificate, key, former],
        serving: [served, serving_key, bundle],
    } = texts;
    Stored {
        authority: Pair::read(certificate, key),
        former: Certificate::all_in(former),
        bundle: Certificate::all_in(bundle),
        serving: Pair::read(served, serving_key),
    }
}

fn texts(wanted: &Wanted) -> Texts {
    let Wanted {
        authority, serving, ..
    } = wanted;
    Texts {
        authority: [
            authority.certificate.pem().to_owned(),
            authority.key().to_owned(),
            wanted.former(),
        ],
        serving: [
            serving.certificate.pem().to_owned(),
            serving.key().to_owned(),
            wanted.bundle(),
        ],
    }
}

fn renew(texts: Option<&Texts>, now: Timestamp) -> (Texts, Timestamp) {
    let stored = texts.map(stored).unwrap_or_default();
    let wanted = Wanted::of(stored, &names(), now, &lifetimes()).expect("certificates are made");
    (self::texts(&wanted), wanted.until)
}

/// As the API server asks: does somebody in the bundle vouch for this server, now?
fn is_trusted(bundle: &str, serving: &str, now: Timestamp) -> bool {
    let read = |text: &str| {
        let certificates = CertificateDer::pem_slice_iter(text.as_bytes());
        certificates
            .collect::<Result<Vec<_>, _>>()
            .expect("certificates")
    };
    let (bundle, serving) = (read(bundle), read(serving));
    let anchors: Vec<_> = bundle
        .iter()
        .map(|authority| anchor_from_trusted_cert(authority).expect("an authority"))
        .collect();
    let server = EndEntityCert::try_from(&serving[0]).expect("a server's certificate");
    let seconds = u64::try_from(now.as_second()).expect("after 1970");
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let name = ServerName::try_from(NAME).expect("a name");
    server
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &[],
            now,
            KeyUsage::server_auth(),
            None,
            None,
        )
        .is_ok()
        && server.verify_is_valid_for_subject_name(&name).is_ok()
}

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

#[test]
fn through_years_of_rotation_old_bundles_and_old_servers_go_together_with_new_ones() {
    let step = 12 * HOUR;
    let mut now = start();
    let (mut current, _) = renew(None, now);
    let mut past = VecDeque::from([current.clone()]);
    let (mut authorities, mut servers) = (1, 1);
    for _ in 0..6 * 365 * 2 {
        now += step;
        let (next, until) = renew(Some(&current), now);
        assert!(until > now, "{now}: something is due at {until}");
        authorities += u32::from(next.authority[0] != current.authority[0]);
        servers += u32::from(next.serving[0] != current.serving[0]);
        current = next;
        past.push_back(current.clone());
        // One step less than settling takes, for the step itself.
        if past.len() > 4 {
            past.pop_front();
        }
        if past.iter().all(|other| *other == current) {
            continue;
        }
        for other in &past {
            let [server, _, bundle] = &current.serving;
            let [old_server, _, old_bundle] = &other.serving;
            assert!(is_trusted(old_bundle, server, now), "{now}: an old bundle");
            assert!(is_trusted(bundle, old_server, now), "{now}: an old server");
        }
        assert_eq!(
            renew(Some(&current), now).0,
            current,
            "{now}: once is enough"
        );
    }
    assert!((4..=6).contains(&authorities), "{authorities} authorities");
    assert!(
        (35..=45).contains(&servers),
        "{servers} servers' certificates"
    );
}

#[test]
fn what_is_due_is_due_when_it_was_said() {
    let (mut current, mut until) = renew(None, start());
    for _ in 0..30 {
        let before = until - Duration::from_secs(1);
        let (same, still) = renew(Some(&current), before);
        assert_eq!((&same, still), (&current, until), "nothing happens before");
        (current, until) = renew(Some(&current), until);
    }
}

#[test]
fn a_lost_authority_is_trusted_until_its_successor_has_settled() {
    let now = start() + 100 * HOUR;
    let (old, _) = renew(None, start());
    let mut lost = old.clone();
    lost.authority = [String::new(), String::new(), String::new()];
    let (new, until) = renew(Some(&lost), now);
    assert_ne!(new.authority[0], old.authority[0]);
    assert_eq!(
        new.serving[0], old.serving[0],
        "nobody trusts the new one yet"
    );
    assert!(is_trusted(&new.serving[2], &old.serving[0], now));
    assert_eq!(until, now + lifetimes().settling);
    let (settled, _) = renew(Some(&new), until);
    assert_ne!(settled.serving[0], old.serving[0]);
    assert!(is_trusted(&new.serving[2], &settled.serving[0], until));
}

#[test]
fn what_is_broken_is_replaced_at_once_and_nothing_else() {
    let now = start() + HOUR;
    let (good, _) = renew(None, start());
    let (other, _) = renew(None, start());
    let foreign = {
        let names = BTreeSet::from(["other.svc".to_owned()]);
        let wanted = Wanted::of(stored(&good), &names, now, &lifetimes()).expect("certificates");
        texts(&wanted)
    };
    let broken: [(&str, [&str; 2]); 6] = [
        ("no certificate", ["", &good.serving[1]]),
        ("no key", [&good.serving[0], ""]),
        ("half a file", [&good.serving[0][..80], &good.serving[1]]),
        ("another one's key", [&good.serving[0], &other.serving[1]]),
        (
            "another authority's",
            [&other.serving[0], &other.serving[1]],
        ),
        (
            "for other names",
            [&foreign.serving[0], &foreign.serving[1]],
        ),
    ];
    for (what, [certificate, key]) in broken {
        let mut texts = good.clone();
        texts.serving[0] = certificate.to_owned();
        texts.serving[1] = key.to_owned();
        let (mended, _) = renew(Some(&texts), now);
        assert_eq!(mended.authority, good.authority, "{what}");
        assert_ne!(mended.serving[0], certificate, "{what}");
        assert!(
            is_trusted(&good.serving[2], &mended.serving[0], now),
            "{what}"
        );
    }

    let late = start() + lifetimes().serving + HOUR;
    let (mended, _) = renew(Some(&good), late);
    assert!(is_trusted(&mended.serving[2], &mended.serving[0], late));

    let mut no_authority = good.clone();
    no_authority.authority[0].clone_from(&good.serving[0]);
    no_authority.authority[1].clone_from(&good.serving[1]);
    let (mended, _) = renew(Some(&no_authority), now);
    let authority = Certificate::all_in(&mended.authority[0]);
    assert!(authority[0].is_authority(), "a server is no authority");
}
