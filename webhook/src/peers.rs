//! What one caller's address can hold at once, so that who asks very often, or never to the end, leaves room
//! for others.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use axum::http::Extensions;
use tokio::sync::Semaphore;

/// Who asks. Every request has one, put there by its connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// Those without a connection are one caller.
    pub fn of(extensions: &Extensions) -> Self {
        let known = extensions.get::<Self>().copied();
        known.unwrap_or(Self(Ipv6Addr::UNSPECIFIED.into()))
    }
}

/// So many places for each address. Those of an address that holds none are forgotten.
#[derive(Debug)]
pub struct Shares {
    each: usize,
    held: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

impl Shares {
    pub fn of_each(each: usize) -> Self {
        let held = Mutex::default();
        Self { each, held }
    }

    /// The places of this address; permits of them, and waiting for one, keep them.
    pub fn of(&self, Peer(ip): Peer) -> Arc<Semaphore> {
        let ip = ip.to_canonical();
        // A map of counts is whole whatever befell who held it.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = held.get(&ip).and_then(Weak::upgrade) {
            return places;
        }
        held.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(self.each));
        held.insert(ip, Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_however_it_is_written_and_none_of_others() {
        let shares = Shares::of_each(1);
        let peer = |text: &str| Peer(text.parse().expect("an address"));
        let first = shares.of(peer("10.0.0.1")).try_acquire_owned();
        assert!(first.is_ok());
        assert!(
            shares
                .of(peer("::ffff:10.0.0.1"))
                .try_acquire_owned()
                .is_err()
        );
        assert!(shares.of(peer("10.0.0.2")).try_acquire_owned().is_ok());
        drop(first);
        assert!(shares.of(peer("10.0.0.1")).try_acquire_owned().is_ok());
        // Looking for another forgets those that hold nothing.
        drop(shares.of(peer("10.0.0.3")));
        let held = shares.held.lock().expect("nobody else has it");
        assert_eq!(held.len(), 1, "{held:?}");
    }
}
