//! Which of a datagram socket's pairs answers a question: pure over [`Datagrams`].

use sluice_node_abi::{
    datagrams::{Datagrams, PAIRS, Pair},
    keys::{Address, FrontendKey},
};

/// A socket keeps the backend of a frontend until it has not sent there for so long: one minute, in
/// nanoseconds.
pub const STICK: u64 = 60_000_000_000;

/// The pair by which the socket sends to `front`: the one that it used last.
#[inline(always)]
pub fn sending<'a>(of: &'a mut Datagrams, front: &FrontendKey, now: u64) -> Option<&'a mut Pair> {
    let mut found = None;
    let mut last = now.saturating_sub(STICK);
    for pair in &mut of.pairs {
        if pair.last > last && pair.is_to(front) {
            last = pair.last;
            found = Some(pair);
        }
    }
    found
}

/// What the application calls the peer at this address: by the pair that it used last, if several
/// frontends led there.
#[inline(always)]
pub fn receiving<'a>(of: &'a Datagrams, address: &Address, port: [u8; 2]) -> Option<&'a Pair> {
    let mut found = None;
    let mut last = 0;
    for pair in &of.pairs {
        if pair.last > last && pair.is_from(address, port) {
            last = pair.last;
            found = Some(pair);
        }
    }
    found
}

/// The application has sent straight to this address: what comes from there is not a Service's any more.
#[inline(always)]
pub fn let_go(of: &mut Datagrams, address: &Address, port: [u8; 2]) {
    for pair in &mut of.pairs {
        if pair.is_from(address, port) {
            pair.last = 0;
        }
    }
}

/// The place for another pair: a free one, else the one that was not used for the longest.
#[inline(always)]
pub fn oldest(of: &mut Datagrams) -> &mut Pair {
    let mut index = 0;
    let mut last = of.pairs[0].last;
    for other in 1..PAIRS {
        if of.pairs[other].last < last {
            index = other;
            last = of.pairs[other].last;
        }
    }
    &mut of.pairs[index]
}

/// Whether the socket may still hear answers by this pair.
#[inline(always)]
pub fn is_in_use(pair: &Pair, now: u64) -> bool {
    pair.last != 0 && pair.last > now.saturating_sub(STICK)
}
