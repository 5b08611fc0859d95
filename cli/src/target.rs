//! What is connected to: `ADDRESS` or `ADDRESS:PORT`, in both families.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    str::FromStr,
};

/// An address, and one of its ports or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub ip: IpAddr,
    pub port: Option<NonZeroU16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    #[error("ADDRESS[:PORT] is an IP address, such as 10.96.0.10:80, [fd00::a]:80 or fd00::a")]
    Text,
    #[error("there is no port 0")]
    PortZero,
    #[error("an address with a zone names a link, and no Service has one")]
    Zone,
}

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        if text.contains('%') {
            return Err(NoTarget::Zone);
        }
        // An IPv6 address without brackets is all address: its last group is no port.
        if let Ok(ip) = text.parse() {
            return Ok(Self { ip, port: None });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            let port = NonZeroU16::new(address.port()).ok_or(NoTarget::PortZero)?;
            return Ok(Self {
                ip: address.ip(),
                port: Some(port),
            });
        }
        let bracketed = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let ip = bracketed.and_then(|text| text.parse::<Ipv6Addr>().ok());
        Ok(Self {
            ip: ip.ok_or(NoTarget::Text)?.into(),
            port: None,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port.get()).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_in_both_families_with_and_without_a_port() {
        for (text, shown) in [
            ("10.96.0.10", "10.96.0.10"),
            ("10.96.0.10:80", "10.96.0.10:80"),
            ("10.96.0.10:65535", "10.96.0.10:65535"),
            ("fd00::a", "fd00::a"),
            ("[fd00::a]", "fd00::a"),
            ("[fd00::a]:80", "[fd00::a]:80"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn the_last_group_of_a_bare_address_is_no_port() {
        let target: Target = "fd00::80".parse().unwrap();
        assert_eq!(target.port, None);
    }

    #[test]
    fn what_is_no_target_is_named() {
        for text in [
            "",
            "checkout",
            "checkout:80",
            "10.0.0",
            "10.0.0.1:",
            "10.0.0.1:http",
            "10.0.0.1:65536",
            "10.0.0.1:-1",
            "[10.0.0.1]",
            "[10.0.0.1]:80",
            "[fd00::a",
            "fd00::a]:80",
            "[fd00::a]80",
            "010.0.0.1",
            "10.0.0.1/24",
            " 10.0.0.1",
            ":80",
        ] {
            assert_eq!(text.parse::<Target>(), Err(NoTarget::Text), "{text:?}");
        }
        for text in ["10.0.0.1:0", "[fd00::a]:0"] {
            assert_eq!(text.parse::<Target>(), Err(NoTarget::PortZero), "{text:?}");
        }
        for text in ["fe80::1%eth0", "[fe80::1%2]:80"] {
            assert_eq!(text.parse::<Target>(), Err(NoTarget::Zone), "{text:?}");
        }
    }
}
