//! Addresses and ranges of addresses, canonical before anything looks at them.
//!
//! An IPv4 address can be written as an IPv6 one, and both lead to the same place: what was compared
//! as text, or in the form in which it came, could be told apart from itself.

use std::{fmt, net::IpAddr};

use serde::{Serialize, Serializer};

use crate::{finding::Reason, key::Family};

/// An address as Kubernetes writes it, in its canonical form.
pub(crate) fn address(text: &str) -> Result<IpAddr, (Reason, String)> {
    let Ok(ip) = text.parse::<IpAddr>() else {
        return Err((Reason::Invalid, format!("{text:?} is not an IP address")));
    };
    let ip = ip.to_canonical();
    if ip.is_unspecified() || ip.is_multicast() {
        return Err((
            Reason::AddressReserved,
            format!("{ip} cannot be an address of a service or an endpoint"),
        ));
    }
    Ok(ip)
}

/// An address in its one form. An IPv4 one that is written as an IPv6 one is refused: to some readers
/// it is another.
pub(super) fn plain(text: &str) -> Option<IpAddr> {
    let ip = text.parse::<IpAddr>().ok();
    ip.filter(|ip| ip.to_canonical() == *ip)
}

/// Nobody can be reached at such an address, or everybody, or the caller itself.
pub(super) fn is_of_no_host(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || broadcast
}

pub(super) fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Addresses that begin alike. Everything behind the prefix is zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    ip: IpAddr,
    length: u8,
}

impl Cidr {
    /// A range as people write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a range of addresses, such as 10.0.0.0/8");
        let (ip, length) = text.split_once('/').ok_or_else(wrong)?;
        let ip = plain(ip).ok_or_else(wrong)?;
        let length = parse_length(length).filter(|length| *length <= bits(ip));
        let length = length.ok_or_else(wrong)?;
        let first = Self {
            ip: masked(ip, length),
            length,
        };
        if first.ip != ip {
            return Err(format!(
                "{text:?} has bits behind its prefix; {first} has none"
            ));
        }
        Ok(first)
    }

    pub fn contains(self, ip: IpAddr) -> bool {
        Family::of(self.ip) == Family::of(ip) && masked(ip, self.length) == self.ip
    }

    /// Whether it is this address and no other.
    pub fn is_only(self, ip: IpAddr) -> bool {
        self.ip == ip && self.length == bits(ip)
    }
}

/// Digits alone and no leading zero: what one reader takes for octal is decimal to another.
fn parse_length(text: &str) -> Option<u8> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

const fn bits(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn masked(ip: IpAddr, length: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.length)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cidr, address};
    use crate::finding::Reason;

    #[test]
    fn addresses_are_canonical_before_anything_looks_at_them() {
        let ip = |text| address(text).map(|ip| ip.to_string());
        assert_eq!(ip("::ffff:10.0.0.1"), Ok("10.0.0.1".to_owned()));
        assert_eq!(ip("FD00:0:0::1"), Ok("fd00::1".to_owned()));
        for text in [
            "010.0.0.1",
            "10.0.1",
            "fe80::1%eth0",
            "10.0.0.1/32",
            "",
            " 10.0.0.1",
        ] {
            assert_eq!(
                address(text).map_err(|(reason, _)| reason),
                Err(Reason::Invalid)
            );
        }
        for text in ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1"] {
            let reason = address(text).map_err(|(reason, _)| reason);
            assert_eq!(reason, Err(Reason::AddressReserved), "{text}");
        }
    }

    #[test]
    fn ranges_are_canonical_too() {
        let range = |text| Cidr::parse(text).map(|range| range.to_string());
        for (text, canonical) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("10.1.2.3/32", "10.1.2.3/32"),
            ("FD00::/8", "fd00::/8"),
            ("fd00:0::1/128", "fd00::1/128"),
        ] {
            assert_eq!(range(text).as_deref(), Ok(canonical), "{text}");
        }
        for text in [
            "",
            "/",
            "10.0.0.0",
            "fd00::1",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
            "10.0.0.1/8",
            "010.0.0.0/8",
            "10.0.0/8",
            "10.0.0.0/255.0.0.0",
            "fd00::/129",
            "fd00::1/8",
            "fe80::%eth0/64",
            "::ffff:10.0.0.0/104",
            "::ffff:10.0.0.1/128",
            "::ffff:0.0.0.0/95",
            " 10.0.0.0/8",
            "10.0.0.0 /8",
            "10.0.0.0/1e1",
        ] {
            assert!(range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_holds_what_begins_like_it_and_no_other_family() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.96.0.10/32", "10.96.0.10", "10.96.0.11"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "fd00::1", "10.0.0.1"),
            ("fd00::/127", "fd00::1", "fd00::2"),
        ] {
            let range = Cidr::parse(range).expect(range);
            let ip = |text: &str| text.parse().expect("an address");
            assert!(range.contains(ip(inside)), "{range} {inside}");
            assert!(!range.contains(ip(outside)), "{range} {outside}");
        }
        let one = Cidr::parse("10.96.0.10/32").expect("a range");
        assert!(one.is_only("10.96.0.10".parse().expect("an address")));
        let two = Cidr::parse("10.96.0.10/31").expect("a range");
        assert!(!two.is_only("10.96.0.10".parse().expect("an address")));
    }
}
